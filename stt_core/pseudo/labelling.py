"""Pseudo-labels of a video's frames: what is believed of the predictions, under what is painted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stt_core.drawing import to_image_size
from stt_core.errors import LabelError
from stt_core.labels import IGNORED, UNLABELLED, VOID, LabelClass
from stt_core.pseudo.confidence import (
    NEVER,
    ConfidenceHistogram,
    Levels,
    check_ids,
    check_prediction,
    threshold_levels,
)
from stt_core.pseudo.counts import Counts, count_classes, no_counts
from stt_core.pseudo.motion import FlowWitnesses
from stt_core.pseudo.rule import AttentionTest, FlowTest, PseudoLabelRule, Threshold
from stt_core.pseudo.sources import AttentionMass, Images, Origin, Painted, Predictions
from stt_core.versions import versions

_ROUNDING = 1e-4
"""Of sums of attention weights: all of it may come to a little less than 1."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A frame was looked at, before the first is labelled: how sure the model is of each class."""

    frame: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """A frame is labelled."""

    frame: int
    labels: NDArray[np.uint8]
    """``[H, W]`` class ids, 255 where nothing is believed."""
    counts: Counts
    done: int
    total: int


Step = Surveyed | PseudoLabelled
Shares = NDArray[np.float64]
"""``[classes]`` of what was predicted as it; NaN of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelSources:
    """What pseudo-labels are made of."""

    predictions: Predictions
    classes: tuple[LabelClass, ...]
    origin: Origin
    painted: Painted = field(default=lambda frame: None)
    images: Images | None = None
    """Needed by the flow test."""
    attention: AttentionMass | None = None
    """Needed by the attention test."""


def pseudo_labels(
    sources: PseudoLabelSources, rule: PseudoLabelRule, frames: Sequence[int] | None = None
) -> Generator[Step, None, dict[str, object]]:
    """Label frames one after the other; return the record of how, as plain values.

    The tests are made in the order of :class:`PseudoLabelRule`, on the prediction alone: what is
    painted on a neighbour is no witness. Then what a person painted replaces it: a class stands,
    VOID becomes 255, UNLABELLED leaves the pseudo-label.

    Args:
        sources: what labels are made of.
        rule: what is believed. :class:`TopShare` looks through all `frames` first.
        frames: to be labelled, rising; all that are predicted for None. Neighbours of the flow
            test need not be among them.

    Raises:
        ValueError: a test lacks its source.
        LabelError: a frame is not predicted, a map is of another size or class list, or a
            threshold names a class that does not exist.
    """
    if rule.flow is not None and sources.images is None:
        raise ValueError("the flow test needs images, and there are none")
    if rule.attention is not None and sources.attention is None:
        raise ValueError("the attention test needs the mass of attention, and there is none")
    predictions, classes = sources.predictions, sources.classes
    chosen = list(predictions.frames if frames is None else frames)
    missing = sorted(set(chosen).difference(predictions.frames))
    if missing:
        raise LabelError(
            f"frame {missing[0]} has no prediction ({len(missing)} of {len(chosen)} have none): "
            f"segment the video first"
        )
    levels, shares = yield from _levels(sources, rule, chosen)
    labeller = _Labeller(sources, rule, levels)
    total = no_counts(len(classes))
    for done, frame in enumerate(chosen, 1):
        labels, counts = labeller.label(frame)
        total += counts
        yield PseudoLabelled(frame, labels, counts, done, len(chosen))
    return _record(sources, rule, levels, chosen, total, shares)


class _Labeller:
    """Makes the tests, and lays on top what is painted."""

    def __init__(self, sources: PseudoLabelSources, rule: PseudoLabelRule, levels: Levels) -> None:
        self._sources = sources
        self._rule = rule
        self._least = np.full(256, NEVER, np.int16)  # of ids without a class too
        self._least[: len(levels)] = levels
        self._witnesses = (
            FlowWitnesses(sources.predictions, sources.images)
            if rule.flow is not None and sources.images is not None
            else None
        )

    def label(self, frame: int) -> tuple[NDArray[np.uint8], Counts]:
        """``[H, W]`` ids, and what became of the pixels."""
        classes = self._sources.classes
        predictions = self._sources.predictions
        labels, confidence = predictions.labels(frame), predictions.confidence(frame)
        check_prediction(frame, labels, confidence, classes)
        own = self._painted(frame, labels.shape)
        free = own == UNLABELLED
        left = free & (labels < VOID)
        stages = [left]
        for passed in self._tests(frame, labels, confidence):
            stages.append(stages[-1] & passed)
        counted = [count_classes(labels, stage, len(classes)) for stage in stages]
        unsure, against_flow, against_attention = (a - b for a, b in pairwise(counted))
        counts = Counts(
            predicted=counted[0],
            unsure=unsure,
            against_flow=against_flow,
            against_attention=against_attention,
            kept=counted[-1],
            painted=count_classes(own, ~free, len(classes)),
            void=int((own == VOID).sum()),
            silent=int((free & ~left).sum()),
        )
        believed = np.where(stages[-1], labels, np.uint8(IGNORED))
        spoken = np.where(own == VOID, np.uint8(IGNORED), own)
        return np.where(free, believed, spoken), counts

    def _tests(
        self, frame: int, labels: NDArray[np.uint8], confidence: NDArray[np.uint8]
    ) -> Generator[NDArray[np.bool_], None, None]:
        """``[H, W]`` of what passes each test; those that are not asked for let all pass."""
        everything = np.ones(labels.shape, np.bool_)
        yield confidence >= self._least[labels]
        flow = self._rule.flow
        yield everything if flow is None else self._flow(frame, flow)
        attention = self._rule.attention
        yield everything if attention is None else self._attention(frame, attention, labels.shape)

    def _flow(self, frame: int, test: FlowTest) -> NDArray[np.bool_]:
        assert self._witnesses is not None
        seen, agree = self._witnesses.of(frame)
        return agree & (seen | test.unseen_passes)

    def _attention(
        self, frame: int, test: AttentionTest, size: tuple[int, ...]
    ) -> NDArray[np.bool_]:
        assert self._sources.attention is not None
        mass = self._sources.attention.same_class(frame)
        passes = ~(mass < test.least - _ROUNDING)  # NaN is not less
        return to_image_size(passes, (size[0], size[1]))

    def _painted(self, frame: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
        own = self._sources.painted(frame)
        if own is None:
            return np.full(size, UNLABELLED, np.uint8)
        if own.shape != size:
            raise LabelError(
                f"the labels of frame {frame} are {own.shape[1]} x {own.shape[0]} pixels, but its "
                f"prediction is {size[1]} x {size[0]}: segment the video again"
            )
        check_ids(f"the label map of frame {frame}", own, self._sources.classes)
        return own


def _levels(
    sources: PseudoLabelSources, rule: PseudoLabelRule, frames: Sequence[int]
) -> Generator[Surveyed, None, tuple[Levels, Shares | None]]:
    """The level of each class, and what share of its pixels it believes where a share was asked."""
    confidence, predictions = rule.confidence, sources.predictions
    if isinstance(confidence, Threshold):
        return threshold_levels(confidence, sources.classes), None
    histogram = ConfidenceHistogram(len(sources.classes))
    for done, frame in enumerate(frames, 1):
        labels, sure = predictions.labels(frame), predictions.confidence(frame)
        check_prediction(frame, labels, sure, sources.classes)
        histogram.add(labels, sure)
        yield Surveyed(frame, done, len(frames))
    levels = histogram.top_levels(confidence.share)
    return levels, histogram.kept_shares(levels)


def _record(
    sources: PseudoLabelSources,
    rule: PseudoLabelRule,
    levels: Levels,
    frames: Sequence[int],
    total: Counts,
    shares: Shares | None,
) -> dict[str, object]:
    least = [
        {"id": i, "name": c.name, "probability": None if level == NEVER else round(level / 255, 4)}
        for i, (c, level) in enumerate(zip(sources.classes, levels.tolist(), strict=True))
    ]
    if shares is not None:
        for row, share in zip(least, shares.tolist(), strict=True):
            # of a class that does not occur there is none
            row["believed_share"] = None if np.isnan(share) else round(share, 4)
    origin = sources.origin
    return {
        "model": origin.model,
        "media": origin.media,
        "settings": dict(origin.settings),
        "rule": rule.facts(),
        "least_probability": least,
        "frames": {
            "count": len(frames),
            "first": frames[0] if frames else None,
            "last": frames[-1] if frames else None,
        },
        "pixels": total.facts(sources.classes),
        "versions": versions(),
    }
