"""How much of each class is found: confusion and intersection over union (method, 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(
    predicted: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by (target, predicted).

    Args:
        predicted: class ids of any shape, below `num_classes`.
        target: ids of the same shape; those at or above `num_classes` are not counted.
        num_classes: how many classes there are.

    Returns:
        ``[num_classes, num_classes]``.
    """
    counted = target < num_classes
    cells = target[counted].astype(np.int64) * num_classes + predicted[counted]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) of each class, ``[classes]``; NaN for a class that never occurs."""
    hit = np.diagonal(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64], *, absent_counts_zero: bool = False) -> float:
    """Mean over the classes that occur, or over all with absent ones as 0 (ETC's way)."""
    each = iou(matrix)
    if absent_counts_zero:
        return float(np.nan_to_num(each).mean())
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")
