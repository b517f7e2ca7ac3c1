"""All keys on one page."""

from __future__ import annotations

from itertools import combinations, pairwise

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.views.look import heading

Groups = list[tuple[str, list[tuple[str, str]]]]
"""Title of a group and its rows: keys, what they do."""

_COLUMNS = 3


class ShortcutSheet(QDialog):
    """Groups of shortcuts in columns, filled so that they are about equally long."""

    def __init__(self, groups: Groups, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard and mouse")
        body = QWidget()
        columns = QHBoxLayout(body)
        columns.setSpacing(36)
        for dealt in _deal(groups):
            column = QVBoxLayout()
            column.addLayout(_table(dealt))
            column.addStretch(1)
            columns.addLayout(column)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(body)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        whole = QVBoxLayout(self)
        whole.addWidget(scroll, 1)
        whole.addWidget(buttons)
        wanted = body.sizeHint()
        self.resize(min(1180, wanted.width() + 40), min(660, wanted.height() + 80))


def _table(groups: Groups) -> QGridLayout:
    """One grid for all groups of a column, so that their texts begin in one line."""
    grid = QGridLayout()
    grid.setHorizontalSpacing(14)
    grid.setVerticalSpacing(4)
    for title, rows in groups:
        grid.addWidget(heading(title), grid.rowCount(), 0, 1, 2)
        for keys, text in rows:
            number = grid.rowCount()
            key, what = QLabel(keys), QLabel(text)
            key.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
            what.setWordWrap(True)
            what.setMinimumWidth(170)
            grid.addWidget(key, number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(what, number, 1)
        grid.setRowMinimumHeight(grid.rowCount(), 14)
    grid.setColumnStretch(1, 1)
    return grid


def _deal(groups: Groups) -> list[Groups]:
    """Cut the list, in its order, where the longest column becomes shortest."""
    columns = min(_COLUMNS, len(groups))
    cuts = combinations(range(1, len(groups)), max(0, columns - 1))
    dealt = (_cut(groups, places) for places in cuts)
    return min(dealt, key=lambda parts: max(_height(part) for part in parts), default=[groups])


def _cut(groups: Groups, places: tuple[int, ...]) -> list[Groups]:
    edges = (0, *places, len(groups))
    return [groups[start:stop] for start, stop in pairwise(edges)]


def _height(groups: Groups) -> int:
    return sum(len(rows) + 2 for _, rows in groups)
