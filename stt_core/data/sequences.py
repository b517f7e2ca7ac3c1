"""What every data set is here: drives, each a row of frames in order of time, some labelled.

A reader only says what its drives are. Clips to learn from (:mod:`stt_core.data.clips`) and
measurement (:mod:`stt_core.evaluation`) are made of them, whatever the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass


class FrameSequence(Protocol):
    """The frames of one drive, 0 first. Can be pickled; a copy belongs to one thread."""

    name: str
    """Of the drive, for messages and tables."""
    video: bool
    """Whether neighbours here are neighbours in a video, so that one is a past of the next."""

    def __len__(self) -> int: ...

    @property
    def labelled(self) -> Sequence[int]:
        """Frames that have labels, rising."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """``[H, W, 3]`` RGB."""
        ...

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids of that frame, 254 and 255 to be ignored; None where unlabelled."""
        ...

    def flow(self, index: int) -> NDArray[np.float32] | None:
        """``[H, W, 2]`` u, v pixels from frame `index` to the one before, if it is known exactly.

        NaN at points that were hidden or outside then.
        """
        ...

    def frame_name(self, index: int) -> str:
        """What names the frame in messages, and its maps in folders of predictions."""
        ...


@dataclass(frozen=True, slots=True)
class DataSet:
    """Drives with one class table."""

    spec: str
    """What it was opened as."""
    classes: tuple[LabelClass, ...]
    licence: str
    """What weights trained on it may be used for; empty where nothing restricts them."""
    digest: str
    """SHA-256 in hex of what is in it: names and sizes of its files, or seeds."""
    sequences: tuple[FrameSequence, ...]
