"""The frames read last, under a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict

from stt_core.media.frame import Frame

CACHE_BYTES = 128 * 2**20
"""20 frames of 2048 x 1024: enough to step back through the past of a prediction."""


class FrameCache:
    """Frames by index; those not used for longest go first. Keeps at least one.

    Args:
        budget_bytes: how many bytes of pixels to keep.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._frames: OrderedDict[int, Frame] = OrderedDict()

    def get(self, index: int) -> Frame | None:
        """The frame, now the last to go, or None when it is not held."""
        frame = self._frames.get(index)
        if frame is not None:
            self._frames.move_to_end(index)
        return frame

    def put(self, frame: Frame) -> None:
        self._drop(frame.index)
        self._frames[frame.index] = frame
        self._held_bytes += frame.image.nbytes
        while self._held_bytes > self._budget_bytes and len(self._frames) > 1:
            self._drop(next(iter(self._frames)))

    def clear(self) -> None:
        self._frames.clear()
        self._held_bytes = 0

    def _drop(self, index: int) -> None:
        frame = self._frames.pop(index, None)
        if frame is not None:
            self._held_bytes -= frame.image.nbytes
