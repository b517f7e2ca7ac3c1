"""How sure a prediction must be: one level a class, on the 8-bit scale that is kept.

A level L believes pixels of confidence L and above, of 255; :data:`NEVER` believes none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.labels import VOID, LabelClass
from stt_core.pseudo.rule import Threshold

NEVER = 256

Levels = NDArray[np.int64]
"""``[classes]``, each in 0..256."""


class ConfidenceHistogram:
    """How many pixels of each class have each confidence.

    Args:
        num_classes: ids from VOID on are passed over; those in between may not occur.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, 256), np.int64)
        """``[classes, 256]``."""

    def add(self, labels: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count a frame's ``[H, W]`` classes and confidences."""
        pairs = labels.astype(np.int32) << 8 | confidence
        found = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        self.counts += found[: len(self.counts)]

    def top_levels(self, share: float) -> Levels:
        """The highest level of each class that keeps at least `share` of its pixels.

        NEVER for a class that does not occur, and for all where `share` is 0.
        """
        kept = self.counts[:, ::-1].cumsum(1)[:, ::-1]  # by level
        total = kept[:, :1]
        enough = (total > 0) & (kept / np.maximum(total, 1) >= share)
        # enough is true up to some level, unless it never is
        levels = enough.sum(1) - 1
        return np.where(enough.any(1) & (share > 0), levels, NEVER).astype(np.int64)

    def kept_shares(self, levels: Levels) -> NDArray[np.float64]:
        """``[classes]`` share of its pixels that the level of each believes; NaN without any."""
        believed = np.arange(256) >= levels[:, None]
        total = self.counts.sum(1)
        kept = (self.counts * believed).sum(1)
        return np.where(total > 0, kept / np.maximum(total, 1), np.nan)


def threshold_levels(threshold: Threshold, classes: Sequence[LabelClass]) -> Levels:
    """The lowest level of each class that is as probable as its threshold.

    Raises:
        LabelError: a threshold names a class that does not exist.
    """
    names = [c.name for c in classes]
    for name in threshold.by_class:
        if name not in names:
            raise LabelError(
                f"there is no class '{name}' to set a threshold for: the classes are "
                f"{', '.join(names)}"
            )
    wanted = [threshold.by_class.get(name, threshold.probability) for name in names]
    return np.searchsorted(np.arange(256) / 255, wanted).astype(np.int64)


def check_prediction(
    frame: int,
    labels: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    classes: Sequence[LabelClass],
) -> None:
    """See that a prediction can be used.

    Raises:
        LabelError: its parts differ in size, or a class is not in the list.
    """
    if labels.shape != confidence.shape:
        raise LabelError(
            f"the prediction of frame {frame} is damaged: its classes are "
            f"{_size(labels)}, its confidences {_size(confidence)}. Segment the video again."
        )
    check_ids(f"the prediction of frame {frame}", labels, classes)


def check_ids(what: str, labels: NDArray[np.uint8], classes: Sequence[LabelClass]) -> None:
    """See that a map holds classes of the list, or ids that say nothing.

    Raises:
        LabelError: it holds others.
    """
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[:VOID])
    wrong = found[found >= len(classes)]
    if wrong.size:
        raise LabelError(
            f"{what} holds the ids {wrong.tolist()}, but there are {len(classes)} classes "
            f"(0 to {len(classes) - 1}). Was it made with another class list?"
        )


def _size(array: NDArray[np.uint8]) -> str:
    return " x ".join(str(side) for side in array.shape[::-1]) + " pixels"
