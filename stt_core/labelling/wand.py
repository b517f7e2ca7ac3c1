"""Magic wand: what has about the colour under a point."""

from __future__ import annotations

import cv2
import numpy as np

from stt_core.labelling.change import FREE, Change, Guard, painted
from stt_core.labelling.checks import (
    Connectivity,
    Image,
    Labels,
    Mask,
    Point,
    check_connectivity,
    check_image,
    check_labels,
    pixel_at,
)


def magic_wand(
    labels: Labels,
    image: Image,
    point: Point,
    tolerance: int,
    class_id: int,
    guard: Guard = FREE,
    *,
    contiguous: bool = True,
    connectivity: Connectivity = 4,
) -> Change | None:
    """Give a class to what :func:`like_colour` finds.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map and an image of one size, an id, or as :func:`like_colour`.
    """
    check_labels(labels)
    check_image(image, labels.shape)
    mask = like_colour(image, point, tolerance, contiguous=contiguous, connectivity=connectivity)
    return painted(labels, mask, class_id, guard)


def like_colour(
    image: Image,
    point: Point,
    tolerance: int,
    *,
    contiguous: bool = True,
    connectivity: Connectivity = 4,
) -> Mask:
    """Which pixels differ from the one under the point by no more than the tolerance.

    Quick enough to be shown while the tolerance is being dragged.

    Args:
        image: ``[H, W, 3]`` RGB.
        point: x, y in image pixels.
        tolerance: greatest difference of red, green and blue each, in 0..255.
        contiguous: only those that are connected to the point by others.
        connectivity: by what neighbours.

    Returns:
        ``[H, W]``.

    Raises:
        ValueError: not an image, a tolerance or a connectivity, or the point lies outside.
    """
    check_image(image)
    check_connectivity(connectivity)
    if not 0 <= tolerance <= 255:
        raise ValueError(f"the tolerance must lie in 0..255, got {tolerance}")
    row, col = pixel_at(point, image.shape)
    if not contiguous:
        seed = image[row, col].astype(np.float64)
        near = cv2.inRange(image, seed - tolerance, seed + tolerance)
        return np.asarray(near).astype(np.bool_)
    reached = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    # It only reads the image with this flag, but refuses one that is not to be written to.
    flags = connectivity | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 1 << 8
    source = image if image.flags.writeable and image.flags.c_contiguous else image.copy()
    steps = (tolerance,) * 3
    cv2.floodFill(source, reached, (col, row), 0, steps, steps, flags)
    return reached[1:-1, 1:-1].view(np.bool_)
