from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.labelling.change import Change, Guard, LabellingError, joined, painted, replaced
from stt_core.labels import UNLABELLED, VOID, LabelClass
from stt_core.media.writer import VideoWriter
from stt_core.project.store import Project
from tests.core.labelling.maps import (
    check_change,
    expected,
    guards,
    ids,
    maps_of,
    masks_of,
    may_change,
    sizes,
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_painting_obeys_the_guard_and_is_the_smallest_change(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels, mask = data.draw(maps_of(size)), data.draw(masks_of(size))
    guard, class_id = data.draw(guards), data.draw(ids)
    labels.flags.writeable = False
    if class_id in guard.locked:
        with pytest.raises(LabellingError, match="locked"):
            painted(labels, mask, class_id, guard)
        return
    check_change(
        labels, painted(labels, mask, class_id, guard), expected(labels, mask, class_id, guard)
    )


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_replacing_obeys_the_guard_and_leaves_locked_values_out(data: st.DataObject) -> None:
    size = data.draw(sizes)
    labels, new, mask = (data.draw(s) for s in (maps_of(size), maps_of(size), masks_of(size)))
    guard = data.draw(guards)
    after = labels.copy()
    for at in np.ndindex(*size):
        if mask[at] and may_change(guard, int(labels[at])) and int(new[at]) not in guard.locked:
            after[at] = new[at]
    check_change(labels, replaced(labels, new, mask, guard), after)
    check_change(labels, joined(labels, new), new)


def test_a_mask_may_be_of_a_box() -> None:
    labels = np.full((6, 8), UNLABELLED, np.uint8)
    change = painted(labels, np.ones((2, 3), np.bool_), 4, corner=(1, 2))
    assert change is not None
    assert change.box == (1, 2, 3, 5)
    assert change.where == (slice(1, 3), slice(2, 5))
    assert painted(labels, np.zeros((0, 3), np.bool_), 4) is None


def test_a_project_takes_a_change_as_it_is(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (32, 24), 10) as writer:
        writer.write(np.zeros((24, 32, 3), np.uint8))
    classes = [LabelClass("floor", (1, 2, 3)), LabelClass("box", (4, 5, 6))]
    labels = np.full((24, 32), UNLABELLED, np.uint8)
    mask = np.zeros(labels.shape, np.bool_)
    mask[3:9, 5:20] = True
    change = painted(labels, mask, 1)
    assert change is not None
    with Project.create(tmp_path / "project", classes, [tmp_path / "a.mp4"]) as project:
        medium = project.media[0].id
        assert project.apply(medium, 0, change.corner, change.after) is not None
        stored = project.labels(medium, 0)
    assert stored is not None
    np.testing.assert_array_equal(stored, change.on(labels))


@pytest.mark.parametrize(
    ("class_id", "name"), [(3, "Class 3"), (VOID, "Void"), (UNLABELLED, "Not labelled")]
)
def test_a_locked_class_is_named(class_id: int, name: str) -> None:
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(LabellingError, match=f"^{name} is locked.*Unlock"):
        painted(labels, labels == 0, class_id, Guard(locked=frozenset([class_id])))


@pytest.mark.parametrize("class_id", [-1, 256])
def test_ids_that_are_none_are_refused(class_id: int) -> None:
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=f"got {class_id}"):
        painted(labels, labels == 0, class_id)
    with pytest.raises(ValueError, match=f"got {class_id}"):
        Guard(over=frozenset([class_id]))
    with pytest.raises(ValueError, match=f"got {class_id}"):
        Guard(locked=frozenset([class_id]))


def test_what_is_no_map_or_mask_is_refused() -> None:
    labels = np.zeros((4, 5), np.uint8)
    mask = np.ones((4, 5), np.bool_)
    for wrong in (labels.astype(np.int64), labels[0], labels[:0]):
        with pytest.raises(ValueError, match=r"labels must be uint8 \[H, W\], got"):
            painted(wrong, mask, 0)
    with pytest.raises(ValueError, match=r"a mask must be bool.*uint8"):
        painted(labels, labels, 0)  # type: ignore[arg-type]
    for corner in ((1, 0), (0, 1), (-1, 0)):
        with pytest.raises(ValueError, match="must lie in the map"):
            painted(labels, mask, 0, corner=corner)
    with pytest.raises(ValueError, match="sizes differ"):
        replaced(labels, labels[:3], mask)
    with pytest.raises(ValueError, match="a mask must be bool"):
        replaced(labels, labels, mask[:3])


def test_a_change_says_its_box() -> None:
    assert Change((2, 3), np.zeros((4, 5), np.uint8)).box == (2, 3, 6, 8)
