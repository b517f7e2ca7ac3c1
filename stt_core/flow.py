"""Optical flow between two images of one video."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

FlowName = Literal["dis", "exact", "flo"]
"""Where flow comes from: OpenCV's DIS, a scene generator that knows it, a folder of .flo files."""


def dis_flow(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where every point of `image` is in `other`, by OpenCV's DIS, preset medium, on grey images.

    Args:
        image: ``[H, W, 3]`` RGB.
        other: of the same size.

    Returns:
        ``[H, W, 2]`` u, v pixels: the point at (x, y) is at (x + u, y + v) in `other`.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (image, other))
    return search.calc(*grey, None).astype(np.float32)  # type: ignore[call-overload]
