"""How much each head gave to each key frame, as a table of coloured cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.views.look import mix, percentages, shade, small_font, text_on
from stt_core.drawing import heat_table


class HeadTable(QWidget):
    """A row for each head, oldest frame left, then their mean; each row adds up to 100 %.

    A click picks a row; Up and Down move.
    """

    row_chosen = Signal(object)  # head: int, or None for the mean

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[int | None, list[float]]] = []
        self._lags: list[int] = []
        self._head: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Attention of each head to each key frame")
        self.setToolTip("Click a row to see that head alone (Ctrl+1..8; mean Ctrl+0)")

    def show_weights(
        self, weights: NDArray[np.float32], lags: tuple[int, ...], head: int | None
    ) -> None:
        """Fill the table.

        Args:
            weights: ``[heads, frames]``, newest frame first.
            lags: how many frames back each of them lies.
            head: the row to mark; None for the mean.
        """
        rows: list[tuple[int | None, list[float]]] = [
            (i, percentages(row[::-1])) for i, row in enumerate(weights)
        ]
        self._rows = [*rows, (None, percentages(weights.mean(0)[::-1]))] if lags else []
        self._lags = [*reversed(lags)]
        self._head = head
        self.updateGeometry()
        self.update()

    def rows(self) -> list[list[float]]:
        """The percentages shown, the mean last."""
        return [values for _, values in self._rows]

    def row_centre(self, row: int) -> QPointF:
        """Where a row lies; the mean is the last."""
        return QPointF(self.width() / 2, (row + 1.5) * self._row_height())

    def sizeHint(self) -> QSize:
        return QSize(260, round(self._row_height() * (len(self._rows) + 1)) + 2)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        row = int(event.position().y() // self._row_height()) - 1
        if event.button() == Qt.MouseButton.LeftButton and 0 <= row < len(self._rows):
            self._choose(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        step = moves.get(Qt.Key(event.key()))
        if step is None or not self._rows:
            super().keyPressEvent(event)
            return
        self._choose(min(max(0, self._marked() + step), len(self._rows) - 1))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(small_font(self.font()))
        self._paint_header(painter)
        peak = max((max(values) for _, values in self._rows), default=0.0)
        for row, (head, values) in enumerate(self._rows):
            self._paint_row(painter, row, "mean" if head is None else str(head + 1), values, peak)
        if self.hasFocus() and self._rows:
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.end()

    def _marked(self) -> int:
        return len(self._rows) - 1 if self._head is None else self._head

    def _choose(self, row: int) -> None:
        self._head = self._rows[row][0]
        self.update()
        self.row_chosen.emit(self._head)

    def _row_height(self) -> float:
        return round(QFontMetricsF(small_font(self.font())).height() + 5)

    def _name_width(self) -> float:
        return QFontMetricsF(small_font(self.font(), bold=True)).horizontalAdvance("mean") + 8

    def _cell(self, row: int, column: int) -> QRectF:
        """Column -1 is the name; the one after the frames is the sum."""
        high, name = self._row_height(), self._name_width()
        wide = (self.width() - name) / (len(self._lags) + 1)
        if column < 0:
            return QRectF(0, row * high, name, high)
        return QRectF(name + column * wide, row * high, wide, high)

    def _paint_header(self, painter: QPainter) -> None:
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        names = [*(f"t-{lag}" for lag in self._lags), "sum"]
        if self._rows:
            painter.drawText(self._cell(0, -1), Qt.AlignmentFlag.AlignCenter, "head")
            for column, name in enumerate(names):
                painter.drawText(self._cell(0, column), Qt.AlignmentFlag.AlignCenter, name)

    def _paint_row(
        self, painter: QPainter, row: int, name: str, values: list[float], peak: float
    ) -> None:
        marked = row == self._marked()
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        if marked:
            ground = self.palette().color(QPalette.ColorRole.Highlight)
            left = self._cell(row + 1, -1).adjusted(0, 1, -2, -1)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(left, 3, 3)
        role = QPalette.ColorRole.HighlightedText if marked else QPalette.ColorRole.WindowText
        painter.setPen(self.palette().color(role))
        painter.setFont(small_font(self.font(), bold=marked or name == "mean"))
        name_place = self._cell(row + 1, -1).adjusted(0, 0, -2, 0)
        painter.drawText(name_place, Qt.AlignmentFlag.AlignCenter, name)
        painter.setFont(small_font(self.font()))
        for column, value in enumerate(values):
            self._paint_cell(painter, self._cell(row + 1, column), value, peak)
        painter.setPen(ink)
        last = self._cell(row + 1, len(values))
        painter.drawText(last, Qt.AlignmentFlag.AlignCenter, f"{sum(values):.0f}")

    def _paint_cell(self, painter: QPainter, place: QRectF, value: float, peak: float) -> None:
        red, green, blue, alpha = (int(c) for c in heat_table()[round(255 * value / peak)])
        ground = mix(shade(self.palette(), 0.06), QColor(red, green, blue), alpha / 255)
        painter.fillRect(place.adjusted(0.75, 0.75, -0.75, -0.75), ground)
        painter.setPen(text_on(ground))
        wide = painter.fontMetrics().horizontalAdvance("88.8") + 6 <= place.width()
        text = f"{value:.1f}" if wide else f"{value:.0f}"
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)
