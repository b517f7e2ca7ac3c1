"""Drives in memory, to learn from: what they show is known, and nothing is read from a disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.data.sources import camvid_classes
from stt_core.labels import LabelClass
from tests.core.models import images

CLASSES = camvid_classes()


class Halves:
    """Frames with a bright upper half, which is class 0, and a dark lower one, class 3."""

    video = True

    def __init__(self, count: int, past: int, name: str, *, labelled: bool) -> None:
        self.name = name
        self.labelled: Sequence[int] = range(past, count + past) if labelled else ()
        self._frames = images(count + past)
        for image in self._frames:
            image[:32] = np.minimum(image[:32].astype(int) + 110, 255)
            image[32:] //= 3

    def __len__(self) -> int:
        return len(self._frames)

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._frames[index]

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        if index not in self.labelled:
            return None
        labels = np.full((64, 96), 255, np.uint8)
        labels[4:28], labels[36:60] = 0, 3
        return labels

    def flow(self, index: int) -> None:
        return None

    def frame_name(self, index: int) -> str:
        return f"{index:06d}"


def halves(
    classes: tuple[LabelClass, ...] = CLASSES,
    *,
    count: int = 6,
    past: int = 2,
    labelled: bool = True,
    licence: str = "",
    name: str = "halves",
) -> DataSet:
    """`count` labelled frames with so many frames before the first; or as many without labels."""
    digest = f"{count} {past} {labelled} {len(classes)}"
    sequence = Halves(count, past, name, labelled=labelled)
    return DataSet(name, classes, licence, digest, (sequence,))
