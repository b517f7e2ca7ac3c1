"""What adds up to the figures of one prediction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stt_core.evaluation.results import BadFrame, FrameScore, Latency, Result
from stt_core.metrics.consistency import SILENT, ConsistencyMeter, Protocol, Warp
from stt_core.metrics.segmentation import (
    Average,
    boundary_counts,
    iou,
    mean_iou,
    mean_over,
    open_confusion,
    pixel_accuracy,
    share,
)

_UNLABELLED = 255


class Tally:
    """Takes the maps of one prediction, frame by frame.

    Args:
        name: of the prediction.
        classes: names of the data set's classes.
        protocol: of temporal consistency; None measures none.
        boundary: whether boundary IoU is measured.
        worst: how many bad frames are kept.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        *,
        protocol: Protocol | None,
        boundary: bool,
        worst: int,
    ) -> None:
        self._name, self._classes = name, classes
        self._boundary, self._keep = boundary, worst
        self._meter = None if protocol is None else ConsistencyMeter(protocol, len(classes))
        self._confusion = np.zeros((len(classes), len(classes) + 1), np.int64)
        self._bands = np.zeros((2, len(classes)), np.int64)
        self._scores: list[FrameScore] = []
        self._worst: list[BadFrame] = []
        self._before: NDArray[np.uint8] | None = None

    def start(self) -> None:
        """Begin a sequence."""
        self._before = None

    def add(
        self,
        place: tuple[int, int, str],
        predicted: NDArray[np.uint8],
        labels: NDArray[np.uint8] | None,
        warp: Warp | None,
    ) -> float:
        """Take a frame; return its mean IoU, NaN where it has no labels.

        Args:
            place: its sequence, its index there and its name.
            predicted: ``[H, W]`` ids; those beyond the classes are of no class.
            labels: ``[H, W]`` ids; those beyond the classes are not counted.
            warp: to the frame that was added before it; None where that is no neighbour.
        """
        if self._meter is not None:
            said = self._said(predicted, labels)
            if warp is not None and self._before is not None:
                self._meter.add(self._before, said, warp)
            self._before = said
        return math.nan if labels is None else self._compare(place, predicted, labels)

    def result(
        self, average: Average, flow: str, latency: Latency | None, notes: tuple[str, ...]
    ) -> Result:
        """Figures of all that was added.

        Args:
            average: over classes.
            flow: name of where the flow came from.
            latency: of the prediction.
            notes: on the prediction.
        """
        bands = share(*self._bands)
        return Result(
            name=self._name,
            classes=self._classes,
            miou=mean_iou(self._confusion, average),
            average=average,
            class_iou=tuple(iou(self._confusion).tolist()),
            pixel_accuracy=pixel_accuracy(self._confusion),
            boundary_iou=mean_over(bands, average),
            confusion=self._confusion.copy(),
            tc=None if self._meter is None else self._meter.result(flow),
            frames=len(self._scores),
            pairs=0 if self._meter is None else self._meter.pairs,
            latency=latency,
            scores=tuple(self._scores),
            worst=tuple(self._worst),
            notes=notes,
        )

    def _compare(
        self,
        place: tuple[int, int, str],
        predicted: NDArray[np.uint8],
        labels: NDArray[np.uint8],
    ) -> float:
        classes = len(self._classes)
        counts = open_confusion(predicted, labels, classes)
        self._confusion += counts
        if self._boundary:
            self._bands += boundary_counts(predicted, labels, classes)
        held = counts.sum(1) > 0
        miou = float(iou(counts)[held].mean()) if held.any() else math.nan
        score = FrameScore(*place, miou)
        self._scores.append(score)
        self._remember(score, predicted)
        return miou

    def _remember(self, score: FrameScore, predicted: NDArray[np.uint8]) -> None:
        """Keep the frame if it is among the worst; one without a fault never is."""
        full = len(self._worst) >= self._keep
        bar = self._worst[-1].score.miou if full and self._worst else 1.0
        if not (self._keep and score.miou < bar):  # NaN is not
            return
        ids = np.minimum(predicted, np.uint8(len(self._classes)))
        self._worst.append(BadFrame(score, ids))
        self._worst.sort(key=lambda bad: bad.score.miou)
        del self._worst[self._keep :]

    def _said(
        self, predicted: NDArray[np.uint8], labels: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """The map as temporal consistency takes it.

        Where its pixels of no class are exactly those without a label, it is a map of labels: it
        says nothing there, and those pixels are left out. Other maps are wrong where they give
        no class. ETC's script makes no difference.
        """
        outside = (predicted >= len(self._classes)) & (predicted < SILENT)
        if labels is None or self._etc or not outside.any():
            return predicted
        if not np.array_equal(outside, labels >= len(self._classes)):
            return predicted
        return np.where(outside, np.uint8(_UNLABELLED), predicted)

    @property
    def _etc(self) -> bool:
        return self._meter is not None and self._meter.protocol == "etc"
