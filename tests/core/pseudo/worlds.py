"""Small made-up predictions to make pseudo-labels of."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass
from stt_core.pseudo.labelling import PseudoLabelled, Step, Surveyed
from stt_core.pseudo.sources import Origin

CLASSES = tuple(LabelClass(n, (40 * i, 10, 200)) for i, n in enumerate(("road", "car", "sky")))
ORIGIN = Origin(model="ab" * 32, settings={"key_frames": 7, "precision": "fp32"}, media="cd" * 32)


@dataclass(frozen=True)
class Maps:
    """Predictions that lie in memory."""

    said: Mapping[int, NDArray[np.uint8]]
    sure: Mapping[int, NDArray[np.uint8]]

    @property
    def frames(self) -> Sequence[int]:
        return sorted(self.said)

    def labels(self, frame: int) -> NDArray[np.uint8]:
        return self.said[frame]

    def confidence(self, frame: int) -> NDArray[np.uint8]:
        return self.sure[frame]


@dataclass(frozen=True)
class Mass:
    """Attention that is known beforehand."""

    maps: Mapping[int, NDArray[np.float32]]

    def same_class(self, frame: int) -> NDArray[np.float32]:
        return self.maps[frame]


def random_maps(
    frames: Sequence[int], size: tuple[int, int] = (6, 8), seed: int = 0, ids: int = 3
) -> Maps:
    rng = np.random.default_rng(seed)
    said = {i: rng.integers(0, ids, size, dtype=np.uint8) for i in frames}
    return Maps(said, {i: rng.integers(0, 256, size, dtype=np.uint8) for i in frames})


def run(
    steps: Generator[Step, None, dict[str, object]],
) -> tuple[list[Surveyed], list[PseudoLabelled], dict[str, object]]:
    """All steps, apart, and the record."""
    surveyed: list[Surveyed] = []
    labelled: list[PseudoLabelled] = []
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return surveyed, labelled, end.value
        if isinstance(step, Surveyed):
            surveyed.append(step)
        else:
            labelled.append(step)
