"""Asks which label maps are to be imported, and shows what their classes become before they are."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QLabel,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from app.facts import ProjectFacts
from app.views.buttons import WordButton
from app.views.forms import Buttons, Complaint, add_row, beside, form, modeless, with_foot
from app.views.look import describe, note
from app.views.mapping_table import MappingTable
from app.wishes import ImportWish
from stt_core.formats.label_formats import LABEL_FORMATS
from stt_core.workflow.importing import ImportPlan

_TYPING_MS = 300
_FILES = "Label maps (*.zip *.h5 *.npz *.json);;All files (*)"


class ImportDialog(QDialog):
    """Modeless. First everything is read and nothing changed; then it says what it would do.

    Args:
        project: with at least one medium.
        media_id: the one that is shown.
    """

    source_chosen = Signal(object)  # Path, whose format is to be guessed
    read_asked = Signal(object)  # ImportWish
    stopped = Signal()  # what was asked to be read is not wanted any more
    asked = Signal(object, object)  # ImportWish, ImportPlan with the mapping as edited

    def __init__(self, project: ProjectFacts, media_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        modeless(self, "Import labels")
        self._project = project
        self._plan: ImportPlan | None = None
        self._reading = False
        self._typed = QTimer(self, singleShot=True, interval=_TYPING_MS)
        self._typed.timeout.connect(self._guess)
        self.source, self.method = QLineEdit(), QLineEdit()
        self.folder, self.file = WordButton("Folder..."), WordButton("File...")
        self.format, self.media, self.kind = QComboBox(), QComboBox(), QComboBox()
        self.why_source, self.why_method = Complaint(), Complaint()
        self.read = WordButton("Read")
        self.bar = QProgressBar()
        self.table = MappingTable()
        self.told = QLabel()
        self.buttons = Buttons(self, "Import")
        self.start = self.buttons.start
        self._fill(media_id)
        self._lay_out()
        self._connect()
        self._on_changed()

    def wish(self) -> ImportWish:
        """What is chosen."""
        return ImportWish(
            Path(self.source.text().strip()),
            self.format.currentData(),
            self.media.currentData(),
            self.kind.currentData(),
            self.method.text().strip(),
        )

    def show_guess(self, path: Path, name: str) -> None:
        """Say which format is at a path; empty for none that is known."""
        if path != self.wish().source:
            return
        if name:
            self.format.setCurrentIndex(self.format.findData(name))
            self.why_source.say("")
        else:
            self.why_source.say("No format is recognised there. Choose it, if you know better.")

    def show_progress(self, done: int, total: int) -> None:
        """How many maps are read."""
        if self._reading:
            self.bar.setRange(0, total)
            self.bar.setValue(done)

    def show_plan(self, plan: ImportPlan) -> None:
        """Show what would be done."""
        self._reading = False
        self._plan = plan
        self.table.show_mapping(plan.mapping, self._project.classes)
        self._on_changed()
        self.start.setFocus()

    def show_refusal(self, text: str) -> None:
        """Say why it could not be read."""
        self._reading = False
        self._on_changed()
        self.why_source.say(text)

    def _fill(self, media_id: str) -> None:
        for name in LABEL_FORMATS:
            self.format.addItem(name, name)
        for medium in self._project.media:
            self.media.addItem(medium.name, medium.id)
        self.media.setCurrentIndex(max(0, self.media.findData(media_id)))
        self.kind.addItem("Labels, to edit", "labels")
        self.kind.addItem("Predictions, to compare with", "predictions")
        self.method.setPlaceholderText("What made them")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.told.setWordWrap(True)
        self.told.setTextFormat(Qt.TextFormat.PlainText)
        describe(self.source, "From", "A folder, a zip or a file of label maps")
        describe(self.folder, "Choose a folder", "Label maps in a folder")
        describe(self.file, "Choose a file", "A zip, HDF5, NPZ or JSON file")
        describe(self.format, "Format", "Guessed from what is there")
        describe(self.media, "For", "Which medium of the project they are of")
        describe(self.kind, "Take them as", "Labels can be painted on; predictions are compared")
        describe(self.method, "Name of the method", "Under which they are listed")
        describe(self.read, "Read the maps", "Reads all maps and changes nothing")
        self.bar.setAccessibleName("Maps read")

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form()
        add_row(rows, "&From", beside(self.source, self.folder, self.file), self.source)
        rows.addRow("", self.why_source)
        rows.addRow("F&ormat", self.format)
        rows.addRow("&Medium", self.media)
        add_row(rows, "&As", beside(self.kind, self.method), self.kind)
        rows.addRow("", self.why_method)
        rows.addRow("", beside(self.read, self.bar, stretch=1))
        column.addLayout(rows)
        column.addWidget(note("What each of their classes becomes, which can be changed:"))
        column.addWidget(self.table, 1)
        column.addWidget(self.told)
        with_foot(self, body, self.buttons)
        self.resize(700, 620)

    def _connect(self) -> None:
        self.folder.clicked.connect(self._choose_folder)
        self.file.clicked.connect(self._choose_file)
        self.source.textChanged.connect(self._forget)
        self.source.textChanged.connect(lambda _: self._typed.start())
        self.format.currentIndexChanged.connect(self._forget)
        self.media.currentIndexChanged.connect(self._forget)
        self.kind.currentIndexChanged.connect(self._on_changed)
        self.method.textChanged.connect(self._on_changed)
        self.read.clicked.connect(self._on_read)
        self.buttons.accepted.connect(self._on_accepted)
        self.rejected.connect(self.stopped)

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A folder of label maps")
        self._choose(name)

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "A file of label maps", "", _FILES)
        self._choose(name)

    def _choose(self, name: str) -> None:
        if name:
            self.source.setText(name)

    def _guess(self) -> None:
        path = self.wish().source
        known = bool(self.source.text().strip()) and path.exists()
        if self._plan is None and not self._reading and known:
            self.source_chosen.emit(path)

    def _forget(self) -> None:
        """What was read does not count any more."""
        if self._reading:
            self.stopped.emit()
        self._plan, self._reading = None, False
        self.table.clear()
        self.why_source.say("")
        self._on_changed()

    def _on_changed(self) -> None:
        predictions = self.kind.currentData() == "predictions"
        self.method.setVisible(predictions)
        name = self.method.text().strip()
        slash = any(c in name for c in "/\\")
        wrong = predictions and self.why_method.say("A name without slashes." if slash else "")
        if not predictions:
            self.why_method.say("")
        self.read.setEnabled(bool(self.source.text().strip()) and not self._reading)
        self.bar.setVisible(self._reading)
        self.told.setText(_told(self._plan, predictions) if self._plan is not None else "")
        self.start.setEnabled(self._plan is not None and not wrong)

    def _on_read(self) -> None:
        self._reading = True
        self.bar.setRange(0, 0)
        self.why_source.say("")
        self._on_changed()
        self.read_asked.emit(self.wish())

    def _on_accepted(self) -> None:
        if self._plan is not None:
            mapping = self.table.mapping()
            self.asked.emit(self.wish(), self._plan.with_mapping(mapping))
            self.accept()


def _told(plan: ImportPlan, predictions: bool) -> str:
    """Which frames the maps belong to, and what is in the way."""
    match = plan.match
    lines = [
        f"{len(match.frames)} maps for {plan.entry.name}: {match.by('name')} found by name, "
        f"{match.by('number')} by number."
    ]
    if match.unmatched:
        first = ", ".join(match.unmatched[:3])
        lines.append(f"{len(match.unmatched)} belong to no frame and are left out ({first}).")
    if plan.over and not predictions:
        lines.append(f"{plan.over} of these frames have labels, which are painted over.")
    return "\n".join([*lines, *plan.notes])
