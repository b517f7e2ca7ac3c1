"""Small label maps, guards and slow, obvious twins for the tests of the labelling tools."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stt_core.labelling.change import Change, Guard
from stt_core.labels import UNLABELLED, VOID

IDS = (0, 1, 2, 253, VOID, UNLABELLED)

ids = st.sampled_from(IDS)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 14))
guards = st.builds(
    Guard,
    over=st.none() | st.frozensets(ids),
    locked=st.frozensets(ids, max_size=2),
    only_unlabelled=st.booleans(),
)


def maps_of(size: tuple[int, int], few: bool = False) -> st.SearchStrategy[NDArray[np.uint8]]:
    return arrays(np.uint8, size, elements=st.sampled_from(IDS[:3]) if few else ids)


def masks_of(size: tuple[int, int]) -> st.SearchStrategy[NDArray[np.bool_]]:
    return arrays(np.bool_, size)


def may_change(guard: Guard, value: int) -> bool:
    """What the guard's documentation says of one pixel."""
    if value in guard.locked:
        return False
    if guard.only_unlabelled and value != UNLABELLED:
        return False
    return guard.over is None or value in guard.over


def expected(
    labels: NDArray[np.uint8], mask: NDArray[np.bool_], class_id: int, guard: Guard
) -> NDArray[np.uint8]:
    """The map after painting, pixel by pixel."""
    after = labels.copy()
    for at in np.argwhere(mask).tolist():
        if may_change(guard, int(labels[tuple(at)])):
            after[tuple(at)] = class_id
    return after


def check_change(
    before: NDArray[np.uint8], change: Change | None, after: NDArray[np.uint8]
) -> None:
    """That a change turns one map into the other, and is as small as it can be."""
    differs = np.argwhere(before != after)
    if not len(differs):
        assert change is None
        return
    assert change is not None
    (y0, x0), (y1, x1) = differs.min(0), differs.max(0) + 1
    assert change.box == (y0, x0, y1, x1)
    assert change.corner == (y0, x0)
    assert change.after.dtype == np.uint8
    assert not np.shares_memory(change.after, before)
    np.testing.assert_array_equal(change.on(before), after)


def components(mask: NDArray[np.bool_], connectivity: int = 4) -> Iterator[list[tuple[int, int]]]:
    """The connected regions of a mask, by walking from pixel to pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    while left:
        waiting, found = [min(left)], []
        left.remove(waiting[0])
        while waiting:
            at = waiting.pop()
            found.append(at)
            for near in neighbours(at, connectivity):
                if near in left:
                    left.remove(near)
                    waiting.append(near)
        yield sorted(found)


def neighbours(at: tuple[int, int], connectivity: int) -> Iterator[tuple[int, int]]:
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy or dx) and (connectivity == 8 or not (dy and dx)):
                yield at[0] + dy, at[1] + dx


def under_line(
    points: NDArray[np.float64], radius: float, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which centres lie within the radius of a line, in whole 16ths of a pixel."""
    line, reach, (x, y) = _sixteenths(points), int(radius * 16) ** 2, _centres(size)
    assert reach == (radius * 16) ** 2
    mask = np.zeros(size, np.bool_)
    for ax, ay in line:
        mask |= (x - ax) ** 2 + (y - ay) ** 2 <= reach
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        along = (x - ax) * dx + (y - ay) * dy
        beside = (along > 0) & (along < dx * dx + dy * dy)
        mask |= beside & (((y - ay) * dx - (x - ax) * dy) ** 2 <= reach * (dx * dx + dy * dy))
    return mask


def inside_outline(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The even-odd rule without rounding; a side through a centre is left of it."""
    line, (x, y) = _sixteenths(points), _centres(size)
    mask = np.zeros(size, np.bool_)
    for one, two in pairwise([*line, line[0]]):
        (ax, ay), (bx, by) = sorted((one, two), key=lambda point: point[1])
        mask ^= (ay <= y) & (y < by) & ((y - ay) * (bx - ax) <= (x - ax) * (by - ay))
    return mask


def _sixteenths(points: NDArray[np.float64]) -> list[tuple[int, int]]:
    assert (points * 16 % 1 == 0).all()
    return [(int(x * 16), int(y * 16)) for x, y in points]


def _centres(size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.int64) * 16 + 8
    return x, y
