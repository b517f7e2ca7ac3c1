from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labelling.change import Guard, LabellingError
from stt_core.labelling.polygon import inside, polygon
from stt_core.labels import UNLABELLED
from tests.core.labelling.maps import (
    check_change,
    expected,
    guards,
    ids,
    inside_outline,
    maps_of,
)

SIZE = (15, 21)

_eighths = st.integers(-80, 250).map(lambda n: n / 8)
_outlines = st.lists(st.tuples(_eighths, _eighths), min_size=3, max_size=9).map(
    lambda points: np.array(points, np.float64)
)


def _whole(points: NDArray[np.float64], size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    (y, x), mask = inside(points, size)
    whole = np.zeros(size, np.bool_)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


@given(_outlines)
@settings(max_examples=100, deadline=None)
def test_what_lies_inside_goes_by_the_even_odd_rule(points: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(_whole(points), inside_outline(points, SIZE))


def test_a_star_is_hollow_where_it_crosses_itself() -> None:
    angles = np.arange(5) * 4 * np.pi / 5
    star = np.stack([10 + 7 * np.sin(angles), 7.5 - 7 * np.cos(angles)], 1)
    mask = _whole(star)
    assert mask[2, 10]  # in a ray
    assert not mask[7, 10]  # in the middle


@given(st.lists(st.tuples(st.floats(0, 21), st.floats(0, 15)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_polygons_with_common_sides_share_every_pixel_out(
    middles: list[tuple[float, float]],
) -> None:
    """The image cut in two along any line, whatever its rounding."""
    cut = [(-3.0, 7.3), *sorted(middles), (30.0, 7.7)]
    upper = np.array([*cut, (30.0, -5.0), (-3.0, -5.0)])
    lower = np.array([*cut, (30.0, 40.0), (-3.0, 40.0)])
    assert (_whole(upper) ^ _whole(lower)).all()


def test_a_level_lasso_through_pixel_centres_owns_what_is_right_of_it_and_below() -> None:
    square = np.array([(2.5, 3.5), (6.5, 3.5), (6.5, 5.5), (2.5, 5.5)])
    assert np.argwhere(_whole(square)).tolist() == [
        [y, x] for y in (3, 4) for x in (2, 3, 4, 5)
    ]  # fmt: skip


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_adding_and_subtracting_obey_the_guard(data: st.DataObject) -> None:
    labels = data.draw(maps_of(SIZE))
    points, guard, class_id = data.draw(_outlines), data.draw(guards), data.draw(ids)
    mask = inside_outline(points, SIZE)
    if class_id in guard.locked:
        with pytest.raises(LabellingError, match="locked"):
            polygon(labels, points, class_id, guard)
        with pytest.raises(LabellingError, match="locked"):
            polygon(labels, points, class_id, guard, subtract=True)
        return
    after = expected(labels, mask, class_id, guard)
    check_change(labels, polygon(labels, points, class_id, guard), after)
    if UNLABELLED not in guard.locked:
        after = expected(labels, mask & (labels == class_id), UNLABELLED, guard)
        check_change(labels, polygon(labels, points, class_id, guard, subtract=True), after)


def test_nothing_is_taken_away_while_what_is_not_labelled_is_locked() -> None:
    square = np.array([(0, 0), (9, 0), (9, 9), (0, 9)], np.float64)
    guard = Guard(locked=frozenset([UNLABELLED]))
    with pytest.raises(LabellingError, match="Not labelled is locked"):
        polygon(np.zeros(SIZE, np.uint8), square, 0, guard, subtract=True)


def test_an_outline_beside_the_image_changes_nothing() -> None:
    for shift in (-100, 100):
        points = np.array([(0, 0), (9, 0), (9, 9)], np.float64) + shift
        assert polygon(np.zeros(SIZE, np.uint8), points, 1) is None


def test_two_points_are_no_outline() -> None:
    with pytest.raises(ValueError, match="3 points at least, got 2"):
        polygon(np.zeros(SIZE, np.uint8), np.zeros((2, 2)), 1)
