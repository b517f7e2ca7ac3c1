"""Brush, eraser and scribbles: a disc drawn along a line, exact to the pixel.

A pixel is covered where its centre is no further than the radius from the line through the points,
so that there are no gaps, however far apart those are. What is covered of one row by one piece of
the line is a span, since the piece with its round ends is convex; finding spans in place of testing
pixels is what makes wide brushes quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Change, Guard, joined, painted
from stt_core.labelling.checks import Labels, Mask, check_points
from stt_core.labels import UNLABELLED, Stroke

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Pieces(NamedTuple):
    """Pieces of the line, one for each row they may touch; all ``[n]``."""

    ax: Floats
    ay: Floats
    bx: Floats
    by: Floats
    y: Floats
    """Of the row's centre."""
    radius: float

    def at(self, chosen: NDArray[np.bool_]) -> _Pieces:
        """Those of them."""
        ax, ay, bx, by, y = (
            field[chosen] for field in (self.ax, self.ay, self.bx, self.by, self.y)
        )
        return _Pieces(ax, ay, bx, by, y, self.radius)


def brush(
    labels: Labels, points: Floats, radius: float, class_id: int, guard: Guard = FREE
) -> Change | None:
    """Paint along a line.

    Args:
        labels: the map.
        points: ``[n, 2]`` x, y in image pixels, at least one; they may lie outside.
        radius: of the disc, in image pixels, above 0.
        class_id: a class, VOID, or UNLABELLED to erase.
        guard: what may be painted.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map, points, a radius or an id.
    """
    corner, mask = under_brush(points, radius, labels.shape)
    return painted(labels, mask, class_id, guard, corner)


def eraser(labels: Labels, points: Floats, radius: float, guard: Guard = FREE) -> Change | None:
    """Take labels away along a line; arguments and errors as of :func:`brush`."""
    return brush(labels, points, radius, UNLABELLED, guard)


def scribbles(labels: Labels, strokes: Iterable[Stroke], guard: Guard = FREE) -> Change | None:
    """Several strokes, one after the other, as one change.

    They label what lies under them and nothing else. Raises as :func:`brush` does.
    """
    after = labels
    for stroke in strokes:
        change = brush(after, stroke.points, stroke.radius, stroke.class_id, guard)
        after = after if change is None else change.on(after)
    return joined(labels, after)


def under_brush(
    points: Floats, radius: float, size: tuple[int, ...]
) -> tuple[tuple[int, int], Mask]:
    """What a brush covers, to be shown before it paints.

    Args:
        points: ``[n, 2]`` x, y in image pixels, at least one.
        radius: in image pixels.
        size: H, W.

    Returns:
        Topmost row and leftmost column of a box, and ``[h, w]`` of it; the box is empty where the
        brush passed the image by.

    Raises:
        ValueError: not points or a radius.
    """
    check_points(points, least=1)
    if not 0 < radius <= 1e6:
        raise ValueError(f"the radius must lie in (0, 1e6], got {radius}")
    rows, first, end = _spans(points, radius, size)
    if not rows.size:
        return (0, 0), np.zeros((0, 0), np.bool_)
    (y0, y1), (x0, x1) = (rows.min(), rows.max() + 1), (first.min(), end.max())
    width = int(x1 - x0) + 1  # a column more, so that the spans of two rows never meet
    offsets = (rows - y0) * width - x0
    flat = np.zeros(int(y1 - y0) * width, np.bool_)
    for begin, stop in _merged(offsets + first, offsets + end):
        flat[begin:stop] = True
    return (int(y0), int(x0)), flat.reshape(-1, width)[:, :-1]


def _merged(first: Ints, end: Ints) -> Iterator[tuple[int, int]]:
    """Spans made one where they meet."""
    first, end = np.sort(first), np.sort(end)
    # Where the i-th span begins behind the i-th end, all spans before it are over.
    fresh = np.flatnonzero(first[1:] > end[:-1])
    return zip(
        [int(first[0]), *first[fresh + 1].tolist()],
        [*end[fresh].tolist(), int(end[-1])],
        strict=True,
    )


def _spans(points: Floats, radius: float, size: tuple[int, ...]) -> tuple[Ints, Ints, Ints]:
    """Row, first column and column behind the last one of all spans within the image."""
    rows, pieces = _pieces(points, radius, size[0])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left, right = _ends(pieces)
    there = left <= right
    rows, left, right = rows[there], left[there], right[there]
    pieces = pieces.at(there)
    first = np.ceil(left - 0.5).clip(-1, size[1])
    last = np.floor(right - 0.5).clip(-1, size[1])
    # The ends may be off by rounding; what is covered is said by `_covered` alone.
    first += np.where(_covered(pieces, first - 1), -1, ~_covered(pieces, first))
    last -= np.where(_covered(pieces, last + 1), -1, ~_covered(pieces, last))
    first, end = first.clip(0), last.clip(max=size[1] - 1) + 1
    some = first < end
    return rows[some], first[some].astype(np.int64), end[some].astype(np.int64)


def _pieces(points: Floats, radius: float, height: int) -> tuple[Ints, _Pieces]:
    """The rows each piece of the line may touch, and the pieces to go with them."""
    start, stop = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    low = np.floor(np.minimum(start, stop)[:, 1] - radius).clip(0, height).astype(np.int64)
    high = np.ceil(np.maximum(start, stop)[:, 1] + radius).clip(0, height).astype(np.int64)
    counts = high - low
    piece = np.repeat(np.arange(len(start)), counts)
    rows = np.arange(len(piece)) + np.repeat(low - (counts.cumsum() - counts), counts)
    (ax, ay), (bx, by) = start[piece].T, stop[piece].T
    return rows, _Pieces(ax, ay, bx, by, rows + 0.5, radius)


def _ends(p: _Pieces) -> tuple[Floats, Floats]:
    """Least and greatest x of each piece on its row, about; left > right where it has none."""
    dx, dy, up = p.bx - p.ax, p.by - p.ay, p.y - p.ay
    square = dx * dx + dy * dy
    # The straight part: between its ends, and no further than the radius to the side.
    along = _between(-up * dy, square - up * dy, dx)
    wide = p.radius * np.sqrt(square)
    aside = _between(up * dx - wide, up * dx + wide, dy)
    left = p.ax + np.maximum(along[0], aside[0])
    right = p.ax + np.minimum(along[1], aside[1])
    none = (square == 0) | ~(left <= right)
    left, right = np.where(none, np.inf, left), np.where(none, -np.inf, right)
    for x, y in ((p.ax, p.ay), (p.bx, p.by)):
        room = p.radius**2 - (p.y - y) ** 2
        half = np.sqrt(room)  # NaN where the disc does not reach the row
        left, right = np.fmin(left, x - half), np.fmax(right, x + half)
    return left, right


def _between(low: Floats, high: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """For which x low <= slope x <= high; all or none where the slope is 0."""
    ends = low / slope, high / slope
    flat = slope == 0
    inside = (low <= 0) & (high >= 0)
    left = np.where(flat, np.where(inside, -np.inf, np.inf), np.minimum(*ends))
    right = np.where(flat, np.where(inside, np.inf, -np.inf), np.maximum(*ends))
    return left, right


def _covered(p: _Pieces, column: Floats) -> NDArray[np.bool_]:
    """Whether the centre of that pixel of the row is near enough to the piece."""
    x = column + 0.5
    dx, dy = p.bx - p.ax, p.by - p.ay
    square, reach = dx * dx + dy * dy, p.radius**2
    along = (x - p.ax) * dx + (p.y - p.ay) * dy
    aside = (p.y - p.ay) * dx - (x - p.ax) * dy
    beside = (along >= 0) & (along <= square) & (square > 0)
    middle = beside & (aside**2 <= reach * square)
    begin = (x - p.ax) ** 2 + (p.y - p.ay) ** 2 <= reach
    end = (x - p.bx) ** 2 + (p.y - p.by) ** 2 <= reach
    return middle | begin | end
