"""The attention figure (the supplement's Fig. 2), and its numbers.

Red boxes enclose the query point and the key regions; deeper colour means higher similarity.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.drawing import RED, heat_rgba, window_box
from stt_core.files import replacing, write_text
from stt_core.labels import LabelClass
from stt_core.media.frame import Frame
from stt_core.pictures.figure import FAINT, Box, Figure, Picture, Text, write_figure
from stt_core.results import LookBack

_TILE = 178
_GAP = 10
_MARGIN = 24
_MAIN_WIDTH = 620
_CONTEXT_CELLS = 9
"""Shown around the query in each tile: the largest window of 9, and as much again."""

SUFFIXES = (".png", ".svg", ".json", ".npz")


@dataclass(frozen=True, slots=True)
class _Crop:
    """The part of the image a tile shows, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


def write_inspection(
    path: Path,
    look: LookBack,
    frame: Frame,
    classes: tuple[LabelClass, ...],
    *,
    head: int | None = None,
) -> None:
    """Write an inspection as a figure (.png, .svg) or as numbers (.json, .npz).

    Raises:
        ValueError: another suffix.
        OutputError: it could not be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_text(path, json.dumps(inspection_json(look, classes), indent=2) + "\n")
    elif suffix == ".npz":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                weights=look.weights,
                frames=np.array(look.frames, np.int64),
                radii=np.array(look.radii, np.int64),
                query=np.array([look.row, look.col], np.int64),
                probabilities=look.probabilities,
            )
    else:
        write_figure(path, attention_figure(look, frame, classes, head=head))


def inspection_json(look: LookBack, classes: tuple[LabelClass, ...]) -> dict[str, object]:
    """Everything of an inspection but the full maps, as plain values."""
    per_head = look.per_frame()
    return {
        "frame": look.frame,
        "x": look.x,
        "y": look.y,
        "row": look.row,
        "col": look.col,
        "selected": look.selected,
        "forced": look.forced,
        "need": round(look.need, 6),
        "key_frames": list(look.frames),
        "radii": list(look.radii),
        "keys": _keys_inside(look),
        "frame_weights": [[round(float(w), 6) for w in row] for row in per_head],
        "mean_frame_weights": [round(float(w), 6) for w in per_head.mean(0)],
        "probabilities": {
            c.name: round(float(p), 6) for c, p in zip(classes, look.probabilities, strict=True)
        },
    }


def attention_figure(
    look: LookBack,
    frame: Frame,
    classes: tuple[LabelClass, ...],
    *,
    head: int | None = None,
) -> Figure:
    """The query in its frame, the key frames with their windows, and every head's maps.

    Args:
        look: where the query looked.
        frame: the frame it lies in.
        classes: names for the probabilities.
        head: of the large tiles; None for the mean over heads.
    """
    height, width = frame.image.shape[:2]
    tall = round(_MAIN_WIDTH * height / width)
    count = max(1, len(look.frames))
    heads = look.weights.shape[0] if look.frames else 0
    small = (_TILE - _GAP) // 2
    grid_top = _MARGIN + 40 + tall + 60 + _TILE + 70
    figure = Figure(
        2 * _MARGIN + max(_MAIN_WIDTH + 420, max(7, count) * (_TILE + _GAP) - _GAP + 30),
        grid_top + (heads * (small + 6) + 30 if heads else 0) + _MARGIN,
    )
    _add_title(figure, look)
    _add_query(figure, look, frame, tall)
    _add_facts(figure, look, classes)
    if not look.frames:
        reason = "this position was not selected as a query" if look.frame else "no earlier frame"
        figure.add(Text(_MARGIN, _MARGIN + 40 + tall + 60, f"No attention: {reason}.", 18))
        return figure
    _add_keys(figure, look, head, _MARGIN + 40 + tall + 60)
    for row in range(heads):
        _add_head(figure, look, row, grid_top + row * (small + 6), small, count)
    return figure


def _add_title(figure: Figure, look: LookBack) -> None:
    state = "forced" if look.forced else "selected" if look.selected else "not selected"
    title = f"Query at pixel ({look.x}, {look.y}) of frame {look.frame}: {state}"
    figure.add(Text(_MARGIN, _MARGIN + 16, title, 20))


def _add_query(figure: Figure, look: LookBack, frame: Frame, tall: int) -> None:
    top, scale = _MARGIN + 40, _MAIN_WIDTH / frame.image.shape[1]
    figure.add(Picture(_MARGIN, top, _MAIN_WIDTH, tall, frame.image))
    x0, y0, x1, y1 = (v * scale for v in look.box)
    figure.add(Box(_MARGIN + x0, top + y0, x1 - x0, y1 - y0, RED, 3))


def _add_facts(figure: Figure, look: LookBack, classes: tuple[LabelClass, ...]) -> None:
    x, y = _MARGIN + _MAIN_WIDTH + 30, _MARGIN + 58
    lines = [
        f"grid position: row {look.row}, column {look.col}",
        f"neighbouring similarity D_NSM: {look.need:.3f}",
        f"keys inside the frames: {_keys_inside(look)}",
    ]
    for line in lines:
        figure.add(Text(x, y, line, 15))
        y += 26
    y += 16
    figure.add(Text(x, y, "Class probabilities here", 15, FAINT))
    for i in np.argsort(-look.probabilities)[:5]:
        y += 30
        share = float(look.probabilities[i])
        figure.add(
            Box(x, y - 14, 16, 16, classes[i].color, 0),
            Text(x + 24, y, classes[i].name, 15),
            Box(x + 140, y - 12, max(1.0, 160 * share), 12, FAINT, 0),
            Text(x + 310, y, f"{share:.1%}", 15),
        )


def _add_keys(figure: Figure, look: LookBack, head: int | None, top: int) -> None:
    maps = look.of_head(head)
    name = "mean of all heads" if head is None else f"head {head + 1}"
    figure.add(Text(_MARGIN, top - 14, f"Key frames, oldest left: {name}", 15, FAINT))
    shares = maps.sum((1, 2))
    for lag in range(len(look.frames)):
        x = _MARGIN + 30 + (len(look.frames) - 1 - lag) * (_TILE + _GAP)
        _add_tile(figure, look, maps[lag], float(maps.max()), lag, (x, top, _TILE))
        side = 2 * look.radii[lag] + 1
        caption = f"t-{look.frame - look.frames[lag]}   {side}x{side}   {shares[lag]:.1%}"
        figure.add(Text(x + _TILE / 2, top + _TILE + 20, caption, 14, anchor="middle"))


def _add_head(figure: Figure, look: LookBack, head: int, top: int, small: int, count: int) -> None:
    if head == 0:
        figure.add(Text(_MARGIN, top - 14, "Every head, with the weight of each frame", 15, FAINT))
    figure.add(Text(_MARGIN, top + small / 2 + 5, f"{head + 1}", 15))
    maps = look.weights[head]
    for lag in range(count):
        x = _MARGIN + 30 + (count - 1 - lag) * (_TILE + _GAP)
        _add_tile(figure, look, maps[lag], float(maps.max()), lag, (x, top, small))
        share = float(maps[lag].sum())
        figure.add(
            Box(x + small + 8, top + small / 2 - 5, max(1.0, 40 * share), 10, RED, 0),
            Text(x + small + 8, top + small / 2 + 24, f"{share:.1%}", 13),
        )


def _add_tile(
    figure: Figure,
    look: LookBack,
    weights: NDArray[np.float32],
    peak: float,
    lag: int,
    place: tuple[float, float, int],
) -> None:
    x, y, side = place
    image = look.images[lag]
    size = (image.shape[0], image.shape[1])
    grid = (weights.shape[0], weights.shape[1])
    crop = _crop_around(look, size, grid)
    heat = heat_rgba(weights, size, peak)[crop.y0 : crop.y1, crop.x0 : crop.x1]
    shown = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
    alpha = heat[..., 3:].astype(np.float32) / 255
    mixed = (shown * (1 - alpha) + heat[..., :3] * alpha).round().astype(np.uint8)
    sx, sy = side / mixed.shape[1], side / mixed.shape[0]
    r0, r1, c0, c1 = look.window(lag)
    bx0, by0, bx1, by1 = window_box((r0, r1, c0, c1), grid, size)
    figure.add(
        Picture(x, y, side, side, mixed),
        Box(
            x + (bx0 - crop.x0) * sx,
            y + (by0 - crop.y0) * sy,
            (bx1 - bx0) * sx,
            (by1 - by0) * sy,
            RED,
            2,
        ),
    )


def _crop_around(look: LookBack, size: tuple[int, int], grid: tuple[int, int]) -> _Crop:
    """A square of cells around the query, moved inside the image."""
    span_y = min(size[0], round((2 * _CONTEXT_CELLS + 1) * size[0] / grid[0]))
    span_x = min(size[1], round((2 * _CONTEXT_CELLS + 1) * size[1] / grid[1]))
    x = round((look.box[0] + look.box[2] - span_x) / 2)
    y = round((look.box[1] + look.box[3] - span_y) / 2)
    x, y = min(max(0, x), size[1] - span_x), min(max(0, y), size[0] - span_y)
    return _Crop(x, y, x + span_x, y + span_y)


def _keys_inside(look: LookBack) -> int:
    total = 0
    for lag in range(len(look.frames)):
        r0, r1, c0, c1 = look.window(lag)
        total += (r1 - r0) * (c1 - c0)
    return total
