"""Asks which predicted pixels are believed: thresholds, the surest of each class, and checks."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.facts import MediumFacts, StoredModel
from app.views.forms import Complaint, percent_box, share_box
from app.views.look import describe, note
from stt_core.labels import LabelClass

_LAST = "Those used last"
_UNSET = -0.01


class Believing(QGroupBox):
    """A group of an export's dialog."""

    changed = Signal()

    def __init__(self, classes: Sequence[LabelClass], parent: QWidget | None = None) -> None:
        super().__init__("Which predicted pixels count", parent)
        self._models: tuple[StoredModel, ...] = ()
        self.model = QComboBox()
        describe(self.model, "Predictions of", "Whose predictions, and how many frames they cover")
        self.by_threshold = QRadioButton("Those at least this probable")
        self.by_share = QRadioButton("The surest of each class")
        self.by_threshold.setChecked(True)
        self.threshold = share_box(0.9, "Threshold", "Less probable pixels are written as void")
        self.share = percent_box(30, "Share of each class", "How many pixels of each class to keep")
        self.rows = [(c.name, _class_box(c.name)) for c in classes]
        self.flow = QCheckBox("Neighbours in time agree, along the motion")
        describe(self.flow, "Flow check", "Both neighbouring frames say the same of the same point")
        self.attention = QCheckBox("It attended to its own class, at least")
        describe(self.attention, "Attention check", "Runs the model again: it takes much longer")
        self.least = share_box(0.5, "Least share of attention", "On keys of the same class")
        self.why_model, self.why_attention = Complaint(), Complaint()
        self.model.addItem(_LAST, "")
        self._known = False
        self._lay_out()
        self._connect()

    def set_models(self, models: Sequence[StoredModel], media: Sequence[MediumFacts]) -> None:
        """List whose predictions there are of these media."""
        chosen = self.model.currentData()
        self._models, self._known = tuple(models), True
        hashes = {m.sha256: m.shape[0] for m in media}
        self.model.blockSignals(True)
        self.model.clear()
        self.model.addItem(_LAST, "")
        for each in models:
            covered = sum(n for sha256, n in each.frames.items() if sha256 in hashes)
            if covered:
                text = f"{each.name}: {covered} of {sum(hashes.values())} frames"
                self.model.addItem(text, each.word)
        self.model.setCurrentIndex(max(0, self.model.findData(chosen)))
        self.model.blockSignals(False)
        self._on_changed()

    @property
    def any_stored(self) -> bool:
        """Whether there are predictions of the media at all."""
        return self.model.count() > 1

    def by_class(self) -> dict[str, float]:
        """Thresholds of single classes."""
        return {name: box.value() for name, box in self.rows if box.value() >= 0}

    def complain(self, source: str) -> bool:
        """Say beside the fields what cannot be; True where something is.

        Args:
            source: whose word counts.
        """
        lacking = self._known and source == "predictions" and not self.any_stored
        wrong = self.why_model.say(
            "There are none: segment the video first (Ctrl+R)." if lacking else ""
        )
        chosen = self.model.currentData()
        known = [m for m in self._models if not chosen or m.word == chosen]
        blind = self.attention.isChecked() and bool(known) and known[0].file is None
        text = f"The model of {known[0].name} is not at hand: open it first." if blind else ""
        return self.why_attention.say(text if source != "labels" else "") or wrong

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        top = QHBoxLayout()
        top.addWidget(QLabel("Of"))
        top.addWidget(self.model, 1)
        column.addLayout(top)
        column.addWidget(self.why_model)
        column.addLayout(_pair(self.by_threshold, self.threshold))
        column.addWidget(note("Other thresholds for single classes:"))
        column.addWidget(self._table(), 1)
        column.addLayout(_pair(self.by_share, self.share))
        column.addWidget(self.flow)
        column.addLayout(_pair(self.attention, self.least))
        column.addWidget(self.why_attention)
        column.addWidget(note("All else becomes void. What you painted always counts."))

    def _table(self) -> QScrollArea:
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(4, 2, 8, 2)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        for row, (name, box) in enumerate(self.rows):
            label = QLabel(name)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setBuddy(box)
            grid.addWidget(label, row, 0)
            grid.addWidget(box, row, 1)
        grid.setRowStretch(len(self.rows), 1)
        self._scroll = QScrollArea()
        self._scroll.setFrameShape(QFrame.Shape.StyledPanel)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidgetResizable(True)
        self._scroll.setWidget(body)
        self._scroll.setMinimumHeight(110)
        return self._scroll

    def _connect(self) -> None:
        self.model.currentIndexChanged.connect(self._on_changed)
        for button in (self.by_threshold, self.by_share, self.flow, self.attention):
            button.toggled.connect(self._on_changed)
        self._on_changed()

    def _on_changed(self) -> None:
        thresholds = self.by_threshold.isChecked()
        self.threshold.setEnabled(thresholds)
        for _, box in self.rows:
            box.setEnabled(thresholds)
        self.share.setEnabled(not thresholds)
        self.least.setEnabled(self.attention.isChecked())
        self.changed.emit()


def _pair(first: QWidget, second: QDoubleSpinBox) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addWidget(first, 1)
    row.addWidget(second)
    return row


def _class_box(name: str) -> QDoubleSpinBox:
    """A threshold, or none: the lowest value stands for that."""
    box = share_box(0, f"Threshold of {name}", "The lowest value leaves it to the common threshold")
    box.setMinimum(_UNSET)
    box.setSpecialValueText("as above")
    box.setValue(_UNSET)
    return box
