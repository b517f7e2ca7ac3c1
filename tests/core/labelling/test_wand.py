from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stt_core.labelling.change import Guard
from stt_core.labelling.checks import Connectivity
from stt_core.labelling.wand import like_colour, magic_wand
from tests.core.labelling.maps import check_change, components, expected, maps_of, sizes


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_the_wand_finds_what_differs_by_no_more_than_the_tolerance(data: st.DataObject) -> None:
    size = data.draw(sizes)
    colours = st.sampled_from([0, 1, 20, 21, 22, 100, 254, 255])
    image = data.draw(arrays(np.uint8, (*size, 3), elements=colours))
    image.flags.writeable = False
    row, col = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    tolerance = data.draw(st.sampled_from([0, 1, 2, 80, 233, 255]))
    connectivity: Connectivity = data.draw(st.sampled_from([4, 8]))
    near = np.abs(image.astype(int) - image[row, col]).max(2) <= tolerance
    point = (col + 0.5, row + 0.5)
    anywhere = like_colour(image, point, tolerance, contiguous=False)
    np.testing.assert_array_equal(anywhere, near)
    region = next(r for r in components(near, connectivity) if (row, col) in r)
    mask = np.zeros(size, np.bool_)
    mask[tuple(np.array(region).T)] = True
    found = like_colour(image, point, tolerance, connectivity=connectivity)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, mask)

    labels = data.draw(maps_of(size))
    guard = Guard(over=frozenset([0, 2, 255]))
    change = magic_wand(labels, image, point, tolerance, 1, guard, connectivity=connectivity)
    check_change(labels, change, expected(labels, mask, 1, guard))
    change = magic_wand(labels, image, point, tolerance, 1, guard, contiguous=False)
    check_change(labels, change, expected(labels, near, 1, guard))


def test_more_tolerance_never_takes_less() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    last = np.zeros((30, 40), np.bool_)
    for tolerance in range(0, 256, 15):
        found = like_colour(image, (20, 15), tolerance)
        assert (found | ~last).all()
        last = found
    assert last.all()


def test_what_is_no_image_or_tolerance_is_refused() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    labels = np.zeros((4, 5), np.uint8)
    for tolerance in (-1, 256):
        with pytest.raises(ValueError, match="tolerance must lie in"):
            like_colour(image, (0, 0), tolerance)
    for wrong in (image[..., 0], image.astype(np.float32), image[..., :2]):
        with pytest.raises(ValueError, match=r"an image must be uint8 \[H, W, 3\]"):
            like_colour(wrong, (0, 0), 3)
    with pytest.raises(ValueError, match="must lie in the image"):
        like_colour(image, (5, 0), 3)
    with pytest.raises(ValueError, match="connectivity"):
        like_colour(image, (0, 0), 3, connectivity=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sizes differ"):
        magic_wand(labels[:3], image, (0, 0), 3, 1)
