"""Who looked at me: which queries of later frames read a cell, and how much they made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Reading, Steps
from stt_core.inspection.answers import LaterFrame, LookedAt, Looker
from stt_core.inspection.asking import cell_classes, weights_of
from stt_core.inspection.places import Place, cell_box, cell_of, key_offsets

DEFAULT_STRONGEST = 20


def who_looked_at_me(
    engine: Engine, place: Place, *, strongest: int = DEFAULT_STRONGEST
) -> Steps[LookedAt]:
    """What the selected queries of the frames after put on a cell, each later frame by itself.

    Args:
        engine: what computes.
        place: the cell.
        strongest: how many queries to list, at most.

    Raises:
        IndexError: the place is not there.
        CheckpointError: the model has no sparse temporal attention.
    """
    network = engine.network
    network.examine(lambda model: None)
    reading = yield from engine.reading_steps(place.frame)
    grid, size = reading.current.size, reading.size
    row, col = cell_of(place, grid, size)
    later: list[LaterFrame] = []
    lookers: list[Looker] = []
    for n in range(1, network.key_frames + 1):
        frame = place.frame + n * network.key_spacing
        if frame >= len(engine.media):
            break
        reading = yield from engine.reading_steps(frame)
        if place.frame not in reading.frames:
            break  # a cut lies between, and before all that follow
        lag = reading.frames.index(place.frame)
        positions = _within_reach(reading, row, col, network.reach.radii[lag])
        weights = yield from weights_of(engine, reading, positions)
        column = _column(positions, row, col, lag, network.reach.radii, grid[1])
        onto = weights[np.arange(len(positions)), :, column]  # [Q, heads]
        maps = np.zeros((network.reach.heads, *grid), np.float32)
        maps.reshape(len(maps), -1)[:, positions] = onto.T
        later.append(LaterFrame(frame, lag, len(positions), maps))
        classes = cell_classes(reading)
        for position, each in zip(positions.tolist(), onto, strict=True):
            y, x = divmod(position, grid[1])
            box = cell_box(y, x, grid, size)
            lookers.append(Looker(frame, y, x, box, float(each.mean()), each, int(classes[y, x])))
    lookers.sort(key=lambda looker: -looker.weight)
    box = cell_box(row, col, grid, size)
    return LookedAt(place.frame, row, col, box, tuple(later), tuple(lookers[:strongest]))


def _within_reach(reading: Reading, row: int, col: int, radius: int) -> NDArray[np.intp]:
    """The selected positions whose window of that radius covers a cell."""
    selected = reading.decoded.queries[0].cpu().numpy().astype(np.intp)
    y, x = np.divmod(selected, reading.current.size[1])
    return selected[np.maximum(abs(y - row), abs(x - col)) <= radius]


def _column(
    positions: NDArray[np.intp],
    row: int,
    col: int,
    lag: int,
    radii: tuple[int, ...],
    cols: int,
) -> NDArray[np.intp]:
    """Which of each query's keys the cell is."""
    first = len(key_offsets(radii[:lag]))
    y, x = np.divmod(positions, cols)
    side = 2 * radii[lag] + 1
    return first + (row - y + radii[lag]) * side + (col - x + radii[lag])
