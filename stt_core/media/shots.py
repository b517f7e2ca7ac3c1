"""Whether a film was cut between two frames.

Attention across a cut reads noise. The answer depends on the two frames alone, so that a frame
sought gets the same key frames as one that was played to.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMBNAIL = (32, 18)
_ENOUGH = 144
"""Rows or columns that are averaged to a thumbnail: of larger images every nth is."""
_LEAST_CHANGE = 15.0
"""Mean change of the thumbnails' values at a cut, of 255; driving at 15 Hz stays below 9."""
_MOST_LIKENESS = 0.85
"""Correlation of the thumbnails at a cut: a flash or a fade changes values but not the picture.
Driving stays above 0.9 from frame to frame, and so does a flash of 1.6 times the light; one pair
of street scenes in a thousand is as alike as this."""


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What :func:`is_cut` looks at of ``[H, W, 3]`` RGB: ``[18, 32, 3]`` in [0, 255]."""
    step = max(1, min(image.shape[0] // _ENOUGH, image.shape[1] // _ENOUGH))
    small = cv2.resize(image[::step, ::step], _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (3, 3), 0).astype(np.float32)


def is_cut(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether two adjacent frames, given as thumbnails, show different shots."""
    if float(np.abs(before - after).mean()) < _LEAST_CHANGE:
        return False
    a, b = before - before.mean(), after - after.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return spread > 0 and float((a * b).sum()) / spread < _MOST_LIKENESS
