"""Where the model is unsure: the regions worth correcting, as a walk from the worst on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.checks import Box, Connectivity, Labels, check_connectivity, check_labels
from stt_core.labels import UNLABELLED

Uncertainty = NDArray[np.float32]
"""``[H, W]`` in [0, 1]: 0 where the model is sure."""


@dataclass(frozen=True, slots=True)
class UncertainRegion:
    """A connected region where the model is unsure."""

    box: Box
    centroid: tuple[float, float]
    """x, y in image pixels; may lie outside a bent region."""
    pixels: int
    uncertainty: float
    """Mean over the region, in [0, 1]."""

    @property
    def weight(self) -> float:
        """What the walk goes by: pixels times mean uncertainty."""
        return self.pixels * self.uncertainty


def entropy(
    probabilities: NDArray[np.floating], size: tuple[int, int] | None = None
) -> Uncertainty:
    """Entropy of each pixel's class probabilities, as a share of the greatest one, log C.

    Args:
        probabilities: ``[C, h, w]``, of two classes at least, summing to 1 over C, about.
        size: H, W of the map; enlarged bilinearly between the centres of the cells.

    Raises:
        ValueError: not probabilities.
    """
    p = _checked_probabilities(probabilities)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return _enlarged(np.asarray(-(p * logs).sum(0) / np.log(len(p)), np.float32), size)


def margin(probabilities: NDArray[np.floating], size: tuple[int, int] | None = None) -> Uncertainty:
    """1 less the distance of the two highest probabilities; arguments as of :func:`entropy`."""
    p = _checked_probabilities(probabilities)
    second, first = np.partition(p, len(p) - 2, axis=0)[-2:]
    return _enlarged(1 - (first - second), size)


def doubt(confidence: NDArray[np.uint8]) -> Uncertainty:
    """1 less the highest class probability, where only that was kept.

    Args:
        confidence: ``[H, W]``, 255 for 1.
    """
    check_labels(confidence)
    return np.asarray(1 - confidence.astype(np.float32) / 255, np.float32)


def uncertain_regions(
    uncertainty: Uncertainty,
    at_least: float,
    smallest: int = 64,
    *,
    labels: Labels | None = None,
    connectivity: Connectivity = 8,
) -> tuple[UncertainRegion, ...]:
    """Connected regions of high uncertainty, those with the most of it first.

    Args:
        uncertainty: of each pixel, as :func:`entropy`, :func:`margin` and :func:`doubt` give it.
        at_least: of every pixel of a region, in [0, 1].
        smallest: pixels; smaller regions are left out.
        labels: a label map; what is labelled (or void) needs no correction and is left out.
        connectivity: of a region.

    Returns:
        By falling pixels times mean uncertainty; of equals the upper, then the left one first.

    Raises:
        ValueError: not such a map, sizes that differ, or numbers outside their range.
    """
    if uncertainty.dtype != np.float32 or uncertainty.ndim != 2 or not uncertainty.size:
        raise ValueError(
            f"uncertainty must be float32 [H, W], got {uncertainty.dtype} {uncertainty.shape}"
        )
    if not 0 <= at_least <= 1 or smallest < 1:
        raise ValueError(
            f"at_least lies in [0, 1], smallest is 1 or more, got {at_least=} {smallest=}"
        )
    check_connectivity(connectivity)
    unsure = uncertainty >= at_least
    if labels is not None:
        check_labels(labels, uncertainty.shape)
        unsure &= labels == UNLABELLED
    count, numbers, stats, centres = cv2.connectedComponentsWithStats(
        unsure.view(np.uint8), connectivity=connectivity
    )
    sums = np.bincount(numbers.ravel(), uncertainty.ravel(), minlength=count)
    found = []
    for number in range(1, count):
        x, y, width, height, pixels = (int(value) for value in stats[number])
        if pixels >= smallest:
            middle = float(centres[number, 0]) + 0.5, float(centres[number, 1]) + 0.5
            box, total = (y, x, y + height, x + width), float(sums[number])
            found.append((total, UncertainRegion(box, middle, pixels, total / pixels)))
    found.sort(key=lambda each: (-each[0], each[1].box))
    return tuple(region for _, region in found)


def _checked_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    p = probabilities
    if not np.issubdtype(p.dtype, np.floating) or p.ndim != 3 or len(p) < 2 or not p.size:
        raise ValueError(f"probabilities must be floats [C, h, w], C > 1, got {p.dtype} {p.shape}")
    if not (p >= 0).all():  # nor with NaN
        raise ValueError("probabilities must be 0 or more, got some below or not a number")
    return p.astype(np.float32)


def _enlarged(cells: NDArray[np.float32], size: tuple[int, int] | None) -> Uncertainty:
    if size is not None and size != cells.shape:
        # cv2 has half-pixel centres, as our cells do
        resized = cv2.resize(cells, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        cells = np.asarray(resized, np.float32)
    return cells.clip(0, 1)
