"""What pseudo-labels are made of, wherever it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Images = Callable[[int], NDArray[np.uint8]]
"""``[H, W, 3]`` RGB of a frame."""

Painted = Callable[[int], NDArray[np.uint8] | None]
"""``[H, W]`` of what a person painted on a frame: class ids, VOID, UNLABELLED; None for nothing."""


class Predictions(Protocol):
    """What a model says of the frames of one video."""

    @property
    def frames(self) -> Sequence[int]:
        """Frames that are predicted, rising."""
        ...

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` class ids; from VOID on the prediction says nothing."""
        ...

    def confidence(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` highest class probability, 255 for 1."""
        ...


class AttentionMass(Protocol):
    """How much of their attention positions pay to keys of their own class."""

    def same_class(self, frame: int) -> NDArray[np.float32]:
        """``[rows, cols]`` in [0, 1] of the feature grid, NaN where a position did not attend."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where predictions come from, for the record."""

    model: str
    """SHA-256 of the model file."""
    settings: Mapping[str, object]
    """Of the pass that predicted; plain values, as JSON has them."""
    media: str = ""
    """Hash of the video."""
