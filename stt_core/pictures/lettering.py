"""Text that is as wide as its place allows, in a font that comes with our own dependencies."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

_ELLIPSIS = "…"


@cache
def load_font(size: int) -> FreeTypeFont:
    """DejaVu Sans of so many pixels: Latin, Greek, Cyrillic and more, all digits equally wide."""
    import matplotlib as mpl  # takes half a second, and only text needs it

    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=4096)
def text_width(text: str, size: int) -> int:
    """Pixels, rounded up."""
    return -int(-load_font(size).getlength(text) // 1)


def shorten(text: str, size: int, width: float) -> str:
    """The text on one line, its end given up for an ellipsis where it is wider than `width`.

    Returns:
        "" where not even the ellipsis fits.
    """
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    for end in range(len(text) - 1, -1, -1):
        shorter = text[:end].rstrip() + _ELLIPSIS
        if text_width(shorter, size) <= width:
            return shorter
    return ""
