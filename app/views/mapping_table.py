"""A table of which class of ours each class of imported label maps becomes."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from app.views.look import describe
from stt_core.formats.mapping import ClassMapping
from stt_core.labels import LabelClass

_COLUMNS = ("Theirs", "Id", "Becomes", "Found by", "Pixels")
_THEIRS, _ID, _OURS, _BY, _PIXELS = range(5)
_SWATCH = 14


class MappingTable(QTableWidget):
    """Keeps the mapping as the person changes it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setTabKeyNavigation(False)
        describe(self, "Classes", "Which class of the project each of theirs becomes")
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in (_THEIRS, _OURS):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        self._mapping: ClassMapping | None = None
        self.boxes: list[QComboBox] = []
        """What each row becomes."""

    def show_mapping(self, mapping: ClassMapping, ours: Sequence[LabelClass]) -> None:
        """Show a row for each class of theirs."""
        self.clear()
        self._mapping = mapping
        self.setRowCount(len(mapping.rows))
        for place, row in enumerate(mapping.rows):
            theirs = _item(row.theirs.name or "no name")
            if row.theirs.color is not None:
                theirs.setIcon(_swatch(row.theirs.color))
            self.setItem(place, _THEIRS, theirs)
            self.setItem(place, _ID, _item(str(row.theirs.id), right=True))
            self.setItem(place, _BY, _item(row.found_by or "nothing"))
            pixels = "" if row.pixels is None else f"{row.pixels:,}"
            self.setItem(place, _PIXELS, _item(pixels, right=True))
            box = self._choice(place, ours)
            box.setCurrentIndex(0 if row.ours is None else row.ours + 1)
            box.activated.connect(lambda chosen, place=place: self._on_chosen(place, chosen))
            self.boxes.append(box)
            self.setCellWidget(place, _OURS, box)
        self.resizeRowsToContents()

    def clear(self) -> None:
        """Show none; the titles of the columns stay."""
        self.setRowCount(0)
        self._mapping, self.boxes = None, []

    def mapping(self) -> ClassMapping:
        """The mapping as it stands now.

        Raises:
            ValueError: none is shown.
        """
        if self._mapping is None:
            raise ValueError("there is no mapping to ask for")
        return self._mapping

    def _choice(self, place: int, ours: Sequence[LabelClass]) -> QComboBox:
        box = QComboBox()
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.addItem("Not labelled")
        for each in ours:
            box.addItem(_swatch(each.color), each.name)
        describe(box, f"Row {place + 1} becomes", "The class of the project, or none")
        return box

    def _on_chosen(self, place: int, chosen: int) -> None:
        assert self._mapping is not None
        self._mapping = self._mapping.chosen(place, chosen - 1 if chosen else None)
        self.setItem(place, _BY, _item(self._mapping.rows[place].found_by or "nothing"))


def _item(text: str, right: bool = False) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if right:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _swatch(color: tuple[int, int, int]) -> QIcon:
    pixels = QPixmap(_SWATCH, _SWATCH)
    pixels.fill(QColor(*color))
    return QIcon(pixels)
