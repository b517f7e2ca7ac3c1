"""The words of this room as types, and whether what a tool is handed is what it should be.

Points are x, y in image pixels with the origin at the top left corner: pixel (row, column) covers
[column, column + 1) x [row, row + 1) and has its centre at (column + 0.5, row + 0.5). All checks
raise ValueError with the values.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import UNLABELLED, VOID

Labels = NDArray[np.uint8]
"""``[H, W]`` class ids, VOID and UNLABELLED."""
Mask = NDArray[np.bool_]
"""``[H, W]``."""
Image = NDArray[np.uint8]
"""``[H, W, 3]`` RGB."""
Point = tuple[float, float]
"""x, y in image pixels."""
Box = tuple[int, int, int, int]
"""y0, x0, y1, x1 in image pixels; the last row and column lie outside."""
Connectivity = Literal[4, 8]
"""Whether pixels that touch at a corner only are neighbours."""

_FAR = 1e6
"""Pixels: so that no product of coordinates overflows."""


def check_labels(labels: Labels, size: tuple[int, ...] | None = None) -> None:
    """See that an array is a label map, of this height and width if one is given."""
    if labels.dtype != np.uint8 or labels.ndim != 2 or not labels.size:
        raise ValueError(f"labels must be uint8 [H, W], got {labels.dtype} {labels.shape}")
    if size is not None and labels.shape != tuple(size):
        raise ValueError(f"the sizes differ: {labels.shape=} {size=}")


def check_image(image: Image, size: tuple[int, ...] | None = None) -> None:
    """See that an array is an RGB image, of this height and width if one is given."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"an image must be uint8 [H, W, 3], got {image.dtype} {image.shape}")
    if size is not None and image.shape[:2] != tuple(size):
        raise ValueError(f"the sizes differ: {image.shape=} {size=}")


def check_mask(mask: Mask, size: tuple[int, ...]) -> None:
    """See that an array is a mask of this height and width."""
    if mask.dtype != np.bool_ or mask.shape != tuple(size):
        raise ValueError(f"a mask must be bool {tuple(size)}, got {mask.dtype} {mask.shape}")


def check_id(class_id: int) -> None:
    """See that a number is a class id, VOID or UNLABELLED."""
    if not 0 <= class_id <= UNLABELLED:
        raise ValueError(
            f"a class id lies in 0..{VOID - 1}, or is {VOID} (void) or {UNLABELLED} (not "
            f"labelled), got {class_id}"
        )


def check_connectivity(connectivity: int) -> None:
    """See that it is 4 or 8."""
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, got {connectivity}")


def check_points(points: NDArray[np.float64], least: int) -> None:
    """See that an array is at least that many points; they may lie outside the image."""
    if points.dtype != np.float64 or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must be float64 [n, 2], got {points.dtype} {points.shape}")
    if len(points) < least:
        raise ValueError(f"there must be {least} points at least, got {len(points)}")
    if not (np.abs(points) <= _FAR).all():  # nor with NaN
        raise ValueError(f"points must lie within {_FAR:g} pixels, got {points.tolist()}")


def pixel_at(point: Point, size: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the pixel under a point.

    Raises:
        ValueError: the point lies outside a map of this height and width.
    """
    x, y = point
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise ValueError(f"the point must lie in the image, got {point=} {size=}")
    return math.floor(y), math.floor(x)


def name_of(class_id: int) -> str:
    """How a sentence calls an id."""
    return {VOID: "void", UNLABELLED: "not labelled"}.get(class_id, f"class {class_id}")
