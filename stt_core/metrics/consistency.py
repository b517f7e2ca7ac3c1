"""How steady label maps are over time, by the `plain` protocol (method, 3.2)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stt_core.metrics.segmentation import confusion


def plain_consistency(
    labels: Iterable[NDArray[np.uint8]], flows: Iterable[NDArray[np.float32]], num_classes: int
) -> float:
    """Temporal consistency over one clip, in [0, 1]; NaN where nothing can be compared.

    The label map of the frame before is warped (nearest pixel) onto each frame; pixels that come
    from outside the image are left out. Per-class intersection and union are summed over all
    pairs, then averaged over the classes that occur.

    Args:
        labels: ``[H, W]`` of consecutive frames.
        flows: ``[H, W, 2]`` u, v pixels from each frame but the first to the one before it.
        num_classes: ids at or above it are left out.
    """
    total = np.zeros((num_classes, num_classes), np.int64)
    maps = iter(labels)
    before = next(maps)
    for now, flow in zip(maps, flows, strict=True):
        warped, inside = warp_nearest(before, flow)
        kept = inside & (now < num_classes) & (warped < num_classes)
        total += confusion(warped[kept], now[kept], num_classes)
        before = now
    hit = np.diagonal(total)
    union = total.sum(0) + total.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean()) if (union > 0).any() else float("nan")


def warp_nearest(
    labels: NDArray[np.uint8], flow: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Fetch ``labels[x + flow(x)]`` for every pixel, and say where that lies inside the image."""
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    from_x = np.rint(x + flow[..., 0]).astype(int)
    from_y = np.rint(y + flow[..., 1]).astype(int)
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    return labels[from_y.clip(0, height - 1), from_x.clip(0, width - 1)], inside
