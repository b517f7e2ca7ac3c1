from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labelling.change import FREE, Guard, LabellingError
from stt_core.labelling.checks import Connectivity
from stt_core.labelling.regions import fill, fill_holes, pick, region_at, remove_specks
from stt_core.labels import UNLABELLED, VOID
from tests.core.labelling.maps import (
    check_change,
    components,
    expected,
    guards,
    ids,
    maps_of,
    may_change,
    neighbours,
    sizes,
)

_connectivities = st.sampled_from([4, 8])


def _mask(pixels: list[tuple[int, int]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[tuple(np.array(pixels).T)] = True
    return mask


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_fill_takes_the_region_of_one_value(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels = data.draw(maps_of(size))
    labels.flags.writeable = False
    row, col = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    point = (col + data.draw(st.floats(0, 0.99)), row + data.draw(st.floats(0, 0.99)))
    connectivity: Connectivity = data.draw(_connectivities)
    guard, class_id = data.draw(guards), data.draw(ids)
    value = pick(labels, point)
    assert value == labels[row, col]
    region = next(r for r in components(labels == value, connectivity) if (row, col) in r)
    mask = _mask(region, size)
    np.testing.assert_array_equal(region_at(labels, point, connectivity), mask)
    if class_id in guard.locked:
        with pytest.raises(LabellingError, match="locked"):
            fill(labels, point, class_id, guard, connectivity)
    else:
        after = expected(labels, mask, class_id, guard)
        check_change(labels, fill(labels, point, class_id, guard, connectivity), after)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_holes_smaller_than_asked_for_are_filled(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels = data.draw(maps_of(size, few=True))
    smaller_than, guard = data.draw(st.integers(1, 12)), data.draw(guards)
    if 1 in guard.locked:
        return
    mask = np.zeros(size, np.bool_)
    for region in components(labels != 1):
        ys, xs = np.array(region).T
        inner = ys.min() > 0 and xs.min() > 0 and ys.max() < size[0] - 1 and xs.max() < size[1] - 1
        if inner and len(region) < smaller_than:
            mask |= _mask(region, size)
    after = expected(labels, mask, 1, guard)
    check_change(labels, fill_holes(labels, 1, smaller_than, guard), after)


def test_a_hole_is_filled_with_what_lies_in_it() -> None:
    ring = np.full((9, 9), UNLABELLED, np.uint8)
    ring[1:8, 1:8] = 3
    ring[2:7, 2:7] = 4
    ring[4, 4] = 3  # an island, no part of the hole
    ring[3, 3] = VOID
    assert fill_holes(ring, 3, 24) is None  # it has 24 pixels
    change = fill_holes(ring, 3, 25)
    assert change is not None
    assert (change.on(ring)[1:8, 1:8] == 3).all()
    kept = fill_holes(ring, 3, 25, Guard(locked=frozenset([VOID])))
    assert kept is not None
    assert kept.on(ring)[3, 3] == VOID


def _without_specks(
    labels: NDArray[np.uint8], smaller_than: int, guard: Guard, of: set[int], connectivity: int
) -> NDArray[np.uint8]:
    """The documentation, read aloud."""
    waiting = [
        (value, region)
        for value in of
        for region in components(labels == value, connectivity)
        if len(region) < smaller_than
    ]
    after = labels.copy()
    while waiting:
        unsettled = {at for _, region in waiting for at in region}
        votes = [
            Counter(
                int(after[near])
                for at in region
                for near in neighbours(at, 4)
                if near not in unsettled
                and 0 <= near[0] < labels.shape[0]
                and 0 <= near[1] < labels.shape[1]
            )
            for _, region in waiting
        ]
        if not any(votes):
            break
        left = []
        for (value, region), each in zip(waiting, votes, strict=True):
            if not each:
                left.append((value, region))
                continue
            winner = min(each, key=lambda v: (-each[v], v))
            if may_change(guard, value) and winner not in guard.locked:
                for at in region:
                    after[at] = winner
        waiting = left
    return after


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_specks_get_what_surrounds_them_most(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels = data.draw(maps_of(size, few=data.draw(st.booleans())))
    smaller_than, guard = data.draw(st.integers(1, 9)), data.draw(guards)
    of: set[int] | None = data.draw(st.none() | st.sets(ids))
    connectivity: Connectivity = data.draw(_connectivities)
    wanted = set(range(UNLABELLED)) & set(labels.ravel().tolist()) if of is None else of
    after = _without_specks(labels, smaller_than, guard, wanted, connectivity)
    change = remove_specks(labels, smaller_than, guard, of=of, connectivity=connectivity)
    check_change(labels, change, after)


def test_what_nobody_labelled_stays_so_unless_it_is_asked_for() -> None:
    labels = np.zeros((6, 6), np.uint8)
    labels[2, 2] = UNLABELLED
    assert remove_specks(labels, 4) is None
    change = remove_specks(labels, 4, of=[UNLABELLED])
    assert change is not None
    assert change.box == (2, 2, 3, 3)
    assert change.after.tolist() == [[0]]


def test_specks_within_specks_wait_for_those() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[2:5, 2:5] = 1
    labels[3, 3] = 2
    change = remove_specks(labels, 9)  # the ring has 8 pixels
    assert change is not None
    assert (change.on(labels) == 0).all()


def test_an_image_of_specks_only_stays_as_it_is() -> None:
    labels = np.array([[0, 1], [1, 0]], np.uint8)
    assert remove_specks(labels, 5) is None


@pytest.mark.parametrize("point", [(-0.1, 0), (0, -0.1), (5, 0), (0, 4), (np.nan, 0)])
def test_a_point_outside_the_image_is_refused(point: tuple[float, float]) -> None:
    labels = np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match="the point must lie in the image"):
        pick(labels, point)
    with pytest.raises(ValueError, match="the point must lie in the image"):
        fill(labels, point, 1)


def test_numbers_that_make_no_sense_are_refused() -> None:
    labels = np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match="connectivity is 4 or 8, got 6"):
        fill(labels, (0, 0), 1, FREE, 6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="smaller_than=0"):
        fill_holes(labels, 0, 0)
    with pytest.raises(ValueError, match="smaller_than=0"):
        remove_specks(labels, 0)
    with pytest.raises(ValueError, match="got 300"):
        remove_specks(labels, 3, of=[300])
