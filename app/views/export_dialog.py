"""Asks how labels are to be exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QWidget,
)

from app.facts import ProjectFacts, StoredModel
from app.views.believing import Believing
from app.views.buttons import WordButton
from app.views.forms import Buttons, Complaint, add_row, beside, form, modeless, with_foot
from app.views.look import describe, note
from app.wishes import ExportWish
from stt_core.formats.exchange import is_plain_name
from stt_core.formats.label_formats import LABEL_FORMATS

_SOURCES = (
    ("Labels, and predictions where there are none", "both"),
    ("Labels only", "labels"),
    ("Predictions only", "predictions"),
)
_REVIEWS = (
    ("All frames", ""),
    ("Checked and locked ones only", "checked"),
    ("Locked ones only", "locked"),
)


class ExportDialog(QDialog):
    """Modeless: the window goes on behind it."""

    asked = Signal(object)  # ExportWish

    def __init__(
        self,
        project: ProjectFacts,
        models: Sequence[StoredModel] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        modeless(self, "Export labels")
        self._project = project
        self._models: tuple[StoredModel, ...] | None = None  # nobody knows yet
        self.format, self.source, self.media, self.only = (QComboBox() for _ in range(4))
        self.out, self.split = QLineEdit(), QLineEdit("train")
        self.images = QCheckBox("Copy the pictures, too")
        self.believing = Believing(project.classes)
        self.threshold = self.believing.threshold
        self._about = note("")
        self.why_out, self.why_split = Complaint(), Complaint()
        self.browse = WordButton("Choose...")
        self.buttons = Buttons(self, "Export")
        self.start = self.buttons.start
        self._fill()
        self._lay_out()
        self._connect()
        if models is not None:
            self.set_models(models)
        self._on_changed()

    def set_models(self, models: Sequence[StoredModel]) -> None:
        """Say whose predictions are stored."""
        self._models = tuple(models)
        self._on_media()

    def wish(self) -> ExportWish:
        """What is chosen."""
        believing = self.believing
        return ExportWish(
            format=self.format.currentData(),
            out=Path(self.out.text().strip()),
            source=self.source.currentData(),
            media_id=self.media.currentData(),
            split=self.split.text(),
            threshold=self.threshold.value(),
            by_class=believing.by_class(),
            top_share=believing.share.value() / 100 if believing.by_share.isChecked() else None,
            flow=believing.flow.isChecked(),
            attention=believing.least.value() if believing.attention.isChecked() else None,
            model=believing.model.currentData(),
            only=self.only.currentData(),
            images=self.images.isChecked(),
        )

    def _fill(self) -> None:
        for name in LABEL_FORMATS:
            self.format.addItem(name, name)
        self.format.setCurrentIndex(self.format.findData("png"))
        for text, value in _SOURCES:
            self.source.addItem(text, value)
        for text, value in _REVIEWS:
            self.only.addItem(text, value)
        self.media.addItem("All media", "")
        for medium in self._project.media:
            self.media.addItem(medium.name, medium.id)
        self.out.setText(str(_free(self._project.folder / "exports", "export")))
        describe(self.format, "Format", "The program that is to read it")
        describe(self.out, "Folder", "A new folder, or an empty one")
        describe(self.browse, "Choose the folder", "Choose where the export goes")
        describe(self.source, "Source", "Whose word counts")
        describe(self.only, "Frames", "By review state")
        describe(self.split, "Split", "What subset this is, where the format has any")
        describe(self.media, "Media", "Which media of the project")
        describe(self.images, "Copy the pictures", "Beside the labels, where the format has them")

    def _lay_out(self) -> None:
        what = QGroupBox("What, and where to")
        rows = form()
        what.setLayout(rows)
        rows.addRow("&Format", self.format)
        rows.addRow("", self._about)
        add_row(rows, "F&older", beside(self.out, self.browse), self.out)
        rows.addRow("", self.why_out)
        rows.addRow("&Source", self.source)
        rows.addRow("&Media", self.media)
        rows.addRow("F&rames", self.only)
        rows.addRow("S&plit", self.split)
        rows.addRow("", self.why_split)
        rows.addRow("", self.images)
        columns = QHBoxLayout()
        columns.addWidget(what, 1)
        columns.addWidget(self.believing, 1)
        with_foot(self, columns, self.buttons)
        self._about.setMinimumHeight(3 * self._about.fontMetrics().lineSpacing())
        self.setMinimumWidth(900)

    def _connect(self) -> None:
        for box in (self.format, self.source):
            box.currentIndexChanged.connect(self._on_changed)
        self.media.currentIndexChanged.connect(self._on_media)
        self.out.textChanged.connect(self._on_changed)
        self.split.textChanged.connect(self._on_changed)
        self.believing.changed.connect(self._on_changed)
        self.browse.clicked.connect(self._choose)
        self.buttons.accepted.connect(self._on_accepted)

    def _on_media(self) -> None:
        wanted = self.media.currentData()
        media = [m for m in self._project.media if not wanted or m.id == wanted]
        if self._models is not None:
            self.believing.set_models(self._models, media)
        self._on_changed()

    def _on_changed(self) -> None:
        chosen = LABEL_FORMATS[self.format.currentData()]
        kind = f"One file, *{chosen.suffix}. " if chosen.suffix else ""
        self._about.setText(kind + (chosen.loses or "Keeps all labels."))
        source = self.source.currentData()
        self.believing.setEnabled(source != "labels")
        nowhere = not self.out.text().strip()
        plain = is_plain_name(self.split.text())
        wrong = (
            self.why_out.say("Say where it should go." if nowhere else ""),
            self.why_split.say("" if plain else "It is the name of a folder: train, or val."),
            self.believing.complain(source),
        )
        self.start.setEnabled(not any(wrong))

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
