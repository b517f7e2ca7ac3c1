"""Where what a frame shows was in the frame that was labelled, by flow from step to step.

H, W: size of a frame. Flows are put together to one shift from each frame to the labelled one, so
that rounding to pixels happens once; warping the label map at each step would round each time.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.flow import dis_flow
from stt_core.labels import UNLABELLED
from stt_core.media.source import MediaSource
from stt_core.propagation.carrying import Carried, as_carried

Motion = Callable[[MediaSource, int, int], NDArray[np.float32]]
"""``[H, W, 2]`` u, v pixels from each point of a frame to its place in a neighbour; NaN where that
is not known."""


def dis_motion(media: MediaSource, frame: int, other: int) -> NDArray[np.float32]:
    """A :data:`Motion` by OpenCV's DIS."""
    return dis_flow(media[frame].image, media[other].image)


class Track:
    """Follows all points of a video back to the labelled frame.

    Args:
        media: the video.
        frame: the labelled one.
        labels: ``[H, W]`` ids.
        motion: from a frame to its neighbour; asked in both directions.
    """

    def __init__(
        self, media: MediaSource, frame: int, labels: NDArray[np.uint8], motion: Motion
    ) -> None:
        self._media, self._motion, self._labels = media, motion, labels
        self._frame = frame
        self._x, self._y = _places(np.zeros((*labels.shape, 2), np.float32))
        self.trust = np.ones(labels.shape, np.float32)
        """``[H, W]`` in [0, 1]: of the way to the newest frame, labelled or not."""

    def carry(self, frame: int) -> Carried:
        """The labels that the points of a neighbour of the last frame had.

        The confidence is that of the worst step on the way: 2^-e, where e is the error of going
        there and back in units of what Sundaram et al. (2010) allow (see :func:`step_trust`).
        """
        there = self._motion(self._media, frame, self._frame)
        back = self._motion(self._media, self._frame, frame)
        trust = step_trust(there, back)
        height, width = self._labels.shape
        x, y = _places(there)
        x, y = _inside(x, width), _inside(y, height)
        columns, rows = _nearest(x), _nearest(y)
        self.trust = np.minimum(self.trust[rows, columns], trust)
        # the nearest pixel's own way, and how far off it is: means of two things' ways lead nowhere
        self._x = _inside(self._x[rows, columns] + (x - columns), width)
        self._y = _inside(self._y[rows, columns] + (y - rows), height)
        self._frame = frame
        return as_carried(self._labels[_nearest(self._y), _nearest(self._x)], self.trust)


def step_trust(there: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    """How well going along one flow and back along the other returns.

    Args:
        there: ``[H, W, 2]`` u, v pixels from each point of a frame to its place in another.
        back: the same from the other.

    Returns:
        ``[H, W]`` 2^-e with e = |f + b(x + f)|^2 / (0.01 (|f|^2 + |b(x + f)|^2) + 0.5): 1/2 where
        Sundaram et al. (2010) draw the line. 0 outside the other frame, and where a flow is not
        known.
    """
    height, width = there.shape[:2]
    x, y = _places(there)
    # NaN compares as false
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    places = _inside(x, width), _inside(y, height)
    returned = np.asarray(cv2.remap(back, *places, cv2.INTER_LINEAR), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # where a flow is not known
        error = _square(there + returned) / (0.01 * (_square(there) + _square(returned)) + 0.5)
        return np.where(inside & np.isfinite(error), np.exp2(-error), 0).astype(np.float32)


class FlowMethod:
    """A :class:`stt_core.propagation.carrying.Method`: every pixel keeps its label as it moves.

    Args:
        motion: where points are in the neighbouring frame.
    """

    def __init__(self, motion: Motion = dis_motion) -> None:
        self._motion = motion

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> Track:
        """Begin at a labelled frame."""
        return Track(media, frame, labels, self._motion)


def sure(carried: Carried) -> NDArray[np.uint8]:
    """``[H, W]`` ids; UNLABELLED where there and back did not meet on the way."""
    return np.where(carried.confidence >= _MEETS, carried.labels, np.uint8(UNLABELLED))


_MEETS = 128
"""Of 255: e = 1 at the most."""


def _places(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``[H, W]`` each: x and y of where every pixel leads."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def _inside(place: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The nearest place within the image; what lay outside or nowhere has no trust anyway."""
    return np.nan_to_num(place).clip(0, side - 1).astype(np.float32)


def _nearest(place: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.rint(place).astype(np.intp)


def _square(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    u, v = flow[..., 0], flow[..., 1]
    return u * u + v * v
