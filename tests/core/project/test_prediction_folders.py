from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.errors import ProjectError
from stt_core.project.prediction_folders import PredictionFolders, PredictionKey, settings_digest
from stt_core.project.store import Project


def _key(number: int) -> PredictionKey:
    return PredictionKey("media", f"model {number}", settings_digest({"keys": 7}))


def _fill(folders: PredictionFolders, number: int, size: int = 1000) -> Path:
    with folders.claim(_key(number)) as path:
        (path / "part.h5").write_bytes(bytes(size))
    return path


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.text(max_size=5)))
def test_settings_have_one_digest_in_any_order(settings: dict[str, object]) -> None:
    turned = dict(reversed(settings.items()))
    assert settings_digest(settings) == settings_digest(turned)
    assert settings_digest(settings) != settings_digest({**settings, "another one": 1})


def test_each_of_media_model_and_settings_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    keys = [PredictionKey(a, b, c) for a in ("m", "n") for b in ("m", "n") for c in ("m", "n")]
    paths = set()
    for key in keys:
        assert folders.find(key) is None
        with folders.claim(key) as path:
            paths.add(path)
        assert folders.find(key) == path
    assert len(paths) == len(keys)
    assert {s.key for s in folders.all()} == set(keys)


def test_what_is_stale_says_why(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    _fill(folders, 1)
    (found,) = folders.all()
    digest = settings_digest({"keys": 7})
    assert found.stale(["media", "x"], "model 1", digest) == ()
    assert found.stale(["media"], None, None) == ()
    assert found.stale(["x"], "model 2", "other") == ("media", "model", "settings")
    assert found.stale(["media"], "model 2", digest) == ("model",)


def test_one_pass_writes_a_folder_at_a_time(tmp_path: Path) -> None:
    first, second = PredictionFolders(tmp_path), PredictionFolders(tmp_path)
    with first.claim(_key(1)):
        with pytest.raises(ProjectError, match=r"is being written by .* Wait for that pass"):
            second.claim(_key(1)).__enter__()
        other = _fill(second, 2)
        assert second.evict(0) == (other,)
    assert second.evict(0) == (tmp_path / "predictions" / _key(1).folder,)


def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(10000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))  # the clock goes back
    folders = PredictionFolders(tmp_path)
    paths = [_fill(folders, i) for i in range(4)]
    thumbs = folders.cache_folder("thumbnails")
    (thumbs / "1.jpg").write_bytes(bytes(1000))
    folders.use(paths[0])
    held = folders.bytes()
    assert folders.evict(held) == ()
    assert folders.evict(held - 1) == (paths[1],)
    assert folders.evict(0, keep=[paths[3]]) == (paths[2], thumbs, paths[0])
    assert [s.path for s in folders.all()] == [paths[3]]
    assert folders.find(_key(1)) is None


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
    (project.folder / "predictions" / "link").symlink_to(outside)
    before = sorted(p for p in project.folder.rglob("*") if "predictions" not in p.parts)
    project.predictions.evict(0)
    assert project.predictions.all() == ()
    assert sorted(p for p in project.folder.rglob("*") if "predictions" not in p.parts) == before
    assert (outside / "f").exists()
    assert not list((project.folder / "predictions").glob(".trash*"))
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
    (path / "key.json").write_text(text)
    assert project.predictions.find(_key(1)) is None
    assert project.predictions.all() == ()
    (finding,) = project.check()
    assert str(path) in finding.what
    with project.predictions.claim(_key(1)) as again:  # a new pass takes it over
        assert again == path
    assert project.check() == ()


def test_a_folder_under_another_name_is_told(project: Project) -> None:
    path = _fill(project.predictions, 1)
    shutil.copytree(path, path.with_name("copy"))
    assert len(project.check()) == 1


def test_a_damaged_order_of_use_is_begun_anew(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    path = _fill(folders, 1)
    (tmp_path / "predictions" / "index.sqlite").write_bytes(b"junk" * 4000)
    assert [s.path for s in folders.all()] == [path]
    folders.use(path)
    assert folders.all()[0].last_use == 1


def test_a_cache_has_a_plain_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="named like an identifier"):
        PredictionFolders(tmp_path).cache_folder("../labels")
