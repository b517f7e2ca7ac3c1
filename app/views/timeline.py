"""The transport: buttons, the scrubber, frame number and time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSpinBox, QWidget

from app.facts import FrameMarks
from app.views.buttons import IconButton
from app.views.look import clock, describe
from app.views.scrubber import Scrubber


class Timeline(QWidget):
    """Says which frame is shown and asks for others. Frames count from 0."""

    moved = Signal(int)  # frame, by the person only
    stepped = Signal(int)  # frames forward, or back if negative
    play_toggled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._count = 0
        self._first = IconButton("first", "First frame", "First frame", "Home")
        self._previous = IconButton("previous", "Previous frame", "Previous frame", "Left")
        self._play = IconButton("play", "Play", "Play or pause", "Space", side=36)
        self._next = IconButton("next", "Next frame", "Next frame", "Right")
        self._last = IconButton("last", "Last frame", "Last frame", "End")
        self._scrubber = Scrubber()
        describe(
            self._scrubber,
            "Frame",
            "Drag to a frame; green: predicted, diamond: painted, below: review and bookmarks",
            "Left, Right, Shift 10, Ctrl+Shift 100",
        )
        self._frame = QSpinBox()
        self._frame.setKeyboardTracking(False)
        describe(self._frame, "Frame number", "Frame number, counted from 0", "Ctrl+G")
        self._time = QLabel()
        self._time.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        describe(self._time, "Time", "Time of this frame")
        self._lay_out()
        self._connect()
        self.set_media(0, 25.0)

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 10, 4)
        row.setSpacing(4)
        for button in (self._first, self._previous, self._play, self._next, self._last):
            row.addWidget(button)
        row.addSpacing(6)
        row.addWidget(self._scrubber, 1)
        row.addSpacing(6)
        row.addWidget(self._frame)
        row.addSpacing(6)
        row.addWidget(self._time)

    def _connect(self) -> None:
        self._first.clicked.connect(lambda: self.moved.emit(0))
        self._last.clicked.connect(lambda: self.moved.emit(max(0, self._count - 1)))
        self._previous.clicked.connect(lambda: self.stepped.emit(-1))
        self._next.clicked.connect(lambda: self.stepped.emit(1))
        self._play.clicked.connect(lambda: self.play_toggled.emit())
        self._scrubber.valueChanged.connect(self.moved)
        self._frame.valueChanged.connect(self.moved)

    def set_media(self, count: int, fps: float) -> None:
        """Begin with another medium: its number of frames (0 for none) and their rate."""
        self._count = count
        with QSignalBlocker(self._scrubber), QSignalBlocker(self._frame):
            self._scrubber.set_media(count, fps)
            self._frame.setRange(0, max(0, count - 1))
            self._frame.setSuffix(f" / {max(0, count - 1)}")
        self._time.setText(clock(0))
        longest = clock(count / fps if fps > 0 else 0)
        self._time.setMinimumWidth(self._time.fontMetrics().horizontalAdvance(longest) + 4)
        self.set_playing(False)
        self.set_enabled(count > 0)

    def show_frame(self, index: int, seconds: float) -> None:
        """Move to a frame without saying so."""
        with QSignalBlocker(self._scrubber), QSignalBlocker(self._frame):
            if not self._scrubber.isSliderDown():  # the hand is ahead of the picture
                self._scrubber.setValue(index)
            self._frame.setValue(index)
        self._scrubber.update()
        self._time.setText(clock(seconds))

    def set_playing(self, playing: bool) -> None:
        """Show the pause sign while playing."""
        self._play.set_icon("pause" if playing else "play")
        self._play.setAccessibleName("Pause" if playing else "Play")

    def set_predicted(self, predicted: NDArray[np.bool_]) -> None:
        """``[frames]``: which have a prediction."""
        self._scrubber.set_predicted(predicted)

    def set_painted(self, frames: Iterable[int]) -> None:
        """Which frames have painted labels."""
        self._scrubber.set_painted(np.fromiter(frames, np.int64))

    def set_imported(self, frames: NDArray[np.bool_]) -> None:
        """``[frames]``: which have predictions of another model, or made elsewhere."""
        self._scrubber.set_imported(frames)

    def set_marks(self, marks: FrameMarks) -> None:
        """Review states and bookmarks."""
        self._scrubber.set_marks(marks)

    def set_enabled(self, enabled: bool) -> None:
        """Let the person act, or not."""
        self.setEnabled(enabled)

    def focus_frame(self) -> None:
        """Put the cursor into the frame number (Ctrl+G)."""
        self._frame.setFocus()
        self._frame.selectAll()

    @property
    def scrubber(self) -> Scrubber:
        """The slider."""
        return self._scrubber

    @property
    def frame_box(self) -> QSpinBox:
        """The frame number."""
        return self._frame

    @property
    def time_text(self) -> str:
        """The time shown."""
        return self._time.text()
