from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stt_core.errors import LabelError
from stt_core.labels import UNLABELLED, VOID, LabelClass
from stt_core.project.class_table import (
    ClassTable,
    merged,
    new_table,
    reordered,
    with_class,
    with_look,
)
from stt_core.project.store import Project
from tests.core.project.material import CLASSES, all_labels, block, label_file, whole


@given(st.data())
def test_names_stay_on_their_pixels_whatever_is_done_to_the_classes(data: st.DataObject) -> None:
    """Against a map of names instead of ids."""
    table = new_table(CLASSES)
    slots = np.array([0, 1, 2, VOID, UNLABELLED] * 2, np.uint8)
    names = ["floor", "box", "wall", "void", ""] * 2
    for number in range(data.draw(st.integers(0, 12))):
        count = len(table.classes)
        kind = data.draw(st.sampled_from(["add", "order", "merge", "rename", "paint"]))
        if kind == "add":
            table = with_class(table, LabelClass(f"new {number}", (0, 0, number)))
        elif kind == "order":
            table = reordered(table, tuple(data.draw(st.permutations(range(count)))))
        elif count and kind == "merge":
            gone = data.draw(st.integers(0, count - 1))
            into = data.draw(st.sampled_from([*range(count), VOID, UNLABELLED]))
            if into == gone:
                continue
            old = table.classes[gone].name
            new = (
                {VOID: "void", UNLABELLED: ""}.get(into)
                if into >= VOID
                else table.classes[into].name
            )
            names = [new if n == old else n for n in names]  # type: ignore[misc]
            table = merged(table, gone, into)
        elif count and kind == "rename":
            which = data.draw(st.integers(0, count - 1))
            old = table.classes[which].name
            table = with_look(table, which, f"other {number}", None)
            names = [f"other {number}" if n == old else n for n in names]
        elif count and kind == "paint":
            place, which = data.draw(st.integers(0, 9)), data.draw(st.integers(0, count - 1))
            ids = table.ids[slots]
            ids[place] = which
            slots = table.to_slots(ids, slots)
            names[place] = table.classes[which].name
        table = ClassTable.from_json(table.to_json())
        shown = [
            {VOID: "void", UNLABELLED: ""}.get(i) if i >= VOID else table.classes[i].name
            for i in table.ids[slots].tolist()
        ]
        assert shown == names


def test_reordering_shows_everywhere_and_can_be_undone(project: Project, media_id: str) -> None:
    for frame in (0, 3):
        project.apply(media_id, frame, (0, 0), whole(frame))
    project.flush()
    before = all_labels(project)
    project.reorder_classes([2, 0, 1])
    assert [c.name for c in project.classes] == ["wall", "floor", "box"]
    new_ids = np.array([1, 2, 0], np.uint8)
    np.testing.assert_array_equal(project.labels(media_id, 3), new_ids[whole(3)])
    assert project.pending() == 2
    assert [ref.frame for ref in project.flushing() if ref] == [0, 3]
    with Image.open(label_file(project, media_id, 3)) as image:
        np.testing.assert_array_equal(np.asarray(image), new_ids[whole(3)])
        assert image.getpalette()[:3] == [0, 255, 0]  # type: ignore[index]
    assert project.check() == ()
    moved = project.undo()
    assert moved is not None
    assert moved.classes
    assert project.classes == CLASSES
    assert all_labels(project) == before
    project.close()
    with Project.open(project.folder) as again:
        assert again.manifest.label_classes == CLASSES
        again.redo()
        assert [c.name for c in again.classes] == ["wall", "floor", "box"]
        again.flush()
        assert again.check() == ()


def test_merging_can_be_undone_after_painting_on(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    project.merge_class(0, 1)
    assert project.classes == (LabelClass("box", (255, 0, 0)), LabelClass("wall", (0, 255, 0)))
    merged_map = np.array([0, 0, 1], np.uint8)[whole(0)]
    np.testing.assert_array_equal(project.labels(media_id, 0), merged_map)
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 0), merged_map)
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 0), whole(0))


@pytest.mark.parametrize(("into", "painted", "labelled"), [(VOID, (), (0,)), (UNLABELLED, (), ())])
def test_a_class_can_become_void_or_nothing(
    project: Project,
    media_id: str,
    into: int,
    painted: tuple[int, ...],
    labelled: tuple[int, ...],
) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.merge_class(1, into)
    assert (project.painted(media_id), project.labelled(media_id)) == (painted, labelled)
    project.undo()
    assert (project.painted(media_id), project.labelled(media_id)) == ((0,), (0,))
    assert project.notes.all_pixels()[1] == 35


def test_colours_reach_the_label_files_and_names_need_not(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    project.change_class(1, name="crate")
    assert project.pending() == 0
    project.change_class(1, color=(1, 2, 3))
    assert project.pending() == 1
    project.flush()
    with Image.open(label_file(project, media_id, 0)) as image:
        assert image.getpalette()[3:6] == [1, 2, 3]  # type: ignore[index]
    assert project.manifest.label_classes[1] == LabelClass("crate", (1, 2, 3))


def test_there_are_at_most_254_classes(tmp_path: Path) -> None:
    many = [LabelClass(f"c{i}", (i % 256, 0, 0)) for i in range(254)]
    with pytest.raises(LabelError, match="at most 254"):
        Project.create(tmp_path / "a", [*many, LabelClass("one more", (0, 0, 0))])
    with Project.create(tmp_path / "b", many) as project:
        with pytest.raises(LabelError, match="at most 254"):
            project.add_class(LabelClass("one more", (0, 0, 0)))
        project.merge_class(7, 8)
        with pytest.raises(LabelError, match="Compact the project's journal"):
            project.add_class(LabelClass("one more", (0, 0, 0)))
        project.compact()
        project.add_class(LabelClass("one more", (0, 0, 0)))
        assert len(project.classes) == 254


@pytest.mark.parametrize("name", ["", "  ", "box", "x" * 201])
def test_a_bad_name_is_refused(project: Project, name: str) -> None:
    with pytest.raises(LabelError):
        project.add_class(LabelClass(name, (0, 0, 0)))
    with pytest.raises(LabelError):
        project.change_class(0, name=name)
    assert project.classes == CLASSES
    assert not project.can_undo()


def test_wrong_ids_are_refused(project: Project) -> None:
    for wrong in (
        lambda: project.reorder_classes([0, 1]),
        lambda: project.merge_class(3, 0),
        lambda: project.merge_class(0, 0),
        lambda: project.merge_class(0, 9),
        lambda: project.change_class(-1, name="x"),
    ):
        with pytest.raises(ValueError, match="got"):
            wrong()
    assert project.classes == CLASSES
