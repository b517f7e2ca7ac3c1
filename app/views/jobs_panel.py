"""What runs in the background: progress, speed, and a way to stop it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.views.buttons import IconButton
from app.views.look import ToneLabel, bad, describe, good, note, small_font

EMPTY = "Nothing runs. Segment the whole video with Ctrl+R, or train with Ctrl+T."


class JobsPanel(QWidget):
    """A row for each job, newest on top. A finished one stays until it is dismissed."""

    cancel_requested = Signal(str)  # job id

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, JobRow] = {}
        self._empty = note(EMPTY)
        body = QWidget()
        self._list = QVBoxLayout(body)
        self._list.setContentsMargins(0, 0, 6, 0)
        self._list.setSpacing(10)
        self._list.addWidget(self._empty)
        self._list.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(body)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 2, 6)
        column.setSpacing(6)
        column.addWidget(scroll, 1)
        self.setAccessibleName("Jobs")

    def add(self, job_id: str, title: str) -> None:
        """Show a job that begins; one of the same id is replaced."""
        self._remove(job_id)
        row = JobRow(title)
        row.button.clicked.connect(partial(self._on_button, job_id))
        self._rows[job_id] = row
        self._list.insertWidget(0, row)
        self._empty.setVisible(False)

    def update_job(self, job_id: str, done: int, total: int, text: str) -> None:
        """Say how far a job is; a total of 0 means that nobody knows. Unknown ids are ignored."""
        row = self._rows.get(job_id)
        if row is not None:
            row.show_progress(done, total, text)

    def finish(self, job_id: str, text: str, ok: bool) -> None:
        """Say how a job ended; its button now dismisses the row. Unknown ids are ignored."""
        row = self._rows.get(job_id)
        if row is not None:
            row.show_end(text, ok)

    def row(self, job_id: str) -> JobRow:
        """A job's row."""
        return self._rows[job_id]

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return True  # a panel without jobs is still a panel

    def _on_button(self, job_id: str) -> None:
        row = self._rows.get(job_id)
        if row is None:
            return
        if row.is_over:
            self._remove(job_id)
        else:
            row.show_stopping()
            self.cancel_requested.emit(job_id)

    def _remove(self, job_id: str) -> None:
        row = self._rows.pop(job_id, None)
        if row is not None:
            self._list.removeWidget(row)
            row.setParent(None)
            row.deleteLater()
        self._empty.setVisible(not self._rows)


class JobRow(QWidget):
    """Title, bar, a line of text, and a button that cancels and later dismisses."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.is_over = False
        self._title_text = title
        self._title = QLabel(title)
        self._title.setWordWrap(True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(8)
        self._bar.setAccessibleName(f"Progress of {title}")
        self._text = ToneLabel("starting")
        self._text.setFont(small_font(self._title.font()))
        self._text.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.button = IconButton("close", f"Cancel {title}", "Cancel this job", side=24)
        top = QHBoxLayout()
        top.setSpacing(4)
        top.addWidget(self._title, 1)
        top.addWidget(self.button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(top)
        column.addWidget(self._bar)
        column.addWidget(self._text)

    @property
    def text(self) -> str:
        """The line under the bar."""
        return self._text.text()

    @property
    def bar(self) -> QProgressBar:
        """The progress bar."""
        return self._bar

    def show_progress(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        if self.is_over:
            return
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._text.setText(text)

    def show_stopping(self) -> None:
        """It was told to stop."""
        self._text.setText("stopping")
        self.button.setEnabled(False)

    def show_end(self, text: str, ok: bool) -> None:
        """How it ended."""
        self.is_over = True
        self._bar.setVisible(False)
        self._text.setText(text)
        self._text.setFont(small_font(self._title.font(), bold=not ok))
        self._text.setForegroundRole(QPalette.ColorRole.WindowText)
        self._text.set_tone(good if ok else bad)
        self.button.setEnabled(True)
        describe(self.button, f"Dismiss {self._title_text}", "Dismiss this row")
