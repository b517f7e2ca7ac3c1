"""A still becomes a short video: the frames before it, as a moving camera would have seen them.

The target stays the still itself, so that its labels stay exact. A past frame is the still seen by
a homography: the camera drives towards a vanishing point, turns steadily, and shakes. What it would
have seen beyond the still's edge is the still mirrored there; no point of the target lies on it.
Nothing hides anything, and nothing moves by itself.

Sizes are given for an image 480 pixels wide and grow with it. Over many draws the median flow of a
frame is about 4 pixels, as on CamVid's video at 15 frames a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

ZOOM = 0.04
"""Greatest growth a frame: a point 100 pixels from the vanishing point moves by 4 pixels."""
BACKWARD = 0.1
"""Share of clips that drive backward."""
PAN = 2.5
"""Steady turn: pixels a frame, standard deviation."""
SWAY = 1.5
"""Slow wavering of the turn, greatest amplitude in pixels, with a period of 15 to 60 frames."""
SHAKE = 1.5
"""Up and down, the same, with a period of 4 to 12 frames."""
ROLL_DEGREES = 0.4
"""To the sides, greatest amplitude, with a period of 8 to 30 frames."""
_WIDTH = 480
_FOCAL = 0.88
"""Of the width, as the camera of the generated scenes has it."""


class PastFrames(NamedTuple):
    """Frames before a still, and where its points were."""

    images: tuple[NDArray[np.uint8], ...]
    """``[H, W, 3]`` each, in the order of the lags asked for."""
    flow: NDArray[np.float32]
    """``[H, W, 2]`` u, v pixels from the still to the first of them; NaN where it was outside."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A value that swings: 0 at time 0."""

    amplitude: float
    period: float
    phase: float

    def at(self, time: float) -> float:
        turn = 2 * math.pi * time / self.period
        return self.amplitude * (math.sin(turn + self.phase) - math.sin(self.phase))


@dataclass(frozen=True, slots=True)
class CameraPath:
    """Where a camera looks, by time in frames; the still is time 0."""

    size: tuple[int, int]
    """Height and width."""
    vanishing: tuple[float, float]
    """x, y in pixels."""
    zoom: float
    """Natural logarithm of the growth in a frame."""
    pan: float
    """Radians a frame."""
    sway: Wave
    shake: Wave
    roll: Wave
    """All three in radians."""

    def homography(self, time: float) -> NDArray[np.float64]:
        """``[3, 3]`` from pixels of the still to pixels of the frame at a time."""
        height, width = self.size
        focal = _FOCAL * width
        camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        turned = _rotation(
            self.pan * time + self.sway.at(time), self.shake.at(time), self.roll.at(time)
        )
        growth = math.exp(self.zoom * time)
        x, y = self.vanishing
        grown = np.array([[growth, 0, (1 - growth) * x], [0, growth, (1 - growth) * y], [0, 0, 1]])
        return np.asarray(camera @ turned @ np.linalg.inv(camera) @ grown)


def past_of_still(
    image: NDArray[np.uint8], lags: Sequence[int], rng: np.random.Generator
) -> PastFrames:
    """Make up frames before a still.

    Args:
        image: ``[H, W, 3]`` RGB.
        lags: how many frames before the still each of them is.
        rng: draws the camera's path.

    Raises:
        ValueError: no lag is given.
    """
    if not lags:
        raise ValueError("a still needs at least one lag to have a past")
    path = draw_path((image.shape[0], image.shape[1]), rng)
    seen = tuple(look_from(image, path.homography(-lag)) for lag in lags)
    return PastFrames(seen, flow_by(path.homography(-lags[0]), path.size))


def draw_path(size: tuple[int, int], rng: np.random.Generator) -> CameraPath:
    """Draw how a camera moves in images of a height and width."""
    height, width = size
    pixel = width / _WIDTH / (_FOCAL * width)  # radians of one pixel of an image 480 wide
    forward = -1 if rng.random() < BACKWARD else 1
    return CameraPath(
        size,
        (width * rng.uniform(0.38, 0.62), height * rng.uniform(0.37, 0.53)),
        forward * rng.uniform(0, ZOOM),
        pixel * PAN * rng.standard_normal(),
        _wave(pixel * SWAY, (15, 60), rng),
        _wave(pixel * SHAKE, (4, 12), rng),
        _wave(math.radians(ROLL_DEGREES), (8, 30), rng),
    )


def look_from(image: NDArray[np.uint8], homography: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image as seen where its points move by a homography, mirrored beyond its edges."""
    height, width = image.shape[:2]
    # cubic: a past more blurred than its target would be told apart by that
    return cv2.warpPerspective(
        image,
        homography,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.uint8, copy=False)


def flow_by(homography: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """``[H, W, 2]`` how far every pixel moves; NaN where it leaves the image."""
    height, width = size
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)[:, None]
    across, down, depth = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    to_x, to_y = across / depth, down / depth
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    flow = np.stack([to_x - x, to_y - y], -1)
    flow[~inside] = np.nan
    return flow.astype(np.float32)


def _wave(amplitude: float, periods: tuple[float, float], rng: np.random.Generator) -> Wave:
    most = 2 * math.pi
    return Wave(amplitude * rng.random(), rng.uniform(*periods), rng.uniform(0, most))


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Of what is seen, axes right, down, ahead."""
    rolled, _ = cv2.Rodrigues(np.array([0.0, 0.0, roll]))
    turned, _ = cv2.Rodrigues(np.array([pitch, yaw, 0.0]))
    return np.asarray(rolled @ turned, np.float64)
