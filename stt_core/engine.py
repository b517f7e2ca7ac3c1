"""Segmenting and inspecting frames of a medium, in any order.

Every long act is a generator that yields None after each encoder pass and returns its answer: its
caller may turn to something more urgent there, or drop it. A prediction depends on its frame and
the frames before it, never on what was asked before.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.cache import ByteCache
from stt_core.media.frame import Frame, past_frames
from stt_core.media.shots import is_cut, thumbnail
from stt_core.media.source import MediaSource
from stt_core.model.video import Decoded, Encoded
from stt_core.network import Network
from stt_core.results import LookBack, Prediction, Timings

Answer = TypeVar("Answer")
Steps = Generator[None, None, Answer]

DEFAULT_CACHE_BYTES = 1 << 30
_DECODED_BYTES = 32 << 20
"""Of stride-8 logits and queries: a click on a frame that was shown needs no decoding."""
_THUMBNAIL_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """A frame with what it reads, as the network keeps it: for the thread of its engine alone."""

    frame: Frame
    frames: tuple[int, ...]
    """Key frames, newest first."""
    current: Encoded
    memory: tuple[Encoded, ...]
    """Of the key frames."""
    decoded: Decoded

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.frame.image.shape[0], self.frame.image.shape[1]

    def cell_logits(self) -> Tensor:
        """``[classes, rows, cols]``: the logits of every feature position."""
        logits = self.decoded.logits[0]
        (rows, cols), (height, width) = self.current.size, logits.shape[1:]
        down = torch.arange(rows, device=logits.device) * height // rows
        right = torch.arange(cols, device=logits.device) * width // cols
        return logits[:, down][:, :, right]


class Engine:
    """A network, a medium, and the features already encoded. Belongs to one thread.

    Args:
        network: what computes.
        media: where frames come from; not closed by the engine.
        cache_bytes: budget for features. The newest few frames are kept whatever they take.
        cuts: whether no frame reads across a cut; to be off in evaluation.
    """

    def __init__(
        self,
        network: Network,
        media: MediaSource,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        cuts: bool = True,
    ) -> None:
        self.network = network
        self.media = media
        self._features: ByteCache[Encoded] = ByteCache(cache_bytes, least=network.key_frames + 1)
        self._decoded: ByteCache[Decoded] = ByteCache(_DECODED_BYTES)
        self._thumbnails: ByteCache[NDArray[np.float32]] = ByteCache(_THUMBNAIL_BYTES)
        self._cuts = cuts
        self._passes = 0

    @property
    def cuts(self) -> bool:
        """Whether no frame reads across a cut."""
        return self._cuts

    @property
    def cached_bytes(self) -> int:
        """What the cached features take."""
        return self._features.held

    def segment(self, index: int) -> Prediction:
        """Segment one frame, whatever that takes."""
        return run(self.segment_steps(index))

    def segment_steps(self, index: int) -> Steps[Prediction]:
        """Segment one frame, encoding those of its key frames that are not cached."""
        start = perf_counter()
        frame = self.media[index]
        decoding = perf_counter() - start
        start = perf_counter()
        before = self._passes
        current, memory = yield from self._read(index)
        decoded = self._decode(index, current, memory)
        self.network.synchronise()
        computing = perf_counter() - start
        start = perf_counter()
        found = self.network.finish(decoded, (frame.image.shape[0], frame.image.shape[1]))
        finishing = perf_counter() - start
        selected = np.zeros(current.size, np.bool_)
        selected.flat[decoded.queries[0].cpu().numpy()] = True
        need = decoded.need[0].float().cpu().numpy().reshape(current.size)
        times = Timings(
            decode=decoding,
            network=computing,
            postprocess=finishing,
            encoder_passes=self._passes - before,
        )
        return Prediction(index, found.labels, found.confidence, selected, need, times)

    def look_back(self, index: int, x: int, y: int, *, force: bool = False) -> LookBack:
        """Where image pixel (x, y) of a frame looked, whatever that takes."""
        return run(self.look_back_steps(index, x, y, force=force))

    def look_back_steps(
        self, index: int, x: int, y: int, *, force: bool = False
    ) -> Steps[LookBack]:
        """Where image pixel (x, y) of a frame looked.

        Computed anew for this one query from the features of that prediction: the weights of all
        queries of a 1024 x 2048 frame would take 213 MB.

        Args:
            index: the frame.
            x: column in [0, W).
            y: row in [0, H).
            force: let the position attend even if it was not selected.

        Raises:
            IndexError: the pixel lies outside the image.
            CheckpointError: the model has no temporal attention.
        """
        frame = self.media[index]
        height, width = frame.image.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise IndexError(f"pixel ({x}, {y}) lies outside the {width}x{height} image")
        current, memory = yield from self._read(index)
        decoded = self._decode(index, current, memory)
        rows, cols = current.size
        row, col = y * rows // height, x * cols // width
        return self._look(frame, current, memory, decoded, (x, y), (row, col), force)

    def reading_steps(self, index: int) -> Steps[Reading]:
        """A frame with what it reads, encoding what is not cached."""
        frame = self.media[index]
        current, memory = yield from self._read(index)
        decoded = self._decode(index, current, memory)
        return Reading(frame, self._key_frames(index), current, tuple(memory), decoded)

    def encoded_steps(self, index: int) -> Steps[Encoded]:
        """What is kept of any frame, encoded where it is not cached."""
        held = self._features.get(index)
        if held is None:
            held = self._encode(index)
            self._features.put(index, held, held.nbytes)
            yield
        return held

    def _look(
        self,
        frame: Frame,
        current: Encoded,
        memory: list[Encoded],
        decoded: Decoded,
        pixel: tuple[int, int],
        cell: tuple[int, int],
        force: bool,
    ) -> LookBack:
        (rows, cols), (row, col) = current.size, cell
        position = row * cols + col
        selected = bool((decoded.queries[0] == position).any())
        attends = bool(memory) and (selected or force)
        reads = self.network.reach
        if attends or not reads.heads:
            focus = self.network.focus(current, memory, position)
            weights, logits = focus.weights.float().cpu().numpy(), focus.logits
        else:
            weights = np.zeros((reads.heads, 0, rows, cols), np.float32)
            finer = decoded.logits.shape[2:]  # than the map, for some models
            logits = decoded.logits[0, :, row * finer[0] // rows, col * finer[1] // cols]
        frames = self._key_frames(frame.index) if attends else ()
        height, width = frame.image.shape[:2]
        return LookBack(
            frame=frame.index,
            x=pixel[0],
            y=pixel[1],
            row=row,
            col=col,
            box=(
                col * width / cols,
                row * height / rows,
                (col + 1) * width / cols,
                (row + 1) * height / rows,
            ),
            selected=selected,
            forced=attends and not selected,
            need=float(decoded.need[0, position]),
            frames=frames,
            radii=reads.radii[: len(frames)],
            images=tuple(self.media[i].image for i in frames),
            weights=weights,
            probabilities=logits.float().softmax(0).cpu().numpy(),
        )

    def _key_frames(self, index: int) -> tuple[int, ...]:
        wanted = past_frames(index, self.network.key_frames, self.network.key_spacing)
        if not self._cuts or not wanted:
            return wanted
        for i in range(wanted[-1], index):
            self._thumbnail(i)  # oldest first: the order a decoder likes
        first = index  # of the shot, as far back as anybody asks
        while first > wanted[-1] and not self._is_cut(first):
            first -= 1
        return tuple(i for i in wanted if i >= first)

    def _is_cut(self, index: int) -> bool:
        """Whether a shot begins at a frame."""
        return is_cut(self._thumbnail(index - 1), self._thumbnail(index))

    def _thumbnail(self, index: int) -> NDArray[np.float32]:
        held = self._thumbnails.get(index)
        if held is None:
            held = thumbnail(self.media[index].image)
            self._thumbnails.put(index, held, held.nbytes)
        return held

    def _read(self, index: int) -> Steps[tuple[Encoded, list[Encoded]]]:
        wanted = [*reversed(self._key_frames(index)), index]
        encoded: dict[int, Encoded] = {}
        for i in wanted:
            encoded[i] = yield from self.encoded_steps(i)
        return encoded[index], [encoded[i] for i in self._key_frames(index)]

    def _encode(self, index: int) -> Encoded:
        self._passes += 1
        return self.network.encode(self.media[index].image, index)

    def _decode(self, index: int, current: Encoded, memory: list[Encoded]) -> Decoded:
        held = self._decoded.get(index)
        if held is None:
            held = self.network.decode(current, memory)
            self._decoded.put(index, held, held.nbytes)
        return held


def run(steps: Generator[object, None, Answer]) -> Answer:
    """Take all steps of an act and return its answer."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
