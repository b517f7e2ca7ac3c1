"""The table that suggestions are made from: what is known of each frame, or of regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.uncertain import UncertainRegion

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of n frames, or of n regions; a row each, in any order.

    What is not known is None, in a single row NaN.

    Raises:
        ValueError: columns that do not go together, a frame that is twice without boxes, values
            that are infinite, or pixels or frames below 0.
    """

    frames: NDArray[np.int64]
    """``[n]`` index of the frame."""
    boxes: NDArray[np.int64] | None = None
    """``[n, 4]`` y0, x0, y1, x1 of regions; None where the rows are whole frames."""
    uncertainty: Column | None = None
    """``[n]``: of a frame its mean entropy, of a region pixels times mean."""
    flicker: Column | None = None
    """``[n]`` share of pixels that changed class without having moved."""
    disagreement: Column | None = None
    """``[n]`` share of pixels that two models see differently."""
    class_pixels: NDArray[np.int64] | None = None
    """``[n, classes]`` pixels predicted to be of each class."""
    features: Column | None = None
    """``[n, d]`` what the frame looks like to the model, no NaN."""

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.frames.dtype != np.int64 or self.frames.ndim != 1 or (self.frames < 0).any():
            raise ValueError(f"frames must be int64 [n], 0 or more, got {self.frames!r}")
        if self.boxes is None and len(np.unique(self.frames)) != count:
            raise ValueError("a frame is twice in the table, but its rows have no boxes")
        for name, values, kind, shape in (
            ("boxes", self.boxes, np.int64, (count, 4)),
            ("uncertainty", self.uncertainty, np.float64, (count,)),
            ("flicker", self.flicker, np.float64, (count,)),
            ("disagreement", self.disagreement, np.float64, (count,)),
            ("class_pixels", self.class_pixels, np.int64, (count, -1)),
            ("features", self.features, np.float64, (count, -1)),
        ):
            if values is not None:
                _check_column(name, values, np.dtype(kind), shape)
        if self.class_pixels is not None and (self.class_pixels < 0).any():
            raise ValueError("class_pixels must be 0 or more, got some below")
        if self.features is not None and np.isnan(self.features).any():
            raise ValueError("features must be numbers, got some NaN")

    def __len__(self) -> int:
        return len(self.frames)


def region_facts(found: Sequence[tuple[int, UncertainRegion]]) -> Facts:
    """The table of the uncertain regions of some frames.

    Args:
        found: index of the frame, and a region in it.
    """
    boxes = [region.box for _, region in found]
    return Facts(
        np.array([frame for frame, _ in found], np.int64),
        np.array(boxes, np.int64).reshape(-1, 4),
        uncertainty=np.array([region.weight for _, region in found], np.float64),
    )


def _check_column(
    name: str, values: NDArray[np.generic], kind: np.dtype[np.generic], shape: tuple[int, ...]
) -> None:
    fits = values.ndim == len(shape) and all(
        wanted in (-1, side) for wanted, side in zip(shape, values.shape, strict=False)
    )
    if values.dtype != kind or not fits:
        raise ValueError(f"{name} must be {kind} {shape}, got {values.dtype} {values.shape}")
    if np.isinf(values.astype(np.float64)).any():
        raise ValueError(f"{name} must be finite, got some infinite")
