"""Exports of folders of images, and of several media, come back to the frames they were made of."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.errors import LabelError, ProjectError
from stt_core.formats.frame_names import Rule
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project
from stt_core.workflow.export_parts import ExportChoice
from stt_core.workflow.exporting import ExportRequest, export_project, export_target
from stt_core.workflow.importing import ImportPlan, import_labels, plan_import
from tests.core.workflow.material import (
    CLASSES,
    HEIGHT,
    WIDTH,
    finish,
    write_images,
    write_video,
)

NAMES = {
    "counted from 1": tuple(f"img_{n:03d}.png" for n in range(1, 5)),
    "of Cityscapes": tuple(f"aachen_{n:06d}_000019_leftImg8bit.png" for n in range(1, 5)),
    "with a word after the number": tuple(f"frame_{n:04d}_rgb.png" for n in range(1, 5)),
    "without numbers": ("b.png", "Straße 5 é.png", "left.png", "zoo_.png"),
}


def bands(number: int) -> NDArray[np.uint8]:
    """Of which every format keeps every pixel, another for each number."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[number + 1 :] = 1
    labels[:, number + 3 :] = 2
    labels[-3:] = 255
    return labels


def paint(project: Project, entry: MediaEntry, first: int = 0) -> dict[int, NDArray[np.uint8]]:
    made = {frame: bands(first + frame) for frame in range(entry.frames)}
    for frame, labels in made.items():
        project.apply(entry.id, frame, (0, 0), labels)
    return made


def export(project: Project, name: str, target: Path) -> Path:
    request = ExportRequest(
        format=name,
        target=target,
        media=project.media,
        choice=ExportChoice(source="labels", images=True),
    )
    return finish(export_project(project, request)).report.path  # type: ignore[attr-defined,no-any-return]


def bring_in(
    project: Project, entry: MediaEntry, path: Path, name: str, rule: Rule | None = None
) -> ImportPlan:
    plan = finish(plan_import(project, entry, read_labels(name, path), path, name, rule))
    assert isinstance(plan, ImportPlan)
    import_labels(project, plan)
    return plan


def assert_labels(
    project: Project, entry: MediaEntry, expected: dict[int, NDArray[np.uint8]]
) -> None:
    assert project.labelled(entry.id) == tuple(sorted(expected))
    for frame, labels in expected.items():
        np.testing.assert_array_equal(project.labels(entry.id, frame), labels)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "empty", CLASSES) as made:
        yield made


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_labels_of_images_come_back_to_them(
    name: str, names: tuple[str, ...], tmp_path: Path, empty: Project
) -> None:
    folder = write_images(tmp_path / "s", names)
    with Project.create(tmp_path / "p", CLASSES, [folder]) as project:
        expected = paint(project, project.media[0])
        path = export(project, name, tmp_path / "out")
    # The folder is another when they come back: places have changed, names have not.
    write_images(folder, ("0000.png",))
    entry = empty.add_media(folder)
    plan = bring_in(empty, entry, path, name)
    assert (plan.match.by("name"), plan.match.unmatched) == (4, ())
    assert_labels(empty, entry, {frame + 1: labels for frame, labels in expected.items()})


def test_images_of_cityscapes_keep_their_names(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "s", (*NAMES["of Cityscapes"][:1], "other.png"))
    with Project.create(tmp_path / "p", CLASSES, [folder]) as project:
        paint(project, project.media[0])
        export(project, "cityscapes", tmp_path / "out")
    files = {file.name for file in (tmp_path / "out" / "gtFine").rglob("*_labelIds.png")}
    assert files == {
        "aachen_000001_000019_gtFine_labelIds.png", "s_000000_000001_gtFine_labelIds.png",
    }  # fmt: skip
    images = tmp_path / "out" / "leftImg8bit" / "train" / "aachen"
    assert (images / "aachen_000001_000019_leftImg8bit.png").exists()


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_several_media_are_kept_apart_and_come_back_each_to_itself(
    name: str, tmp_path: Path, empty: Project
) -> None:
    media = [
        write_images(tmp_path / "a" / "left", ("1.png", "2.png", "aachen_000000_000001.png")),
        write_images(tmp_path / "b" / "left", ("1.png", "2.png", "aachen_000000_000001.png")),
        write_images(tmp_path / "left_1", ("1.png", "2.png")),
        write_video(tmp_path / "drive.mp4", frames=3),
    ]
    write_images(media[1], ("2.png", "1.png"))  # another content under the same names
    with Project.create(tmp_path / "p", CLASSES, media) as project:
        expected = [paint(project, entry, 4 * n) for n, entry in enumerate(project.media)]
        path = export(project, name, tmp_path / "out")
        assert path.is_dir()
    for source, labels in zip(media, expected, strict=True):
        entry = empty.add_media(source)
        plan = bring_in(empty, entry, path, name)
        assert len(plan.match.unmatched) == 11 - len(labels)
        assert_labels(empty, entry, labels)
    stranger = empty.add_media(write_video(tmp_path / "other.mp4", seed=3, frames=3))
    with pytest.raises(ProjectError, match=r"none of the maps is of other.mp4: they are of left"):
        bring_in(empty, stranger, path, name)


def test_one_file_formats_have_a_file_of_each_medium(tmp_path: Path) -> None:
    media = [write_video(tmp_path / f"{n}.mp4", seed=n, frames=2) for n in (1, 2)]
    with Project.create(tmp_path / "p", CLASSES, media) as project:
        for entry in project.media:
            paint(project, entry)
        path = export(project, "cvat", tmp_path / "out.zip")
    assert path == export_target("cvat", tmp_path / "out.zip", 2) == tmp_path / "out"
    assert sorted(p.name for p in path.iterdir()) == ["1.zip", "2.zip", "provenance.json"]
    with zipfile.ZipFile(path / "2.zip") as archive:
        assert "SegmentationClass/frame_000001.png" in archive.namelist()
    assert len(read_labels("cvat", path / "2.zip").frames) == 2


def test_maps_that_could_be_of_other_images_are_refused_until_it_is_said(
    tmp_path: Path, empty: Project
) -> None:
    with Project.create(
        tmp_path / "p", CLASSES, [write_video(tmp_path / "v.mp4", frames=4)]
    ) as project:
        expected = paint(project, project.media[0])
        path = export(project, "palette", tmp_path / "out")
    entry = empty.add_media(write_images(tmp_path / "s", NAMES["counted from 1"]))
    with pytest.raises(LabelError, match=r"0000001 -> img_001.*--match from-0.*0000000 -> img_001"):
        bring_in(empty, entry, path, "palette")
    assert empty.labelled(entry.id) == ()
    bring_in(empty, entry, path, "palette", "from-0")
    assert_labels(empty, entry, expected)
