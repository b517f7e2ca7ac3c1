"""A colour legend: a swatch and a name for each class, nothing of it cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stt_core.labels import LabelClass
from stt_core.pictures.figure import Color
from stt_core.pictures.lettering import load_font, text_width

GROUND: Color = (24, 28, 32)
"""Behind titles, legends and between panels."""
LETTERS: Color = (236, 239, 242)
"""On that: a contrast of 15 to 1."""
_EDGE: Color = (120, 128, 136)
"""Around swatches, whose colours may be near that of the ground."""

LegendPlace = Literal["none", "below", "beside"]


class _Entries:
    """Classes in columns, and what that takes. All in pixels.

    Args:
        text: height of the letters' font.
        columns: the classes in each, from top to bottom; none is empty.
    """

    def __init__(self, text: int, columns: Sequence[Sequence[LabelClass]]) -> None:
        self._text, self._columns = text, columns
        self._widths = [max(_entry_width(c, text) for c in column) for column in columns]
        self.width = sum(self._widths) + 2 * _margin(text)
        self.height = max(map(len, columns)) * row_height(text) + _margin(text)

    def draw(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """At the top left of an image of `size` (width, height)."""
        canvas = Image.new("RGB", size, GROUND)
        draw = ImageDraw.Draw(canvas)
        left = _margin(self._text)
        for width, column in zip(self._widths, self._columns, strict=True):
            for row, entry in enumerate(column):
                top = _margin(self._text) // 2 + row * row_height(self._text)
                self._draw_entry(draw, entry, left, top)
            left += width
        return np.asarray(canvas)

    def _draw_entry(
        self, draw: ImageDraw.ImageDraw, entry: LabelClass, left: int, top: int
    ) -> None:
        text, row = self._text, row_height(self._text)
        y = top + (row - text) // 2
        corners = (left, y, left + text - 1, y + text - 1)
        draw.rectangle(corners, fill=entry.color, outline=_EDGE)
        place = (left + text + text // 2, top + row / 2)
        draw.text(place, _name(entry), LETTERS, load_font(text), "lm")


def legend_below(
    classes: Sequence[LabelClass], width: int, text: int, *, aside: int = 0
) -> NDArray[np.uint8]:
    """As few rows of entries as fit, read from left to right.

    Args:
        classes: what is listed; at least one.
        width: to fill; more is taken where the longest name needs it.
        text: height of the letters' font, pixels.
        aside: pixels at the right to be left free.

    Returns:
        ``[h, w, 3]``, w at least `width`.
    """
    for count in range(len(classes), 0, -1):
        entries = _Entries(text, [classes[i::count] for i in range(count)])
        if entries.width + aside <= width:
            break
    # as few columns as give no further row, so that all rows are about equally full
    rows = math.ceil(len(classes) / count)
    count = math.ceil(len(classes) / rows)
    entries = _Entries(text, [classes[i::count] for i in range(count)])
    return entries.draw((max(width, entries.width + aside), entries.height))


def legend_beside(
    classes: Sequence[LabelClass], height: int, text: int, *, width: int = 0
) -> NDArray[np.uint8]:
    """Columns of entries, read from top to bottom, as many as `height` asks for.

    Args:
        classes: what is listed; at least one.
        height: to fill; more is taken where a single row needs it.
        text: height of the letters' font, pixels.
        width: to fill at least.

    Returns:
        ``[h, w, 3]``.
    """
    rows = math.ceil(len(classes) / columns_beside(len(classes), height, text))
    entries = _Entries(text, [classes[i : i + rows] for i in range(0, len(classes), rows)])
    return entries.draw((max(width, entries.width), max(height, entries.height)))


def columns_beside(count: int, height: int, text: int) -> int:
    """How many columns so many entries take in that height."""
    return math.ceil(count / max(1, (height - _margin(text)) // row_height(text)))


def row_height(text: int) -> int:
    """Of one entry, pixels."""
    return round(1.5 * text)


def last_row_middle(text: int) -> float:
    """How far above a legend's lower edge the middle of its last row lies, pixels."""
    return _margin(text) - _margin(text) // 2 + row_height(text) / 2


def _margin(text: int) -> int:
    return max(2, text // 2)


def _entry_width(entry: LabelClass, text: int) -> int:
    # swatch, half a letter, name, a letter to the next entry
    return text + text // 2 + text_width(_name(entry), text) + text


def _name(entry: LabelClass) -> str:
    return " ".join(entry.name.split())
