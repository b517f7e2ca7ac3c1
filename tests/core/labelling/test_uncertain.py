from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stt_core.labelling.checks import Connectivity
from stt_core.labelling.uncertain import doubt, entropy, margin, uncertain_regions
from stt_core.labels import UNLABELLED
from tests.core.labelling.maps import components, maps_of, sizes


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_the_walk_goes_through_all_regions_from_the_worst_on(data: st.DataObject) -> None:
    size = data.draw(sizes)
    levels = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    uncertainty = data.draw(arrays(np.float32, size, elements=levels))
    at_least, smallest = data.draw(levels), data.draw(st.integers(1, 6))
    labels = data.draw(st.none() | maps_of(size))
    connectivity: Connectivity = data.draw(st.sampled_from([4, 8]))
    unsure = uncertainty >= at_least
    if labels is not None:
        unsure &= labels == UNLABELLED
    wanted = []
    for pixels in components(unsure, connectivity):
        if len(pixels) >= smallest:
            ys, xs = np.array(pixels).T
            total = float(uncertainty[ys, xs].sum())
            box = (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
            middle = (xs.mean() + 0.5, ys.mean() + 0.5)
            wanted.append((-total, box, len(pixels), middle))
    found = uncertain_regions(
        uncertainty, at_least, smallest, labels=labels, connectivity=connectivity
    )
    wanted.sort(key=lambda each: each[:2])
    assert [(r.box, r.pixels) for r in found] == [(box, n) for _, box, n, _ in wanted]
    for region, (total, _, pixels, middle) in zip(found, wanted, strict=True):
        assert region.weight == pytest.approx(-total)
        assert region.uncertainty == pytest.approx(-total / pixels)
        assert region.centroid == pytest.approx(middle)


def test_entropy_and_margin_of_known_probabilities() -> None:
    p = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]], np.float16)
    maps = p.T[:, :, None]  # [C, h, 1]
    high = -(0.7 * np.log(0.7) + 0.3 * np.log(0.1)) / np.log(4)
    np.testing.assert_allclose(entropy(maps)[:, 0], [0, 1, 0.5, high], atol=2e-3)
    np.testing.assert_allclose(margin(maps)[:, 0], [0, 1, 1, 0.4], atol=2e-3)
    assert entropy(maps).dtype == margin(maps).dtype == np.float32
    # of three classes the two highest count, wherever they stand
    three = np.array([0.1, 0.6, 0.3], np.float32)[:, None, None]
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        np.testing.assert_allclose(margin(three[list(order)]), 0.7, rtol=1e-6)


def test_doubt_is_what_is_left_to_certainty() -> None:
    np.testing.assert_allclose(doubt(np.array([[0, 51, 255]], np.uint8)), [[1, 0.8, 0]])


def test_a_map_is_enlarged_between_the_centres_of_its_cells() -> None:
    p = np.array([[[1, 0.5]], [[0, 0.5]]], np.float32)
    np.testing.assert_allclose(entropy(p, (2, 4)), [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)
    np.testing.assert_allclose(margin(p, (2, 4)), [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)


def test_what_makes_no_sense_is_refused() -> None:
    unsure = np.zeros((3, 4), np.float32)
    for wrong in (unsure.astype(np.float64), unsure[0], unsure[:0]):
        with pytest.raises(ValueError, match="uncertainty must be float32"):
            uncertain_regions(wrong, 0.5)  # type: ignore[arg-type]
    for at_least, smallest in ((-0.1, 1), (1.1, 1), (0.5, 0), (np.nan, 1)):
        with pytest.raises(ValueError, match="at_least lies in"):
            uncertain_regions(unsure, at_least, smallest)
    with pytest.raises(ValueError, match="sizes differ"):
        uncertain_regions(unsure, 0.5, labels=np.zeros((2, 4), np.uint8))
    for bad in (np.ones((1, 2, 2)), np.ones((2, 2)), np.ones((3, 2, 2), np.int64)):
        with pytest.raises(ValueError, match="probabilities must be floats"):
            entropy(bad)
    for number in (-0.1, np.nan):
        with pytest.raises(ValueError, match="0 or more"):
            margin(np.full((2, 1, 1), number))
    with pytest.raises(ValueError, match="must be uint8"):
        doubt(unsure)  # type: ignore[arg-type]
