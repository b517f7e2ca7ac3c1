"""Asks how labels are to be exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from app.facts import ProjectFacts
from app.views.buttons import WordButton
from app.views.look import describe, note
from stt_core.formats.exchange import is_plain_name
from stt_core.formats.label_formats import LABEL_FORMATS

_SOURCES = (
    ("Labels, and predictions where there are none", "both"),
    ("Labels only", "labels"),
    ("Predictions only", "predictions"),
)
_THRESHOLD = (
    "Predicted pixels of a lower probability are written as void. 0 believes everything; labels "
    "you painted always count."
)


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What a person wants exported."""

    format: str
    out: Path
    source: str
    threshold: float
    """Of probability, 0..1; not used for labels alone."""
    split: str
    media_id: str
    """Empty for all."""


class ExportDialog(QDialog):
    """Modeless: the window goes on behind it."""

    asked = Signal(object)  # ExportWish

    def __init__(self, project: ProjectFacts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export labels")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.format, self.source, self.media = QComboBox(), QComboBox(), QComboBox()
        self.out, self.split = QLineEdit(), QLineEdit("train")
        self.threshold = QDoubleSpinBox()
        self._about, self._why = note(""), note("")
        self._buttons = QDialogButtonBox()
        self.start = self._buttons.addButton("Export", QDialogButtonBox.ButtonRole.AcceptRole)
        self._buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        self._fill(project)
        self._lay_out()
        self._connect()
        self._on_changed()

    def _fill(self, project: ProjectFacts) -> None:
        for name in LABEL_FORMATS:
            self.format.addItem(name, name)
        self.format.setCurrentIndex(self.format.findData("png"))
        for text, value in _SOURCES:
            self.source.addItem(text, value)
        self.media.addItem("All media", "")
        for medium in project.media:
            self.media.addItem(medium.name, medium.id)
        self.threshold.setRange(0, 1)
        self.threshold.setDecimals(2)
        self.threshold.setSingleStep(0.05)
        self.threshold.setValue(0.9)
        self.out.setText(str(_free(project.folder / "exports", "export")))
        describe(self.format, "Format", "The program that is to read it")
        describe(self.out, "Folder", "A new folder, or an empty one")
        describe(self.source, "Source", "Whose word counts")
        describe(self.threshold, "Threshold", _THRESHOLD)
        describe(self.split, "Split", "What subset this is, where the format has any")
        describe(self.media, "Media", "Which media of the project")

    def _lay_out(self) -> None:
        self.browse = WordButton("Choose...")
        place = QHBoxLayout()
        place.addWidget(self.out, 1)
        place.addWidget(self.browse)
        form = QFormLayout()
        form.addRow("Format", self.format)
        form.addRow("", self._about)
        form.addRow("Out", place)
        form.addRow("Source", self.source)
        form.addRow("Threshold", self.threshold)
        form.addRow("", note(_THRESHOLD))
        form.addRow("Media", self.media)
        form.addRow("Split", self.split)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self._why)
        column.addWidget(self._buttons)
        self.setMinimumWidth(520)

    def _connect(self) -> None:
        self.format.currentIndexChanged.connect(self._on_changed)
        self.source.currentIndexChanged.connect(self._on_changed)
        self.out.textChanged.connect(self._on_changed)
        self.split.textChanged.connect(self._on_changed)
        self.browse.clicked.connect(self._choose)
        self._buttons.accepted.connect(self._on_accepted)
        self._buttons.rejected.connect(self.reject)

    def wish(self) -> ExportWish:
        """What is chosen."""
        return ExportWish(
            self.format.currentData(),
            Path(self.out.text().strip()),
            self.source.currentData(),
            self.threshold.value(),
            self.split.text(),
            self.media.currentData(),
        )

    def _on_changed(self) -> None:
        chosen = LABEL_FORMATS[self.format.currentData()]
        kind = f"One file, *{chosen.suffix}. " if chosen.suffix else ""
        self._about.setText(kind + (chosen.loses or "Keeps all labels."))
        self.threshold.setEnabled(self.source.currentData() != "labels")
        why = ""
        if not self.out.text().strip():
            why = "Say where it should go."
        elif not is_plain_name(self.split.text()):
            why = "The split is the name of a folder, such as train or val."
        self._why.setText(why)
        self._why.setVisible(bool(why))
        self.start.setEnabled(not why)

    def _choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export into", str(self.wish().out.parent))
        if name:
            self.out.setText(name)

    def _on_accepted(self) -> None:
        self.asked.emit(self.wish())
        self.accept()


def _free(folder: Path, name: str) -> Path:
    """A name in a folder that nothing has yet."""
    number = 1
    while any(folder.glob(f"{name}-{number}*")):
        number += 1
    return folder / f"{name}-{number}"
