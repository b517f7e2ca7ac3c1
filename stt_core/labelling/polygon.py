"""Polygon and lasso, which is a polygon of many points: what lies inside an outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Change, Guard, painted
from stt_core.labelling.checks import Labels, Mask, check_id, check_labels, check_points
from stt_core.labels import UNLABELLED


def polygon(
    labels: Labels,
    points: NDArray[np.float64],
    class_id: int,
    guard: Guard = FREE,
    *,
    subtract: bool = False,
) -> Change | None:
    """Give what lies inside an outline a class, or take it from that class.

    Args:
        labels: the map.
        points: ``[n, 2]`` x, y in image pixels, at least three; the last is joined to the first.
        class_id: a class, VOID or UNLABELLED.
        guard: what may be painted.
        subtract: what has the class becomes unlabelled, in place of what has not getting it.

    Raises:
        LabellingError: the class, or with `subtract` also what is not labelled, is locked.
        ValueError: not a label map, points or an id.
    """
    check_labels(labels)
    corner, mask = inside(points, labels.shape)
    if not subtract:
        return painted(labels, mask, class_id, guard, corner)
    check_id(class_id)
    guard.check_paint(class_id)
    (y, x), (height, width) = corner, mask.shape
    its = labels[y : y + height, x : x + width] == class_id
    return painted(labels, mask & its, UNLABELLED, guard, corner)


def inside(points: NDArray[np.float64], size: tuple[int, ...]) -> tuple[tuple[int, int], Mask]:
    """Which pixels have their centre inside an outline, by the even-odd rule.

    A centre on the outline belongs to what lies to its right, or below it where it is level: of
    two polygons with a common side every pixel along it belongs to exactly one.

    Args:
        points: ``[n, 2]`` x, y in image pixels, at least three.
        size: H, W.

    Returns:
        Topmost row and leftmost column of a box, and ``[h, w]`` of it; the box is empty where the
        outline passed the image by.

    Raises:
        ValueError: not points.
    """
    check_points(points, least=3)
    turned = np.roll(points, -1, axis=0)
    # From top to bottom, so that a common side is crossed at the same place by both its polygons.
    down = (points[:, 1] < turned[:, 1])[:, None]
    top, bottom = np.where(down, points, turned), np.where(down, turned, points)
    low, high = (np.ceil(end[:, 1] - 0.5).clip(0, size[0]) for end in (top, bottom))
    counts = (high - low).astype(np.int64)
    if not counts.any():
        return (0, 0), np.zeros((0, 0), np.bool_)
    side = np.repeat(np.arange(len(points)), counts)
    begin = low.astype(np.int64) - (counts.cumsum() - counts)
    rows = np.arange(len(side)) + np.repeat(begin, counts)
    (x0, y0), (x1, y1) = top[side].T, bottom[side].T
    crossed = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    first = np.ceil(crossed - 0.5).clip(0, size[1]).astype(np.int64)
    corner = int(rows.min()), int(first.min())
    odd = np.zeros((rows.max() + 1 - corner[0], first.max() + 1 - corner[1]), np.uint8)
    # Every crossing turns inside into outside for the rest of its row; only the lowest bit counts.
    np.add.at(odd, (rows - corner[0], first - corner[1]), 1)
    np.cumsum(odd, axis=1, dtype=np.uint8, out=odd)
    return corner, (odd[:, :-1] & 1).view(np.bool_)
