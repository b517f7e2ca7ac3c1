"""A data set cut down to the first frames of each sequence: for a quick look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet, FrameSequence


def beginnings(data: DataSet, frames: int) -> DataSet:
    """The first frames of every sequence.

    Raises:
        ValueError: not even one.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    sequences = tuple(_Beginning(sequence, frames) for sequence in data.sequences)
    return replace(data, spec=f"{data.spec}, first {frames} frames", sequences=sequences)


class _Beginning:
    """The first frames of a sequence."""

    def __init__(self, sequence: FrameSequence, frames: int) -> None:
        self.name = sequence.name
        self.video = sequence.video
        self.labelled: Sequence[int] = [i for i in sequence.labelled if i < frames]
        self._sequence = sequence
        self._frames = min(frames, len(sequence))

    def __len__(self) -> int:
        return self._frames

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._sequence.image(index)

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        return self._sequence.labels(index)

    def flow(self, index: int) -> NDArray[np.float32] | None:
        return self._sequence.flow(index)

    def frame_name(self, index: int) -> str:
        return self._sequence.frame_name(index)
