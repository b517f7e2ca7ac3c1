"""The open project: its name, its media, and finding those that are missing."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QSizePolicy, QWidget

from app.facts import MediumFacts, ProjectFacts
from app.views.buttons import WordButton
from app.views.look import ToneLabel, bad, describe, heading, note, shade


class MediaBar(QWidget):
    """Shown for projects that a person made; a bare medium needs no list of media."""

    medium_chosen = Signal(str)  # id, by the person only
    relink_file_asked = Signal(str)  # id of a missing medium
    relink_folder_asked = Signal(str)
    search_asked = Signal()  # for all that are missing

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._missing: tuple[MediumFacts, ...] = ()
        self._name = heading("")
        self._media = QComboBox()
        self._media.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self._media.setMinimumContentsLength(18)
        describe(self._media, "Medium", "Which video of the project is shown")
        self._media.activated.connect(self._on_chosen)
        self._count = note("")
        self._count.setWordWrap(False)
        self._lost = ToneLabel()
        self._lost.setWordWrap(False)
        self._lost.set_tone(bad)
        self.relink = WordButton("Relink...")
        fixed = QSizePolicy.Policy.Fixed
        self.relink.setSizePolicy(fixed, fixed)
        describe(self.relink, "Relink missing media", "Say where missing videos are now")
        self.relink.clicked.connect(self._on_relink)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 10, 5)
        row.setSpacing(10)
        for widget in (self._name, self._media, self._count, self._lost, self.relink):
            row.addWidget(widget)
        row.addStretch(1)
        self.hide()

    def show_project(self, project: ProjectFacts) -> None:
        """Show a project and its media; chooses none."""
        missing = tuple(m for m in project.media if m.path is None)
        self._missing = missing
        self._name.setText(project.name)
        self._name.setToolTip(str(project.folder))
        with QSignalBlocker(self._media):
            self._media.clear()
            for medium in project.media:
                lost = " (missing)" if medium.path is None else ""
                self._media.addItem(f"{medium.name}{lost}", medium.id)
                where = str(medium.path or f"was {medium.last_seen}")
                last = self._media.count() - 1
                self._media.setItemData(last, where, Qt.ItemDataRole.ToolTipRole)
        count = len(project.media)
        self._count.setText("1 medium" if count == 1 else f"{count} media")
        self._lost.setText(f"{len(missing)} missing" if missing else "")
        self._lost.setVisible(bool(missing))
        self.relink.setVisible(bool(missing))
        self.setVisible(not project.own)

    def choose(self, media_id: str) -> None:
        """Show a medium as the one that is open, without saying so."""
        self._media.setCurrentIndex(self._media.findData(media_id))

    def texts(self) -> list[str]:
        """The media as listed."""
        return [self._media.itemText(i) for i in range(self._media.count())]

    def make_menu(self) -> QMenu:
        """What can be done about missing media."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for medium in self._missing:
            of = medium.id
            file = menu.addAction(f"Where is {medium.name}? A file...")
            file.triggered.connect(lambda _=False, of=of: self.relink_file_asked.emit(of))
            folder = menu.addAction(f"Where is {medium.name}? A folder...")
            folder.triggered.connect(lambda _=False, of=of: self.relink_folder_asked.emit(of))
        if len(self._missing) > 1:
            menu.addSeparator()
            search = menu.addAction("Search a folder for all that are missing...")
            search.triggered.connect(lambda _=False: self.search_asked.emit())
        return menu

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(0, self.height() - 1, self.width(), 1, shade(self.palette(), 0.15))
        painter.end()

    def _on_chosen(self, index: int) -> None:
        self.medium_chosen.emit(self._media.itemData(index))

    def _on_relink(self) -> None:
        self.make_menu().popup(self.relink.mapToGlobal(self.relink.rect().bottomLeft()))
