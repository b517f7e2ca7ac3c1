"""What a person should know and need not act on at once: lines above the picture."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QMessageBox, QSizePolicy, QVBoxLayout, QWidget

from app.facts import Notice
from app.views.buttons import IconButton, WordButton
from app.views.look import ToneLabel, bad, describe, shade


class NoticeBar(QWidget):
    """A line for each topic, the newest last. It takes no room while there is none."""

    act_asked = Signal(str, str)  # topic, name of what was offered

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: dict[str, NoticeLine] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.setAccessibleName("Notices")
        self.hide()

    def show_notice(self, notice: Notice) -> None:
        """Tell a notice, in place of the one of its topic; one without text takes that away."""
        self._remove(notice.topic)
        if not notice.text:
            return
        line = NoticeLine(notice, self)
        line.dismissed.connect(partial(self._remove, notice.topic))
        line.act_asked.connect(partial(self.act_asked.emit, notice.topic))
        self._lines[notice.topic] = line
        self._column.addWidget(line)
        self.show()

    def texts(self) -> list[str]:
        """What is told now."""
        return [line.text for line in self._lines.values()]

    def line(self, topic: str) -> NoticeLine:
        """The line of a topic."""
        return self._lines[topic]

    def _remove(self, topic: str) -> None:
        line = self._lines.pop(topic, None)
        if line is not None:
            self._column.removeWidget(line)
            line.hide()
            line.deleteLater()
        self.setVisible(bool(self._lines))


class NoticeLine(QWidget):
    """A sentence, perhaps with details, and a way to be rid of it."""

    dismissed = Signal()
    act_asked = Signal(str)  # name of what was offered

    def __init__(self, notice: Notice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details = notice.details
        self._label = ToneLabel(notice.text)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.set_tone(bad if notice.urgent else None)
        self.details = _button("Details")
        describe(self.details, "Details", "What else there is to say of it")
        self.details.clicked.connect(self._tell_details)
        self.close_button = IconButton("close", "Dismiss", "Dismiss this notice", side=24)
        self.close_button.clicked.connect(lambda: self.dismissed.emit())
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 8, 4)
        row.setSpacing(8)
        row.addWidget(self._label, 1)
        self.acts = {name: _button(words) for name, words in notice.acts}
        for name, button in self.acts.items():
            describe(button, button.text(), button.text())
            button.clicked.connect(partial(self._on_act, name))
            row.addWidget(button)
        row.addWidget(self.details)
        row.addWidget(self.close_button)
        self.details.setVisible(bool(notice.details))  # with a parent by now

    @property
    def text(self) -> str:
        return self._label.text()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), shade(self.palette(), 0.08))
        painter.fillRect(0, self.height() - 1, self.width(), 1, shade(self.palette(), 0.15))
        painter.end()

    def _on_act(self, name: str) -> None:
        self.act_asked.emit(name)

    def _tell_details(self) -> None:
        box = QMessageBox(self.window())
        box.setIcon(QMessageBox.Icon.Information)
        box.setWindowTitle("STT Studio")
        box.setText("\n\n".join(self._details))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


def _button(words: str) -> WordButton:
    button = WordButton(words)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return button
