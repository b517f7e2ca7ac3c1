"""Augmentation that treats a clip as one: every frame gets the same view and the same light.

What may differ from frame to frame (`AugmentConfig.frame_change`) is what differs between frames
of a bad camera; the target's place never does, since its labels must fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.config import AugmentConfig
from stt_core.data.clips import Clip
from stt_core.labels import VOID

_FILL = (124, 116, 104)
"""ImageNet's mean colour: 0 once normalised."""
_SHRINKS = 0.8
"""Below this scale an image is smoothed first: warpAffine reads four pixels whatever the scale."""


@dataclass(frozen=True, slots=True)
class View:
    """One random look at a clip."""

    matrix: NDArray[np.float64]
    """``[3, 3]`` from source pixel indices to crop pixel indices."""
    scale: float
    curve: NDArray[np.float64]
    """``[3, 256]`` new value in 0..1 of each old one, by colour channel."""
    blurred: bool


@dataclass(frozen=True, slots=True)
class FrameLook:
    """What differs in one frame of a clip."""

    place: NDArray[np.float64]
    """``[3, 3]`` from crop pixels to where they are in this frame."""
    exposure: float = 1.0
    blur: float = 0.0
    """Standard deviation, pixels."""
    noise: float = 0.0
    """Standard deviation, of 255."""
    quality: int | None = None
    """Of JPEG; None where it was not compressed."""


def augment(clip: Clip, config: AugmentConfig, rng: np.random.Generator) -> Clip:
    """A random view and light of a clip, of size `config.crop`.

    Outside the image the crop shows the mean colour, is void in the labels, whoever might label it
    later, and has no flow.
    The flow is that between the crops: NaN too where a point leaves the crop.
    """
    view = draw_view((clip.labels.shape[0], clip.labels.shape[1]), config, rng)
    looks = [draw_look(config, rng, is_target=i == 0) for i in range(1 + len(clip.past))]
    frames = (clip.image, *clip.past)
    images = [_see(f, view, look, config, rng) for f, look in zip(frames, looks, strict=True)]
    flow = clip.flow
    if flow is not None and clip.past:
        flow = _see_flow(flow, view, looks[1], config.crop)
    return Clip(
        images[0], _see_labels(clip.labels, view, config), tuple(images[1:]), flow, clip.name
    )


def draw_view(shape: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> View:
    """Draw a view of images of a height and width."""
    low, high = np.log(config.scale)
    scale = float(np.exp(rng.uniform(low, high))) * (config.short_side or min(shape)) / min(shape)
    height, width = shape[0] * scale, shape[1] * scale
    # where the crop is larger than the image, the image lies somewhere inside it
    left = _between(0, width - config.crop[1], rng)
    top = _between(0, height - config.crop[0], rng)
    angle = math.radians(rng.uniform(-config.rotate, config.rotate))
    mirrored = rng.random() < 0.5 and config.flip
    # of pixel edges, where an image begins at 0; indices are those of centres
    matrix = _shift(0.5, 0.5)
    matrix = np.diag([scale, scale, 1.0]) @ matrix
    matrix = _turn(angle, width / 2, height / 2) @ matrix
    if mirrored:
        matrix = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    matrix = _shift(-left - 0.5, -top - 0.5) @ matrix
    return View(matrix, scale, _light(config.light, rng), bool(rng.random() < config.blur))


def draw_look(config: AugmentConfig, rng: np.random.Generator, *, is_target: bool) -> FrameLook:
    """Draw what differs in one frame; nothing where `frame_change` is 0."""
    strength = config.frame_change
    if not strength:
        return FrameLook(np.eye(3))
    place = np.eye(3)
    if not is_target:
        place = _shift(*(0.4 * strength * rng.standard_normal(2)))
        if rng.random() < 0.25 * strength:  # a small crop of its own
            height, width = config.crop
            grown = np.diag([*[math.exp(0.01 * strength * rng.uniform(-1, 1))] * 2, 1.0])
            grown = _shift(width / 2, height / 2) @ grown @ _shift(-width / 2, -height / 2)
            place = _shift(*(4 * strength * rng.uniform(-1, 1, 2))) @ grown @ place
    return FrameLook(
        place,
        exposure=math.exp(0.08 * strength * rng.standard_normal()),
        blur=strength * rng.uniform(0.3, 1.0) if rng.random() < 0.25 * strength else 0.0,
        noise=5.0 * strength * rng.random(),
        quality=_quality(strength, rng) if rng.random() < 0.3 * strength else None,
    )


def _quality(strength: float, rng: np.random.Generator) -> int:
    return round(max(10.0, 95 - 55 * strength * rng.random()))


def _see(
    image: NDArray[np.uint8],
    view: View,
    look: FrameLook,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    if view.scale < _SHRINKS:
        image = _smooth(image, (1 / view.scale - 1) / 2)
    height, width = config.crop
    matrix = (look.place @ view.matrix)[:2]
    seen = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=_FILL
    ).astype(np.uint8, copy=False)
    if view.blurred:
        seen = cv2.GaussianBlur(seen, (5, 5), 0).astype(np.uint8, copy=False)
    table = (view.curve * look.exposure * 255).round().clip(0, 255).astype(np.uint8)
    seen = cv2.LUT(seen, table.T[None].copy()).astype(np.uint8, copy=False)
    if look.blur:
        seen = _smooth(seen, look.blur)
    if look.noise:
        grain = look.noise * rng.standard_normal(seen.shape, np.float32)
        seen = (seen + grain).round().clip(0, 255).astype(np.uint8)
    return seen if look.quality is None else _compressed(seen, look.quality)


def _see_labels(labels: NDArray[np.uint8], view: View, config: AugmentConfig) -> NDArray[np.uint8]:
    height, width = config.crop
    return cv2.warpAffine(
        labels,
        view.matrix[:2],
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderValue=VOID,
    ).astype(np.uint8, copy=False)


def _see_flow(
    flow: NDArray[np.float32], view: View, look: FrameLook, crop: tuple[int, int]
) -> NDArray[np.float32]:
    height, width = crop
    seen = cv2.warpAffine(
        flow,
        view.matrix[:2],
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderValue=(math.nan, math.nan),
    ).astype(np.float64)
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    there = here + seen @ view.matrix[:2, :2].T
    there = there @ look.place[:2, :2].T + look.place[:2, 2]
    with np.errstate(invalid="ignore"):
        outside = (there < 0).any(-1) | (there > (width - 1, height - 1)).any(-1)
    moved = there - here
    moved[outside] = np.nan
    return moved.astype(np.float32)


def _between(a: float, b: float, rng: np.random.Generator) -> float:
    return rng.uniform(min(a, b), max(a, b))


def _light(strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brightness, contrast and gamma of the clip, with a slight tint."""
    x = np.linspace(0, 1, 256)
    gamma = math.exp(strength * rng.uniform(-0.3, 0.3))
    contrast = math.exp(strength * rng.uniform(-0.28, 0.26))
    shift = strength * rng.uniform(-0.1, 0.1)
    tint = np.exp(strength * rng.uniform(-0.08, 0.08, (3, 1)))
    return np.asarray(((x**gamma - 0.5) * contrast + 0.5 + shift) * tint)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    back = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert back is not None  # it was encoded a line before
    return cv2.cvtColor(back, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _smooth(image: NDArray[np.uint8], deviation: float) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(image, (0, 0), deviation).astype(np.uint8, copy=False)


def _shift(x: float, y: float) -> NDArray[np.float64]:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _turn(angle: float, x: float, y: float) -> NDArray[np.float64]:
    """By an angle about a point."""
    cos, sin = math.cos(angle), math.sin(angle)
    return _shift(x, y) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ _shift(-x, -y)
