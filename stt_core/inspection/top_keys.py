"""The strongest keys of a look back as a list, and its weights on two scales. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.inspection.places import Box, cell_box
from stt_core.results import LookBack

DEFAULT_COUNT = 20


@dataclass(frozen=True, slots=True)
class TopKey:
    """A key, and how much a query made of it."""

    lag: int
    """Of its key frame, 0 the newest."""
    frame: int
    row: int
    col: int
    box: Box
    """Of its cell, image pixels."""
    weight: float
    """By which the list is sorted: of one head, or the mean over heads."""
    per_head: NDArray[np.float32]
    """``[heads]``."""
    class_id: int | None
    """Predicted there; None where nobody gave the classes."""


def top_keys(
    look: LookBack,
    *,
    count: int = DEFAULT_COUNT,
    head: int | None = None,
    classes: Sequence[NDArray[np.uint8]] | None = None,
) -> tuple[TopKey, ...]:
    """The keys of greatest weight, the greatest first; of equals the newest, then upper left.

    Args:
        look: where a query looked.
        count: of keys, at most; those of no weight are left out.
        head: whose weight; None: the mean over heads.
        classes: ``[h, w]`` of each key frame, newest first
            (:func:`stt_core.inspection.asking.class_maps`).

    Raises:
        ValueError: `count` is negative, the head is not there, or `classes` is not one map of the
            right size for each key frame.
    """
    heads, _, *grid = look.weights.shape
    size = (grid[0], grid[1])
    if count < 0 or (head is not None and not 0 <= head < heads):
        raise ValueError(f"count must be at least 0 and head below {heads}, got {count=} {head=}")
    if classes is not None and [c.shape for c in classes] != [size] * len(look.frames):
        raise ValueError(
            f"classes must be {len(look.frames)} maps of {size}, got {[c.shape for c in classes]}"
        )
    weights = look.of_head(head)
    order = np.argsort(-weights, axis=None, kind="stable")[:count]
    found = []
    for lag, row, col in zip(*np.unravel_index(order, weights.shape), strict=True):
        if weights[lag, row, col] <= 0:
            break
        found.append(
            TopKey(
                lag=int(lag),
                frame=look.frames[lag],
                row=int(row),
                col=int(col),
                box=cell_box(int(row), int(col), size, look.images[lag].shape[:2]),
                weight=float(weights[lag, row, col]),
                per_head=look.weights[:, lag, row, col].copy(),
                class_id=None if classes is None else int(classes[lag][row, col]),
            )
        )
    return tuple(found)


def joint(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights ``[..., F, h, w]`` so that all key frames together sum to 1, or stay 0.

    What the model computes; only what was muted or averaged changes by it.
    """
    return _scaled(weights, (-3, -2, -1))


def per_frame(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights ``[..., F, h, w]`` so that each key frame by itself sums to 1, or stays 0.

    Shows where a query looked in frames that got little of its weight.
    """
    return _scaled(weights, (-2, -1))


def _scaled(weights: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    total = weights.sum(axes, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
