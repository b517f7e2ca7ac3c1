"""What a measurement tells: figures of one prediction over a whole data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.metrics.consistency import Consistency
from stt_core.metrics.segmentation import Average


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from an image to its label map, measuring and reading left out."""

    mean: float
    median: float
    p95: float
    frames: int
    """How many were timed; the first of a run are not, they warm up."""
    device: str = ""
    """What they were timed on, in words, with its precision."""

    @property
    def fps(self) -> float:
        return 1000 / self.mean


@dataclass(frozen=True, slots=True)
class FrameScore:
    """How well one labelled frame was predicted."""

    sequence: int
    """Which of the data set's sequences."""
    index: int
    """Which frame of it."""
    name: str
    miou: float
    """Mean over the classes that this frame's labels hold; NaN where they hold none."""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A labelled frame that was predicted badly, with what was predicted."""

    score: FrameScore
    predicted: NDArray[np.uint8]
    """``[H, W]`` class ids; those outside the class table are its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of one prediction. All shares lie in [0, 1]; NaN where nothing could be compared."""

    name: str
    classes: tuple[str, ...]
    miou: float
    average: Average
    """How :attr:`miou` and :attr:`boundary_iou` treat classes that never occur."""
    class_iou: tuple[float, ...]
    pixel_accuracy: float
    boundary_iou: float
    confusion: NDArray[np.int64]
    """``[classes, classes + 1]`` pixels by (label, prediction); last, predictions of no class."""
    tc: Consistency | None
    """None where it was not asked for."""
    frames: int
    """Labelled frames that were compared."""
    pairs: int
    """Neighbouring frames that were compared."""
    latency: Latency | None
    """None of maps from a folder, and of runs too short to tell."""
    scores: tuple[FrameScore, ...] = ()
    """Of every labelled frame, in order."""
    worst: tuple[BadFrame, ...] = ()
    """The frames with the lowest scores, lowest first."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know, one sentence each."""
