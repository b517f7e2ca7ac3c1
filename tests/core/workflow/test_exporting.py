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
from stt_core.labels import IGNORED, VOID, LabelClass, write_label_png
from stt_core.project.store import Project
from stt_core.pseudo.rule import (
    AttentionTest,
    FlowTest,
    PseudoLabelRule,
    Threshold,
    TopShare,
)
from stt_core.workflow.export_parts import ExportChoice
from stt_core.workflow.exporting import (
    Exported,
    ExportProgress,
    ExportRequest,
    export_project,
    export_target,
)
from stt_core.workflow.importing import import_predictions, plan_import
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


def test_of_one_model_all_frames_come_before_some(project: Project, tmp_path: Path) -> None:
    entry = project.media[0]
    predict(project, entry)
    predict(project, entry, range(4), key_frames=7)  # a pass that was interrupted, used last
    exported = export(project, tmp_path / "a")
    assert exported.report.frames == FRAMES
    predict(project, entry, range(5), model="b" * 64)
    exported = export(project, tmp_path / "b")  # another model that was used last was meant
    assert exported.report.frames == 5
    (note,) = exported.notes
    assert "predictions of bbbbbbbbbbbb were taken, 5 frames; 7 of its 12 frames have none" in note
    assert "aaaaaaaaaaaa (12 frames), aaaaaaaaaaaa (4 frames)" in note


def test_more_than_the_top_share_is_told(project: Project, tmp_path: Path) -> None:
    predict(project, project.media[0], range(2), surest=True)
    exported = export(project, tmp_path / "a", rule=PseudoLabelRule(TopShare(0.1)))
    note = next(note for note in exported.notes if "equally sure" in note)
    assert "road 100.0%, sky 100.0%, tree 100.0% are believed, more than the 10.0%" in note


def imported(project: Project, entry: Any, folder: Path, frames: range) -> None:
    for frame in frames:
        write_label_png(folder / f"{frame:06d}.png", whole(frame))
    plan = finish(plan_import(project, entry, read_labels("png", folder), folder, "png"))
    finish(import_predictions(project, plan))  # type: ignore[arg-type]


def all_of_it(reader: object, media: object) -> Any:
    class Mass:
        def same_class(self, frame: int) -> NDArray[np.float32]:
            return np.zeros((2, 2), np.float32)

    return Mass()


def test_imported_predictions_are_not_tested_by_attention(project: Project, tmp_path: Path) -> None:
    first = project.media[0]
    second = project.add_media(write_video(tmp_path / "other.mp4", seed=1))
    rule = PseudoLabelRule(Threshold(0), attention=AttentionTest(0.5))
    imported(project, second, tmp_path / "maps", range(3))
    with pytest.raises(LabelError, match=r"of other.mp4 were imported and have no attention"):
        export(project, tmp_path / "a", rule=rule, attend=all_of_it)
    predict(project, first, range(2))
    exported = export(project, tmp_path / "b", rule=rule, attend=all_of_it)
    assert any("other.mp4 were imported" in n and "3 frames were not" in n for n in exported.notes)
    facts: Any = exported.provenance["media"]
    assert [medium["attention_untested"] for medium in facts] == [0, 3]
    kept = [medium["pseudo_labels"]["pixels"]["kept"] for medium in facts]
    assert kept == [0, 3 * HEIGHT * WIDTH]


@pytest.mark.parametrize(
    "inside", ["labels/x", "predictions/a/b", "backups/x", "aside/x", "Labels", "journal.sqlite-x"]
)
def test_what_the_project_keeps_is_no_place_for_an_export(
    inside: str, project: Project, tmp_path: Path
) -> None:
    paint(project, 0)
    before = sorted(project.folder.rglob("*"))
    with pytest.raises(OutputError, match=r"keeps for itself\. Choose a place in .*exports"):
        export(project, project.folder / inside)
    assert sorted(project.folder.rglob("*")) == before
    export(project, project.folder / "exports" / "a")
    export(project, project.folder / "runs" / "a")


def test_things_are_those_that_are_said_or_known(project: Project, tmp_path: Path) -> None:
    project.add_class(LabelClass("Car", (0, 0, 9)))
    labels = whole(0)
    labels[:4, :4] = labels[20:24, 20:24] = 3
    project.apply(project.media[0].id, 0, (0, 0), labels)

    def things(target: str, **asked: Any) -> tuple[list[str], int]:
        request = ExportRequest(
            format="coco-panoptic", target=tmp_path / target, media=project.media, **asked
        )
        finish(export_project(project, request))
        told = json.loads((tmp_path / target / "annotations" / "panoptic_train.json").read_text())
        cars = next(c["id"] for c in told["categories"] if c["name"] == "Car")
        segments = told["annotations"][0]["segments_info"]
        countable = [c["name"] for c in told["categories"] if c["isthing"]]
        return countable, sum(s["category_id"] == cars for s in segments)

    assert things("a") == (["Car"], 2)
    assert things("b", things=frozenset()) == ([], 1)
    assert things("c", things=frozenset(["SKY"]))[0] == ["sky"]
    assert things("d", classes={"tree": "Truck"})[0] == ["Truck", "Car"]
    with pytest.raises(LabelError, match="no class 'moon' that could be a thing"):
        things("e", things=frozenset(["moon"]))


def test_classes_are_called_as_is_said(project: Project, tmp_path: Path) -> None:
    own = paint(project, 0)
    request = ExportRequest(
        format="png", target=tmp_path / "a", media=project.media,
        classes={"tree": "road", "sky": None},
    )  # fmt: skip
    exported = finish(export_project(project, request))
    assert isinstance(exported, Exported)
    found = read_labels("png", tmp_path / "a")
    assert [c.name for c in found.classes or ()] == ["road"]
    expected = np.where((own == 0) | (own == 2), 0, IGNORED)
    np.testing.assert_array_equal(found.frames[0].load(), expected)
    assert [(row.ours, row.theirs) for row in exported.classes] == [
        ("road", "road"), ("sky", None), ("tree", "road"),
    ]  # fmt: skip
    assert exported.provenance["class_names"]


def test_frames_of_several_media_are_told_apart(project: Project, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "stills", ("a.png", "b.png"))
    stills = project.add_media(folder)
    project.apply(stills.id, 1, (0, 0), whole(1))
    paint(project, 4)
    export(project, tmp_path / "out", images=True)
    found = read_labels("png", tmp_path / "out").frames
    assert sorted((f.medium, f.name) for f in found) == [("drive", "000004"), ("stills", "b")]
    assert (tmp_path / "out" / "labels" / "stills_b.png").exists()
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
