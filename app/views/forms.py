"""What the dialogs share: a word on what is wrong beside its field, and buttons at the foot."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.views.look import ToneLabel, bad, describe, small_font


class Complaint(ToneLabel):
    """Says what is wrong with the field above; takes no room while nothing is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setFont(small_font(self.font()))
        self.set_tone(bad)
        self.hide()

    def say(self, text: str) -> bool:
        """Say it; True where there is something to say."""
        self.setText(text)
        self.setVisible(bool(text))
        return bool(text)


class Buttons(QDialogButtonBox):
    """Cancel, and the one that does it."""

    def __init__(self, dialog: QDialog, words: str) -> None:
        super().__init__(dialog)
        self.start: QPushButton = self.addButton(words, QDialogButtonBox.ButtonRole.AcceptRole)
        self.start.setDefault(True)
        self.addButton(QDialogButtonBox.StandardButton.Cancel)
        self.rejected.connect(dialog.reject)


def modeless(dialog: QDialog, title: str) -> None:
    """The window goes on behind it; it is gone when it is closed."""
    dialog.setWindowTitle(title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)


def share_box(value: float, name: str, tip: str) -> QDoubleSpinBox:
    """A number in 0..1."""
    box = QDoubleSpinBox()
    box.setRange(0, 1)
    box.setDecimals(2)
    box.setSingleStep(0.05)
    box.setValue(value)
    describe(box, name, tip)
    return box


def percent_box(value: float, name: str, tip: str) -> QDoubleSpinBox:
    """A number in 0..100 %."""
    box = QDoubleSpinBox()
    box.setRange(0, 100)
    box.setDecimals(1)
    box.setSingleStep(5)
    box.setSuffix(" %")
    box.setValue(value)
    describe(box, name, tip)
    return box


def beside(*widgets: QWidget, stretch: int = 0) -> QHBoxLayout:
    """Widgets in a row; the one at `stretch` grows, none for -1."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for place, widget in enumerate(widgets):
        row.addWidget(widget, 1 if place == stretch else 0)
    return row


def form() -> QFormLayout:
    made = QFormLayout()
    made.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    made.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    return made


def add_row(made: QFormLayout, text: str, row: QHBoxLayout, first: QWidget) -> None:
    """Add a row of several widgets, whose label leads to the first by its key."""
    label = QLabel(text)
    label.setBuddy(first)
    made.addRow(label, row)


def with_foot(dialog: QDialog, body: QWidget | QHBoxLayout | QFormLayout, foot: QWidget) -> None:
    """Lay a dialog out: what is asked, and the buttons below."""
    column = QVBoxLayout(dialog)
    if isinstance(body, QWidget):
        column.addWidget(body, 1)
    else:
        column.addLayout(body, 1)
    column.addWidget(foot)
