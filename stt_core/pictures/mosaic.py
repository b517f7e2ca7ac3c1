"""Pictures of one moment side by side, each under its title, with a legend and a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stt_core.labels import LabelClass
from stt_core.pictures.legend import (
    GROUND,
    LETTERS,
    LegendPlace,
    columns_beside,
    last_row_middle,
    legend_below,
    legend_beside,
    row_height,
)
from stt_core.pictures.lettering import load_font, shorten, text_width

_SMALLEST_TEXT, _LARGEST_TEXT = 11, 30
_TEXT_SHARE = 0.055
"""Of the panel's height."""
_LEAST_PANEL = 16
"""Pixels of width below which no limit on the whole shrinks a panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicPlan:
    """What a mosaic looks like."""

    titles: tuple[str, ...]
    """One a panel, row by row; without any there are no title bars."""
    columns: int
    size: tuple[int, int]
    """Width and height of a panel's picture as it is handed in, pixels."""
    legend: tuple[LabelClass, ...] = ()
    place: LegendPlace = "none"
    caption: str = ""
    """The longest that will be drawn; "" for none."""
    max_side: int = 3840
    """Pixels. Panels are shrunk until neither side of the whole exceeds it; a legend that leaves
    them less than half of that makes the whole larger instead."""

    def __post_init__(self) -> None:
        if not self.titles or self.columns < 1 or min(*self.size, self.max_side) < 1:
            raise ValueError(
                f"a mosaic needs a panel, and sizes above 0: got {len(self.titles)} panels, "
                f"{self.columns=} {self.size=} {self.max_side=}"
            )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything lies, in pixels."""

    panel: tuple[int, int]  # width, height
    corners: tuple[tuple[int, int], ...]  # x, y of each panel's picture
    text: int
    bar: int  # height of a title bar, 0 without titles
    size: tuple[int, int]  # of the whole: width, height
    legend: NDArray[np.uint8] | None
    legend_at: tuple[int, int]
    caption_end: tuple[int, float]  # x of its right end, y of its middle


class Mosaic:
    """Draws pictures into one plan. What does not change is drawn once."""

    def __init__(self, plan: MosaicPlan) -> None:
        self._plan = plan
        self._layout = _lay_out(plan)
        self._ground = self._draw_ground()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole, pixels."""
        return self._layout.size

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """x, y of the top left pixel of each panel's picture."""
        return self._layout.corners

    @property
    def panel(self) -> tuple[int, int]:
        """Width and height of each panel's picture as it is drawn, pixels."""
        return self._layout.panel

    def draw(self, pictures: Sequence[NDArray[np.uint8]], caption: str = "") -> NDArray[np.uint8]:
        """The whole, ``[h, w, 3]`` RGB.

        Args:
            pictures: ``[H, W, 3]`` RGB of each panel, of the plan's size.
            caption: what stands in the lower right corner.
        """
        width, height = self._plan.size
        wanted = (height, width, 3)
        if len(pictures) != len(self.corners) or any(p.shape != wanted for p in pictures):
            raise ValueError(
                f"{len(self.corners)} pictures of {wanted} are needed, "
                f"got {[p.shape for p in pictures]}"
            )
        canvas = self._ground.copy()
        wide, high = self.panel
        for picture, (x, y) in zip(pictures, self.corners, strict=True):
            shown = picture
            if (wide, high) != self._plan.size:
                shown = cv2.resize(picture, self.panel, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            canvas[y : y + high, x : x + wide] = shown
        if caption:
            self._write_caption(canvas, caption)
        return canvas

    def _draw_ground(self) -> NDArray[np.uint8]:
        layout = self._layout
        canvas = Image.new("RGB", layout.size, GROUND)
        draw = ImageDraw.Draw(canvas)
        if layout.bar:
            wide, font = layout.panel[0], load_font(layout.text)
            for title, (x, y) in zip(self._plan.titles, layout.corners, strict=True):
                fitting = shorten(title, layout.text, wide - layout.text)
                draw.text((x + wide / 2, y - layout.bar / 2), fitting, LETTERS, font, "mm")
        if layout.legend is not None:
            canvas.paste(Image.fromarray(layout.legend), layout.legend_at)
        return np.array(canvas)

    def _write_caption(self, canvas: NDArray[np.uint8], caption: str) -> None:
        layout = self._layout
        end, middle = layout.caption_end
        room = text_width(caption, layout.text)
        left = max(0, end - room - 1)
        top = max(0, math.floor(middle - layout.text))
        strip = canvas[top : math.ceil(middle + layout.text), left : end + 1]
        image = Image.fromarray(strip)
        place = (end - left, middle - top)
        ImageDraw.Draw(image).text(place, caption, LETTERS, load_font(layout.text), "rm")
        strip[:] = np.asarray(image)


def _lay_out(plan: MosaicPlan) -> _Layout:
    """The largest layout within the limit, or the smallest there is."""
    wide, high = plan.size
    columns, rows = _grid(plan)
    # half the limit for the panels, along the longer side
    least = max(_LEAST_PANEL, math.floor(plan.max_side / 2 / max(columns, rows * high / wide)))
    while True:
        layout = _with_panels(plan, wide)
        longest = max(layout.size)
        if longest <= plan.max_side or wide <= least:
            return layout
        wide = max(least, min(wide - 1, wide * plan.max_side // longest))


def _with_panels(plan: MosaicPlan, wide: int) -> _Layout:
    """The layout with panels of so many pixels of width."""
    high = max(1, round(wide * plan.size[1] / plan.size[0]))
    text = min(_LARGEST_TEXT, max(_SMALLEST_TEXT, round(_TEXT_SHARE * high)))
    bar = round(1.8 * text) if any(plan.titles) else 0
    columns, rows = _grid(plan)
    gap = max(2, text // 4) if len(plan.titles) > 1 else 0
    grid = (columns * (wide + gap) - gap, rows * (bar + high + gap) - gap)
    legend = _legend(plan, grid, text)
    width, height = grid
    legend_at, middle = (0, height), 0.0
    if legend is not None and plan.place == "beside":
        legend_at = (width, 0)
        width, height = width + legend.shape[1], max(height, legend.shape[0])
        middle = height - 0.75 * row_height(text)
    elif legend is not None:
        width, height = max(width, legend.shape[1]), height + legend.shape[0]
        middle = height - last_row_middle(text)
    if plan.caption and not _joins_legend(plan, grid, text):
        width = max(width, _caption_room(plan, text))
        middle = height + 0.9 * text
        height += round(1.8 * text)
    # a legend that is wider than the panels has them in its middle
    shift = 0 if plan.place == "beside" else (width - grid[0]) // 2
    corners = tuple(
        (shift + column * (wide + gap), row * (bar + high + gap) + bar)
        for row, column in (divmod(i, columns) for i in range(len(plan.titles)))
    )
    return _Layout(
        panel=(wide, high),
        corners=corners,
        text=text,
        bar=bar,
        size=(width, height),
        legend=legend,
        legend_at=legend_at,
        caption_end=(width - text, middle),
    )


def _grid(plan: MosaicPlan) -> tuple[int, int]:
    """Columns and rows."""
    columns = min(plan.columns, len(plan.titles))
    return columns, math.ceil(len(plan.titles) / columns)


def _legend(plan: MosaicPlan, grid: tuple[int, int], text: int) -> NDArray[np.uint8] | None:
    if not plan.legend or plan.place == "none":
        return None
    room = _caption_room(plan, text) if _joins_legend(plan, grid, text) else 0
    if plan.place == "below":
        return legend_below(plan.legend, grid[0], text, aside=room)
    foot = np.full((row_height(text) if room else 0, 1, 3), GROUND, np.uint8)
    entries = legend_beside(plan.legend, grid[1] - len(foot), text, width=room)
    return np.concatenate([entries, np.repeat(foot, entries.shape[1], 1)])


def _joins_legend(plan: MosaicPlan, grid: tuple[int, int], text: int) -> bool:
    """Whether the caption stands at the legend's end rather than in a row of its own."""
    if not plan.caption or not plan.legend or plan.place == "none":
        return False
    if plan.place == "below":
        return _caption_room(plan, text) <= grid[0] // 3
    heights = (grid[1], grid[1] - row_height(text))
    alone, together = (columns_beside(len(plan.legend), high, text) for high in heights)
    return alone == together


def _caption_room(plan: MosaicPlan, text: int) -> int:
    return text_width(plan.caption, text) + 2 * text if plan.caption else 0
