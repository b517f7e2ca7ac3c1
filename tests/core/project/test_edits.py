from __future__ import annotations

import pickle
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from PIL import Image

from stt_core.data.project import LabelledVideo, data_set_of
from stt_core.errors import LabelError, OutputError, ProjectError
from stt_core.labels import UNLABELLED, VOID
from stt_core.project.adopting import adopt_label_folder
from stt_core.project.history import Provenance
from stt_core.project.label_folder import write_labels
from stt_core.project.labelling import LabelEdit
from stt_core.project.snapshot import read_snapshot
from stt_core.project.store import Project
from tests.core.project.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    all_labels,
    block,
    label_file,
    new_project,
    whole,
    write_images,
    write_video,
)

VALUES = [0, 1, 2, VOID, UNLABELLED]


class Painting(RuleBasedStateMachine):
    """Random work on a project of a video and an image folder, against maps in a dictionary."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        video = write_video(self.folder / "v.avi")
        images = write_images(self.folder / "images", FRAMES)
        self.project, _ = new_project(self.folder / "p", video, images)
        self.media = [entry.id for entry in self.project.media]
        self.maps = {
            (m, f): block(UNLABELLED, HEIGHT, WIDTH) for m in self.media for f in range(FRAMES)
        }
        self.done: list[dict[tuple[str, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = []
        self.undone: list[dict[tuple[str, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = []

    @rule(
        frames=st.lists(st.integers(0, 2 * FRAMES - 1), min_size=1, max_size=3, unique=True),
        y=st.integers(0, HEIGHT - 1), x=st.integers(0, WIDTH - 1),
        height=st.integers(0, HEIGHT), width=st.integers(0, WIDTH),
        values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
    )  # fmt: skip
    def paint(
        self, frames: list[int], y: int, x: int, height: int, width: int, values: list[int]
    ) -> None:
        height, width = min(height, HEIGHT - y), min(width, WIDTH - x)
        after = np.resize(np.array(values, np.uint8), (height, width))
        step = {}
        for place in frames:
            key = self.media[place // FRAMES], place % FRAMES
            new = self.maps[key].copy()
            new[y : y + height, x : x + width] = after
            if not np.array_equal(new, self.maps[key]):
                step[key] = self.maps[key], new
                self.maps[key] = new
        edits = [LabelEdit(self.media[f // FRAMES], f % FRAMES, (y, x), after) for f in frames]
        made = self.project.apply_many(edits)
        assert (made is not None) == bool(step)
        if step:
            self.done.append(step)
            self.undone.clear()

    @rule()
    def undo(self) -> None:
        self._move(self.done, self.undone, 0, self.project.undo())

    @rule()
    def redo(self) -> None:
        self._move(self.undone, self.done, 1, self.project.redo())

    @rule()
    def flush(self) -> None:
        self.project.flush()
        for (media_id, frame), labels in self.maps.items():
            path = label_file(self.project, media_id, frame)
            assert path.exists() == bool((labels != UNLABELLED).any())
            if path.exists():
                with Image.open(path) as image:
                    assert image.mode == "P"
                    np.testing.assert_array_equal(np.asarray(image), labels)
        assert self.project.pending() == 0

    @rule()
    def reopen(self) -> None:
        self.project.close()
        self.project = Project.open(self.folder / "p")
        assert self.project.recovered == ()

    @rule(media=st.integers(0, 1), frame=st.integers(0, FRAMES - 1))
    def another_program_touches_a_file(self, media: int, frame: int) -> None:
        path = label_file(self.project, self.media[media], frame)
        if path.exists():
            path.touch()

    @precondition(lambda self: len(self.done) > 2)
    @rule()
    def compact(self) -> None:
        self.project.compact()
        self.done.clear()
        self.undone.clear()

    @invariant()
    def the_project_shows_what_was_painted(self) -> None:
        if not hasattr(self, "project"):
            return
        for (media_id, frame), labels in self.maps.items():
            found = self.project.labels(media_id, frame)
            if found is None:
                assert (labels == UNLABELLED).all()
            else:
                np.testing.assert_array_equal(found, labels)
        for media_id in self.media:
            own = {f: m for (i, f), m in self.maps.items() if i == media_id}
            assert self.project.labelled(media_id) == tuple(
                f for f, m in own.items() if (m != UNLABELLED).any()
            )
            assert self.project.painted(media_id) == tuple(
                f for f, m in own.items() if (m < VOID).any()
            )
        counts = np.bincount(np.concatenate([m.ravel() for m in self.maps.values()]), minlength=256)
        counts[UNLABELLED] = 0
        np.testing.assert_array_equal(self.project.notes.all_pixels(), counts)
        assert self.project.can_undo() == bool(self.done)
        assert self.project.can_redo() == bool(self.undone)

    def teardown(self) -> None:
        if hasattr(self, "project"):
            self.project.flush()
            assert self.project.check() == ()
            self.project.close()
            shutil.rmtree(self.folder)

    def _move(self, source: list, target: list, which: int, moved: object) -> None:  # type: ignore[type-arg]
        if not source:
            assert moved is None
            return
        step = source.pop()
        target.append(step)
        for key, pair in step.items():
            self.maps[key] = pair[which]
        assert set(moved.frames) == set(step)  # type: ignore[attr-defined]


TestPainting = Painting.TestCase
TestPainting.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # each step syncs a disk: no shrinking
)


def test_undo_reaches_across_frames_and_a_restart(project: Project, media_id: str) -> None:
    project.apply(media_id, 1, (0, 0), block(1))
    project.apply(media_id, 4, (2, 3), block(2))
    project.undo()
    project.close()
    with Project.open(project.folder) as again:
        assert again.labelled(media_id) == (1,)
        moved = again.redo()
        assert moved is not None
        assert moved.frames == ((media_id, 4),)
        assert again.undo().frames == ((media_id, 4),)  # type: ignore[union-attr]
        assert again.undo().frames == ((media_id, 1),)  # type: ignore[union-attr]
        assert again.undo() is None
        assert again.labels(media_id, 1) is None


def test_many_strokes_on_a_frame_are_all_undone(project: Project, media_id: str) -> None:
    states = []
    for i in range(300):  # more than a base is stored for
        project.apply(media_id, 0, (i % 19, i % 25), block((i * 7) % 3))
        states.append(project.labels(media_id, 0))
        if i in (260, 290):
            project.flush()
    project.close()
    with Project.open(project.folder) as again:
        for state in reversed(states):
            np.testing.assert_array_equal(again.labels(media_id, 0), state)
            again.undo()
        assert again.labels(media_id, 0) is None


def test_order_is_kept_while_the_clock_goes_back(
    project: Project, media_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(100, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))
    for value in (0, 1, 2):
        project.apply(media_id, 0, (0, 0), block(value))
    assert [s.seconds for s in project.notes.steps()] == [360000.0, 356400.0, 352800.0]
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 0)[:5, :7], block(1))  # type: ignore[index]
    project.redo()
    np.testing.assert_array_equal(project.labels(media_id, 0)[:5, :7], block(2))  # type: ignore[index]


def test_where_a_pixel_comes_from_is_known(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    adopted = Provenance("adopt", model="a1b2", note="region")
    project.apply(media_id, 0, (3, 3), block(2), adopted)
    project.apply(media_id, 1, (0, 0), block(2))
    project.undo()
    origin = project.notes.origin(media_id, 0, 4, 4)
    assert origin is not None
    assert (origin.provenance.action, origin.provenance.model) == ("adopt", "a1b2")
    assert project.notes.origin(media_id, 0, 1, 1).provenance.action == "brush"  # type: ignore[union-attr]
    assert project.notes.origin(media_id, 0, 20, 20) is None
    assert [s.provenance.action for s in project.notes.history(media_id, 0)] == ["brush", "adopt"]
    assert project.notes.history(media_id, 1) == ()
    assert project.notes.pixels(media_id, 0)[[1, 2]].tolist() == [35 - 8, 35]


def test_review_states_and_bookmarks_survive_a_restart(project: Project, media_id: str) -> None:
    project.notes.set_review(media_id, 2, "checked")
    project.notes.set_bookmark(media_id, 5, "odd light")
    project.notes.set_bookmark(media_id, 0, "")
    project.notes.set_bookmark(media_id, 0, None)
    with pytest.raises(ValueError, match="state='done'"):
        project.notes.set_review(media_id, 2, "done")  # type: ignore[arg-type]
    project.close()
    with Project.open(project.folder) as again:
        assert again.notes.review(media_id, 2) == "checked"
        assert again.notes.review(media_id, 3) == "todo"
        assert again.notes.frames_in(media_id, "checked") == (2,)
        assert again.notes.bookmarks() == ((media_id, 5, "odd light"),)


def test_a_locked_frame_refuses_every_change(project: Project, media_id: str) -> None:
    project.apply(media_id, 3, (0, 0), block(1))
    project.notes.set_review(media_id, 3, "locked")
    before = all_labels(project)
    with pytest.raises(ProjectError, match="is locked"):
        project.apply(media_id, 3, (0, 0), block(2))
    with pytest.raises(ProjectError, match="is locked"):
        project.apply_many([LabelEdit(media_id, f, (0, 0), block(2)) for f in (0, 3)])
    with pytest.raises(ProjectError, match="is locked"):
        project.undo()
    assert all_labels(project) == before
    project.notes.set_review(media_id, 3, "draft")
    assert project.undo() is not None


@pytest.mark.parametrize(
    ("frame", "corner", "after", "error"),
    [
        (FRAMES, (0, 0), block(0), IndexError),
        (-1, (0, 0), block(0), IndexError),
        (0, (HEIGHT - 1, 0), block(0), ValueError),
        (0, (-1, 0), block(0), ValueError),
        (0, (0, 0), block(0).astype(np.int64), ValueError),
        (0, (0, 0), block(3), LabelError),
    ],
)
def test_a_wrong_edit_is_refused_and_leaves_nothing(
    project: Project,
    media_id: str,
    frame: int,
    corner: tuple[int, int],
    after: NDArray[np.uint8],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        project.apply(media_id, frame, corner, after)
    assert project.labelled(media_id) == ()
    assert not project.can_undo()


def test_of_several_edits_all_or_none_are_made(project: Project, media_id: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        project.apply_many([LabelEdit(media_id, f, (0, 0), block(1)) for f in (0, 1, 0)])
    assert project.labels(media_id, 0) is None
    with pytest.raises(ValueError, match="media_id='no'"):
        project.apply_many([LabelEdit(m, 0, (0, 0), block(1)) for m in (media_id, "no")])
    assert all_labels(project) == {}


def test_a_map_handed_out_is_a_copy(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.labels(media_id, 0)[:] = 0  # type: ignore[index]
    assert (project.labels(media_id, 0)[:5, :7] == 1).all()  # type: ignore[index]


def test_training_reads_a_project_as_it_reads_any_video(
    project: Project, media_id: str, clip: Path
) -> None:
    project.apply(media_id, 1, (0, 0), whole(1))
    project.apply(media_id, 2, (0, 0), block(VOID))
    video: LabelledVideo = pickle.loads(pickle.dumps(project.video(media_id)))
    assert (video.media, video.classes, tuple(video.painted)) == (clip, CLASSES, (1,))
    np.testing.assert_array_equal(video.labels(1), whole(1))
    assert video.labels(0) is None
    assert list(data_set_of(video).sequences[0].labelled) == [1]


def test_a_snapshot_stays_as_it_was(project: Project, media_id: str, tmp_path: Path) -> None:
    project.apply(media_id, 1, (0, 0), whole(1))
    project.apply(media_id, 2, (0, 0), block(VOID))
    snapshot = project.snapshot(media_id, tmp_path / "run" / "labels")
    project.apply(media_id, 1, (0, 0), whole(2))
    again = pickle.loads(pickle.dumps(read_snapshot(tmp_path / "run" / "labels")))
    assert again == snapshot
    assert (again.painted, again.labelled) == ((1,), (1, 2))
    np.testing.assert_array_equal(again.labels(1), whole(1))
    assert again.labels(0) is None
    assert data_set_of(again).classes == CLASSES
    with pytest.raises(OutputError, match="snapshot already"):
        project.snapshot(media_id, tmp_path / "run" / "labels")
    (tmp_path / "run" / "labels" / "snapshot.json").write_text("{")
    with pytest.raises(ProjectError, match="no snapshot"):
        read_snapshot(tmp_path / "run" / "labels")


def test_a_label_folder_becomes_one_step(project: Project, media_id: str, tmp_path: Path) -> None:
    for frame in (0, 4):
        write_labels(tmp_path / "old", frame, whole(frame), CLASSES)
    adopt_label_folder(project, media_id, tmp_path / "old")
    assert project.labelled(media_id) == (0, 4)
    assert project.notes.history(media_id, 4)[0].provenance.action == "import"
    project.undo()
    assert project.labelled(media_id) == ()
    write_labels(tmp_path / "old", 5, np.full((HEIGHT, WIDTH), 7, np.uint8), CLASSES)
    with pytest.raises(LabelError, match=r"holds the ids \[7\]"):
        adopt_label_folder(project, media_id, tmp_path / "old")
    assert project.labelled(media_id) == ()


def test_compacting_keeps_labels_and_forgets_the_past(project: Project, media_id: str) -> None:
    for i in range(40):
        project.apply(media_id, i % 3, (i % 5, 0), whole(i)[:10])
    project.undo()
    project.merge_class(0, 1)
    before = all_labels(project)
    assert project.compact() > 0
    assert all_labels(project) == before
    assert not project.can_undo()
    assert not project.can_redo()
    project.flush()
    project.close()
    with Project.open(project.folder) as again:
        assert all_labels(again) == before
        assert again.check() == ()
