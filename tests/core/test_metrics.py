from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stt_core.data.sources import open_data
from stt_core.labels import UNLABELLED, VOID
from stt_core.metrics.segmentation import (
    boundary_counts,
    boundary_distance,
    confusion,
    iou,
    mean_iou,
    mean_over,
    open_confusion,
    pixel_accuracy,
    share,
)

CLASSES = 3
UNKNOWN = 7

_maps = hnp.arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, VOID, UNLABELLED]))
_predictions = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 2))
_open_predictions = hnp.arrays(
    np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, UNKNOWN, 255])
)
_coarse = hnp.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, UNLABELLED]))
_coarse_predictions = hnp.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, UNKNOWN]))


@given(_open_predictions, _maps)
def test_iou_equals_its_definition(predicted: np.ndarray, target: np.ndarray) -> None:
    each = iou(open_confusion(predicted, target, CLASSES))
    said = target < CLASSES
    for c in range(CLASSES):
        both = ((predicted == c) & (target == c) & said).sum()
        either = (((predicted == c) | (target == c)) & said).sum()
        if either:
            assert each[c] == pytest.approx(both / either)
        else:
            assert np.isnan(each[c])


@given(_predictions, _maps)
def test_known_predictions_need_no_column_of_their_own(
    predicted: np.ndarray, target: np.ndarray
) -> None:
    square, wide = (count(predicted, target, CLASSES) for count in (confusion, open_confusion))
    assert wide[:, -1].sum() == 0
    np.testing.assert_array_equal(square, wide[:, :-1])
    np.testing.assert_array_equal(iou(square), iou(wide))


def test_a_prediction_of_no_class_takes_from_its_class_and_gives_to_none() -> None:
    target = np.array([0, 0, 1, UNLABELLED], np.uint8)
    predicted = np.array([0, UNKNOWN, 1, UNKNOWN], np.uint8)
    matrix = open_confusion(predicted, target, 2)
    np.testing.assert_array_equal(matrix, [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(iou(matrix), [0.5, 1])
    assert pixel_accuracy(matrix) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="below num_classes=2, got 7"):
        confusion(predicted, target, 2)


def test_the_most_classes_there_can_be_are_counted() -> None:
    ids = np.arange(254, dtype=np.uint8)
    matrix = open_confusion(ids, ids, 254)
    assert matrix.shape == (254, 255)
    assert matrix.sum() == np.trace(matrix) == 254


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        open_confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_absent_classes_are_left_out_or_count_zero() -> None:
    matrix = confusion(np.array([0, 0], np.uint8), np.array([0, 0], np.uint8), 4)
    assert mean_iou(matrix) == mean_iou(matrix, "clean") == 1
    assert mean_iou(matrix, "strict") == 0.25
    empty = np.zeros((4, 4), np.int64)
    assert np.isnan(mean_iou(empty))
    assert np.isnan(mean_iou(empty, "strict"))
    assert np.isnan(pixel_accuracy(empty))


@given(_coarse_predictions, _coarse, st.integers(1, 9))
def test_boundary_iou_equals_its_definition_by_distances(
    predicted: np.ndarray, target: np.ndarray, distance: int
) -> None:
    predicted, target = (np.kron(m, np.ones((4, 4), np.uint8)) for m in (predicted, target))
    width = distance / np.hypot(*target.shape)
    assert boundary_distance(target.shape, width) == distance
    both, either = boundary_counts(predicted, target, CLASSES, width)
    void = target == UNLABELLED
    for c in range(CLASSES):
        bands = [_near_edge(m == c, void, distance) for m in (predicted, target)]
        assert both[c] == (bands[0] & bands[1]).sum()
        assert either[c] == (bands[0] | bands[1]).sum()


def _near_edge(
    region: NDArray[np.bool_], void: NDArray[np.bool_], distance: int
) -> NDArray[np.bool_]:
    """Pixels of a region that lie, by rows or columns, within `distance` of what is outside it."""
    inside = np.pad(region | void, 1).astype(np.uint8)
    # exact for the chessboard metric
    far = cv2.distanceTransform(inside, cv2.DIST_C, 3)[1:-1, 1:-1]
    return region & ~void & (far <= distance)


@given(_coarse, st.integers(0, 2))
def test_what_is_predicted_where_nothing_is_labelled_does_not_count(
    target: np.ndarray, other: int
) -> None:
    predicted = np.where(target == UNLABELLED, np.uint8(0), target)
    changed = np.where(target == UNLABELLED, np.uint8(other), predicted)
    for count in (boundary_counts, open_confusion):
        np.testing.assert_array_equal(
            count(predicted, target, CLASSES), count(changed, target, CLASSES)
        )
    both, either = boundary_counts(predicted, target, CLASSES)
    np.testing.assert_array_equal(both, either)


def test_boundary_iou_sees_what_iou_hardly_does() -> None:
    target = np.zeros((100, 100), np.uint8)
    target[:, 50:] = 1
    shifted = np.roll(target, 2, axis=1)
    shifted[:, :2] = 0
    thin, whole = boundary_counts(shifted, target, 2), open_confusion(shifted, target, 2)
    assert mean_over(share(*thin), "clean") < mean_iou(whole) - 0.1


def test_a_boundary_band_is_a_share_of_the_diagonal_and_never_nothing() -> None:
    assert boundary_distance((360, 480)) == 12
    assert boundary_distance((1024, 2048)) == 46
    assert boundary_distance((8, 8)) == 1


def test_espnet_on_camvid_scores_what_is_known_of_it(shared_data: Path) -> None:
    data = open_data(f"camvid:{shared_data / 'camvid'},split=val", check=False)
    sequence = data.sequences[0]
    maps = shared_data / "peer_predictions" / "espnet_camvid" / "val"
    total = np.zeros((11, 12), np.int64)
    for i in range(len(sequence)):
        predicted = cv2.imread(str(maps / f"{sequence.frame_name(i)}.png"), cv2.IMREAD_UNCHANGED)
        labels = sequence.labels(i)
        assert labels is not None
        total += open_confusion(predicted.astype(np.uint8), labels, 11)
    assert mean_iou(total) == pytest.approx(0.701, abs=0.001)
    assert pixel_accuracy(total) == pytest.approx(0.927, abs=0.001)
    known = [0.947, 0.845, 0.121, 0.968, 0.868, 0.907, 0.404, 0.709, 0.813, 0.428, 0.702]
    np.testing.assert_allclose(iou(total), known, atol=0.001)
