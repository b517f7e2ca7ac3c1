"""The status bar: what is saved, pixel, speed, device, and the newest message."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QStatusBar, QWidget

from app.facts import SaveState
from app.views.look import ToneLabel, bad

_MESSAGE_MS = 8000
_SAVED = {
    "none": "",
    "saved": "saved",
    "saving": "saving ...",
    "unsaved": "not saved",
    "read-only": "read-only",
}


class StatusLine(QStatusBar):
    """Permanent fields right, passing messages left."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixel, self._speed, self._device = QLabel(), QLabel(), QLabel("no model")
        self._saved = ToneLabel()
        self._saved.setWordWrap(False)
        self._saved.setContentsMargins(8, 0, 8, 0)
        self._saved.setAccessibleName("Whether labels are saved")
        self._marks = QLabel()
        self._marks.setContentsMargins(8, 0, 8, 0)
        self._marks.setAccessibleName("Review state and bookmark of the frame")
        self._marks.setToolTip("Review state and bookmark of the frame")
        self.addPermanentWidget(self._marks)
        self.addPermanentWidget(self._saved)
        self._unsaved = False
        names = ("Pixel under the pointer", "Speed of inference", "Device and precision")
        for label, name in zip((self._pixel, self._speed, self._device), names, strict=True):
            label.setAccessibleName(name)
            label.setToolTip(name)
            label.setContentsMargins(8, 0, 8, 0)
            self.addPermanentWidget(label)

    def say(self, text: str) -> None:
        """Show a message for a while."""
        self.showMessage(text, _MESSAGE_MS)

    def show_pixel(self, text: str) -> None:
        """What lies under the pointer; empty when it is elsewhere."""
        self._pixel.setText(text)

    def show_saved(self, state: SaveState) -> None:
        """Whether what was painted is on the disk."""
        self._saved.setText(_SAVED[state.state])
        self._saved.setToolTip(state.detail or "Every stroke is saved when the mouse is released")
        self._saved.set_tone(bad if state.state in ("unsaved", "read-only") else None)
        if state.state == "unsaved":
            self.showMessage(state.detail)  # until it is saved
        elif self._unsaved:
            self.clearMessage()
        self._unsaved = state.state == "unsaved"

    def show_marks(self, review: str, bookmarked: bool) -> None:
        """What a person noted of the shown frame."""
        words = [review] if review != "todo" else []
        self._marks.setText(", ".join([*words, *(["bookmarked"] if bookmarked else [])]))

    def marks_text(self) -> str:
        """What is said of the frame."""
        return self._marks.text()

    def saved_text(self) -> str:
        """What is said of saving."""
        return self._saved.text()

    def show_speed(self, text: str) -> None:
        """How long the shown prediction took."""
        self._speed.setText(text)

    def show_device(self, text: str, more: str = "") -> None:
        """Where the model computes, and what else there is to say of it."""
        self._device.setText(text)
        self._device.setToolTip("\n".join(filter(None, [self._device.accessibleName(), more])))

    def show_loading(self, name: str) -> None:
        """A model is being loaded."""
        self._device.setText(f"loading {name} ...")

    def texts(self) -> tuple[str, str, str]:
        """Pixel, speed and device as shown."""
        return self._pixel.text(), self._speed.text(), self._device.text()
