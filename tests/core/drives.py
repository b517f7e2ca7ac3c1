"""Data sets in memory, and predictions of them, for tests of measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.evaluation.predictors import FolderPredictor, Predictor
from stt_core.evaluation.results import Result
from stt_core.evaluation.run import EvaluateOptions, EvaluateStep, count_frames, evaluate
from stt_core.labels import LabelClass, write_label_png
from tests.core.models import images

SIZE = (64, 96)
CLASSES = tuple(LabelClass(name, (10 * i, 0, 9)) for i, name in enumerate(("A", "B", "C|<i>")))
Map = NDArray[np.uint8]


@dataclass
class Drive:
    """A row of frames in memory."""

    name: str
    images: Sequence[NDArray[np.uint8]]
    maps: dict[int, Map]
    video: bool = True
    flows: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> Sequence[int]:
        return sorted(self.maps)

    def image(self, index: int) -> NDArray[np.uint8]:
        self.read.append(index)
        return self.images[index]

    def labels(self, index: int) -> Map | None:
        return self.maps.get(index)

    def flow(self, index: int) -> NDArray[np.float32] | None:
        return self.flows.get(index)

    def frame_name(self, index: int) -> str:
        return f"{self.name}_{index:03d}"


def some_maps(count: int, seed: int = 0, classes: int = 3) -> list[Map]:
    """Blocks of classes that differ from frame to frame."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (count, 8, 12)).astype(np.uint8)
    return [np.kron(block, np.ones((8, 8), np.uint8)) for block in blocks]


def drive(name: str = "d", frames: int = 5, seed: int = 0, **changes: object) -> Drive:
    made = Drive(name, images(frames, SIZE, seed), dict(enumerate(some_maps(frames, seed))))
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def data_set(*drives: Drive, classes: Sequence[LabelClass] = CLASSES) -> DataSet:
    return DataSet("test:data", tuple(classes), "", "0", drives)


def run(
    data: DataSet, predictors: Sequence[Predictor], options: EvaluateOptions | None = None
) -> tuple[Result, ...]:
    """All results; on the way it is checked that the steps count up to what was foretold."""
    options = options or EvaluateOptions()
    total = count_frames(data, predictors, options)
    steps: list[EvaluateStep] = []
    work = evaluate(data, predictors, options)
    while True:
        try:
            steps.append(next(work))
        except StopIteration as end:
            results: tuple[Result, ...] = end.value
            break
    assert [step.done for step in steps] == list(range(1, total + 1))
    assert all(step.total == total and len(step.miou) == len(predictors) for step in steps)
    return results


def write_maps(folder: Path, maps: Sequence[Map], names: Sequence[str]) -> Path:
    for labels, name in zip(maps, names, strict=True):
        write_label_png(folder / f"{name}.png", labels)
    return folder


def maps_of(data: DataSet, folder: Path, seed: int = 9) -> FolderPredictor:
    """A folder with a map of every frame, right in about two thirds of the pixels."""
    rng = np.random.default_rng(seed)
    for sequence in data.sequences:
        for i, wrong in enumerate(some_maps(len(sequence), seed)):
            labels = sequence.labels(i)
            right = np.kron(rng.random((8, 12)) < 0.6, np.ones((8, 8))) > 0
            mixed = wrong if labels is None else np.where(right, labels, wrong)
            write_label_png(folder / f"{sequence.frame_name(i)}.png", mixed.astype(np.uint8))
    return FolderPredictor(folder.name, folder, data.classes)
