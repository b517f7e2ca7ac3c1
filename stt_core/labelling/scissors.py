"""Intelligent scissors: the path along the image's edges from one click to the mouse."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.checks import Box, Image, Point, check_image, pixel_at

MAX_PIXELS = 512 * 1024
"""An anchor then takes 0.2 seconds on one core; a path to the mouse less than a millisecond."""

_CANNY = (32, 100)
_STEEPEST = 200
"""Gradients beyond are all the same edge."""


class Scissors:
    """The scissors on one image. For one thread at a time.

    An image of more than :data:`MAX_PIXELS` is made smaller, and paths are no finer than that:
    hand over what is looked at (`within`) to have them as fine as it is shown.

    Args:
        image: ``[H, W, 3]`` RGB.
        within: the part to work on; None for all of it.

    Raises:
        ValueError: not an image, or a box that does not lie in it.
    """

    def __init__(self, image: Image, within: Box | None = None) -> None:
        check_image(image)
        self._box = y0, x0, y1, x1 = within or (0, 0, *image.shape[:2])
        if not (0 <= y0 < y1 <= image.shape[0] and 0 <= x0 < x1 <= image.shape[1]):
            raise ValueError(f"the part must lie in the image, got {within=} {image.shape=}")
        part = np.ascontiguousarray(image[y0:y1, x0:x1])
        scale = min(1.0, (MAX_PIXELS / (part.shape[0] * part.shape[1])) ** 0.5)
        self._size = tuple(max(1, round(side * scale)) for side in part.shape[:2])
        small = cv2.resize(part, self._size[::-1], interpolation=cv2.INTER_AREA)
        self._tool = cv2.segmentation.IntelligentScissorsMB()
        self._tool.setEdgeFeatureCannyParameters(*_CANNY)
        self._tool.setGradientMagnitudeMaxLimit(_STEEPEST)
        self._tool.applyImage(small)
        self._anchor: Point | None = None

    @property
    def anchor(self) -> Point | None:
        """Where paths begin; None before the first :meth:`start`."""
        return self._anchor

    def start(self, anchor: Point) -> None:
        """Let paths begin here: x, y in image pixels.

        Raises:
            ValueError: outside the part that is worked on.
        """
        self._tool.buildMap(self._cell(anchor))
        self._anchor = anchor

    def path_to(self, point: Point) -> NDArray[np.float64]:
        """The path from the anchor to a point.

        Returns:
            ``[n, 2]`` x, y in image pixels, n >= 2: the anchor, the centres of the pixels between,
            the point; as :func:`stt_core.labelling.polygon.polygon` takes it.

        Raises:
            ValueError: outside the part that is worked on, or there is no anchor yet.
        """
        if self._anchor is None:
            raise ValueError(f"the scissors have no anchor yet, got {point=}")
        cells = np.asarray(self._tool.getContour(self._cell(point))).reshape(-1, 2)
        y0, x0, y1, x1 = self._box
        steps = (x1 - x0) / self._size[1], (y1 - y0) / self._size[0]
        between = (cells[1:-1] + 0.5) * steps + (x0, y0)
        return np.concatenate([[self._anchor], between, [point]]).astype(np.float64)

    def _cell(self, point: Point) -> tuple[int, int]:
        """Column and row of the small image's pixel under a point."""
        y0, x0, y1, x1 = self._box
        row, col = pixel_at((point[0] - x0, point[1] - y0), (y1 - y0, x1 - x0))
        return col * self._size[1] // (x1 - x0), row * self._size[0] // (y1 - y0)
