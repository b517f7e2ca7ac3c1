"""Noting something of the shown frame: how far it is, and bookmarks."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.marks import Marks
from app.painting import Painting
from stt_core.project.frames import Review


class Marking(QObject):
    """What a person does with the frame that is shown."""

    frame_wanted = Signal(int)  # that of a bookmark
    said = Signal(str)  # for the status bar

    def __init__(self, marks: Marks, painting: Painting, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._marks, self._painting = marks, painting
        marks.said.connect(self.said)

    def set_review(self, state: Review) -> None:
        """Say how far the frame is; a locked one cannot be painted."""
        if self._may():
            self._marks.set_review(self._painting.frame, state)

    def toggle_bookmark(self) -> None:
        """Mark the frame, or take its mark away."""
        if self._may():
            self._marks.toggle_bookmark(self._painting.frame)

    def go_to_bookmark(self, by: int) -> None:
        """Go to the next bookmark, or for -1 to the one before; round the end."""
        found = self._marks.next_bookmark(self._painting.frame, by)
        if found is None:
            self.said.emit("No frame is bookmarked: press M to mark this one.")
        else:
            self.frame_wanted.emit(found)

    def _may(self) -> bool:
        refused = self._painting.refusal()
        if refused:
            self.said.emit(f"This frame cannot be marked: {refused}")
        return not refused
