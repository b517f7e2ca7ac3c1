"""GrabCut: the object in a box, told from what surrounds the box (Rother et al. 2004).

The time is bounded: what is worked on, the box and some of its surroundings, is made smaller where
it has more than :data:`MAX_PIXELS`. The outline found there is then drawn along the edges of the
full image by a guided filter, whose coefficients are found at the small size (He and Sun 2015).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Change, Guard, LabellingError, painted
from stt_core.labelling.checks import (
    Box,
    Image,
    Labels,
    Mask,
    check_image,
    check_labels,
    check_mask,
)

MAX_PIXELS = 256 * 256
"""A tenth of a second on one core."""

_ITERATIONS = 4
_SURROUNDINGS = 0.25
"""Of the box's sides, on each side of it."""
_LEAST_SURROUNDINGS = 16
"""Pixels."""
_LEAST_SAMPLES = 5
"""So many colours are mixed in the model of either side."""
_BACK, _FRONT, _MAYBE_FRONT = int(cv2.GC_BGD), int(cv2.GC_FGD), int(cv2.GC_PR_FGD)
_REACH = 4
"""Radius of the guided filter, small pixels."""
_SMOOTHING = 1e-4
"""Of the guided filter, for brightness in 0..1."""


def grabcut(
    labels: Labels,
    image: Image,
    box: Box,
    class_id: int,
    guard: Guard = FREE,
    *,
    foreground: Mask | None = None,
    background: Mask | None = None,
) -> Change | None:
    """Give the object in a box a class; see :func:`object_in`.

    Raises:
        LabellingError: the class is locked, or as :func:`object_in`.
        ValueError: not a label map and an image of one size, an id, or as :func:`object_in`.
    """
    check_labels(labels)
    check_image(image, labels.shape)
    guard.check_paint(class_id)
    mask = object_in(image, box, foreground=foreground, background=background)
    return painted(labels, mask, class_id, guard, (box[0], box[1]))


def object_in(
    image: Image,
    box: Box,
    *,
    foreground: Mask | None = None,
    background: Mask | None = None,
) -> Mask:
    """Which pixels of a box belong to the object in it. The same for the same arguments.

    Args:
        image: ``[H, W, 3]`` RGB.
        box: y0, x0, y1, x1 around the object, within the image.
        foreground: ``[H, W]`` pixels that are part of the object.
        background: ``[H, W]`` pixels that are not; where both are set, `foreground` counts.

    Returns:
        ``[y1 - y0, x1 - x0]`` of the box. Hints outside the box say nothing.

    Raises:
        LabellingError: the box is too small, or nothing outside it tells what background is.
        ValueError: not an image and masks of one size, or a box that does not lie in it.
    """
    check_image(image)
    known = _known(image, box, foreground, background)
    (y0, x0, y1, x1), (top, left, bottom, right) = box, _with_surroundings(box, image.shape)
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    known = known[top:bottom, left:right]
    scale = min(1.0, (MAX_PIXELS / known.size) ** 0.5)
    small = _smaller(crop, scale)
    inside = _cut(small, _smaller_known(known, (small.shape[0], small.shape[1])))
    mask = inside if small.shape == crop.shape else _refined(inside, small, crop)
    mask = (mask & (known != _BACK)) | (known == _FRONT)
    return np.ascontiguousarray(mask[y0 - top : y1 - top, x0 - left : x1 - left])


def _known(
    image: Image, box: Box, foreground: Mask | None, background: Mask | None
) -> NDArray[np.uint8]:
    """``[H, W]`` what GrabCut is told of each pixel."""
    y0, x0, y1, x1 = box
    if not (0 <= y0 < y1 <= image.shape[0] and 0 <= x0 < x1 <= image.shape[1]):
        raise ValueError(f"the box must lie in the image, got {box=} {image.shape=}")
    known = np.full(image.shape[:2], _BACK, np.uint8)
    here = slice(y0, y1), slice(x0, x1)
    known[here] = _MAYBE_FRONT
    for mask, what in ((background, _BACK), (foreground, _FRONT)):
        if mask is not None:
            check_mask(mask, image.shape[:2])
            known[here][mask[here]] = what
    return known


def _with_surroundings(box: Box, size: tuple[int, ...]) -> Box:
    y0, x0, y1, x1 = box
    high, wide = (
        max(_LEAST_SURROUNDINGS, round(side * _SURROUNDINGS)) for side in (y1 - y0, x1 - x0)
    )
    return max(0, y0 - high), max(0, x0 - wide), min(size[0], y1 + high), min(size[1], x1 + wide)


def _smaller(crop: Image, scale: float) -> Image:
    height, width = (max(1, round(side * scale)) for side in crop.shape[:2])
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _smaller_known(known: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A hint of a single pixel stays one."""
    shrunk = {}
    for what in (_BACK, _FRONT):
        share = cv2.resize(
            (known == what).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA
        )
        shrunk[what] = np.asarray(share)
    small = np.full(size, _MAYBE_FRONT, np.uint8)
    small[shrunk[_BACK] > 0] = _BACK
    small[shrunk[_FRONT] > 0] = _FRONT
    return small


def _cut(image: Image, known: NDArray[np.uint8]) -> Mask:
    if (known == _BACK).sum() < _LEAST_SAMPLES:
        raise LabellingError(
            "Nothing outside the box tells what background is. Draw a smaller box, or mark some "
            "background in it."
        )
    if (known != _BACK).sum() < _LEAST_SAMPLES:
        raise LabellingError("The box is too small, or all background. Draw a larger one.")
    cv2.setRNGSeed(0)  # for the first guess of the colours
    models = np.zeros((1, 65)), np.zeros((1, 65))
    found, *_ = cv2.grabCut(
        image, known.copy(), (0, 0, 0, 0), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK
    )
    return (np.asarray(found, np.uint8) & 1).astype(np.bool_)  # foreground, certain or not


def _refined(inside: Mask, small: Image, crop: Image) -> Mask:
    """A mask at the size of `crop`, its border along the edges there."""
    guide, fine = (_brightness(image) for image in (small, crop))
    wanted = inside.astype(np.float32)
    mean, target = _mean(guide), _mean(wanted)
    slope = (_mean(guide * wanted) - mean * target) / (_mean(guide**2) - mean**2 + _SMOOTHING)
    size = crop.shape[1], crop.shape[0]
    slope, offset = (
        np.asarray(cv2.resize(_mean(each), size, interpolation=cv2.INTER_LINEAR))
        for each in (slope, target - slope * mean)
    )
    return slope * fine + offset > 0.5


def _brightness(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32) / np.float32(255)


def _mean(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    side = 2 * _REACH + 1
    return np.asarray(cv2.blur(cells, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
