"""Asks what a video should show, and where to write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QLabel,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.facts import MediumFacts, ProjectFacts, StoredModel
from app.views.buttons import WordButton
from app.views.forms import (
    Buttons,
    Complaint,
    add_row,
    beside,
    form,
    modeless,
    percent_box,
    with_foot,
)
from app.views.look import describe
from app.wishes import VideoWish

_LAYOUTS = (("One picture", 1, 1), ("Side by side", 2, 2), ("Two by two", 4, 2))
_KINDS = ((".mp4", "MP4 (H.264)"), (".gif", "GIF"), (".webp", "WebP"))
_LEGENDS = (("No legend", "none"), ("Below", "below"), ("Beside", "beside"))
_FOLDER = "folder"


class PanelRow:
    """What one of the pictures shows: a title and a choice.

    Args:
        place: 0 is the first.
        dialog: asks for folders.
    """

    def __init__(self, place: int, dialog: QDialog) -> None:
        self._dialog = dialog
        self.label = QLabel(f"Picture {place + 1}")
        self.title, self.what = QLineEdit(), QComboBox()
        self.title.setPlaceholderText("Title, or none")
        describe(self.title, f"Title of picture {place + 1}", "Stands above the picture")
        describe(self.what, f"Picture {place + 1} shows", "What lies over the picture")
        self.widgets = (self.label, self.title, self.what)
        self.what.activated.connect(self._on_activated)
        self._last = 0
        self._by_hand = False

    def set_choices(self, rows: Sequence[tuple[str, str]], chosen: str) -> None:
        """List what there is, text and word; what the person chose stays."""
        kept = self.what.currentData() if self._by_hand else chosen
        self.what.blockSignals(True)
        self.what.clear()
        for text, word in rows:
            self.what.addItem(text, word)
        self.what.addItem("A folder of label maps...", _FOLDER)
        place = self.what.findData(kept)
        self._last = max(0, place if place >= 0 else self.what.findData(chosen))
        self.what.setCurrentIndex(self._last)
        self.what.blockSignals(False)

    def suggest_title(self, titled: bool) -> None:
        """Name what is shown, unless the person gave it a name."""
        if not self.title.isModified():
            self.title.setText(self.what.currentText().partition(":")[0] if titled else "")

    def _on_activated(self, index: int) -> None:
        self._by_hand = True
        if self.what.itemData(index) == _FOLDER:
            name = QFileDialog.getExistingDirectory(self._dialog, "A folder of label maps")
            if not name:
                self.what.setCurrentIndex(self._last)
                return
            self.what.insertItem(index, Path(name).name, name)
            self.what.setCurrentIndex(index)
        self._last = self.what.currentIndex()


class VideoDialog(QDialog):
    """Modeless: the window goes on behind it.

    Args:
        project: with at least one medium.
        media_id: the one that is shown.
    """

    asked = Signal(object)  # VideoWish

    def __init__(self, project: ProjectFacts, media_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        modeless(self, "Make a video")
        self._project = project
        self._models: tuple[StoredModel, ...] = ()
        self.layout_box, self.media, self.kind, self.legend = (QComboBox() for _ in range(4))
        self.panels = [PanelRow(place, self) for place in range(4)]
        self.first, self.last, self.every = QSpinBox(), QSpinBox(), QSpinBox()
        self.opacity = percent_box(50, "Opacity", "Of the colours over the picture")
        self.number, self.time = QCheckBox("Frame number"), QCheckBox("Time")
        self.out = QLineEdit()
        self.browse = WordButton("Choose...")
        self.why_panels, self.why_range, self.why_out = Complaint(), Complaint(), Complaint()
        self.buttons = Buttons(self, "Make video")
        self.start = self.buttons.start
        self._fill(media_id)
        self._lay_out()
        self._connect()
        self._on_media()
        self._on_layout()

    def set_models(self, models: Sequence[StoredModel]) -> None:
        """Say whose predictions are stored."""
        self._models = tuple(models)
        self._list_choices()

    def wish(self) -> VideoWish:
        """What is chosen."""
        _, count, columns = _LAYOUTS[self.layout_box.currentIndex()]
        rows = self.panels[:count]
        step = f":{self.every.value()}" if self.every.value() > 1 else ""
        return VideoWish(
            out=Path(self.out.text().strip()),
            media_id=self.media.currentData(),
            panels=tuple((row.title.text().strip(), row.what.currentData()) for row in rows),
            columns=columns,
            range=f"{self.first.value()}:{self.last.value() + 1}{step}",
            legend=self.legend.currentData(),
            opacity=self.opacity.value() / 100,
            number=self.number.isChecked(),
            time=self.time.isChecked(),
        )

    def _fill(self, media_id: str) -> None:
        for text, count, _ in _LAYOUTS:
            self.layout_box.addItem(text, count)
        for medium in self._project.media:
            if medium.path is not None:
                self.media.addItem(medium.name, medium.id)
        self.media.setCurrentIndex(max(0, self.media.findData(media_id)))
        for suffix, text in _KINDS:
            self.kind.addItem(text, suffix)
        for text, place in _LEGENDS:
            self.legend.addItem(text, place)
        self.every.setRange(1, 1000)
        self.every.setPrefix("every ")
        self.out.setText(str(_free(self._project.folder / "exports", ".mp4")))
        describe(self.layout_box, "Layout", "How many pictures stand beside each other")
        describe(self.media, "Medium", "Which medium of the project")
        describe(self.kind, "Kind of file", "GIF and WebP show 300 pictures at most")
        describe(self.legend, "Legend", "The classes that occur, with their colours")
        describe(self.first, "First frame", "Counted from 0")
        describe(self.last, "Last frame", "It is shown, too")
        describe(self.every, "Every nth frame", "1 shows all; the speed stays")
        describe(self.out, "File", "Where the video goes")
        describe(self.browse, "Choose the file", "Choose where the video goes")

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        top = form()
        top.addRow("&Medium", self.media)
        top.addRow("&Layout", self.layout_box)
        column.addLayout(top)
        group = QGroupBox("What the pictures show")
        grid = QGridLayout(group)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 2)
        for place, row in enumerate(self.panels):
            for at, widget in enumerate(row.widgets):
                grid.addWidget(widget, place, at)
        grid.addWidget(self.why_panels, len(self.panels), 0, 1, 3)
        column.addWidget(group)
        rows = form()
        rows.addRow("&Opacity", self.opacity)
        rows.addRow("Le&gend", self.legend)
        rows.addRow("Corner", beside(self.number, self.time, stretch=1))
        frames = beside(self.first, QLabel("to"), self.last, self.every, stretch=-1)
        frames.addStretch(1)
        add_row(rows, "&Frames", frames, self.first)
        rows.addRow("", self.why_range)
        rows.addRow("&Kind", self.kind)
        add_row(rows, "F&ile", beside(self.out, self.browse), self.out)
        rows.addRow("", self.why_out)
        column.addLayout(rows)
        column.addStretch(1)
        with_foot(self, body, self.buttons)
        self.setMinimumWidth(620)

    def _connect(self) -> None:
        self.media.currentIndexChanged.connect(self._on_media)
        self.layout_box.currentIndexChanged.connect(self._on_layout)
        self.kind.currentIndexChanged.connect(self._on_kind)
        for spin in (self.first, self.last):
            spin.valueChanged.connect(self._on_changed)
        for row in self.panels:
            row.title.textChanged.connect(self._on_changed)
            row.what.currentIndexChanged.connect(self._name_panels)
        self.out.textChanged.connect(self._on_changed)
        self.browse.clicked.connect(self._choose)
        self.buttons.accepted.connect(self._on_accepted)

    def _medium(self) -> MediumFacts | None:
        wanted = self.media.currentData()
        return next((m for m in self._project.media if m.id == wanted), None)

    def _on_media(self) -> None:
        medium = self._medium()
        last = max(0, medium.shape[0] - 1) if medium is not None else 0
        for spin, value in ((self.first, 0), (self.last, last)):
            spin.setRange(0, last)
            spin.setValue(value)
        self._list_choices()
        self._on_changed()

    def _list_choices(self) -> None:
        medium = self._medium()
        choices = [("Picture", "image"), ("Labels", "labels")]
        stored = 0
        for model in self._models:
            count = model.frames.get(medium.sha256, 0) if medium is not None else 0
            if count:
                choices.append((f"{model.name}: {count} frames", model.word))
                stored += 1
        best = choices[2][1] if stored else "labels"
        other = choices[3][1] if stored > 1 else best
        count = self.layout_box.currentData()
        first = best if count == 1 else "image"
        for place, row in enumerate(self.panels):
            row.set_choices(choices, (first, best, "labels", other)[place])
        self._name_panels()

    def _name_panels(self) -> None:
        for row in self.panels:
            row.suggest_title(self.layout_box.currentData() > 1)

    def _on_layout(self) -> None:
        count = self.layout_box.currentData()
        for place, row in enumerate(self.panels):
            for widget in row.widgets:
                widget.setEnabled(place < count)
        self._list_choices()
        self._on_changed()

    def _on_kind(self) -> None:
        out = Path(self.out.text().strip())
        if out.name:
            self.out.setText(str(out.with_suffix(self.kind.currentData())))

    def _on_changed(self) -> None:
        out = Path(self.out.text().strip())
        known = [suffix for suffix, _ in _KINDS]
        if not out.name:
            why_out = "Say where it should go."
        elif out.suffix.lower() not in known:
            why_out = f"The name ends in {', '.join(known)}."
        elif out.exists():
            why_out = f"{out.name} exists already: it will be replaced."
        else:
            why_out = ""
        backwards = self.last.value() < self.first.value()
        shown = self.panels[: self.layout_box.currentData()]
        equal = any("=" in row.title.text() for row in shown)
        self.why_out.say(why_out)
        wrong = (
            bool(why_out) and not out.is_file(),
            self.why_range.say("The last frame comes before the first." if backwards else ""),
            self.why_panels.say("A title cannot hold an equals sign." if equal else ""),
        )
        self.start.setEnabled(not any(wrong))

    def _choose(self) -> None:
        suffix = self.kind.currentData()
        name, _ = QFileDialog.getSaveFileName(self, "Make a video", self.out.text(), f"*{suffix}")
        if name:
            path = Path(name)
            self.out.setText(str(path if path.suffix else path.with_suffix(suffix)))

    def _on_accepted(self) -> None:
        self.asked.emit(self.wish())
        self.accept()


def _free(folder: Path, suffix: str) -> Path:
    """A name for a video in a folder that nothing has yet."""
    number = 1
    while any(folder.glob(f"video-{number}.*")):
        number += 1
    return folder / f"video-{number}{suffix}"
