"""Making the model's predictions into labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Change, Guard, LabellingError, painted, replaced
from stt_core.labelling.checks import Connectivity, Labels, Point, check_id, check_labels
from stt_core.labelling.regions import pick, region_at
from stt_core.labels import VOID


def adopt_segment(
    labels: Labels,
    predicted: Labels,
    point: Point,
    guard: Guard = FREE,
    connectivity: Connectivity = 4,
) -> Change | None:
    """Label the connected predicted segment under a point as what it was predicted to be.

    Args:
        labels: the map.
        predicted: ``[H, W]`` classes the model predicts.
        point: x, y in image pixels.
        guard: what may be painted.
        connectivity: of a segment.

    Raises:
        LabellingError: nothing is predicted there, or a locked class.
        ValueError: not maps of one size, another connectivity, or the point lies outside.
    """
    check_labels(labels)
    check_labels(predicted, labels.shape)
    class_id = pick(predicted, point)
    if class_id >= VOID:
        raise LabellingError("Nothing is predicted here that could be adopted. Choose a segment.")
    return painted(labels, region_at(predicted, point, connectivity), class_id, guard)


def adopt_above(
    labels: Labels,
    predicted: Labels,
    confidence: NDArray[np.uint8],
    threshold: float,
    guard: Guard = FREE,
    *,
    by_class: Mapping[int, float] | None = None,
    only: Collection[int] | None = None,
) -> Change | None:
    """Label all pixels that the model is sure of as what they were predicted to be.

    Pixels of locked classes stay as they are.

    Args:
        labels: the map.
        predicted: ``[H, W]`` classes the model predicts; VOID and UNLABELLED are passed over.
        confidence: ``[H, W]`` highest class probability, 255 for 1.
        threshold: least probability, in [0, 1].
        guard: what may be painted.
        by_class: other thresholds of some classes.
        only: the only classes to adopt; None for all.

    Raises:
        ValueError: not maps of one size, an id, or a threshold outside [0, 1].
    """
    check_labels(labels)
    check_labels(predicted, labels.shape)
    check_labels(confidence, labels.shape)
    thresholds = np.full(VOID, threshold, np.float64)
    for class_id, own in (by_class or {}).items():
        thresholds[_checked_class(class_id)] = own
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise ValueError(f"thresholds must lie in [0, 1], got {threshold=} {by_class=}")
    levels = np.full(256, 256, np.int16)  # of 255; 256 is never reached
    # of 255ths, the lowest that is no less than the threshold
    levels[:VOID] = np.searchsorted(np.arange(256) / 255, thresholds)
    if only is not None:
        chosen = np.isin(np.arange(256), [_checked_class(class_id) for class_id in only])
        levels[~chosen] = 256
    return replaced(labels, predicted, confidence >= levels[predicted], guard)


def _checked_class(class_id: int) -> int:
    check_id(class_id)
    if class_id >= VOID:
        raise ValueError(f"a class that is predicted lies in 0..{VOID - 1}, got {class_id}")
    return class_id
