"""Review states and bookmarks of the frames of the open medium; the project keeps them."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal

from app.desk_line import DeskLine
from app.facts import FrameMarks
from stt_core.project.frames import Review


class Marks(QObject):
    """What a person noted of frames, and noting it."""

    changed = Signal(object)  # FrameMarks
    made = Signal()  # one was noted, perhaps the first thing that the project keeps
    said = Signal(str)  # for the status bar

    def __init__(self, line: DeskLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._line = line
        self.marks = FrameMarks()
        self._medium = 0  # grows with every turn to another, so that late answers are known

    def clear(self) -> None:
        """Forget all, for another medium."""
        self._medium += 1
        self._show(self._medium, FrameMarks())

    def read(self) -> None:
        """Read them anew."""
        self._line.ask(self._line.desk.marks, partial(self._show, self._medium))

    def set_review(self, frame: int, state: Review) -> None:
        """Say how far a frame is."""
        self._line.ask(
            partial(self._line.desk.set_review, frame, state),
            partial(self._on_made, f"Frame {frame}: {state}."),
        )

    def toggle_bookmark(self, frame: int) -> None:
        """Mark a frame, or take its mark away."""
        marked = frame not in self.marks.bookmarks
        text = (
            f"Frame {frame} is bookmarked." if marked else f"Frame {frame}: no bookmark any more."
        )
        self._line.ask(
            partial(self._line.desk.set_bookmark, frame, marked), partial(self._on_made, text)
        )

    def next_bookmark(self, frame: int, by: int) -> int | None:
        """The nearest bookmark after a frame, or before it for -1, round the end; None: none."""
        marks = self.marks.bookmarks
        if by > 0:
            return next((m for m in marks if m > frame), marks[0] if marks else None)
        return next((m for m in reversed(marks) if m < frame), marks[-1] if marks else None)

    def _on_made(self, text: str, marks: FrameMarks) -> None:
        self._show(self._medium, marks)
        self.said.emit(text)
        self.made.emit()

    def _show(self, medium: int, marks: FrameMarks) -> None:
        if medium == self._medium:
            self.marks = marks
            self.changed.emit(marks)
