"""Reading what passes have stored, for the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from app.stored import StoredFacts, StoredPredictions
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.predictions.key import PredictionKey
from tests.core.predictions.stores import MANIFEST, add


def _fill(folders: PredictionFolders, **changes: Any) -> Path:
    with folders.writer(replace(MANIFEST, **changes)) as writer:
        add(writer, 0)
    return writer.folder


def _find(folder: Path, key: PredictionKey) -> StoredFacts:
    steps = StoredPredictions().find(folder, key, MANIFEST.frames)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_what_the_window_shows_counts_as_used(tmp_path: Path) -> None:
    folders = PredictionFolders(tmp_path)
    shown, other = _fill(folders), _fill(folders, model_hash="z" * 64)
    found = _find(tmp_path, MANIFEST.key)
    assert found.present.sum() == 1
    assert found.stale == ("predictions of another model: 1 frames",)
    assert folders.evict(folders.bytes() - 1) == (other,)
    assert [each.path for each in folders.all()] == [shown]


def test_what_else_is_stored_does_not_make_predictions_stale(tmp_path: Path) -> None:
    settings = {**MANIFEST.settings, "features": True}
    _fill(PredictionFolders(tmp_path), settings=settings)
    assert _find(tmp_path, MANIFEST.key).present[0]
    other = replace(MANIFEST, settings={**MANIFEST.settings, "key_frames": 1}).key
    assert _find(tmp_path, other).stale == (
        "predictions with other settings (key_frames): 1 frames",
    )


def test_predictions_nobody_can_tell_of_what_are_told(tmp_path: Path) -> None:
    path = _fill(PredictionFolders(tmp_path))
    (path / "manifest.json").write_text("{")
    (told,) = _find(tmp_path, MANIFEST.key).stale
    assert "manifest.json is damaged" in told
