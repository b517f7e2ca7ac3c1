"""Playing the open medium: the next frame at its time, or as soon as its picture is there."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from app.pictures import Pictures


class Player(QObject):
    """Runs from a frame to the last one, and stops there."""

    wanted = Signal(int)  # the frame that is to be shown now
    changed = Signal(bool)  # whether it plays

    def __init__(self, pictures: Pictures, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._count = 0
        self._fps = 1.0
        self._frame = 0
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._on_tick)

    @property
    def playing(self) -> bool:
        return self._clock.isActive()

    def begin(self, count: int, fps: float) -> None:
        """Another medium: how many frames it has, and how many a second."""
        self.pause()
        self._count, self._fps = count, fps

    def show(self, frame: int) -> None:
        """This frame is shown now."""
        self._frame = frame

    def toggle(self) -> None:
        if self.playing:
            self.pause()
        elif self._count:
            if self._frame == self._count - 1:
                self.wanted.emit(0)
            self._clock.start(max(1, round(1000 / self._fps)))
            self.changed.emit(True)

    def pause(self) -> None:
        if self.playing:
            self._clock.stop()
            self.changed.emit(False)

    def _on_tick(self) -> None:
        # the picture of this frame is awaited rather than skipped
        if self._frame not in self._pictures:
            return
        if self._frame + 1 >= self._count:
            self.pause()
            self.wanted.emit(self._frame)
        else:
            self.wanted.emit(self._frame + 1)
