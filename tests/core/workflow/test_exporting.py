from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.errors import LabelError, OutputError, ProjectError
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.labels import IGNORED, VOID, LabelClass
from stt_core.project.store import Project
from stt_core.pseudo.rule import FlowTest, PseudoLabelRule, Threshold, TopShare
from stt_core.workflow.export_parts import ExportChoice
from stt_core.workflow.exporting import (
    Exported,
    ExportProgress,
    ExportRequest,
    export_project,
    export_target,
)
from tests.core.workflow.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    finish,
    predict,
    sure,
    whole,
    write_images,
    write_video,
)

HALF = PseudoLabelRule(Threshold(0.5))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("media") / "drive.mp4")


@pytest.fixture
def project(clip: Path, tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "p", CLASSES, [clip]) as made:
        yield made


def export(project: Project, target: Path, name: str = "png", **choice: Any) -> Exported:
    request = ExportRequest(
        format=name, target=target, media=project.media, choice=ExportChoice(**choice)
    )
    exported = finish(export_project(project, request))
    assert isinstance(exported, Exported)
    return exported


def maps(path: Path, name: str = "png") -> dict[str, NDArray[np.uint8]]:
    return {frame.name: frame.load() for frame in read_labels(name, path).frames}


def paint(project: Project, frame: int) -> NDArray[np.uint8]:
    """Label the upper half, one block of it void."""
    labels = whole(frame, version=1)
    labels[HEIGHT // 2 :] = 255
    labels[:8, :8] = VOID
    project.apply(project.media[0].id, frame, (0, 0), labels)
    return labels


def believed(frame: int, least: float) -> NDArray[np.uint8]:
    return np.where(sure(frame) / 255 >= least, whole(frame), np.uint8(IGNORED))


def test_labels_win_over_predictions_and_void_is_255(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(4))
    own, alone = paint(project, 2), paint(project, 9)
    exported = export(project, tmp_path / "out", rule=HALF)
    found = maps(tmp_path / "out")
    assert sorted(found) == ["000000", "000001", "000002", "000003", "000009"]
    np.testing.assert_array_equal(found["000001"], believed(1, 0.5))
    expected = np.where(own == 255, believed(2, 0.5), np.where(own == VOID, IGNORED, own))
    np.testing.assert_array_equal(found["000002"], expected)
    np.testing.assert_array_equal(found["000009"], np.where(alone >= VOID, IGNORED, alone))
    assert exported.report.frames == 5


@pytest.mark.parametrize(
    ("source", "frames"), [("labels", [2, 9]), ("predictions", [0, 1, 2, 3]), ("both", None)]
)
def test_the_source_says_whose_word_counts(
    source: str, frames: list[int] | None, project: Project, tmp_path: Path
) -> None:
    predict(project, project.media[0], range(4))
    own = paint(project, 2)
    paint(project, 9)
    export(project, tmp_path / "out", source=source, rule=HALF)
    found = maps(tmp_path / "out")
    assert [int(name) for name in sorted(found)] == (frames or [0, 1, 2, 3, 9])
    if source == "predictions":
        np.testing.assert_array_equal(found["000002"], believed(2, 0.5))
    if source == "labels":
        np.testing.assert_array_equal(found["000002"], np.where(own >= VOID, IGNORED, own))


def test_provenance_says_what_became_of_every_pixel(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(4))
    paint(project, 2)
    paint(project, 9)
    exported = export(project, tmp_path / "out", rule=HALF)
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told == json.loads(json.dumps(exported.provenance))
    (medium,) = told["media"]
    assert (medium["frames"], medium["predicted"], medium["labelled"]) == (5, 4, 2)
    record = medium["pseudo_labels"]
    pixels = record["pixels"]
    assert record["rule"]["confidence"] == {"threshold": 0.5, "by_class": {}}
    assert pixels["predicted"] == pixels["unsure"] + pixels["kept"]
    everywhere = pixels["predicted"] + pixels["painted"] + pixels["void"] + pixels["silent"]
    assert everywhere == 4 * HEIGHT * WIDTH


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_every_format_carries_its_provenance(name: str, project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(2))
    target = export_target(name, tmp_path / "out")
    exported = export(project, tmp_path / "out", name)
    assert exported.report.path == target
    assert target.exists()
    assert exported.provenance["media"]
    assert len(read_labels(name, target).frames) == 2


def test_top_share_looks_through_all_frames_first(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(4))
    request = ExportRequest(
        format="png",
        target=tmp_path / "out",
        media=project.media,
        choice=ExportChoice(rule=PseudoLabelRule(TopShare(0.25))),
    )
    steps = list(export_project(project, request))
    assert [step.doing for step in steps] == ["survey"] * 4 + ["write"] * 4
    assert [step.done for step in steps] == list(range(1, 9))
    assert steps[0] == ExportProgress("survey", 1, 8)
    found = np.stack(list(maps(tmp_path / "out").values()))
    kept = (found != IGNORED).mean()
    assert 0.25 <= kept < 0.27


def test_thresholds_of_single_classes(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(1))
    export(project, tmp_path / "out", rule=PseudoLabelRule(Threshold(1.0, {"sky": 0.0})))
    found = maps(tmp_path / "out")["000000"]
    expected = np.where((whole(0) == 1) | (sure(0) == 255), whole(0), IGNORED)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(LabelError, match="no class 'moon'"):
        export(project, tmp_path / "b", rule=PseudoLabelRule(Threshold(0.5, {"moon": 0.1})))


def test_only_checked_frames(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0])
    media_id = project.media[0].id
    project.notes.set_review(media_id, 3, "checked")
    project.notes.set_review(media_id, 5, "locked")
    project.notes.set_review(media_id, 6, "draft")
    export(project, tmp_path / "a", only="checked")
    export(project, tmp_path / "b", only="locked")
    assert sorted(maps(tmp_path / "a")) == ["000003", "000005"]
    assert sorted(maps(tmp_path / "b")) == ["000005"]


def test_classes_of_a_model_are_found_by_name(project: Project, tmp_path: Path) -> None:
    theirs = (CLASSES[2], LabelClass("Moon", (1, 2, 3)), replace(CLASSES[0], name="ROAD"))
    predict(project, project.media[0], range(1), classes=theirs)
    exported = export(project, tmp_path / "out", rule=PseudoLabelRule(Threshold(0)))
    expected = np.array([2, IGNORED, 0], np.uint8)[whole(0)]
    np.testing.assert_array_equal(maps(tmp_path / "out")["000000"], expected)
    assert any("Moon" in note for note in exported.notes)


def test_a_model_without_a_class_of_ours_is_refused(project: Project, tmp_path: Path) -> None:
    strangers = tuple(LabelClass(f"x{i}", (i, i, i)) for i in range(3))
    predict(project, project.media[0], range(1), classes=strangers)
    with pytest.raises(LabelError, match="none of the project's classes"):
        export(project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_several_models_the_last_used_is_taken_and_told(
    project: Project, tmp_path: Path
) -> None:
    predict(project, project.media[0], range(3), model="b" * 64)
    predict(project, project.media[0], range(1), model="c" * 64)
    exported = export(project, tmp_path / "a")
    assert exported.report.frames == 1
    assert any("bbbbbb" in note for note in exported.notes)
    assert export(project, tmp_path / "b", model="bbbbbbbb").report.frames == 3
    with pytest.raises(ProjectError, match="no predictions of dddddd"):
        export(project, tmp_path / "c", source="predictions", model="dddddd")


def test_frames_of_several_media_are_told_apart(project: Project, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "stills", ("a.png", "b.png"))
    stills = project.add_media(folder)
    project.apply(stills.id, 1, (0, 0), whole(1))
    paint(project, 4)
    export(project, tmp_path / "out", images=True)
    assert sorted(maps(tmp_path / "out")) == ["b", "drive_000004"]
    assert (tmp_path / "out" / "images" / "drive_000004.png").exists()


def test_labels_without_predictions_need_no_media(
    clip: Path, project: Project, tmp_path: Path
) -> None:
    moved = write_video(tmp_path / "moving.mp4", seed=1)
    entry = project.add_media(moved)
    project.apply(entry.id, 0, (0, 0), whole(0))
    moved.unlink()
    exported = export(project, tmp_path / "out")
    assert exported.report.frames == 1
    with pytest.raises(ProjectError, match=r"moving.mp4 is missing"):
        export(project, tmp_path / "more", images=True)


def test_a_video_that_was_replaced_is_not_looked_at(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4")
    with Project.create(tmp_path / "p", CLASSES, [video]) as project:
        predict(project, project.media[0], range(3))
        write_video(video, seed=5)
        with pytest.raises(ProjectError, match="content differs"):
            export(project, tmp_path / "out", rule=PseudoLabelRule(flow=FlowTest()))


def test_nothing_to_export_is_an_error(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="neither labelled nor predicted"):
        export(project, tmp_path / "out")
    paint(project, 1)
    with pytest.raises(ProjectError, match=r"no frame of drive.mp4 that is checked"):
        export(project, tmp_path / "out", only="checked")
    with pytest.raises(ProjectError, match="segment --project"):
        export(project, tmp_path / "out", source="predictions")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_never_mixed_with(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        export(project, tmp_path / "out", rule=PseudoLabelRule(TopShare(0.5)))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_interrupted_export_leaves_nothing(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0])
    before = sorted(tmp_path.iterdir())
    request = ExportRequest(format="voc", target=tmp_path / "out", media=project.media)
    steps = export_project(project, request)
    for _ in range(FRAMES // 2):
        next(steps)
    steps.close()
    assert sorted(tmp_path.iterdir()) == before
