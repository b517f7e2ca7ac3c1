"""One tile of the key strip: a piece of a frame, attention over it, a red box, and two lines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.views.look import QUERY, shade, small_font, to_qimage
from stt_core.drawing import Box, heat_rgba, window_box
from stt_core.results import LookBack

CONTEXT = 4
"""Cells around the largest window that a crop shows."""

_WHOLE_WIDTH = 320
_GREY, _PALE = 0.85, 0.3
"""How far a key frame is turned grey and pale: deep red would not be seen on a red or dark car."""

_Cells = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TilePicture:
    """What a tile draws, all in the pixels of `image`."""

    image: NDArray[np.uint8]
    heat: NDArray[np.uint8] | None
    box: Box


@dataclass(frozen=True, slots=True)
class TileText:
    """The words of a tile: who, how large, how much, and all of it in a sentence."""

    title: str
    aside: str
    value: str
    tip: str


def crop_cells(look: LookBack) -> _Cells:
    """Rows and columns ``[r0, r1), [c0, c1)`` around the query, moved inside the map."""
    radius = max(look.radii, default=4) + CONTEXT
    rows, cols = look.weights.shape[2:]
    r0, r1 = _span(look.row, radius, rows)
    c0, c1 = _span(look.col, radius, cols)
    return r0, r1, c0, c1


def tile_picture(
    image: NDArray[np.uint8],
    cells: _Cells,
    grid: tuple[int, int],
    window: _Cells,
    heat: tuple[NDArray[np.float32], float] | None,
) -> TilePicture:
    """Cut a tile's picture.

    Args:
        image: ``[H, W, 3]`` the whole frame.
        cells: what to show of it, as :func:`crop_cells` gives it, or the whole grid.
        grid: rows, cols of the map.
        window: what the red box surrounds.
        heat: weights ``[rows, cols]`` and the one drawn deepest.
    """
    r0, r1, c0, c1 = cells
    x0, y0, x1, y1 = (round(v) for v in window_box(cells, grid, image.shape[:2]))
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    if part.shape[1] > _WHOLE_WIDTH:
        high = max(1, round(part.shape[0] * _WHOLE_WIDTH / part.shape[1]))
        part = np.asarray(cv2.resize(part, (_WHOLE_WIDTH, high), interpolation=cv2.INTER_AREA))
    size = (part.shape[0], part.shape[1])
    layer = None
    if heat is not None:
        part = _faded(part)
        layer = heat_rgba(heat[0][r0:r1, c0:c1], size, heat[1])
    inside = (window[0] - r0, window[1] - r0, window[2] - c0, window[3] - c0)
    return TilePicture(part, layer, window_box(inside, (r1 - r0, c1 - c0), size))


class Tile(QWidget):
    """Draws one key frame, or says why there is none. Clicked by mouse, Enter or Space."""

    clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: QImage | None = None
        self._heat: QImage | None = None
        self._box = QRectF()
        self._text = TileText("", "", "", "")
        self._aspect = 1.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    @property
    def text(self) -> TileText:
        """The words shown."""
        return self._text

    @property
    def is_empty(self) -> bool:
        """Whether no frame stands here."""
        return self._image is None

    def set_aspect(self, aspect: float) -> None:
        """Width by height of the room for a picture; all tiles of a strip have the same."""
        self._aspect = aspect
        self.update()

    def show_picture(self, picture: TilePicture, text: TileText) -> None:
        """Draw a piece of a frame."""
        self._image = to_qimage(picture.image)
        self._heat = None if picture.heat is None else to_qimage(picture.heat)
        x0, y0, x1, y1 = picture.box
        self._box = QRectF(x0, y0, x1 - x0, y1 - y0)
        self._set_text(text, clickable=True)

    def show_nothing(self, text: TileText) -> None:
        """Draw a grey tile; `text.value` stands in its middle."""
        self._image = self._heat = None
        self._set_text(text, clickable=False)

    def sizeHint(self) -> QSize:
        return QSize(128, 128 + round(self._caption_height()))

    def minimumSizeHint(self) -> QSize:
        return QSize(72, 64 + round(self._caption_height()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and not self.is_empty:
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        place = self._place()
        if self._image is None:
            self._paint_empty(painter, place)
        else:
            self._paint_picture(painter, self._image, place)
        self._paint_caption(painter, place.bottom() + 3)
        painter.end()

    def _set_text(self, text: TileText, clickable: bool) -> None:
        self._text = text
        self.setToolTip(text.tip)
        self.setAccessibleName(text.tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if clickable else Qt.FocusPolicy.NoFocus)
        shape = Qt.CursorShape.PointingHandCursor if clickable else Qt.CursorShape.ArrowCursor
        self.setCursor(shape)
        self.update()

    def _caption_height(self) -> float:
        return 2 * QFontMetricsF(small_font(self.font())).height() + 6

    def _place(self) -> QRectF:
        """Of the picture: as large as fits, in the middle together with its caption."""
        room = QRectF(self.rect()).adjusted(1, 1, -1, -1 - self._caption_height())
        wide = min(room.width(), room.height() * self._aspect)
        place = QRectF(0, 0, wide, wide / self._aspect)
        place.moveCenter(room.center())
        return place

    def _paint_empty(self, painter: QPainter, square: QRectF) -> None:
        painter.setPen(QPen(shade(self.palette(), 0.2), 1, Qt.PenStyle.DashLine))
        painter.setBrush(shade(self.palette(), 0.07))
        painter.drawRoundedRect(square.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        painter.setFont(small_font(self.font()))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(square.adjusted(4, 4, -4, -4), flags, self._text.value)

    def _paint_picture(self, painter: QPainter, image: QImage, place: QRectF) -> None:
        scale = place.width() / image.width()
        painter.drawImage(place, image)
        if self._heat is not None:
            painter.drawImage(place, self._heat)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        box = QRectF(self._box.topLeft() * scale, self._box.size() * scale)
        box.translate(place.topLeft())
        for color, width in ((QColor(255, 255, 255, 170), 3.5), (QUERY, 1.8)):
            pen = QPen(color, width)
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.drawRect(box.intersected(place.adjusted(1, 1, -1, -1)))
        if self.hasFocus() or self.underMouse():
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2))
            painter.drawRect(place)

    def _paint_caption(self, painter: QPainter, low: float) -> None:
        bold, plain = small_font(self.font(), bold=True), small_font(self.font())
        line = QFontMetricsF(plain).height()
        first = QRectF(0, low, self.width(), line)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = self.palette().color(QPalette.ColorRole.PlaceholderText)
        painter.setPen(faint if self.is_empty else ink)
        painter.setFont(bold)
        centre = Qt.AlignmentFlag.AlignCenter
        gap = QFontMetricsF(bold).horizontalAdvance("  ") if self._text.aside else 0.0
        title = QFontMetricsF(bold).horizontalAdvance(self._text.title)
        aside = QFontMetricsF(plain).horizontalAdvance(self._text.aside)
        start = (self.width() - title - gap - aside) / 2
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(first.adjusted(start, 0, 8, 0), left, self._text.title)
        painter.setFont(plain)
        painter.setPen(faint)
        painter.drawText(first.adjusted(start + title + gap, 0, 8, 0), left, self._text.aside)
        if not self.is_empty:
            painter.setPen(ink)
            painter.drawText(first.translated(0, line), centre, self._text.value)


def _faded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    stays = 1 - _PALE
    out = cv2.addWeighted(image, stays * (1 - _GREY), grey, stays * _GREY, 255 * _PALE)
    return np.asarray(out, np.uint8)


def _span(centre: int, radius: int, count: int) -> tuple[int, int]:
    """`2 radius + 1` of `count` cells round a centre, moved inside; all of them if too few."""
    wide = min(2 * radius + 1, count)
    start = min(max(0, centre - radius), count - wide)
    return start, start + wide
