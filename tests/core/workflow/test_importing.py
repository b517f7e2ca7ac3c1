from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stt_core.errors import LabelError, ProjectError
from stt_core.formats.exchange import ExportFrame, ExportOptions
from stt_core.formats.label_formats import read_labels, write_labels
from stt_core.labels import IGNORED, LabelClass, write_label_png
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from stt_core.workflow.importing import (
    ImportPlan,
    import_labels,
    import_predictions,
    mapping_facts,
    plan_import,
    with_choices,
)
from tests.core.workflow.material import (
    CLASSES,
    HEIGHT,
    WIDTH,
    finish,
    whole,
    write_images,
    write_video,
)

THEIRS = (LabelClass("Sky", (1, 1, 1)), LabelClass("bush", (107, 142, 35)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("media") / "drive.mp4")


@pytest.fixture
def project(clip: Path, tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", CLASSES, [clip]) as made:
        yield made


def made_elsewhere(folder: Path, *names: str, classes: Any = THEIRS) -> Path:
    """Maps of classes 0 and 1, the first row of pixels without a class."""
    frames = []
    for i, name in enumerate(names):
        labels = whole(i) % 2
        labels[0] = IGNORED
        frames.append(ExportFrame(name, i, labels))
    finish(write_labels("png", folder, frames, ExportOptions(classes=classes, total=len(names))))
    return folder


def plan(project: Project, path: Path, name: str = "png", medium: int = 0) -> ImportPlan:
    found = read_labels(name, path)
    made = finish(plan_import(project, project.media[medium], found, path, name))
    assert isinstance(made, ImportPlan)
    return made


def test_classes_are_proposed_by_name_and_colour(project: Project, tmp_path: Path) -> None:
    made = plan(project, made_elsewhere(tmp_path / "t", "000003"))
    rows = mapping_facts(made.mapping, project.classes)
    assert [(r["theirs"], r["ours"], r["found_by"]) for r in rows] == [
        ("Sky", "sky", "name"),
        ("bush", "tree", "colour"),
    ]
    assert sum(int(r["pixels"] or 0) for r in rows) == (HEIGHT - 1) * WIDTH


def test_labels_are_taken_in_one_step_that_undo_takes_back(
    project: Project, tmp_path: Path
) -> None:
    media_id = project.media[0].id
    own = np.zeros((4, 5), np.uint8)
    project.apply(media_id, 3, (0, 0), own)
    before = project.labels(media_id, 3)
    made = plan(project, made_elsewhere(tmp_path / "t", "000003", "x_000007"))
    assert (made.over, made.match.by("number"), made.match.unmatched) == (1, 2, ())
    assert import_labels(project, made) is not None
    labels = project.labels(media_id, 3)
    assert labels is not None
    expected = np.array([1, 2], np.uint8)[whole(0) % 2]
    np.testing.assert_array_equal(labels[1:], expected[1:])
    np.testing.assert_array_equal(labels[0, :5], 0)  # where the map says nothing, ours stays
    assert (labels[0, 5:] == IGNORED).all()
    assert project.labelled(media_id) == (3, 7)
    assert project.notes.history(media_id, 7)[-1].provenance.action == "import"
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 3), before)
    assert project.labelled(media_id) == (3,)
    assert import_labels(project, made) is not None
    assert import_labels(project, made) is None  # nothing new


def test_choices_by_hand(project: Project, tmp_path: Path) -> None:
    made = plan(project, made_elsewhere(tmp_path / "t", "000000"))
    chosen = with_choices(made.mapping, ["Sky=none", "bush=0"], project.classes)
    assert [row.ours for row in chosen.rows] == [None, 0]
    chosen = with_choices(made.mapping, ["0=ROAD"], project.classes)
    assert [row.ours for row in chosen.rows] == [0, 2]
    for wrong, said in (("x", "THEIRS=OURS"), ("moon=sky", "no class 'moon'"), ("Sky=7", "'7'")):
        with pytest.raises(ValueError, match=said):
            with_choices(made.mapping, [wrong], project.classes)


def test_images_are_matched_by_name_before_number(project: Project, tmp_path: Path) -> None:
    project.add_media(write_images(tmp_path / "s", ("5.png", "10.png", "a.png")))
    made = plan(project, made_elsewhere(tmp_path / "t", "10", "A", "zzz"), medium=1)
    assert [(m.theirs.name, m.frame, m.found_by) for m in made.match.frames] == [
        ("10", 1, "name"),
        ("A", 2, "name"),
    ]
    assert made.match.unmatched == ("zzz",)


def test_of_maps_of_several_videos_those_of_this_one(project: Project, tmp_path: Path) -> None:
    made = plan(project, made_elsewhere(tmp_path / "t", "drive_000001", "other_000001"))
    assert [m.theirs.name for m in made.match.frames] == ["drive_000001"]
    assert made.match.unmatched == ("other_000001",)


def test_two_maps_of_one_frame_are_refused(project: Project, tmp_path: Path) -> None:
    path = made_elsewhere(tmp_path / "t", "a_1", "b_1")
    with pytest.raises(ProjectError, match=r"several maps belong to frame 1 .*a_1, b_1"):
        plan(project, path)


def test_maps_of_no_frame_are_refused(project: Project, tmp_path: Path) -> None:
    path = made_elsewhere(tmp_path / "t", "one", "000099")
    with pytest.raises(ProjectError, match="none of the 2 maps"):
        plan(project, path)


def test_maps_of_another_size_are_refused(project: Project, tmp_path: Path) -> None:
    write_label_png(tmp_path / "t" / "000000.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(LabelError, match=r"is 4 x 4 pixels, but drive.mp4 is 48 x 32"):
        plan(project, tmp_path / "t")


def test_locked_frames_are_left_alone(project: Project, tmp_path: Path) -> None:
    media_id = project.media[0].id
    project.notes.set_review(media_id, 1, "locked")
    made = plan(project, made_elsewhere(tmp_path / "t", "000000", "000001"))
    with pytest.raises(ProjectError, match="locked"):
        import_labels(project, made)
    assert project.labelled(media_id) == ()


def test_maps_as_predictions_are_compared_not_edited(project: Project, tmp_path: Path) -> None:
    made = plan(project, made_elsewhere(tmp_path / "t", "000002", "000005"))
    folder = finish(import_predictions(project, made))
    assert isinstance(folder, Path)
    reader = PredictionReader(folder)
    assert reader.frames.tolist() == [2, 5]
    labels = reader.labels(2)
    np.testing.assert_array_equal(labels[1:], np.array([1, 2], np.uint8)[whole(0) % 2][1:])
    assert (labels[0] == IGNORED).all()
    np.testing.assert_array_equal(reader.confidence(2), np.where(labels == IGNORED, 0, 255))
    assert reader.manifest.settings["imported"] == "t"
    assert project.labelled(project.media[0].id) == ()
    assert finish(import_predictions(project, made)) == folder  # the same, once
