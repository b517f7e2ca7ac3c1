from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labelling.brush import brush, eraser, scribbles, under_brush
from stt_core.labelling.change import FREE, Guard, LabellingError
from stt_core.labels import UNLABELLED, VOID, Stroke, covered_by
from tests.core.labelling.maps import check_change, expected, guards, ids, maps_of, under_line

SIZE = (17, 23)

# Eighths of a pixel: every number of the exact test is exact in floats too.
_eighths = st.integers(-80, 300).map(lambda n: n / 8)
_lines = st.lists(st.tuples(_eighths, _eighths), min_size=1, max_size=4).map(
    lambda points: np.array(points, np.float64)
)
_radii = st.integers(1, 120).map(lambda n: n / 8)


def _whole(points: NDArray[np.float64], radius: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    (y, x), mask = under_brush(points, radius, size)
    whole = np.zeros(size, np.bool_)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


@given(_lines, _radii)
@settings(max_examples=60, deadline=None)
def test_the_brush_covers_exactly_what_is_no_further_than_its_radius(
    points: NDArray[np.float64], radius: float
) -> None:
    np.testing.assert_array_equal(_whole(points, radius, SIZE), under_line(points, radius, SIZE))


@pytest.mark.parametrize(
    ("points", "radius"),
    [
        ([(10.5, 8.5)], 5.0),  # 3, 4, 5: pixels exactly on the circle
        ([(10.5, 8.5)], 0.5),
        ([(10.0, 8.0)], 0.5),  # between four pixels
        ([(2.5, 3.5), (18.5, 15.5)], 5.0),  # 4, 3, 5: pixels exactly beside the line
        ([(3.5, 2.5), (3.5, 14.5)], 2.0),
        ([(3.5, 2.5), (20.5, 2.5)], 2.0),
        ([(4.0, 4.0), (4.0, 4.0), (4.0, 4.0)], 3.0),
        ([(-40.0, 8.0), (60.0, 9.0)], 1.5),
        ([(-40.0, -40.0)], 4.0),
    ],
)
def test_pixels_on_the_edge_of_the_brush_belong_to_it(
    points: list[tuple[float, float]], radius: float
) -> None:
    line = np.array(points, np.float64)
    np.testing.assert_array_equal(_whole(line, radius, SIZE), under_line(line, radius, SIZE))


@given(
    st.lists(st.tuples(st.floats(-90, 390), st.floats(-90, 290)), min_size=1, max_size=6),
    st.floats(0.1, 150),
)
@settings(max_examples=60, deadline=None)
def test_the_brush_agrees_with_testing_every_pixel(
    points: list[tuple[float, float]], radius: float
) -> None:
    line, size = np.array(points, np.float64), (200, 300)
    where, covered = covered_by(Stroke(line, radius, 1), size)
    tested = np.zeros(size, np.bool_)
    tested[where] = covered
    differs = _whole(line, radius, size) != tested
    y, x = np.nonzero(differs)  # only where the last digit of a float decides
    for px, py in zip(x + 0.5, y + 0.5, strict=True):
        starts, ends = line[:-1] if len(line) > 1 else line, line[1:] if len(line) > 1 else line
        away = []
        for a, b in zip(starts, ends, strict=True):
            square = float(((b - a) ** 2).sum())
            t = float(((px, py) - a) @ (b - a)) / square if square else 0.0
            away.append(float(np.hypot(*((px, py) - a - min(max(t, 0.0), 1.0) * (b - a)))))
        assert min(away) == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("far", [1e6, -1e6])
@pytest.mark.parametrize("radius", [0.6, 200.0, 1e6])
def test_a_throw_across_the_image_has_no_gaps(far: float, radius: float) -> None:
    mask = _whole(np.array([[-far, 100.5], [far, 100.5]]), radius, (1024, 2048))
    high = min(int(radius), 923)
    assert mask[100 - min(int(radius), 100) : 101 + high].all()
    assert mask.sum() == (min(int(radius), 100) + 1 + high) * 2048


def test_a_wide_brush_on_a_large_map_is_a_disc() -> None:
    labels = np.full((1024, 2048), UNLABELLED, np.uint8)
    change = brush(labels, np.array([[1000.5, 500.5]]), 400, 3)
    assert change is not None
    y, x = np.ogrid[:1024, :2048]
    near = (y - 500) ** 2 + (x - 1000) ** 2 <= 400**2
    np.testing.assert_array_equal(change.on(labels) == 3, near)
    assert change.box == (100, 600, 901, 1401)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_strokes_obey_the_guard(data: st.DataObject) -> None:
    labels = data.draw(maps_of((9, 11)))
    points = np.array([(1.0, 2.0), (8.0, 5.0)])
    guard, class_id = data.draw(guards), data.draw(ids)
    if class_id in guard.locked:
        with pytest.raises(LabellingError, match="locked"):
            brush(labels, points, 2.5, class_id, guard)
        return
    mask = under_line(points, 2.5, (9, 11))
    after = expected(labels, mask, class_id, guard)
    check_change(labels, brush(labels, points, 2.5, class_id, guard), after)
    if class_id == UNLABELLED:
        check_change(labels, eraser(labels, points, 2.5, guard), after)


@given(st.lists(st.tuples(_lines, _radii, ids), max_size=4))
@settings(max_examples=30, deadline=None)
def test_scribbles_label_what_lies_under_them_and_nothing_else(
    drawn: list[tuple[NDArray[np.float64], float, int]],
) -> None:
    labels = np.full(SIZE, UNLABELLED, np.uint8)
    after = labels.copy()
    for points, radius, class_id in drawn:
        after[under_line(points, radius, SIZE)] = class_id
    strokes = [Stroke(points, radius, class_id) for points, radius, class_id in drawn]
    check_change(labels, scribbles(labels, strokes), after)


def test_only_what_is_not_labelled_is_painted_also_by_later_scribbles() -> None:
    labels = np.full((5, 20), UNLABELLED, np.uint8)
    labels[:, :4] = VOID
    line = np.array([[2.5, 2.5], [12.5, 2.5]])
    later = np.array([[8.5, 2.5], [18.5, 2.5]])
    guard = Guard(only_unlabelled=True)
    change = scribbles(labels, [Stroke(line, 0.5, 1), Stroke(later, 0.5, 2)], guard)
    assert change is not None
    assert change.on(labels)[2].tolist() == [VOID] * 4 + [1] * 9 + [2] * 6 + [UNLABELLED]
    assert change.box == (2, 4, 3, 19)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_a_radius_that_is_none_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match="radius must lie"):
        brush(np.zeros(SIZE, np.uint8), np.zeros((1, 2)), radius, 0, FREE)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2)),
        np.zeros(2),
        np.zeros((2, 3)),
        np.zeros((1, 2), np.float32),
        np.array([[0, np.nan]]),
        np.array([[0, 1e300]]),
    ],
)
def test_points_that_are_none_are_refused(
    points: NDArray[np.float64],
) -> None:
    with pytest.raises(ValueError, match="point"):
        brush(np.zeros(SIZE, np.uint8), points, 1, 0)
