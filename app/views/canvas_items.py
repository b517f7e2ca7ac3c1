"""What the canvas draws above its images: query mark, brush ring, the stroke being drawn."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QGraphicsItem,
    QGraphicsPathItem,
    QStyleOptionGraphicsItem,
    QWidget,
)

from app.views.look import QUERY
from stt_core.drawing import Box

_TICK = 9.0
_SMALL = 26.0
"""Screen pixels: a query box below it gets ticks around it, or it would be overlooked."""


class FrameItem(pg.ImageItem):
    """An image that is smoothed when drawn smaller than it is, and shows its pixels when larger."""

    def paint(self, painter: QPainter, *args: object) -> None:
        smaller = painter.worldTransform().m11() < 1
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smaller)
        super().paint(painter, *args)


class _ScreenItem(QGraphicsItem):
    """Keeps its place in the image and draws in screen pixels around it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemIgnoresTransformations)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        self.setVisible(False)
        self._half = (0.0, 0.0)
        self._scale = 1.0

    def set_scale(self, scale: float) -> None:
        """Screen pixels per image pixel."""
        self.prepareGeometryChange()
        self._scale = scale

    def boundingRect(self) -> QRectF:
        return self._outline().adjusted(-24, -24, 24, 24)

    def _outline(self) -> QRectF:
        wide, high = self._half[0] * self._scale, self._half[1] * self._scale
        return QRectF(-wide, -high, 2 * wide, 2 * high)


class QueryMark(_ScreenItem):
    """The red box round the query position."""

    def show_box(self, box: Box | None) -> None:
        """Mark a box of image pixels, or nothing."""
        self.setVisible(box is not None)
        if box is None:
            return
        self.prepareGeometryChange()
        x0, y0, x1, y1 = box
        self._half = ((x1 - x0) / 2, (y1 - y0) / 2)
        self.setPos((x0 + x1) / 2, (y0 + y1) / 2)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        outline = self._outline()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for pen in (QPen(QColor(255, 255, 255, 200), 4.5), QPen(QUERY, 2.2)):
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.drawRect(outline)
            if outline.width() < _SMALL:
                self._paint_ticks(painter, outline)

    def _paint_ticks(self, painter: QPainter, outline: QRectF) -> None:
        wide, high = outline.width() / 2 + 5, outline.height() / 2 + 5
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            near = QPointF(dx * wide, dy * high)
            painter.drawLine(near, near + QPointF(dx * _TICK, dy * _TICK))


class BrushRing(_ScreenItem):
    """The brush under the pointer, as large as what it would paint."""

    def __init__(self) -> None:
        super().__init__()
        self._color = QColor("white")

    def set_brush(self, radius: float, color: QColor) -> None:
        """Radius in image pixels."""
        self.prepareGeometryChange()
        self._half = (radius, radius)
        self._color = color
        self.update()

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        rings = ((QColor(0, 0, 0, 150), 4.0), (QColor("white"), 2.2), (self._color, 1.2))
        for color, width in rings:
            painter.setPen(QPen(color, width))
            painter.drawEllipse(self._outline())


class StrokePreview(QGraphicsPathItem):
    """The stroke under way, in image pixels; no pixel of a label map is touched for it."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        self._path = QPainterPath()

    def begin(self, at: QPointF, radius: float, color: QColor) -> None:
        """Start at a point with a round brush."""
        pen = QPen(color, 2 * radius)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        self.setPen(pen)
        self._path = QPainterPath(at)
        # A path drops a line of no length, and a dab would show nothing.
        self._path.lineTo(at + QPointF(0.01, 0))
        self.setPath(self._path)

    def extend(self, to: QPointF) -> None:
        """Go on to a point."""
        self._path.lineTo(to)
        self.setPath(self._path)

    def end(self) -> None:
        """Show nothing."""
        self._path = QPainterPath()
        self.setPath(self._path)
