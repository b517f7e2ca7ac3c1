"""Augmentation that treats a clip as one: every frame gets the same view and the same light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.config import TrainConfig
from stt_core.data.clips import LabelledClip
from stt_core.labels import IGNORED, VOID

_FILL = (124, 116, 104)
"""ImageNet's mean colour: 0 once normalised."""


@dataclass(frozen=True, slots=True)
class View:
    """One random look at a clip."""

    matrix: NDArray[np.float64]
    """``[2, 3]`` from source pixel indices to crop pixel indices."""
    table: NDArray[np.uint8]
    """``[3, 256]`` new value of each old one, by colour channel."""


def augment(clip: LabelledClip, config: TrainConfig, rng: np.random.Generator) -> LabelledClip:
    """A random scale, flip, crop and light of a clip, of size `config.crop`.

    Outside the image the crop shows the mean colour and is ignored in the labels.
    """
    view = draw_view(clip.labels.shape, config, rng)
    height, width = config.crop
    labels = cv2.warpAffine(
        np.where(clip.labels >= VOID, np.uint8(IGNORED), clip.labels),
        view.matrix,
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderValue=IGNORED,
    )
    images = [_see(image, view, (width, height)) for image in (clip.image, *clip.past)]
    return LabelledClip(images[0], labels.astype(np.uint8), tuple(images[1:]))


def draw_view(shape: tuple[int, ...], config: TrainConfig, rng: np.random.Generator) -> View:
    """Draw a view of a ``[H, W]`` image."""
    low, high = np.log(config.scale)
    scale = np.exp(rng.uniform(low, high)) * config.short_side / min(shape)
    height, width = shape[0] * scale, shape[1] * scale
    # where the crop is larger than the image, the image lies somewhere inside it
    left = rng.uniform(*sorted((0.0, width - config.crop[1])))
    top = rng.uniform(*sorted((0.0, height - config.crop[0])))
    mirror = rng.random() < 0.5
    a, b = (-scale, width - left - 1) if mirror else (scale, -left)
    matrix = np.array([[a, 0, b], [0, scale, -top]])
    return View(matrix, _light(rng))


def _see(image: NDArray[np.uint8], view: View, size: tuple[int, int]) -> NDArray[np.uint8]:
    shrinks = abs(view.matrix[0, 0]) < 0.75
    if shrinks:  # against aliasing: warpAffine samples four pixels whatever the scale
        image = cv2.blur(image, (2, 2)).astype(np.uint8)
    seen = cv2.warpAffine(image, view.matrix, size, flags=cv2.INTER_LINEAR, borderValue=_FILL)
    return cv2.LUT(seen, view.table.T[None].copy()).astype(np.uint8)


def _light(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast and gamma of the clip, with a slight tint."""
    x = np.linspace(0, 1, 256)
    gamma, contrast = np.exp(rng.uniform(-0.3, 0.3)), rng.uniform(0.75, 1.3)
    shift = rng.uniform(-0.1, 0.1)
    tint = rng.uniform(0.92, 1.08, (3, 1))
    curve = ((x**gamma - 0.5) * contrast + 0.5 + shift) * tint
    return (curve * 255).round().clip(0, 255).astype(np.uint8)
