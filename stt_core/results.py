"""What the engine says of a frame: numpy values, frozen, safe in any thread, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRIDE = 8
"""Network pixels per feature position, along each axis."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds each stage of one prediction took."""

    decode: float
    """Reading the frame from its file."""
    network: float
    """Image to logits: resize, normalise, the encoder passes that were not cached, the block."""
    postprocess: float
    """Logits to label map at the image's size."""
    encoder_passes: int
    """How many frames had to be encoded for it: 1 in the steady state, 0 where all were cached."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one frame."""

    frame: int
    labels: NDArray[np.uint8]
    """``[H, W]`` class of each image pixel."""
    confidence: NDArray[np.uint8]
    """``[H, W]`` highest class probability of each image pixel, 255 for 1."""
    selected: NDArray[np.bool_]
    """``[rows, cols]`` feature positions that attended as queries."""
    need: NDArray[np.float32]
    """``[rows, cols]`` neighbouring similarity D_NSM (Eq. 4), what selection ranks; 0 without."""
    timings: Timings

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.labels, self.confidence, self.selected, self.need))


@dataclass(frozen=True, slots=True)
class LookBack:
    """Where one position of a frame looked in the past."""

    frame: int
    x: int
    y: int
    """The image pixel that was asked for."""
    row: int
    col: int
    """The feature position it lies in."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 of that position in image pixels."""
    selected: bool
    """Whether query selection chose this position."""
    forced: bool
    """Whether it attends all the same, because it was asked to."""
    need: float
    """D_NSM here (Eq. 4)."""
    frames: tuple[int, ...]
    """Key frames, newest first; none where the position did not attend."""
    radii: tuple[int, ...]
    """Half the window in each of them, in feature positions."""
    images: tuple[NDArray[np.uint8], ...]
    """``[H, W, 3]`` RGB of each key frame."""
    weights: NDArray[np.float32]
    """``[heads, frames, rows, cols]``; each head sums to 1 over all the rest (Eq. 6)."""
    probabilities: NDArray[np.float32]
    """``[classes]`` of the asked pixel's position, with this attention applied."""

    def per_frame(self) -> NDArray[np.float32]:
        """``[heads, frames]``: the weight each key frame received."""
        return self.weights.sum((2, 3))

    def of_head(self, head: int | None) -> NDArray[np.float32]:
        """``[frames, rows, cols]`` of one head, or the mean over heads for None."""
        if head is None:
            return self.weights.mean(0, dtype=np.float32)
        return self.weights[head]

    def window(self, lag: int) -> tuple[int, int, int, int]:
        """Row and column bounds ``[r0, r1), [c0, c1)`` of a key frame's window, in the map."""
        rows, cols = self.weights.shape[2:]
        radius = self.radii[lag]
        return (
            max(0, self.row - radius),
            min(rows, self.row + radius + 1),
            max(0, self.col - radius),
            min(cols, self.col + radius + 1),
        )
