"""The video frame with its labels, and the tools that point and paint on it."""

from __future__ import annotations

from enum import Enum, auto

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPalette,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QGraphicsView, QWidget

from app.views.canvas_items import BrushRing, FrameItem, QueryMark, StrokePreview
from app.views.look import describe, stage
from stt_core.drawing import Box
from stt_core.labels import UNLABELLED, Stroke

MIN_RADIUS, MAX_RADIUS = 0.5, 200.0
"""Of the brush, in image pixels."""

_ZOOM = 1.2
_BRUSH_STEP = 1.15
_LEVELS = (0, 255)
_ERASING = QColor(255, 255, 255, 140)


class Tool(Enum):
    """What the left button does."""

    INSPECT = auto()
    BRUSH = auto()
    ERASER = auto()
    PAN = auto()


class Canvas(pg.GraphicsView):
    """Shows one frame. Positions are image pixels, origin top left; an index is their floor.

    Left acts with the tool, Alt+left always asks, the middle button pans, the wheel zooms to the
    pointer, Alt+wheel sizes the brush, a double click fits (but dabs twice while painting).
    """

    clicked = Signal(int, int)  # x, y of a pixel
    hovered = Signal(int, int)  # x, y of a pixel
    left_image = Signal()
    stroke_finished = Signal(object)  # Stroke
    brush_resized = Signal(float)  # radius in image pixels

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._size = (0, 0)  # H, W
        self._tool = Tool.INSPECT
        self._radius, self._class_id, self._color = 5.0, 0, QColor("white")
        self._points: list[tuple[float, float]] | None = None
        self._dragged_from: QPointF | None = None
        self._pixel: tuple[int, int] | None = None
        self._message = "Open a video or an image folder (Ctrl+O)"
        self._make_layers()
        self.viewport().setMouseTracking(True)
        self.setMinimumSize(240, 135)
        describe(
            self, "Video frame", "Wheel zooms, middle drag pans, double click fits", "fit: Ctrl+F"
        )
        self.setToolTip("")  # a tooltip over the picture would hide what is pointed at
        self._follow_palette()
        self.set_tool(Tool.INSPECT)

    def _make_layers(self) -> None:
        self._view = pg.ViewBox(lockAspect=True, invertY=True, enableMouse=False, enableMenu=False)
        self._view.disableAutoRange()
        self.setCentralItem(self._view)
        self._frame = FrameItem(axisOrder="row-major")
        self._labels, self._painted, self._layer = (
            pg.ImageItem(axisOrder="row-major", levels=levels)
            for levels in (_LEVELS, _LEVELS, None)
        )
        self._stroke, self._mark, self._ring = StrokePreview(), QueryMark(), BrushRing()
        items = (self._frame, self._labels, self._painted, self._layer, self._stroke)
        for z, item in enumerate((*items, self._mark, self._ring)):
            item.setZValue(z)
            self._view.addItem(item, ignoreBounds=True)
        self._view.sigTransformChanged.connect(self._on_transform_changed)

    # What is shown

    def show_frame(self, image: NDArray[np.uint8]) -> None:
        """Draw ``[H, W, 3]`` RGB; an image of another size is fitted into the view."""
        size = (image.shape[0], image.shape[1])
        resized, self._size = size != self._size, size
        self._frame.setImage(image, autoLevels=False)
        if resized:
            self._pixel = None
            self.fit()
            self.viewport().update()

    def show_labels(self, labels: NDArray[np.uint8] | None) -> None:
        """Draw a predicted ``[H, W]`` map above the frame, or none."""
        self._put(self._labels, labels)

    def show_painted(self, labels: NDArray[np.uint8] | None) -> None:
        """Draw a painted ``[H, W]`` map above the predicted one, or none."""
        self._put(self._painted, labels)

    def show_layer(self, rgba: NDArray[np.uint8] | None) -> None:
        """Draw ``[h, w, 4]`` RGBA over all of the frame, or nothing."""
        self._put(self._layer, rgba)

    def set_label_table(self, table: NDArray[np.uint8]) -> None:
        """``[256, 4]`` RGBA of predicted labels, opacity in its alpha. No image is touched."""
        self._labels.setLookupTable(_checked(table))

    def set_painted_table(self, table: NDArray[np.uint8]) -> None:
        """``[256, 4]`` RGBA of painted labels, opacity in its alpha. No image is touched."""
        self._painted.setLookupTable(_checked(table))

    def labels_visible(self, visible: bool) -> None:
        """Show or hide predicted and painted labels, to see the picture under them."""
        self._labels.setVisible(visible)
        self._painted.setVisible(visible)

    def mark_query(self, box: Box | None) -> None:
        """A red box round the query position, in image pixels, or none."""
        self._mark.show_box(box)

    def show_message(self, text: str) -> None:
        """What stands in the middle while there is no frame."""
        self._message = text
        self.viewport().update()

    def clear_frame(self) -> None:
        """Back to no frame at all."""
        self._size, self._pixel, self._points = (0, 0), None, None
        for item in (self._frame, self._labels, self._painted, self._layer):
            item.clear()
        self._mark.show_box(None)
        self._stroke.end()
        self._ring.setVisible(False)
        self.viewport().update()

    def fit(self) -> None:
        """Show the whole frame."""
        height, width = self._size
        if height:
            self._view.setRange(QRectF(0, 0, width, height), padding=0.01)

    def position_of(self, x: float, y: float) -> QPoint:
        """Where in the viewport a point of the image lies."""
        scene = self._view.mapViewToScene(QPointF(x, y))
        return self.mapFromScene(scene)

    # What the pointer does

    def set_tool(self, tool: Tool) -> None:
        """Choose what the left button does; a stroke under way is finished first."""
        self._finish_stroke()
        self._tool = tool
        shapes = {Tool.PAN: Qt.CursorShape.OpenHandCursor}
        self.viewport().setCursor(shapes.get(tool, Qt.CursorShape.CrossCursor))
        self._show_ring()

    def set_brush(self, radius: float, class_id: int, color: QColor | tuple[int, int, int]) -> None:
        """What the brush paints.

        Args:
            radius: image pixels.
            class_id: a class or VOID; the eraser needs none.
            color: how to show it while it is drawn.
        """
        self._radius, self._class_id = radius, class_id
        self._color = color if isinstance(color, QColor) else QColor(*color)
        self._show_ring()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()
        if not self._size[0]:
            return
        button, alt = event.button(), event.modifiers() & Qt.KeyboardModifier.AltModifier
        left = button == Qt.MouseButton.LeftButton
        at = self._image_point(event.position())
        if button == Qt.MouseButton.MiddleButton or (left and self._tool is Tool.PAN and not alt):
            self._dragged_from = event.position()
            self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
        elif left and (alt or self._tool is Tool.INSPECT):
            self._ask(at)
        elif left:
            self._begin_stroke(at)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        event.accept()
        if not self._size[0]:
            return
        if self._dragged_from is not None:
            self._pan(self._dragged_from, event.position())
            self._dragged_from = event.position()
            return
        at = self._image_point(event.position())
        self._extend_stroke(at)
        self._ring.setPos(at)
        self._show_ring()
        self._hover(self._pixel_at(at))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()
        if event.button() == Qt.MouseButton.LeftButton:
            self._finish_stroke()
        if self._dragged_from is not None:
            self._dragged_from = None
            self.set_tool(self._tool)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        painting = self._tool in (Tool.BRUSH, Tool.ERASER)
        left = event.button() == Qt.MouseButton.LeftButton
        if left and (painting or event.modifiers() & Qt.KeyboardModifier.AltModifier):
            self.mousePressEvent(event)
        elif event.button() != Qt.MouseButton.RightButton:
            self.fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.accept()
        turned = event.angleDelta()
        # Most platforms turn Alt+wheel into a horizontal one.
        notches = (turned.y() or turned.x()) / 120
        if not self._size[0] or not notches:
            return
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:
            radius = self._radius * _BRUSH_STEP**notches
            self._radius = min(MAX_RADIUS, max(MIN_RADIUS, radius))
            self._show_ring()
            self.brush_resized.emit(self._radius)
        else:
            self._zoom(_ZOOM**notches, self._image_point(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        self._ring.setVisible(False)
        self._hover(None)

    def close(self) -> bool:
        # pyqtgraph's own empties the scene here; a late leave event would then reach dead items.
        return QGraphicsView.close(self)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()  # keys belong to the window's shortcuts

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if hasattr(self, "_ring"):
            self._on_transform_changed()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_ring"):
            self._follow_palette()

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:
        if self._size[0]:
            return
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(
            QRectF(self.viewport().rect()).adjusted(24, 24, -24, -24), flags, self._message
        )

    # Helpers

    def _put(self, item: pg.ImageItem, pixels: NDArray[np.uint8] | None) -> None:
        if pixels is None:
            item.clear()
            return
        item.setImage(pixels, autoLevels=False)
        height, width = self._size if self._size[0] else pixels.shape[:2]
        item.setRect(QRectF(0, 0, width, height))

    def _image_point(self, position: QPointF) -> QPointF:
        return self._view.mapSceneToView(self.mapToScene(position.toPoint()))

    def _pixel_at(self, point: QPointF) -> tuple[int, int] | None:
        x, y = int(np.floor(point.x())), int(np.floor(point.y()))
        height, width = self._size
        return (x, y) if 0 <= x < width and 0 <= y < height else None

    def _ask(self, at: QPointF) -> None:
        pixel = self._pixel_at(at)
        if pixel is not None:
            self.clicked.emit(*pixel)

    def _hover(self, pixel: tuple[int, int] | None) -> None:
        if pixel == self._pixel:
            return
        self._pixel = pixel
        if pixel is None:
            self.left_image.emit()
        else:
            self.hovered.emit(*pixel)

    def _begin_stroke(self, at: QPointF) -> None:
        self._points = [(at.x(), at.y())]
        color = QColor(_ERASING)
        if self._tool is Tool.BRUSH:
            color = QColor(self._color)
            color.setAlpha(170)
        self._stroke.begin(at, self._radius, color)

    def _extend_stroke(self, at: QPointF) -> None:
        if self._points is None:
            return
        x, y = self._points[-1]
        if abs(at.x() - x) + abs(at.y() - y) >= 0.5:
            self._points.append((at.x(), at.y()))
            self._stroke.extend(at)

    def _finish_stroke(self) -> None:
        points, self._points = self._points, None
        if points is None:
            return
        class_id = self._class_id if self._tool is Tool.BRUSH else UNLABELLED
        self.stroke_finished.emit(Stroke(np.array(points, np.float64), self._radius, class_id))
        self._stroke.end()  # after the signal: the labels are on the canvas by now

    def _pan(self, start: QPointF, stop: QPointF) -> None:
        moved = self._image_point(start) - self._image_point(stop)
        self._view.translateBy(x=moved.x(), y=moved.y())

    def _zoom(self, factor: float, at: QPointF) -> None:
        wide = self._view.viewRect().width() / factor
        if 4 <= wide <= 20 * max(self._size):
            self._view.scaleBy((1 / factor, 1 / factor), center=at)

    def _show_ring(self) -> None:
        erasing = self._tool is Tool.ERASER
        self._ring.set_brush(self._radius, QColor("white") if erasing else self._color)
        painting = erasing or self._tool is Tool.BRUSH
        self._ring.setVisible(painting and self.viewport().underMouse() and bool(self._size[0]))

    def _on_transform_changed(self) -> None:
        width = self._view.viewRect().width()
        scale = self._view.width() / width if width else 1.0
        self._mark.set_scale(scale)
        self._ring.set_scale(scale)

    def _follow_palette(self) -> None:
        self.setBackground(stage(self.palette()))


def _checked(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if table.shape != (256, 4) or table.dtype != np.uint8:
        raise ValueError(f"a table is uint8 [256, 4], got {table.dtype} {table.shape}")
    return table.copy()  # pyqtgraph redraws only for another object
