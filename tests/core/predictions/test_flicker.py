from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from stt_core.project.predictions.flicker import flicker, flicker_between


def _slow(before: NDArray[np.uint8], now: NDArray[np.uint8], flow: NDArray[np.float32]) -> object:
    same, compared = 0, 0
    height, width = now.shape
    for y in range(height):
        for x in range(width):
            u, v = flow[y, x]
            there_x, there_y = np.rint(np.float32(x) + u), np.rint(np.float32(y) + v)
            if not (0 <= there_x < width and 0 <= there_y < height):
                continue
            was, is_now = before[int(there_y), int(there_x)], now[y, x]
            if was < 254 and is_now < 254:
                compared += 1
                same += int(was == is_now)
    return (compared - same) / compared if compared else None


_maps = arrays.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 254, 255]))
_flows = arrays.arrays(
    np.float32, (5, 7, 2), elements=st.floats(-9, 9, width=32) | st.just(float("nan"))
)


@settings(deadline=None)
@given(_maps, _maps, _flows)
def test_flicker_is_what_a_loop_over_pixels_finds(
    before: NDArray[np.uint8], now: NDArray[np.uint8], flow: NDArray[np.float32]
) -> None:
    assert flicker(before, now, flow) == _slow(before, now, flow)


def test_what_only_moves_does_not_flicker() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (96, 128), np.uint8)
    image = cv2.cvtColor(cv2.GaussianBlur(noise, (0, 0), 3), cv2.COLOR_GRAY2RGB)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    labels = (image[..., 0] > 127).astype(np.uint8)
    moved, moved_labels = np.roll(image, 4, 1), np.roll(labels, 4, 1)
    inner = slice(8, -8), slice(16, -16)
    steady = flicker_between(image[inner], labels[inner], moved[inner], moved_labels[inner])
    jumpy = flicker_between(image[inner], labels[inner], moved[inner], 1 - moved_labels[inner])
    assert steady is not None
    assert jumpy is not None
    assert steady < 0.03
    assert jumpy > 0.97
    assert (labels != moved_labels).mean() > 0.1


def test_maps_of_other_sizes_are_refused() -> None:
    small, large = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match="the sizes differ"):
        flicker(small, large, np.zeros((4, 5, 2), np.float32))
