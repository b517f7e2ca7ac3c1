"""Flat buttons that follow the palette: with an icon, or with a word."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from app.views.icons import pixmap
from app.views.look import describe, shade

_Role = QPalette.ColorRole


class FlatButton(QToolButton):
    """Filled with the highlight colour while checked. Takes focus by Tab only."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.HoverEnter, QEvent.Type.HoverLeave):
            self.update()
        return super().event(event)

    def _ink(self) -> QColor:
        palette = self.palette()
        if not self.isEnabled():
            return shade(palette, 0.35)
        if self.isChecked():
            return palette.color(_Role.HighlightedText)
        return palette.color(_Role.WindowText)

    def _ground(self) -> QColor:
        palette = self.palette()
        if self.isChecked():
            return palette.color(_Role.Highlight)
        if self.isDown():
            return shade(palette, 0.25)
        if self.underMouse() and self.isEnabled():
            return shade(palette, 0.14)
        return QColor(Qt.GlobalColor.transparent)

    def _paint_ground(self, painter: QPainter) -> None:
        role = _Role.WindowText if self.isChecked() else _Role.Highlight
        ring = QPen(self.palette().color(role), 2)
        painter.setPen(ring if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(self._ground())
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 5, 5)


class WordButton(FlatButton):
    """A word or a number; faintly filled, so that it looks like something to press."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(text)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance(self.text()) + 10, metrics.height() + 8)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_ground(painter)
        painter.setPen(self._ink())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())
        painter.end()

    def _ground(self) -> QColor:
        ground = super()._ground()
        return ground if ground.alpha() else shade(self.palette(), 0.07)


class IconButton(FlatButton):
    """Shows an icon of our own.

    Args:
        icon_name: of `resources/icons`.
        name: for screen readers.
        tip: what it does.
        keys: its shortcut, for the tooltip.
        side: width and height in logical pixels.
    """

    def __init__(
        self,
        icon_name: str,
        name: str,
        tip: str,
        keys: str = "",
        *,
        side: int = 30,
        checkable: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._icon_name = icon_name
        self._side = side
        self.setCheckable(checkable)
        self.setFixedSize(side, side)
        describe(self, name, tip, keys)

    def set_icon(self, name: str) -> None:
        """Show another icon."""
        self._icon_name = name
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._side, self._side)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_ground(painter)
        size = round(self._side * 0.6)
        drawn = pixmap(self._icon_name, self._ink(), size, self.devicePixelRatioF())
        corner = (self._side - size) / 2
        painter.drawPixmap(QPointF(corner, corner), drawn)
        painter.end()
