from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stt_core.labels import UNLABELLED
from stt_core.metrics.consistency import plain_consistency
from stt_core.metrics.segmentation import confusion, iou, mean_iou

_maps = hnp.arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, UNLABELLED]))
_predictions = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 2))


@given(_predictions, _maps)
def test_iou_equals_its_definition(predicted: np.ndarray, target: np.ndarray) -> None:
    each = iou(confusion(predicted, target, 3))
    said = target != UNLABELLED
    for c in range(3):
        both = ((predicted == c) & (target == c) & said).sum()
        either = (((predicted == c) | (target == c)) & said).sum()
        if either:
            assert each[c] == pytest.approx(both / either)
        else:
            assert np.isnan(each[c])


def test_absent_classes_are_left_out_or_count_zero() -> None:
    matrix = confusion(np.array([0, 0], np.uint8), np.array([0, 0], np.uint8), 4)
    assert mean_iou(matrix) == 1
    assert mean_iou(matrix, absent_counts_zero=True) == 0.25
    assert np.isnan(mean_iou(np.zeros((4, 4), np.int64)))


def test_a_static_video_is_wholly_consistent() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (20, 30)).astype(np.uint8)
    still = np.zeros((20, 30, 2), np.float32)
    assert plain_consistency([labels] * 5, [still] * 4, 4) == 1


@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 5)])
def test_moving_with_the_exact_flow_stays_consistent(shift: tuple[int, int]) -> None:
    dx, dy = shift
    wide = np.random.default_rng(0).integers(0, 4, (80, 90)).astype(np.uint8)
    frames = [wide[30 - dy * t : 60 - dy * t, 30 - dx * t : 70 - dx * t] for t in range(4)]
    back = np.full((30, 40, 2), (-dx, -dy), np.float32)
    assert plain_consistency(frames, [back] * 3, 4) == 1
    still = np.zeros_like(back)
    assert plain_consistency(frames, [still] * 3, 4) < 0.5


def test_frames_entirely_outside_tell_nothing() -> None:
    labels = np.zeros((4, 4), np.uint8)
    away = np.full((4, 4, 2), 100, np.float32)
    assert np.isnan(plain_consistency([labels, labels], [away], 2))
