"""What is learnt from: a target frame with the frames before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass


@dataclass(frozen=True, slots=True)
class Clip:
    """A target frame, its labels, and its key frames."""

    image: NDArray[np.uint8]
    """``[H, W, 3]`` RGB of the target."""
    labels: NDArray[np.uint8]
    """``[H, W]`` class ids of the target; 254 and 255 are ignored, all of an unlabelled target."""
    past: tuple[NDArray[np.uint8], ...]
    """``[H, W, 3]`` each, newest first; fewer where there are fewer."""
    flow: NDArray[np.float32] | None = None
    """``[H, W, 2]`` u, v pixels from the target to ``past[0]``, where it is known exactly; NaN at
    points that were hidden or outside then."""
    name: str = ""
    """What a message calls it."""

    @property
    def nbytes(self) -> int:
        flow = 0 if self.flow is None else self.flow.nbytes
        return self.image.nbytes + self.labels.nbytes + flow + sum(p.nbytes for p in self.past)


class ClipSource(Protocol):
    """A set of clips to learn from. Can be pickled; a copy belongs to one thread."""

    classes: tuple[LabelClass, ...]
    licence: str
    """What weights trained on it may be used for; empty where nothing restricts them."""
    digest: str
    """SHA-256 in hex of what is in it."""

    def __len__(self) -> int: ...

    def draw(self, index: int, rng: np.random.Generator) -> Clip:
        """One clip; whatever of it is made up is drawn from `rng` alone."""
        ...
