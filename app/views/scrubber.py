"""The bar under the video: where we are, which frames are predicted, which are painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QHelpEvent,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractSlider, QSizePolicy, QToolTip, QWidget

from app.facts import FrameMarks
from app.views.look import clock, good, mix, painted, shade, to_qimage

MARGIN = 9
"""Logical pixels left and right of the first and the last frame."""

_GROOVE = 8
_DIAMOND = 4.5


class Scrubber(QAbstractSlider):
    """A slider over frames that goes where it is clicked.

    Predicted frames are green in the groove, with a line along its foot where there are predictions
    of another model; painted ones have a diamond above it. Below it are the review states (thin:
    draft, green: checked, dark: locked) and a flag for each bookmark. All are kept as one value a
    screen column, so that a long video costs no more to draw than a short one.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setOrientation(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setRange(0, 0)
        self._fps = 25.0
        self._predicted = np.zeros(0, np.bool_)
        self._painted = np.zeros(0, np.int64)
        self._imported = np.zeros(0, np.bool_)
        self._marks = FrameMarks()
        self._ground: QPixmap | None = None

    def set_media(self, count: int, fps: float) -> None:
        """How many frames there are; forgets what was predicted and painted."""
        self._fps = fps
        self._predicted = np.zeros(count, np.bool_)
        self._painted = np.zeros(0, np.int64)
        self._imported = np.zeros(count, np.bool_)
        self._marks = FrameMarks()
        self._ground = None
        self.setRange(0, max(0, count - 1))

    def set_predicted(self, predicted: NDArray[np.bool_]) -> None:
        """``[frames]``: which have a prediction."""
        self._predicted, self._ground = predicted, None
        self.update()

    def set_painted(self, frames: NDArray[np.int64]) -> None:
        """Which frames have painted labels."""
        self._painted, self._ground = frames, None
        self.update()

    def set_imported(self, frames: NDArray[np.bool_]) -> None:
        """``[frames]``: which have predictions of another model."""
        self._imported, self._ground = frames, None
        self.update()

    def set_marks(self, marks: FrameMarks) -> None:
        """Review states and bookmarks."""
        self._marks, self._ground = marks, None
        self.update()

    def position_of(self, frame: int) -> float:
        """Where a frame lies from left to right, in logical pixels."""
        return MARGIN + frame / max(1, self.maximum()) * (self.width() - 2 * MARGIN)

    def frame_at(self, x: float) -> int:
        """The frame nearest to x."""
        share = (x - MARGIN) / max(1, self.width() - 2 * MARGIN)
        return round(min(1.0, max(0.0, share)) * self.maximum())

    def sizeHint(self) -> QSize:
        return QSize(400, 38)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, 38)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setSliderPosition(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setSliderPosition(self.frame_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            frame = self.frame_at(event.pos().x())
            said = f"frame {frame}, {clock(frame / self._fps)}{self._noted(frame)}"
            QToolTip.showText(event.globalPos(), said, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._ground is None:
            self._ground = self._drawn_ground()
        painter.drawPixmap(0, 0, self._ground)
        if self.isEnabled():
            self._paint_head(painter, self._groove())
        painter.end()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._ground = None

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._ground = None

    def _groove(self) -> QRectF:
        top = self.height() / 2 - 1 - _GROOVE / 2
        return QRectF(MARGIN, top, max(1, self.width() - 2 * MARGIN), _GROOVE)

    def _drawn_ground(self) -> QPixmap:
        """All but the head: it stays while the head moves."""
        ratio, groove = self.devicePixelRatioF(), self._groove()
        ground = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        ground.setDevicePixelRatio(ratio)
        ground.fill(Qt.GlobalColor.transparent)
        painter = QPainter(ground)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade(self.palette(), 0.16))
        painter.drawRoundedRect(groove.adjusted(-4, 0, 4, 0), 4, 4)
        painter.drawImage(groove, self._strip(self._predicted, good(self.palette())))
        if self._imported.any():
            foot = groove.adjusted(0, _GROOVE - 2, 0, 0)
            highlight = self.palette().color(QPalette.ColorRole.Highlight)
            painter.drawImage(foot, self._strip(self._imported, highlight))
        self._paint_diamonds(painter, groove)
        self._paint_reviews(painter, groove)
        self._paint_bookmarks(painter, groove)
        painter.end()
        return ground

    def _strip(self, flags: NDArray[np.bool_], color: QColor) -> QImage:
        width = max(1, round(self._groove().width()))
        row = np.empty((1, width, 4), np.uint8)
        row[..., :3] = (color.red(), color.green(), color.blue())
        row[..., 3] = np.rint(255 * shares_per_column(flags, width))
        return to_qimage(row)

    def _columns(self, frames: NDArray[np.int64], groove: QRectF) -> list[float]:
        """Where frames lie; those that share a column once."""
        scale = groove.width() / max(1, self.maximum())
        columns: list[float] = np.unique(np.rint(groove.left() + frames * scale)).tolist()
        return columns

    def _noted(self, frame: int) -> str:
        words: list[str] = [*filter(None, [self._marks.reviews.get(frame)])]
        words += ["bookmarked"] if frame in self._marks.bookmarks else []
        return "".join(f", {word}" for word in words)

    def _paint_reviews(self, painter: QPainter, groove: QRectF) -> None:
        """A tick below each frame that was looked at, the weightier the further it is."""
        looks = (
            ("draft", shade(self.palette(), 0.45), 1.5),
            ("checked", good(self.palette()), 3.0),
            ("locked", self.palette().color(QPalette.ColorRole.WindowText), 3.0),
        )
        half = max(1.0, groove.width() / max(1, self.maximum() + 1) / 2)
        painter.setPen(Qt.PenStyle.NoPen)
        for state, color, height in looks:
            frames = np.array([f for f, s in self._marks.reviews.items() if s == state], np.int64)
            painter.setBrush(color)
            for x in self._columns(frames, groove):
                painter.drawRect(QRectF(x - half, groove.bottom() + 1.5, 2 * half, height))

    def _paint_bookmarks(self, painter: QPainter, groove: QRectF) -> None:
        painter.setBrush(self.palette().color(QPalette.ColorRole.Highlight))
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Window), 1))
        top = groove.bottom() + 5
        for x in self._columns(np.array(self._marks.bookmarks, np.int64), groove):
            corners = ((x - 4, top), (x + 4, top), (x + 4, top + 9), (x, top + 6), (x - 4, top + 9))
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))

    def _paint_diamonds(self, painter: QPainter, groove: QRectF) -> None:
        columns = self._columns(self._painted, groove)
        painter.setBrush(painted(self.palette()))
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Window), 1))
        half, middle = _DIAMOND, groove.top() - 3
        for x in columns:
            corners = (
                (x, middle - half),
                (x + half, middle),
                (x, middle + half),
                (x - half, middle),
            )
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))

    def _paint_head(self, painter: QPainter, groove: QRectF) -> None:
        x = self.position_of(self.sliderPosition())
        window = self.palette().color(QPalette.ColorRole.Window)
        highlight = self.palette().color(QPalette.ColorRole.Highlight)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        fill: QColor = mix(highlight, text, 0.15) if self.isSliderDown() else highlight
        painter.setPen(QPen(text if self.hasFocus() else window, 1.5))
        painter.setBrush(fill)
        head = QRectF(x - 4, groove.top() - 6, 8, groove.height() + 12)
        painter.drawRoundedRect(head, 3, 3)


def shares_per_column(flags: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """Which share of the frames under each of `width` columns is set; a lone one still shows."""
    count = len(flags)
    if not count:
        return np.zeros(width)
    starts = np.minimum(np.arange(width) * count // width, count - 1)
    if count <= width:
        return flags[starts].astype(np.float64)
    sums = np.add.reduceat(flags.astype(np.int64), starts)
    shares = sums / np.diff(np.append(starts, count))
    return np.where(shares > 0, 0.35 + 0.65 * shares, 0.0)
