"""A figure as a list of things to draw, and the two ways of drawing it: PNG and SVG.

Positions are in figure units, origin top left, y down; PNG draws one unit as one pixel.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stt_core.files import replacing, write_text

Color = tuple[int, int, int]
Anchor = Literal["start", "middle", "end"]

INK: Color = (24, 28, 32)
FAINT: Color = (110, 118, 126)
PAPER: Color = (255, 255, 255)

_PIL_ANCHOR = {"start": "ls", "middle": "ms", "end": "rs"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A raster at a place."""

    x: float
    y: float
    width: float
    height: float
    image: NDArray[np.uint8]
    """``[H, W, 3]`` RGB, scaled to the place."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: an outline, or filled."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    line: float = 2.0
    """Width of the outline; 0 fills instead."""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text, its baseline at y."""

    x: float
    y: float
    text: str
    size: float = 14.0
    color: Color = INK
    anchor: Anchor = "start"


@dataclass(slots=True)
class Figure:
    """Things drawn one over the other, in order."""

    width: int
    height: int
    items: list[Picture | Box | Text] = field(default_factory=list)

    def add(self, *items: Picture | Box | Text) -> None:
        """Draw more on top."""
        self.items.extend(items)


def write_figure(path: Path, figure: Figure) -> None:
    """Write PNG or SVG, by the suffix of `path`, in one step.

    Raises:
        ValueError: another suffix.
        OutputError: it could not be written.
    """
    if path.suffix.lower() == ".svg":
        write_text(path, to_svg(figure))
    elif path.suffix.lower() == ".png":
        with replacing(path) as temporary:
            Image.fromarray(to_rgb(figure)).save(temporary)
    else:
        raise ValueError(f"a figure is written as .png or .svg, got {path.name}")


def to_rgb(figure: Figure) -> NDArray[np.uint8]:
    """``[height, width, 3]``."""
    canvas = Image.new("RGB", (figure.width, figure.height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for item in figure.items:
        if isinstance(item, Picture):
            size = (max(1, round(item.width)), max(1, round(item.height)))
            smaller = size[0] < item.image.shape[1]
            how = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
            picture = Image.fromarray(item.image).resize(size, how)
            canvas.paste(picture, (round(item.x), round(item.y)))
        elif isinstance(item, Box):
            _draw_box(draw, item)
        else:
            font = ImageFont.load_default(size=item.size)
            draw.text((item.x, item.y), item.text, item.color, font, _PIL_ANCHOR[item.anchor])
    return np.asarray(canvas)


def to_svg(figure: Figure) -> str:
    """A self-contained SVG document: rasters inside it, text as text."""
    body = "\n".join(_svg_item(item) for item in figure.items)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{figure.width}" '
        f'height="{figure.height}" viewBox="0 0 {figure.width} {figure.height}" '
        f'font-family="Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="{_css(PAPER)}"/>\n{body}\n</svg>\n'
    )


def _draw_box(draw: ImageDraw.ImageDraw, box: Box) -> None:
    corners = [box.x, box.y, box.x + box.width, box.y + box.height]
    if box.line == 0:
        draw.rectangle(corners, fill=box.color)
    else:
        draw.rectangle(corners, outline=box.color, width=max(1, round(box.line)))


def _svg_item(item: Picture | Box | Text) -> str:
    if isinstance(item, Picture):
        return (
            f'<image x="{item.x:g}" y="{item.y:g}" width="{item.width:g}" '
            f'height="{item.height:g}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{_png64(item.image)}"/>'
        )
    if isinstance(item, Box):
        color = _css(item.color)
        look = f'fill="{color}"' if item.line == 0 else _outline(color, item.line)
        return (
            f'<rect x="{item.x:g}" y="{item.y:g}" width="{item.width:g}" '
            f'height="{item.height:g}" {look}/>'
        )
    return (
        f'<text x="{item.x:g}" y="{item.y:g}" font-size="{item.size:g}" '
        f'fill="{_css(item.color)}" text-anchor="{item.anchor}">{escape(item.text)}</text>'
    )


def _outline(color: str, line: float) -> str:
    return f'fill="none" stroke="{color}" stroke-width="{line:g}"'


def _png64(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def _css(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
