"""Bringing label files up to date, a moment after the last stroke."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from app.desk_line import DeskLine
from app.facts import Notice
from stt_core.errors import SttError

_FLUSH_MS = 1500


class LabelFiles(QObject):
    """The journal has everything before; a file that cannot be written is told."""

    noticed = Signal(object)  # Notice

    def __init__(self, line: DeskLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._line = line
        self._timer = QTimer(self, singleShot=True, interval=_FLUSH_MS)
        self._timer.timeout.connect(self._write)

    def changed(self) -> None:
        """Labels have changed: write their files soon."""
        self._timer.start()

    def stop(self) -> None:
        """Write no more; what is behind is written when the project is closed."""
        self._timer.stop()

    def _write(self) -> None:
        self._line.ask(self._line.desk.flush, self._on_written, self._on_failed)

    def _on_written(self, more: bool) -> None:
        self.noticed.emit(Notice("files", ""))
        if more:
            self._timer.start()

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, SttError):
            self._line.failed.emit(error)
            return
        text = f"{error} The label files are behind what was painted."
        self.noticed.emit(Notice("files", text, urgent=True))
