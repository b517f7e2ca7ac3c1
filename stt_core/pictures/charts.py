"""A sweep as charts: accuracy and consistency as in the supplement's Fig. 1, and their cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stt_core.evaluation.sweep_table import Setting, Sweep, SweepRow
from stt_core.files import replacing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_Point = tuple[float, float]

DPI = 300
_SIZE = (10.5, 6.4)
"""Inches."""
_LEGEND_LETTERS = 110
"""That go in one line."""
_STEEP = 0.12
"""Share of the axis that a curve climbs around a point."""
_INK, _FAINT = "#181c20", "#5a636c"
_SETTING_COLOR, _ZERO_COLOR, _COST_COLOR = "#c8343f", "#3a444d", "#2b6cb0"
_SETTING_TITLES: dict[Setting, str] = {
    "key_frames": "key frames",
    "query_ratio": "query ratio (share of the positions)",
    "neighbour_radius": "neighbour radius r (positions)",
    "start_radius": "start radius s of the key windows (positions)",
    "end_radius": "end radius e of the key windows (positions)",
}


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    axis: str
    figure: Callable[[SweepRow], float]
    text: Callable[[float], str]
    color: str
    least_span: float
    """Of the axis, lest noise looks like an effect."""
    from_zero: bool = False


def draw_sweep(sweep: Sweep, out: Path) -> list[Path]:
    """Plot it as `out`/sweep.png and .svg; returns the files.

    Raises:
        OutputError: they cannot be written.
    """
    # takes a second to load, and only this needs it
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=_SIZE, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    grid = figure.add_gridspec(2, 2, height_ratios=(1.7, 1))
    for place, panel in enumerate(_panels(sweep)):
        _draw(figure.add_subplot(grid[divmod(place, 2)]), panel, sweep)
    # of all panels, since each may lack something; they share the line's name, the first its color
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        entries = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True)) | entries
    columns = len(entries) if sum(map(len, entries)) < _LEGEND_LETTERS else 1
    figure.legend(
        [*entries.values()],
        [*entries],
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    files = [out / "sweep.png", out / "sweep.svg"]
    for file in files:
        with replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], dpi=DPI)
    return files


def _panels(sweep: Sweep) -> tuple[_Panel, ...]:
    steady, rules = "Temporal consistency", "TC (%)"
    if sweep.protocol:
        steady += f", {sweep.pairs} pairs of frames"
        rules += f", protocol {sweep.protocol}, flow {sweep.flow}"
    return (
        _Panel(
            f"Accuracy, {sweep.frames} labelled frames",
            f"mIoU (%), average {sweep.average}",
            lambda row: 100 * row.miou,
            "{:.2f}".format,
            _SETTING_COLOR,
            1.0,
        ),
        _Panel(
            steady,
            rules,
            lambda row: 100 * row.tc,
            "{:.2f}".format,
            _SETTING_COLOR,
            1.0,
        ),
        _Panel(
            f"Latency, {sweep.device}, {sweep.precision}",
            "median ms a frame",
            lambda row: row.latency_ms,
            _milliseconds,
            _COST_COLOR,
            0.0,
            from_zero=True,
        ),
        _Panel(
            "Keys per query",
            "positions",
            lambda row: row.keys_per_query,
            "{:.0f}".format,
            _COST_COLOR,
            0.0,
            from_zero=True,
        ),
    )


def _draw(axes: Axes, panel: _Panel, sweep: Sweep) -> None:
    axes.set_title(panel.title, fontsize=10, color=_INK, loc="left")
    axes.set_xlabel(f"{_SETTING_TITLES[sweep.over]}; the model's own: {sweep.own:g}", fontsize=9)
    axes.set_ylabel(panel.axis, fontsize=9)
    axes.tick_params(labelsize=8.5, colors=_INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    points = [(float(row.value or 0), panel.figure(row)) for row in sweep.rows]
    curve = [point for point in points if math.isfinite(point[1])]
    if not curve:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_FAINT)
        axes.set(xticks=[], yticks=[])
        return
    level = panel.figure(sweep.zero)
    levels = [level] if math.isfinite(level) else []
    _frame(axes, panel, [height for _, height in curve] + levels)
    _draw_curve(axes, panel, sweep, curve)
    at, name = sweep.zero.value, f"zero point: {sweep.zero.name}"
    if levels and at is not None:
        _draw_zero_point(axes, panel, name, (at, level), curve[0])
    elif level > 0:  # 0 would be the axis
        _draw_zero_level(axes, panel, name, level, curve[-1])
    ticks = sorted({x for x, _ in points} | ({at} if at is not None else set()))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _draw_curve(axes: Axes, panel: _Panel, sweep: Sweep, curve: list[_Point]) -> None:
    x, y = zip(*curve, strict=True)
    axes.plot(x, y, "o-", color=panel.color, ms=5, label=sweep.model, zorder=3, clip_on=False)
    for point in curve:
        if point[0] == sweep.own:
            axes.plot(*point, "o", ms=10, mfc="none", mec=_INK, label="its own setting", zorder=3)
    low, high = axes.get_ylim()
    for before, point, after in zip(
        curve[:1] + curve[:-1], curve, curve[1:] + curve[-1:], strict=True
    ):
        # a steep line would run through a figure right above the point
        rise = (after[1] - before[1]) / (high - low)
        aside = -8 if rise > _STEEP else 8 if rise < -_STEEP else 0
        _write(axes, panel.text(point[1]), point, panel.color, (aside, 8))


def _draw_zero_point(axes: Axes, panel: _Panel, name: str, zero: _Point, first: _Point) -> None:
    """The zero point where it is a value of the setting."""
    x, y = zip(zero, first, strict=True)
    axes.plot(x, y, ls=":", color=_ZERO_COLOR, lw=1.2, zorder=2)
    axes.plot(
        *zero, "D", ms=7, mfc="white", mec=_ZERO_COLOR, mew=1.6, label=name, zorder=3, clip_on=False
    )
    low, high = axes.get_ylim()
    above = zero[1] >= first[1] or zero[1] - low < 0.1 * (high - low)
    _write(axes, panel.text(zero[1]), zero, _ZERO_COLOR, (0, 8 if above else -8))


def _draw_zero_level(axes: Axes, panel: _Panel, name: str, level: float, last: _Point) -> None:
    """The zero point where it is none: a level to compare with."""
    axes.axhline(level, ls="--", color=_ZERO_COLOR, lw=1.2, label=name, zorder=2)
    aside = (0, 8 if level > last[1] else -8)
    _write(axes, panel.text(level), (last[0], level), _ZERO_COLOR, aside)


def _write(axes: Axes, text: str, place: _Point, color: str, aside: tuple[float, float]) -> None:
    """A figure beside its point, legible over whatever lies there."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        place,
        aside,
        textcoords="offset points",
        ha="center",
        va="top" if aside[1] < 0 else "bottom",
        fontsize=8,
        color=color,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=4,
    )


def _frame(axes: Axes, panel: _Panel, heights: list[float]) -> None:
    """Limits with room for the figures beside the points."""
    axes.margins(x=0.09)
    low, high = min(heights), max(heights)
    if panel.from_zero:
        # points at the very bottom would lie on the axis' numbers
        axes.set_ylim(-0.08 * high if low < 0.05 * high else 0, 1.25 * high or 1)
        return
    short = max(0.0, panel.least_span - (high - low)) / 2
    span = high - low + 2 * short
    axes.set_ylim(low - short - 0.15 * span, high + short + 0.18 * span)


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
