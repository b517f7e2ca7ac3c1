"""Icons of our own, tinted with a colour of the palette."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from stt_core.resources import resource_path

_SIZES = (16, 20, 24, 32, 48)
_DISABLED_ALPHA = 0.35


def icon(name: str, color: QColor) -> QIcon:
    """One of `resources/icons/*.svg`, drawn where it says `currentColor` in `color`.

    Raises:
        FileNotFoundError: no icon has that name.
    """
    made = QIcon()
    faint = QColor(color)
    faint.setAlphaF(color.alphaF() * _DISABLED_ALPHA)
    for size in _SIZES:
        made.addPixmap(pixmap(name, color, size), QIcon.Mode.Normal)
        made.addPixmap(pixmap(name, faint, size), QIcon.Mode.Disabled)
    return made


def pixmap(name: str, color: QColor, size: int, ratio: float = 1.0) -> QPixmap:
    """An icon as a square pixmap.

    Args:
        name: the file's stem.
        color: alpha counts.
        size: side in logical pixels.
        ratio: device pixels per logical pixel.
    """
    drawn = QPixmap(round(size * ratio), round(size * ratio))
    drawn.fill(Qt.GlobalColor.transparent)
    svg = _svg(name).replace("currentColor", color.name())
    painter = QPainter(drawn)
    painter.setOpacity(color.alphaF())
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(drawn.rect()))
    painter.end()
    drawn.setDevicePixelRatio(ratio)
    return drawn


@lru_cache(maxsize=64)
def _svg(name: str) -> str:
    return resource_path(f"icons/{name}.svg").read_text(encoding="utf-8")
