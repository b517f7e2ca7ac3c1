"""Superpixels: small regions that follow the image's edges, to be painted as a whole.

They are the watersheds of one marker in each cell of a grid, set where the image is smoothest
("waterpixels", Machairas et al. 2015, without its spatial term), by OpenCV's own watershed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.brush import under_brush
from stt_core.labelling.change import FREE, Change, Guard, painted
from stt_core.labelling.checks import Image, Labels, check_image, check_labels

Superpixels = NDArray[np.int32]
"""``[H, W]`` number of each pixel's superpixel, in [0, n)."""

_SMOOTHING = 1.0
"""Pixels: against noise."""


def find_superpixels(image: Image, spacing: int = 16) -> Superpixels:
    """Cut an image into superpixels.

    Takes about a third of a second for 1024 x 2048 on one core.

    Args:
        image: ``[H, W, 3]`` RGB.
        spacing: pixels from one to the next, about; at least 4.

    Returns:
        Each of them 4-connected, numbered row by row of the grid.

    Raises:
        ValueError: not an image, or a spacing below 4.
    """
    check_image(image)
    if spacing < 4:
        raise ValueError(f"superpixels lie 4 pixels apart at least, got {spacing=}")
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), _SMOOTHING), np.uint8)
    markers = _markers(smooth, spacing)
    # watershed() writes -1 along lines between regions and around the image
    found = np.asarray(cv2.watershed(smooth, markers.copy()), np.int32)
    found = np.where(markers > 0, markers, found).clip(0)
    cross = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    while not found.all():
        # float32 holds every number of a marker exactly
        grown = np.asarray(cv2.dilate(found.astype(np.float32), cross)).astype(np.int32)
        found = np.where(found > 0, found, grown)
    return found - 1


def paint_superpixels(
    labels: Labels,
    superpixels: Superpixels,
    points: NDArray[np.float64],
    radius: float,
    class_id: int,
    guard: Guard = FREE,
) -> Change | None:
    """Give every superpixel that a brush touches a class, as a whole.

    Args:
        labels: the map.
        superpixels: of its image.
        points: ``[n, 2]`` x, y in image pixels.
        radius: of the brush; half a pixel finds the superpixels under the points.
        class_id: a class, VOID or UNLABELLED.
        guard: what may be painted.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map and superpixels of one size, points, a radius or an id.
    """
    check_labels(labels)
    fits = superpixels.dtype == np.int32 and superpixels.shape == labels.shape
    if not fits or superpixels.min() < 0:
        raise ValueError(
            f"superpixels must be int32 {labels.shape} from 0 on, got {superpixels.dtype} "
            f"{superpixels.shape}"
        )
    (y, x), mask = under_brush(points, radius, labels.shape)
    touched = np.zeros(int(superpixels.max()) + 1, np.bool_)
    touched[superpixels[y : y + mask.shape[0], x : x + mask.shape[1]][mask]] = True
    return painted(labels, touched[superpixels], class_id, guard)


def _markers(image: Image, spacing: int) -> Superpixels:
    """``[H, W]`` numbers from 1 on, 0 elsewhere: where the middle of each cell is smoothest."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    steep = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    markers = np.zeros(image.shape[:2], np.int32)
    ends = [
        np.linspace(0, side, max(1, round(side / spacing)) + 1).astype(int).tolist()
        for side in image.shape[:2]
    ]
    number = 0
    for y0, y1 in zip(ends[0], ends[0][1:], strict=False):
        for x0, x1 in zip(ends[1], ends[1][1:], strict=False):
            top, left = y0 + (y1 - y0) // 4, x0 + (x1 - x0) // 4
            middle = steep[top : y1 - (y1 - y0) // 4, left : x1 - (x1 - x0) // 4]
            row, col = divmod(int(middle.argmin()), middle.shape[1])
            number += 1
            markers[top + row, left + col] = number
    return markers
