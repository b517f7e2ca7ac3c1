"""Made-up images with an object in them, for the tools that look at the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def star(
    size: tuple[int, int], middle: tuple[float, float], radius: float, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A wavy blob before a background of about another colour, both mottled and noisy.

    Returns:
        ``[H, W, 3]`` RGB, and ``[H, W]`` where the blob is.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    angle = np.arctan2(y - middle[1], x - middle[0])
    blob = np.hypot(y - middle[1], x - middle[0]) < radius * (1 + 0.15 * np.sin(5 * angle))
    image = np.where(blob[..., None], (170, 120, 60), (70, 110, 120)).astype(np.float32)
    mottle = cv2.GaussianBlur(rng.normal(0, 120, (*size, 3)).astype(np.float32), (0, 0), 8)
    image += mottle + rng.normal(0, 6, (*size, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (0, 0), 0.7)
    return np.asarray(soft, np.uint8), blob


def overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & two).sum() / (one | two).sum())
