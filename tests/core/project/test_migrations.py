from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stt_core.errors import OutputError, ProjectError
from stt_core.labels import VOID
from stt_core.project.manifest import VERSION
from stt_core.project.store import Project
from tests.core.project.material import (
    CLASSES,
    HEIGHT,
    WIDTH,
    all_labels,
    block,
    whole,
    write_images,
    write_layout_1,
    write_video,
)


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_layout_1_is_converted_with_a_backup(tmp_path: Path, kind: str) -> None:
    media = (
        write_video(tmp_path / "clip.avi")
        if kind == "video"
        else write_images(tmp_path / "images", 6)
    )
    folder = write_layout_1(tmp_path / "p", media)
    before = {p.name: p.read_bytes() for p in (folder / "labels").iterdir()}
    with Project.open(folder) as project:
        assert any("converted from layout 1 to 2" in s for s in project.recovered)
        (entry,) = project.media
        assert (entry.kind, entry.frames, entry.name) == (kind, 6, media.name)
        assert project.media_path(entry.id) == media
        assert project.labelled(entry.id) == (0, 2, 5)
        np.testing.assert_array_equal(project.labels(entry.id, 2), whole(2))
        assert not project.can_undo()
        project.apply(entry.id, 2, (0, 0), block(VOID))
        project.flush()
        assert project.check() == ()
    with zipfile.ZipFile(folder / "backups" / "layout-1.zip") as backup:
        kept = {Path(n).name: backup.read(n) for n in backup.namelist() if "labels" in n}
        assert kept == before
        assert json.loads(backup.read("project.json"))["version"] == 1
    with Project.open(folder) as again:
        assert again.recovered == ()
        assert all_labels(again).keys() == {(entry.id, f) for f in (0, 2, 5)}


def test_layout_1_without_its_medium_keeps_the_labels(tmp_path: Path) -> None:
    media = tmp_path / "clip.avi"
    folder = write_layout_1(tmp_path / "p", media)
    with Project.open(folder) as project:
        (entry,) = project.media
        assert project.missing_media() == (entry,)
        np.testing.assert_array_equal(project.labels(entry.id, 5), whole(5))
        write_video(tmp_path / "found.avi")
        project.relink(entry.id, tmp_path / "found.avi")
        assert project.missing_media() == ()
        assert project.media[0].hash
        assert project.labelled(entry.id) == (0, 2, 5)


def test_maps_that_cannot_be_used_are_told_and_stay_in_the_backup(tmp_path: Path) -> None:
    folder = write_layout_1(tmp_path / "p", write_video(tmp_path / "clip.avi"))
    (folder / "labels" / "000001.png").write_bytes(b"\x89PNG")
    Image.fromarray(np.zeros((HEIGHT, WIDTH + 1), np.uint8)).save(folder / "labels" / "000003.png")
    with Project.open(folder) as project:
        said = " ".join(project.recovered)
        assert "000001.png" in said
        assert "000003.png has another size" in said
        assert project.labelled(project.media[0].id) == (0, 2, 5)
    with zipfile.ZipFile(folder / "backups" / "layout-1.zip") as backup:
        assert "labels/000001.png" in backup.namelist()


def test_a_newer_project_is_refused_and_not_touched(tmp_path: Path) -> None:
    Project.create(tmp_path, CLASSES).close()
    raw = json.loads((tmp_path / "project.json").read_text())
    raw |= {"version": VERSION + 1, "novel": True}
    (tmp_path / "project.json").write_text(json.dumps(raw))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for write in (True, False):
        with pytest.raises(ProjectError, match=r"newer version .* Install the newer version"):
            Project.open(tmp_path, write=write)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_old_project_is_not_converted_by_a_reader(tmp_path: Path) -> None:
    folder = write_layout_1(tmp_path / "p", write_video(tmp_path / "clip.avi"))
    with pytest.raises(ProjectError, match="must be converted"):
        Project.open(folder, write=False)
    assert not (folder / "journal.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 0}', "layout 0, which never was one"),
        ('{"version": 1, "classes": []}', "not a valid project file at 'media'"),
        ('{"version": 1, "media": "a", "classes": [{"name": "", "color": [0, 0, 0]}]}', "at 'cla"),
    ],
)
def test_an_unsound_old_project_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "project.json").write_text(text)
    with pytest.raises(ProjectError, match=message):
        Project.open(tmp_path)


def test_a_backup_that_cannot_be_written_stops_the_conversion(tmp_path: Path) -> None:
    folder = write_layout_1(tmp_path / "p", write_video(tmp_path / "clip.avi"))
    (folder / "backups").write_text("in the way")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        Project.open(folder)
    assert json.loads((folder / "project.json").read_text())["version"] == 1
    (folder / "backups").unlink()
    Project.open(folder).close()
