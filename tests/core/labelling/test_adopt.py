from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stt_core.labelling.adopt import adopt_above, adopt_segment
from stt_core.labelling.change import Guard, LabellingError
from stt_core.labels import UNLABELLED, VOID
from tests.core.labelling.maps import (
    check_change,
    components,
    expected,
    guards,
    maps_of,
    may_change,
    sizes,
)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_segment_is_adopted_as_it_was_predicted(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels, predicted = data.draw(maps_of(size)), data.draw(maps_of(size, few=True))
    row, col = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    guard, class_id = data.draw(guards), int(predicted[row, col])
    point = (float(col), float(row))
    if class_id in guard.locked:
        with pytest.raises(LabellingError, match=f"Class {class_id} is locked"):
            adopt_segment(labels, predicted, point, guard)
        return
    region = next(r for r in components(predicted == class_id) if (row, col) in r)
    mask = np.zeros(size, np.bool_)
    mask[tuple(np.array(region).T)] = True
    after = expected(labels, mask, class_id, guard)
    check_change(labels, adopt_segment(labels, predicted, point, guard), after)


@pytest.mark.parametrize("value", [VOID, UNLABELLED])
def test_where_nothing_is_predicted_nothing_can_be_adopted(value: int) -> None:
    labels = np.zeros((3, 3), np.uint8)
    with pytest.raises(LabellingError, match="Nothing is predicted here"):
        adopt_segment(labels, np.full((3, 3), value, np.uint8), (1, 1))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_all_that_is_sure_enough_is_adopted(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels, predicted = data.draw(maps_of(size)), data.draw(maps_of(size))
    confidence = data.draw(arrays(np.uint8, size, elements=st.integers(0, 255)))
    levels = st.sampled_from([0.0, 0.5, 128 / 255, 200 / 255, 0.9, 1.0])
    threshold, guard = data.draw(levels), data.draw(guards)
    by_class = data.draw(st.dictionaries(st.integers(0, 2), levels))
    only = data.draw(st.none() | st.sets(st.integers(0, 2)))
    after = labels.copy()
    for at in np.ndindex(*size):
        new = int(predicted[at])
        sure = int(confidence[at]) / 255 >= by_class.get(new, threshold)
        wanted = new < VOID and (only is None or new in only) and new not in guard.locked
        if sure and wanted and may_change(guard, int(labels[at])):
            after[at] = new
    change = adopt_above(
        labels, predicted, confidence, threshold, guard, by_class=by_class, only=only
    )
    check_change(labels, change, after)


def test_only_what_is_not_labelled_is_taken_from_the_model() -> None:
    labels = np.array([[UNLABELLED, 0, VOID]], np.uint8)
    sure = np.full((1, 3), 255, np.uint8)
    predicted = np.full((1, 3), 2, np.uint8)
    change = adopt_above(labels, predicted, sure, 1.0, Guard(only_unlabelled=True))
    assert change is not None
    assert change.on(labels).tolist() == [[2, 0, VOID]]


def test_what_makes_no_sense_is_refused() -> None:
    labels = np.zeros((3, 4), np.uint8)
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="thresholds must lie in"):
            adopt_above(labels, labels, labels, threshold)
        with pytest.raises(ValueError, match="thresholds must lie in"):
            adopt_above(labels, labels, labels, 0.5, by_class={1: threshold})
    with pytest.raises(ValueError, match=r"0\.\.253, got 254"):
        adopt_above(labels, labels, labels, 0.5, by_class={VOID: 0.5})
    with pytest.raises(ValueError, match=r"0\.\.253, got 255"):
        adopt_above(labels, labels, labels, 0.5, only=[UNLABELLED])
    with pytest.raises(ValueError, match="sizes differ"):
        adopt_above(labels, labels[:2], labels, 0.5)
    with pytest.raises(ValueError, match="sizes differ"):
        adopt_segment(labels, labels[:2], (0, 0))
    with pytest.raises(ValueError, match="must be uint8"):
        adopt_above(labels, labels, labels.astype(np.float32), 0.5)  # type: ignore[arg-type]
