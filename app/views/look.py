"""What the widgets share: colours off the palette, numbers as text, arrays as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent
from PySide6.QtGui import QColor, QFont, QImage, QPalette
from PySide6.QtWidgets import QLabel, QWidget

from stt_core.drawing import RED

QUERY = QColor(*RED)
Tone = Callable[[QPalette], QColor]

_Role = QPalette.ColorRole


def mix(first: QColor, second: QColor, share: float) -> QColor:
    """`share` of the second colour in the first."""
    red = first.redF() + (second.redF() - first.redF()) * share
    green = first.greenF() + (second.greenF() - first.greenF()) * share
    blue = first.blueF() + (second.blueF() - first.blueF()) * share
    alpha = first.alphaF() + (second.alphaF() - first.alphaF()) * share
    return QColor.fromRgbF(red, green, blue, alpha)


def shade(palette: QPalette, share: float) -> QColor:
    """The window's colour, `share` of the way to its text's: lines, cards, grooves."""
    return mix(palette.color(_Role.Window), palette.color(_Role.WindowText), share)


def is_dark(palette: QPalette) -> bool:
    """Whether the window is dark."""
    return palette.color(_Role.Window).lightnessF() < 0.5


def stage(palette: QPalette) -> QColor:
    """What surrounds a picture: darker than the window in both themes."""
    return palette.color(_Role.Window).darker(150 if is_dark(palette) else 110)


def good(palette: QPalette) -> QColor:
    """Green: predicted, done, selected."""
    return QColor(92, 190, 122) if is_dark(palette) else QColor(38, 140, 76)


def bad(palette: QPalette) -> QColor:
    """Red of failures, as text."""
    return QColor(255, 122, 112) if is_dark(palette) else QColor(186, 26, 26)


def painted(palette: QPalette) -> QColor:
    """Amber: labels a person painted."""
    return QColor(255, 190, 70) if is_dark(palette) else QColor(196, 112, 0)


def text_on(background: QColor) -> QColor:
    """Black or white, whichever reads better."""
    parts = (background.redF(), background.greenF(), background.blueF())
    red, green, blue = (part**2.2 for part in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return QColor("black") if luminance > 0.18 else QColor("white")


def small_font(font: QFont, bold: bool = False) -> QFont:
    """A step smaller than the window's font."""
    small = QFont(font)
    if font.pointSizeF() > 0:
        small.setPointSizeF(font.pointSizeF() * 0.9)
    else:
        small.setPixelSize(max(9, round(font.pixelSize() * 0.9)))
    small.setBold(bold)
    return small


def heading(text: str, parent: QWidget | None = None) -> QLabel:
    """A panel's title."""
    label = QLabel(text, parent)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def note(text: str, parent: QWidget | None = None) -> QLabel:
    """Small wrapped text in the palette's faint colour."""
    label = QLabel(text, parent)
    label.setFont(small_font(label.font()))
    label.setForegroundRole(_Role.PlaceholderText)
    label.setWordWrap(True)
    return label


class ToneLabel(QLabel):
    """Text in one of the tones above, or plain; it follows the palette."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._tone: Tone | None = None
        self.setWordWrap(True)

    def set_tone(self, tone: Tone | None) -> None:
        """Colour the text with :func:`good`, :func:`bad`, or as any other text for None."""
        self._tone = tone
        self._follow_palette()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and getattr(self, "_tone", None) is not None:
            self._follow_palette()

    def _follow_palette(self) -> None:
        if self._tone is None:
            self.setPalette(QPalette())
            return
        color = self._tone(self.palette())
        if self.palette().color(_Role.WindowText) != color:
            own = QPalette()  # with one role set, so that all others are inherited
            own.setColor(_Role.WindowText, color)
            self.setPalette(own)


def describe(widget: QWidget, name: str, tip: str, keys: str = "") -> None:
    """Give a widget its accessible name, and its tooltip with the shortcut."""
    widget.setAccessibleName(name)
    widget.setToolTip(f"{tip} ({keys})" if keys else tip)
    widget.setAccessibleDescription(tip)


def clock(seconds: float) -> str:
    """``00:01.933``, with hours when there are any."""
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    return f"{hours}:{rest}" if hours else rest


def percentages(weights: Sequence[float] | NDArray[np.float32]) -> list[float]:
    """Shares in percent with one decimal that add up to 100.0 exactly; zeros for nothing.

    What rounding down leaves goes to those that lost most.
    """
    values = np.asarray(weights, np.float64)
    total = values.sum()
    if not total > 0:
        return [0.0] * len(values)
    exact = values / total * 1000
    tenths = np.floor(exact).astype(int)
    order = np.argsort(tenths - exact, kind="stable")
    tenths[order[: 1000 - int(tenths.sum())]] += 1
    return [int(t) / 10 for t in tenths]


def to_qimage(pixels: NDArray[np.uint8]) -> QImage:
    """A copy of ``[H, W, 3]`` RGB or ``[H, W, 4]`` RGBA as a QImage."""
    height, width, channels = pixels.shape
    formats = {3: QImage.Format.Format_RGB888, 4: QImage.Format.Format_RGBA8888}
    whole = np.ascontiguousarray(pixels)
    return QImage(whole.data, width, height, width * channels, formats[channels]).copy()
