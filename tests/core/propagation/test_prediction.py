"""Predicted segments that labels confirm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stt_core.engine import Engine
from stt_core.labels import UNLABELLED, VOID
from stt_core.network import Network
from stt_core.propagation.prediction import LEAST_TOUCHED, PredictionMethod, confirmed
from stt_core.propagation.propagate import propagate
from tests.core.models import checkpoint, images, stt_config
from tests.core.propagation.worlds import Pictures, Steady

_SIZE = (64, 96)


def _segment(predicted: NDArray[np.uint8], y: int, x: int) -> set[tuple[int, int]]:
    """Pixels one gets to from (y, x) by steps along rows and columns within its class."""
    found, edge = {(y, x)}, [(y, x)]
    while edge:
        r, c = edge.pop()
        for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            inside = 0 <= near[0] < predicted.shape[0] and 0 <= near[1] < predicted.shape[1]
            if inside and near not in found and predicted[near] == predicted[y, x]:
                found.add(near)
                edge.append(near)
    return found


@settings(deadline=None, max_examples=40)
@given(
    small=arrays(np.uint8, (3, 4), elements=st.integers(0, 2)),
    labels=arrays(np.uint8, (12, 16), elements=st.sampled_from([0, 1, 2, 9, 254, 255, 255])),
)
def test_a_segment_counts_where_most_of_its_labels_are_of_its_class(
    small: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    predicted = np.kron(small, np.ones((4, 4), np.uint8))
    found = confirmed(predicted, labels)
    for (y, x), class_id in np.ndenumerate(predicted):
        inside = [int(labels[p]) for p in _segment(predicted, y, x)]
        speaks = [label for label in inside if label < VOID]
        agreed = speaks.count(int(class_id))
        enough = len(speaks) >= LEAST_TOUCHED and agreed > len(speaks) / 2
        assert found[y, x] == (enough and (labels[y, x] >= VOID or labels[y, x] == class_id))


@pytest.fixture(scope="module")
def engine() -> Engine:
    network = Network(checkpoint(stt_config(key_frames=2)), device="cpu", precision="fp32")
    return Engine(network, Pictures(images(4)))


def test_a_frame_labelled_as_a_whole_gets_the_prediction_where_it_agrees(engine: Engine) -> None:
    labels = engine.segment(0).labels.copy()
    assert len(np.unique(labels)) > 1, "or the test shows nothing"
    method = PredictionMethod(engine, Steady(0))
    steps = list(propagate(engine.media, 0, labels, method, forwards=3, least=0))
    assert [s.frame for s in steps] == [1, 2, 3]
    for step in steps:
        predicted = engine.segment(step.frame)
        expected = np.where(
            confirmed(predicted.labels, labels), predicted.labels, np.uint8(UNLABELLED)
        )
        np.testing.assert_array_equal(step.labels, expected)
        said = expected != UNLABELLED
        assert said.mean() > 0.3
        np.testing.assert_array_equal(step.confidence[said], predicted.confidence[said])
        assert (step.confidence[~said] == 0).all()


def test_a_scribble_gets_its_segment_and_nothing_else(engine: Engine) -> None:
    predicted = engine.segment(2).labels
    values, counts = np.unique(predicted, return_counts=True)
    class_id = int(values[counts.argmax()])
    inside = np.argwhere(predicted == class_id)
    segment = max((_segment(predicted, *inside[i]) for i in (0, len(inside) // 2, -1)), key=len)
    scribble = sorted(segment)[: 2 * LEAST_TOUCHED]
    labels = np.full(_SIZE, UNLABELLED, np.uint8)
    for place in scribble:
        labels[place] = class_id
    method = PredictionMethod(engine, Steady(0))
    (step,) = propagate(engine.media, 3, labels, method, backwards=1, least=0)
    expected = np.full(_SIZE, UNLABELLED, np.uint8)
    for place in segment:
        expected[place] = class_id
    np.testing.assert_array_equal(step.labels, expected)

    # where the person says that the model is wrong, its word does not count
    labels[labels == class_id] = (class_id + 1) % 11
    assert not list(propagate(engine.media, 3, labels, method, backwards=1, least=0))


def test_what_no_model_predicts_stays_as_the_flow_brings_it(engine: Engine) -> None:
    labels = np.full(_SIZE, UNLABELLED, np.uint8)
    labels[10:20, 30:50], labels[40:50, 30:50] = VOID, 77
    method = PredictionMethod(engine, Steady(3))
    *_, last = propagate(engine.media, 0, labels, method, forwards=2, least=0.5)
    expected = np.roll(labels, 6, 1)
    np.testing.assert_array_equal(last.labels, expected)
    np.testing.assert_array_equal(last.confidence, np.where(expected == UNLABELLED, 0, 255))


def test_an_engine_of_another_video_is_refused(engine: Engine) -> None:
    labels = np.zeros(_SIZE, np.uint8)
    with pytest.raises(ValueError, match="the engine predicts pictures"):
        next(propagate(Pictures(images(4)), 0, labels, PredictionMethod(engine), forwards=1))
