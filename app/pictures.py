"""Pictures of the open medium: held in memory, or decoded."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal

from app.jobs import Jobs, Lane, Slot
from app.lanes import DecodeLane
from stt_core.cache import ByteCache
from stt_core.media.frame import Frame

FRAME_BYTES = 256 << 20


class Pictures(QObject):
    """See the module's docstring.

    Args:
        jobs: decodes.
        decoder: has the medium open.
    """

    changed = Signal(object)  # Frame that is to be shown

    def __init__(self, jobs: Jobs, decoder: DecodeLane, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._decoder = jobs, decoder
        self._held: ByteCache[Frame] = ByteCache(FRAME_BYTES)
        self._frame = 0

    def __contains__(self, frame: int) -> bool:
        return frame in self._held

    def begin(self) -> None:
        """Forget all, for another medium."""
        self._held.clear()

    def seconds(self, frame: int) -> float | None:
        """When a frame is shown; None while it was not decoded."""
        held = self._held.get(frame)
        return None if held is None else held.pts_seconds

    def show(self, frame: int) -> None:
        """Tell the picture of a frame as soon as it is there."""
        self._frame = frame
        held = self._held.get(frame)
        if held is not None:
            self._jobs.cancel(Lane.DECODE, Slot.FRAME)
            self.changed.emit(held)
            return
        self._jobs.start(
            Lane.DECODE,
            Slot.FRAME,
            partial(self._decoder.decode, frame),
            on_step=self._on_frame,
        )

    def prefetch(self, frame: int) -> None:
        """Have a picture ready, once nothing more urgent is left to do."""
        if frame not in self._held:
            self._jobs.start(
                Lane.DECODE,
                Slot.PREFETCH,
                partial(self._decoder.decode, frame),
                on_step=self._keep,
            )

    def _on_frame(self, frame: Frame) -> None:
        self._keep(frame)
        if frame.index == self._frame:
            self.changed.emit(frame)

    def _keep(self, frame: Frame) -> None:
        self._held.put(frame.index, frame, frame.image.nbytes)
