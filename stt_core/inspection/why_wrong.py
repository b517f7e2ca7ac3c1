"""Why is this wrong? What the cells of wrong pixels could read, and what they made of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Reading, Steps
from stt_core.inspection.answers import Evidence, WhyWrong
from stt_core.inspection.asking import class_maps, key_classes, weights_of
from stt_core.inspection.explaining import explain
from stt_core.inspection.places import cells_of_pixels, key_window

PixelBox = tuple[int, int, int, int]


class _WrongCells(NamedTuple):
    """The cells of a box that have wrong pixels, with the class most of these should have had."""

    pixels: int
    position: NDArray[np.intp]  # [n]
    right: NDArray[np.intp]  # [n]
    wrong: NDArray[np.intp]  # [n]: the class most of them got


def why_wrong(
    engine: Engine,
    frame: int,
    box: PixelBox,
    *,
    labels: NDArray[np.uint8] | None = None,
    right: int | None = None,
) -> Steps[WhyWrong]:
    """Look into the wrong pixels of a box.

    Each cell that has any stands for them: its right class is the one most of them should have
    had, its wrong class the one most of them got (of equals the lower id).

    Args:
        engine: what computes.
        frame: the frame.
        box: x0, y0, x1, y1 pixels, the far sides not included; it is cut off at the image.
        labels: ``[H, W]`` what is right; ids that are no class count as unknown.
        right: the class that is right in all of the box, in place of `labels`.

    Raises:
        IndexError: the frame is not in the medium.
        ValueError: an empty box, not just one of `labels` and `right`, or labels of another size.
        CheckpointError: the model has no sparse temporal attention.
    """
    engine.network.examine(lambda model: None)
    classes = engine.network.header.classes
    if (labels is None) == (right is None):
        raise ValueError("give the labels or the class that is right, and not both")
    if right is not None and not 0 <= right < len(classes):
        raise ValueError(f"there are {len(classes)} classes, got {right=}")
    reading = yield from engine.reading_steps(frame)
    height, width = reading.size
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"the box {box} holds no pixel of the {width}x{height} image")
    if labels is not None and labels.shape != reading.size:
        raise ValueError(f"labels must be {reading.size}, got {labels.shape}")
    if labels is None:
        labels = np.full(reading.size, right, np.uint8)
    part = (slice(y0, y1), slice(x0, x1))
    said = engine.network.finish(reading.decoded, reading.size).labels
    of_pixels = cells_of_pixels(reading.current.size, reading.size)
    found = _wrong_cells(of_pixels[part], said[part], labels[part], len(classes))
    yield
    at = reading.decoded.queries[0].cpu().numpy()
    selected = np.isin(found.position, at) & bool(reading.memory)
    maps = yield from class_maps(engine, reading.frames)
    seen = _keys_seen(engine, reading, found.position, maps)
    weights = yield from weights_of(engine, reading, found.position[selected])
    for_right = _evidence(seen == found.right[:, None], weights, selected)
    for_wrong = _evidence(seen == found.wrong[:, None], weights, selected)
    answer = WhyWrong(
        frame=frame,
        box=(x0, y0, x1, y1),
        pixels=found.pixels,
        cells=len(found.position),
        selected=int(selected.sum()),
        right=_by_frequency(found.right),
        wrong=_by_frequency(found.wrong),
        for_right=for_right,
        for_wrong=for_wrong,
        head=int(for_wrong.by_head.argmax()) if selected.any() else None,
        sentences=(),
    )
    return explain(answer, [c.name for c in classes], past=bool(reading.memory))


def _wrong_cells(
    cells: NDArray[np.intp], said: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int
) -> _WrongCells:
    wrong = (truth < classes) & (said != truth)
    position, which = np.unique(cells[wrong], return_inverse=True)

    def most(ids: NDArray[np.uint8]) -> NDArray[np.intp]:
        pairs = which.ravel() * classes + ids
        counts = np.bincount(pairs, minlength=len(position) * classes)
        return counts.reshape(-1, classes).argmax(1)

    return _WrongCells(int(wrong.sum()), position, most(truth[wrong]), most(said[wrong]))


def _keys_seen(
    engine: Engine,
    reading: Reading,
    positions: NDArray[np.intp],
    maps: dict[int, NDArray[np.uint8]],
) -> NDArray[np.int16]:
    """``[n, K]`` class of every key in the windows of cells; -1 beyond the border."""
    radii = engine.network.reach.radii[: len(reading.frames)]
    grid = reading.current.size
    count = sum((2 * radius + 1) ** 2 for radius in radii)
    seen = np.zeros((len(positions), count), np.int16)
    for i, position in enumerate(positions.tolist()):
        row, col = divmod(position, grid[1])
        window = key_window(row, col, radii, grid)
        seen[i] = key_classes(reading.frames, maps, window)
    return seen


def _evidence(
    match: NDArray[np.bool_], weights: NDArray[np.float32], selected: NDArray[np.bool_]
) -> Evidence:
    """Of cells whose keys `match` ``[n, K]``, with `weights` ``[m, heads, K]`` of m selected."""
    on = weights * match[selected][:, None]
    some = len(weights) > 0
    return Evidence(
        cells=int(match.any(1).sum()),
        keys=float(match.sum(1).mean()) if len(match) else 0.0,
        largest=float(on.mean(1).max(initial=0)) if some else float("nan"),
        total=float(on.sum(2).mean()) if some else float("nan"),
        by_head=(
            on.sum(2).mean(0).astype(np.float32)
            if some
            else np.full(weights.shape[1], np.nan, np.float32)
        ),
    )


def _by_frequency(classes: NDArray[np.intp]) -> tuple[int, ...]:
    ids, counts = np.unique(classes, return_counts=True)
    return tuple(ids[np.argsort(-counts, kind="stable")].tolist())
