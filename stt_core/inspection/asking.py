"""From a place to the query there, and what is predicted around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Reading, Steps
from stt_core.inspection.answers import Query
from stt_core.inspection.change import Change
from stt_core.inspection.places import KeyWindow, Place, cell_box, cell_of, key_window
from stt_core.inspection.probing import CHUNK, Probe, read_weights
from stt_core.model.video import Encoded
from stt_core.network import Network


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, with the frame it lies in."""

    query: Query
    reading: Reading

    @property
    def grid(self) -> tuple[int, int]:
        return self.reading.current.size

    @property
    def position(self) -> int:
        return self.query.row * self.grid[1] + self.query.col

    @property
    def window(self) -> KeyWindow:
        return key_window(self.query.row, self.query.col, self.query.radii, self.grid)

    def probabilities(self) -> NDArray[np.float32]:
        """``[C]`` as the frame has them, attending or not, but never forced."""
        logits = self.reading.cell_logits()[:, self.query.row, self.query.col]
        return logits.float().softmax(0).cpu().numpy()

    def probe(self, network: Network, memory: Sequence[Encoded] | None = None) -> Probe:
        """To ask what it would be if it read otherwise; of other key frames, where given."""
        read = self.reading
        past = read.memory if memory is None else memory
        return Probe(network, read.current, past, self.position, read.decoded.queries, read.memory)


def ask(engine: Engine, place: Place, *, force: bool) -> Steps[Asked]:
    """Find the query at a place.

    Raises:
        IndexError: the place lies outside of the medium, the image or the map.
        CheckpointError: the model has no sparse temporal attention.
    """
    engine.network.examine(lambda model: None)  # or refuse before anything is computed
    reading = yield from engine.reading_steps(place.frame)
    row, col = cell_of(place, reading.current.size, reading.size)
    position = row * reading.current.size[1] + col
    selected = bool((reading.decoded.queries[0] == position).any())
    attends = bool(reading.memory) and (selected or force)
    frames = reading.frames if attends else ()
    query = Query(
        frame=place.frame,
        row=row,
        col=col,
        box=cell_box(row, col, reading.current.size, reading.size),
        selected=selected,
        forced=attends and not selected,
        frames=frames,
        radii=engine.network.reach.radii[: len(frames)],
    )
    return Asked(query, reading)


def swap(engine: Engine, reading: Reading, change: Change) -> Steps[list[Encoded]]:
    """The key frames' features, once the swaps of a change are made.

    Raises:
        IndexError: a frame is not in the medium.
    """
    memory = list(reading.memory)
    for lag, frame in change.swaps:
        if not 0 <= frame < len(engine.media):
            raise IndexError(f"there is no frame {frame}: the medium has {len(engine.media)}")
        if 0 <= lag < len(memory):
            memory[lag] = yield from engine.encoded_steps(frame)
    return memory


def cell_classes(reading: Reading) -> NDArray[np.uint8]:
    """``[h, w]``: the class of the highest logit in each cell."""
    return reading.cell_logits().argmax(0).to("cpu").numpy().astype(np.uint8)


def class_maps(engine: Engine, frames: Iterable[int]) -> Steps[dict[int, NDArray[np.uint8]]]:
    """What is predicted in every cell ``[h, w]`` of frames, each with what it reads itself."""
    found = {}
    for frame in sorted(set(frames)):  # oldest first: each is encoded once
        found[frame] = cell_classes((yield from engine.reading_steps(frame)))
        yield
    return found


def key_classes(
    asked_frames: Sequence[int], maps: dict[int, NDArray[np.uint8]], window: KeyWindow
) -> NDArray[np.int16]:
    """``[K]`` class of every key of a window in key frames; -1 beyond the border."""
    found = np.full(window.lag.shape, -1, np.int16)
    for lag, frame in enumerate(asked_frames):
        mine = (window.lag == lag) & window.inside
        found[mine] = maps[frame][window.row[mine], window.col[mine]]
    return found


def weights_of(
    engine: Engine, reading: Reading, positions: NDArray[np.intp]
) -> Steps[NDArray[np.float32]]:
    """The weights ``[Q, heads, K]`` of queries at `positions` ``[Q]``, selected or not."""
    reads = engine.network.reach
    keys = sum((2 * r + 1) ** 2 for r in reads.radii[: len(reading.memory)])
    found = np.zeros((len(positions), reads.heads, keys), np.float32)
    for start in range(0, len(positions), CHUNK):
        some = slice(start, start + CHUNK)
        found[some] = read_weights(engine.network, reading.current, reading.memory, positions[some])
        yield
    return found
