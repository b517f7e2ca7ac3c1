from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from stt_core.errors import FormatError, ProjectError
from stt_core.project.prediction_folders import DEFAULT_BYTES, PredictionFolders, byte_size
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from tests.conftest import ROOT
from tests.core.predictions.stores import MANIFEST, add


def _of(number: int) -> Manifest:
    return replace(MANIFEST, media_hash="media", model_hash=f"model {number}")


def _fill(folders: PredictionFolders, number: int) -> Path:
    with folders.writer(_of(number)) as writer:
        add(writer, 0)
    return writer.folder


def test_each_of_media_model_and_settings_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    manifests = [
        replace(MANIFEST, media_hash=a, model_hash=b, settings={"keys": c})
        for a, b, c in product("mn", "mn", (6, 7))
    ]
    paths = set()
    for manifest in manifests:
        assert folders.find(manifest.key) is None
        with folders.writer(manifest) as writer:
            paths.add(writer.folder)
        assert folders.find(manifest.key) == writer.folder
    assert len(paths) == len(manifests)
    assert {s.key for s in folders.all()} == {m.key for m in manifests}


def test_what_is_stale_says_why(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    _fill(folders, 1)
    (found,) = folders.all()
    settings = dict(reversed(MANIFEST.settings.items()))
    assert found.stale(["media", "x"], "model 1", settings) == ()
    assert found.stale(["media"], None, None) == ()
    assert found.stale(["x"], "model 2", {}) == ("media", "model", "settings")
    assert found.stale(["media"], "model 2", settings) == ("model",)


def test_one_pass_writes_a_folder_at_a_time(tmp_path: Path) -> None:
    first, second = PredictionFolders(tmp_path), PredictionFolders(tmp_path)
    with first.writer(_of(1)):
        with pytest.raises(ProjectError, match=r"is being written by .* Wait until that is done"):
            second.writer(_of(1)).__enter__()
        other = _fill(second, 2)
        assert second.evict(0) == (other,)
    assert second.evict(0) == (tmp_path / "predictions" / _of(1).key.digest,)


def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(10000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))  # the clock goes back
    folders = PredictionFolders(tmp_path)
    paths = [_fill(folders, i) for i in range(4)]
    thumbs = tmp_path / "cache" / "thumbnails"
    thumbs.mkdir(parents=True)
    (thumbs / "1.jpg").write_bytes(bytes(1000))
    folders.use(thumbs)
    folders.use(paths[0])
    held = folders.bytes()
    assert folders.evict(held) == ()
    assert folders.evict(held - 1) == (paths[1],)
    assert folders.evict(0, keep=[paths[3]]) == (paths[2], thumbs, paths[0])
    assert [s.path for s in folders.all()] == [paths[3]]
    assert folders.find(_of(1).key) is None


def test_eviction_touches_nothing_else(project: Project, media_id: str, tmp_path: Path) -> None:
    project.apply(media_id, 0, (0, 0), np.ones((5, 7), np.uint8))
    project.flush()
    for name in ("runs", "exports"):
        (project.folder / name).mkdir()
        (project.folder / name / "f").write_bytes(bytes(100))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(bytes(100))
    _fill(project.predictions, 1)
    link = project.folder / "predictions" / "link"
    link.symlink_to(outside)
    before = sorted(p for p in project.folder.rglob("*") if "predictions" not in p.parts)
    project.predictions.evict(0)
    assert project.predictions.all() == ()
    assert sorted(p for p in project.folder.rglob("*") if "predictions" not in p.parts) == before
    assert (outside / "f").exists()
    assert not list((project.folder / "predictions").glob(".trash*"))
    assert len(project.check(repair=True)) == 1
    assert (outside / "f").exists()
    assert not link.is_symlink()
    assert project.check() == ()


def test_a_folder_killed_while_it_was_deleted_is_no_prediction(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    path.rename(path.with_name(".trash-1"))
    assert folders.all() == ()
    folders.evict(10**9)
    assert not path.with_name(".trash-1").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"media_hash": "x"}'])
def test_a_folder_that_does_not_say_what_it_holds_is_not_shown(project: Project, text: str) -> None:
    path = _fill(project.predictions, 1)
    (path / "manifest.json").write_text(text)
    assert project.predictions.find(_of(1).key) is None
    assert project.predictions.all() == ()
    (finding,) = project.check()
    assert f"{path / 'manifest.json'} is damaged" in finding.what
    assert "Delete the folder" in finding.what
    with pytest.raises(FormatError, match="is damaged"):
        project.predictions.writer(_of(1)).__enter__()
    assert project.predictions.evict(0) == ()  # it may be maps that nobody can make again
    (finding,) = project.check(repair=True)
    kept = project.folder / "aside" / "predictions" / path.name
    assert finding.done == f"It was moved to {kept}."
    assert [p.name for p in kept.glob("*.h5")]
    assert project.check() == ()


def test_predictions_of_a_newer_version_are_left_to_it(project: Project) -> None:
    path = _fill(project.predictions, 1)
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    (finding,) = project.check(repair=True)
    assert "newer version" in finding.what
    assert (finding.done, manifest.exists()) == ("", True)


def test_a_folder_without_key_or_frame_is_removed_by_repair(project: Project) -> None:
    path = project.folder / "predictions" / _of(1).key.digest
    path.mkdir(parents=True)
    (path / "manifest.json").write_bytes(b"")  # as after a full disk
    (finding,) = project.check(repair=True)
    assert finding.done == "It held no frame and was removed."
    assert not path.exists()
    assert project.check() == ()


def test_a_folder_whose_maker_was_killed_at_once_is_nothing(project: Project) -> None:
    path = project.folder / "predictions" / _of(1).key.digest
    path.mkdir(parents=True)
    assert project.predictions.all() == ()
    assert project.check() == ()
    assert _fill(project.predictions, 1) == path


def test_a_folder_under_another_name_is_told(project: Project) -> None:
    path = _fill(project.predictions, 1)
    shutil.copytree(path, path.with_name("copy"))
    assert len(project.check()) == 1
    assert all(finding.done for finding in project.check(repair=True))
    assert project.check() == ()
    assert path.exists()


def test_a_damaged_order_of_use_is_begun_anew(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    (tmp_path / "predictions" / "index.sqlite").write_bytes(b"junk" * 4000)
    assert [s.path for s in folders.all()] == [path]
    folders.use(path)
    assert folders.all()[0].last_use == 1


def test_imported_maps_are_no_cache(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    imported = replace(_of(2), settings={"imported": "maps", "format": "png"})
    with folders.writer(imported) as writer:
        add(writer, 0)
    assert folders.bytes() == byte_size(path)
    assert folders.evict(0) == (path,)
    assert folders.find(imported.key) is not None


def test_what_is_being_read_stays(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    looked, read = PredictionReader(path), PredictionReader(path)
    read.labels(0)
    assert PredictionFolders(tmp_path).evict(0) == ()
    del read
    assert PredictionFolders(tmp_path).evict(0) == (path,)  # knowing of it is not reading
    assert len(looked) == 1
    assert not list((tmp_path / "predictions" / "locks").glob("*.read-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_what_another_process_reads_stays_until_it_is_killed(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    code = (
        "import sys, pathlib\n"
        "from stt_core.project.predictions.reader import PredictionReader\n"
        "reader = PredictionReader(pathlib.Path(sys.argv[1]))\n"
        "reader.labels(0)\n"
        "print('reading', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"reading"
        assert folders.evict(0) == ()
        child.kill()
    assert folders.evict(0) == (path,)


def test_a_budget_is_kept_when_a_project_is_opened(project: Project, media_id: str) -> None:
    assert project.predictions.budget == DEFAULT_BYTES
    project.apply(media_id, 0, (0, 0), np.ones((5, 7), np.uint8))
    old, new = (_fill(project.predictions, number) for number in (1, 2))
    project.set_cache_bytes(byte_size(new))
    assert old.exists()
    project.close()
    with Project.open(project.folder, write=False) as reader:
        assert reader.recovered == ()
        assert old.exists()
    with Project.open(project.folder) as again:
        (said,) = again.recovered
        assert "1 folders of predictions" in said
        assert (old.exists(), new.exists()) == (False, True)
        assert again.labelled(media_id) == (0,)
        assert again.check() == ()
        again.set_cache_bytes(None)
        assert again.predictions.budget == DEFAULT_BYTES
        with pytest.raises(ValueError, match="0 bytes or more"):
            again.set_cache_bytes(-1)


def test_a_budget_outlives_the_journal(project: Project) -> None:
    project.set_cache_bytes(12345)
    project.close()
    for path in project.folder.glob("journal.sqlite*"):
        path.unlink()
    with Project.open(project.folder) as again:
        assert again.predictions.budget == 12345
        assert again.manifest.cache_bytes == 12345
