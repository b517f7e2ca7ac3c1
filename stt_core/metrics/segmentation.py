"""How much of each class is found: confusion, intersection over union, boundary IoU (method, 3.1).

C: number of classes. H, W: size of a map.
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Average = Literal["clean", "strict"]
"""How a mean over classes treats those that never occur: `clean` drops them, `strict` counts 0."""

BOUNDARY_SHARE = 0.02
"""Width of a boundary band as a share of the image's diagonal (Cheng et al. 2021)."""


def confusion(
    predicted: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by (target, predicted).

    Args:
        predicted: class ids of any shape, below `num_classes` wherever the target's are.
        target: ids of the same shape; those at or above `num_classes` are not counted.
        num_classes: how many classes there are.

    Returns:
        ``[C, C]``.

    Raises:
        ValueError: a prediction of no class; :func:`open_confusion` counts those too.
    """
    counted = open_confusion(predicted, target, num_classes)
    if counted[:, -1].any():
        raise ValueError(f"predicted ids must lie below {num_classes=}, got {predicted.max()}")
    return counted[:, :-1]


def open_confusion(
    predicted: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by (target, predicted), where a prediction may be of no known class.

    Args:
        predicted: ids of any shape; those at or above `num_classes` share the last column.
        target: ids of the same shape; those at or above `num_classes` are not counted.
        num_classes: how many classes there are, at most 254.

    Returns:
        ``[C, C + 1]``. The last column takes pixels from their class and gives them to none.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"the maps differ in size: {predicted.shape=} {target.shape=}")
    return count_pairs(predicted, target, num_classes)[:num_classes]


def count_pairs(
    columns: NDArray[np.uint8], rows: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """``[C + 1, C + 1]`` pixels by (row id, column id), ids from `num_classes` on taken as one."""
    side = num_classes + 1  # at most 255, so that a cell's number fits 16 bits
    cells = np.minimum(rows, num_classes).astype(np.uint16) * np.uint16(side)
    cells += np.minimum(columns, num_classes)
    return np.bincount(cells.ravel(), minlength=side**2).reshape(side, side)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) of each class, NaN for a class that never occurs.

    Args:
        matrix: ``[C, C]`` or ``[C, C + 1]`` of the functions above.

    Returns:
        ``[C]``.
    """
    hit = np.diagonal(matrix)
    return share(hit, matrix.sum(1) + matrix[:, : len(matrix)].sum(0) - hit)


def mean_iou(matrix: NDArray[np.int64], average: Average = "clean") -> float:
    """Mean IoU over the classes; NaN where nothing was counted."""
    return mean_over(iou(matrix), average)


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of the labelled pixels that got their class; NaN where nothing was counted."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else math.nan


def mean_over(values: NDArray[np.float64], average: Average) -> float:
    """Mean of the classes' values, NaN for classes that never occur; NaN if none does."""
    occur = np.isfinite(values)
    if not occur.any():
        return math.nan
    return float(np.nan_to_num(values).mean() if average == "strict" else values[occur].mean())


def share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Part of whole by element, NaN where the whole is 0."""
    empty = np.full(part.shape, np.nan)
    return np.divide(part, whole, out=empty, where=whole > 0)


def boundary_distance(shape: tuple[int, ...], width: float = BOUNDARY_SHARE) -> int:
    """Pixels a boundary band is wide in an ``[H, W]`` map, at least 1."""
    return max(1, round(width * math.hypot(*shape)))


def boundary_counts(
    predicted: NDArray[np.uint8],
    target: NDArray[np.uint8],
    num_classes: int,
    width: float = BOUNDARY_SHARE,
) -> NDArray[np.int64]:
    """What boundary IoU adds up over a data set (Cheng et al. 2021).

    Of each class, the pixels within `width` of the region's edge are compared, along the image's
    border too, as in the authors' code. Pixels without a label are in neither map, and an edge
    towards them is none: nobody knows what is there.

    Args:
        predicted: ``[H, W]`` ids; those at or above `num_classes` are one more region.
        target: ``[H, W]`` ids; those at or above `num_classes` are not counted.
        num_classes: how many classes there are, at most 254.
        width: of the band, as a share of the diagonal.

    Returns:
        ``[2, C]`` pixels: of the bands' intersections, and of their unions.
    """
    distance = boundary_distance(target.shape, width)
    void = target >= num_classes
    known = np.minimum(predicted, num_classes)
    in_target = _band(target, void, distance)
    in_predicted = _band(known, void, distance)
    both = in_target & in_predicted & (known == target)
    first, second, shared = (
        np.bincount(ids[where], minlength=num_classes + 1)[:num_classes]
        for ids, where in ((target, in_target), (known, in_predicted), (target, both))
    )
    return np.stack([shared, first + second - shared])


def _band(ids: NDArray[np.uint8], void: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Pixels with another id, or the image's border, within `distance` in either direction.

    One pass for all classes: a pixel's window holds another id exactly where its lowest or
    highest is another. `ids` lie below 255, apart from void ones.
    """
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    low = np.where(void, np.uint8(255), ids)
    high = np.where(void, np.uint8(0), ids + np.uint8(1))
    band = (cv2.erode(low, window) != low) | (cv2.dilate(high, window) != high)
    band[:distance] = band[-distance:] = band[:, :distance] = band[:, -distance:] = True
    return band & ~void
