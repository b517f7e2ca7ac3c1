"""One frame of a video or an image folder, and which frames lie before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 128 * 2**20
"""Of decoded frames a reader keeps: 20 of 2048 x 1024, more than one prediction reads."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, safe to hand from thread to thread."""

    index: int
    """Place in presentation order, from 0."""
    image: NDArray[np.uint8]
    """``[H, W, 3]`` RGB as displayed (rotation applied), C-contiguous and not writeable."""
    pts_seconds: float
    """Presentation time as the file tells it; the first frame need not be at 0."""
    name: str
    """File name of an image in a folder, "" for a video."""


def past_frames(frame: int, count: int, spacing: int = 1) -> tuple[int, ...]:
    """The frames a prediction for `frame` may read, newest first, fewer near the start.

    Training and inference both ask here, so that they cannot disagree.

    Args:
        frame: index of the frame to predict, from 0.
        count: how many past frames at most.
        spacing: distance between one of them and the next, in frames.

    Raises:
        ValueError: `frame` or `count` is negative, or `spacing` is below 1.
    """
    if frame < 0 or count < 0 or spacing < 1:
        raise ValueError(
            f"past_frames needs frame >= 0, count >= 0, spacing >= 1, "
            f"got {frame=} {count=} {spacing=}"
        )
    oldest = frame - count * spacing
    return tuple(past for past in range(frame - spacing, oldest - 1, -spacing) if past >= 0)
