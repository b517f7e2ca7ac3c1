"""Tools on the connected regions of a label map: fill, fill holes, remove specks, pick."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Change, Guard, joined, painted, replaced
from stt_core.labelling.checks import (
    Connectivity,
    Labels,
    Mask,
    Point,
    check_connectivity,
    check_id,
    check_labels,
    pixel_at,
)
from stt_core.labels import UNLABELLED

_VALUES = 256


def pick(labels: Labels, point: Point) -> int:
    """The class under a point, VOID or UNLABELLED.

    Raises:
        ValueError: not a label map, or the point lies outside it.
    """
    check_labels(labels)
    return int(labels[pixel_at(point, labels.shape)])


def fill(
    labels: Labels,
    point: Point,
    class_id: int,
    guard: Guard = FREE,
    connectivity: Connectivity = 4,
) -> Change | None:
    """Give the region of one value under a point a class.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map, an id, another connectivity, or the point lies outside.
    """
    return painted(labels, region_at(labels, point, connectivity), class_id, guard)


def region_at(labels: Labels, point: Point, connectivity: Connectivity = 4) -> Mask:
    """``[H, W]``: the connected pixels that have the value of the one under the point.

    Raises:
        ValueError: not a label map, another connectivity, or the point lies outside.
    """
    check_labels(labels)
    check_connectivity(connectivity)
    row, col = pixel_at(point, labels.shape)
    reached = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2), np.uint8)
    # It only reads the map with this flag, but refuses one that is not to be written to.
    flags = connectivity | cv2.FLOODFILL_MASK_ONLY | 1 << 8
    image = labels if labels.flags.writeable and labels.flags.c_contiguous else labels.copy()
    cv2.floodFill(image, reached, (col, row), 0, 0, 0, flags)
    return reached[1:-1, 1:-1].view(np.bool_)


def fill_holes(
    labels: Labels, class_id: int, smaller_than: int, guard: Guard = FREE
) -> Change | None:
    """Give a class what it encloses.

    A hole is a 4-connected region of other values that does not touch the border of the image: it
    lies within 8-connected pixels of the class.

    Args:
        labels: the map.
        class_id: a class, VOID or UNLABELLED.
        smaller_than: pixels; holes of that many and more stay.
        guard: what may be painted.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map, an id, or a size below 1.
    """
    check_labels(labels)
    check_id(class_id)
    _check_size(smaller_than)
    others = (labels != class_id).view(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(others, connectivity=4)
    x, y, width, height, area = stats.T
    inner = (x > 0) & (y > 0) & (x + width < labels.shape[1]) & (y + height < labels.shape[0])
    holes = inner & (area < smaller_than)
    holes[0] = False  # the class itself
    return painted(labels, holes[numbers], class_id, guard)


def remove_specks(
    labels: Labels,
    smaller_than: int,
    guard: Guard = FREE,
    *,
    of: Collection[int] | None = None,
    connectivity: Connectivity = 4,
) -> Change | None:
    """Give small regions the value that surrounds them most.

    Each pixel side that a speck shares with another region is a vote for that region's value; of
    equals the lower one wins. Other specks have no vote while anything else touches the speck:
    those that touch specks only wait until one of these has its value. A speck stays where the
    winner is locked.

    Args:
        labels: the map.
        smaller_than: pixels; regions of that many and more stay.
        guard: what may be painted.
        of: only regions of these values; None for all but UNLABELLED, so that nothing that
            nobody labelled becomes a label by itself.
        connectivity: of a region.

    Raises:
        ValueError: not a label map, an id, another connectivity, or a size below 1.
    """
    check_labels(labels)
    check_connectivity(connectivity)
    _check_size(smaller_than)
    wanted = range(UNLABELLED) if of is None else of
    for value in wanted:
        check_id(value)
    specks, count = _specks(labels, smaller_than, wanted, connectivity)
    after, waiting = labels, specks > 0
    while waiting.any():
        winners = _winners(after, specks, waiting, count)
        settled = waiting & (winners >= 0)[specks]
        if not settled.any():
            break  # the whole image is specks
        change = replaced(after, winners.astype(np.uint8)[specks], settled, guard)
        after = after if change is None else change.on(after)
        waiting &= ~settled
    return joined(labels, after)


def _specks(
    labels: Labels, smaller_than: int, wanted: Collection[int], connectivity: Connectivity
) -> tuple[NDArray[np.int32], int]:
    """``[H, W]`` number of the speck each pixel is in, 0 for none; and how many there are."""
    specks = np.zeros(labels.shape, np.int32)
    count = 0
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=_VALUES))
    for value in sorted(set(wanted) & set(present.tolist())):
        its = (labels == value).view(np.uint8)
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(its, connectivity=connectivity)
        small = stats[:, cv2.CC_STAT_AREA] < smaller_than
        small[0] = False  # the other values
        renumbered = np.where(small, count + small.cumsum(), 0).astype(np.int32)
        specks += renumbered[numbers]
        count += int(small.sum())
    return specks, count


def _winners(
    labels: Labels, specks: NDArray[np.int32], waiting: Mask, count: int
) -> NDArray[np.int64]:
    """``[1 + count]`` value that surrounds each waiting speck most, -1 where only specks do."""
    votes = []
    near, far = (slice(None, -1), slice(1, None))
    every = slice(None)
    for one, two in (((near, every), (far, every)), ((every, near), (every, far))):
        for here, there in ((one, two), (two, one)):
            sides = waiting[here] & ~waiting[there]
            votes.append(specks[here][sides].astype(np.int64) * _VALUES + labels[there][sides])
    pairs, counts = np.unique(np.concatenate(votes), return_counts=True)
    speck, value = pairs // _VALUES, pairs % _VALUES
    winners = np.full(count + 1, -1, np.int64)
    order = np.lexsort((-value, counts))  # the most votes last, of equals the lower value
    winners[speck[order]] = value[order]
    return winners


def _check_size(smaller_than: int) -> None:
    if smaller_than < 1:
        raise ValueError(f"the size must be 1 pixel at least, got {smaller_than=}")
