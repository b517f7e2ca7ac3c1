"""What is learnt from: a labelled frame with the frames before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """A target frame, its labels, and its key frames."""

    image: NDArray[np.uint8]
    """``[H, W, 3]`` RGB of the target."""
    labels: NDArray[np.uint8]
    """``[H, W]`` class ids of the target; 254 and 255 are ignored."""
    past: tuple[NDArray[np.uint8], ...]
    """``[H, W, 3]`` each, newest first; fewer where there are fewer."""

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.labels.nbytes + sum(image.nbytes for image in self.past)


class ClipSource(Protocol):
    """A set of clips to learn from. Belongs to one thread."""

    classes: tuple[LabelClass, ...]
    licence: str
    """What weights trained on it may be used for; empty where nothing restricts them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledClip: ...
