from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.labelling.change import Guard
from stt_core.labelling.superpixels import find_superpixels, paint_superpixels
from stt_core.labels import UNLABELLED
from tests.core.labelling.maps import check_change, components, expected, under_line
from tests.core.labelling.pictures import star


def _achievable(superpixels: NDArray[np.int32], blob: NDArray[np.bool_]) -> int:
    """Pixels that are wrong when every superpixel gets what most of it is."""
    inside = np.bincount(superpixels.ravel(), blob.ravel())
    outside = np.bincount(superpixels.ravel(), ~blob.ravel())
    return int(np.minimum(inside, outside).sum())


@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 20), st.integers(0, 9), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_pixel_is_in_one_connected_superpixel(
    height: int, width: int, spacing: int, seed: int, plain: bool
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    image[:] = 7 if plain else image
    found = find_superpixels(image, spacing)
    assert found.dtype == np.int32
    assert found.shape == (height, width)
    count = max(1, round(height / spacing)) * max(1, round(width / spacing))
    assert np.unique(found).tolist() == list(range(count))
    for number in range(count):
        assert len(list(components(found == number))) == 1
    np.testing.assert_array_equal(found, find_superpixels(image, spacing))


def test_superpixels_follow_the_edges_of_the_image() -> None:
    image, blob = star((160, 192), (96, 80), 45)
    found = find_superpixels(image, 16)
    rows, cols = np.arange(160) // 16, np.arange(192) // 16
    squares = (rows[:, None] * 12 + cols).astype(np.int32)
    assert found.max() == squares.max()
    assert _achievable(found, blob) < 0.25 * _achievable(squares, blob)


def test_those_a_brush_touches_are_painted_as_a_whole() -> None:
    image, _ = star((60, 80), (40, 30), 20)
    found = find_superpixels(image, 12)
    labels = np.full((60, 80), UNLABELLED, np.uint8)
    labels[:, :30] = 3
    line, guard = np.array([(10.5, 20.0), (50.0, 33.0)]), Guard(over=frozenset([UNLABELLED]))
    touched = np.isin(found, found[under_line(line, 2.0, (60, 80))])
    after = expected(labels, touched, 1, guard)
    change = paint_superpixels(labels, found, line, 2.0, 1, guard)
    check_change(labels, change, after)
    assert paint_superpixels(labels, found, line - 500, 2.0, 1) is None


def test_what_makes_no_sense_is_refused() -> None:
    image, labels = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)
    point = np.array([[1.0, 1.0]])
    with pytest.raises(ValueError, match="4 pixels apart at least, got spacing=3"):
        find_superpixels(image, 3)
    with pytest.raises(ValueError, match="an image must be"):
        find_superpixels(labels)
    wrong = (np.zeros((9, 9), np.int64), np.zeros((9, 8), np.int32), np.full((9, 9), -1, np.int32))
    for numbers in wrong:
        with pytest.raises(ValueError, match="superpixels must be int32"):
            paint_superpixels(labels, numbers, point, 0.5, 1)  # type: ignore[arg-type]
