"""How well each method does: one labelled frame carried through a video that is labelled whole."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet, FrameSequence
from stt_core.errors import DataError
from stt_core.evaluation.tables import Table, percent
from stt_core.labels import UNLABELLED
from stt_core.media.frame import Frame
from stt_core.media.medium import Medium
from stt_core.media.source import MediaSource
from stt_core.metrics.segmentation import mean_iou, open_confusion, pixel_accuracy
from stt_core.propagation.carrying import Method
from stt_core.propagation.propagate import LEAST, propagate

DISTANCES = (1, 5, 10, 20)
"""Frames after the labelled one that are compared."""

MethodOf = Callable[[MediaSource], Method]
"""Makes a method for a video."""


@dataclass(frozen=True, slots=True)
class MeasureStep:
    """A frame was propagated to."""

    method: str
    start: int
    frame: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Score:
    """What became of labels at one distance, over all starts. Shares in [0, 1]."""

    method: str
    distance: int
    """Frames after the labelled one."""
    coverage: float
    """Share of the pixels with a true class that got a label."""
    accuracy: float
    """Share of those that got the right one; NaN where none got any."""
    miou: float
    """Of those, over the classes that occur among them; NaN where none got any."""
    miou_all: float
    """Of all pixels with a true class: one without a label counts as missed."""


def measure(
    data: DataSet,
    methods: Mapping[str, MethodOf],
    starts: Sequence[int],
    *,
    distances: Sequence[int] = DISTANCES,
    sequence: int = 0,
    least: float = LEAST,
) -> Generator[MeasureStep, None, tuple[Score, ...]]:
    """Label single frames by the truth, propagate them forwards, and compare.

    Pixels without a true class are not labelled at the start, and not compared later. Where a
    method ends before a distance, nothing is covered there.

    Args:
        data: has the video.
        methods: by the names they shall have.
        starts: labelled frames to begin at; :func:`spread_starts` finds some.
        distances: rising.
        sequence: which of the data's.
        least: of :func:`stt_core.propagation.propagate.propagate`.

    Returns:
        For each method in turn, a score for each distance.

    Raises:
        DataError: a frame that is needed has no labels.
        ValueError: distances that are not rising from 1.
        SttError: whatever propagation meets.
    """
    if not distances or list(distances) != sorted({*distances}) or distances[0] < 1:
        raise ValueError(f"distances must be rising from 1 or more, got {distances}")
    source, classes = data.sequences[sequence], len(data.classes)
    media = SequenceMedia(source)
    total, done = len(methods) * len(starts) * distances[-1], 0
    scores: list[Score] = []
    for name, method_of in methods.items():
        method = method_of(media)
        counts = {d: np.zeros((classes, classes + 1), np.int64) for d in distances}
        for start in starts:
            found = {
                d: np.full((media.height, media.width), UNLABELLED, np.uint8) for d in distances
            }
            labels = _truth(source, start, classes)
            for step in propagate(
                media, start, labels, method, forwards=distances[-1], least=least
            ):
                if step.frame - start in found:
                    found[step.frame - start] = step.labels
                yield MeasureStep(name, start, step.frame, done + step.frame - start, total)
            done += distances[-1]
            for d in distances:
                truth = _truth(source, start + d, classes)
                counts[d] += open_confusion(found[d], truth, classes)
        scores += [_score(name, d, counts[d]) for d in distances]
    return tuple(scores)


def spread_starts(
    sequence: FrameSequence, count: int, distances: Sequence[int] = DISTANCES
) -> tuple[int, ...]:
    """Frames evenly over a drive that have labels, as have those at the distances after them.

    Raises:
        DataError: there are fewer such frames.
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"at least one start is needed, got {count=}")
    labelled = frozenset(sequence.labelled)
    fit = [i for i in sorted(labelled) if all(i + d in labelled for d in distances)]
    if len(fit) < count:
        raise DataError(
            f"{sequence.name} has {len(fit)} frames with labels at {list(distances)} frames after "
            f"them, but {count} are needed: choose a video that is labelled whole"
        )
    return tuple(fit[round(place)] for place in np.linspace(0, len(fit) - 1, count))


def score_table(scores: Sequence[Score]) -> Table:
    """A row for each score, as a person reads it."""
    head = ("method", "frames after", "coverage %", "accuracy %", "mIoU %", "mIoU % of all")
    rows = tuple(
        (s.method, str(s.distance), *map(percent, (s.coverage, s.accuracy, s.miou, s.miou_all)))
        for s in scores
    )
    return Table(head, rows, words=1)


class SequenceMedia(Medium):
    """A drive of a data set as a :class:`stt_core.media.source.MediaSource`."""

    def __init__(self, sequence: FrameSequence) -> None:
        self.path = Path(sequence.name)
        self.fps = 1.0  # a data set does not tell
        self.warnings: tuple[str, ...] = ()
        self._sequence = sequence
        self.height, self.width = sequence.image(0).shape[:2]

    def __len__(self) -> int:
        return len(self._sequence)

    def __getitem__(self, index: int) -> Frame:
        self._require(index)
        image = np.ascontiguousarray(self._sequence.image(index)).view()
        image.flags.writeable = False
        return Frame(index, image, self.time_of(index), self._sequence.frame_name(index))

    def time_of(self, index: int) -> float:
        """Presentation time in seconds."""
        self._require(index)
        return index / self.fps

    def close(self) -> None:
        """Nothing is held."""


def _truth(sequence: FrameSequence, index: int, classes: int) -> NDArray[np.uint8]:
    """``[H, W]`` class ids, UNLABELLED for all others."""
    labels = sequence.labels(index) if 0 <= index < len(sequence) else None
    if labels is None:
        raise DataError(
            f"frame {index} of {sequence.name} has no labels to compare with: choose other starts, "
            f"or a video that is labelled whole"
        )
    return np.where(labels < classes, labels, np.uint8(UNLABELLED))


def _score(method: str, distance: int, counts: NDArray[np.int64]) -> Score:
    covered = counts[:, :-1]
    return Score(
        method,
        distance,
        coverage=int(covered.sum()) / max(1, int(counts.sum())),
        accuracy=pixel_accuracy(covered),
        miou=mean_iou(covered),
        miou_all=mean_iou(counts),
    )
