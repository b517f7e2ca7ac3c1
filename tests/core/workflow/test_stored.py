"""Predictions that are read are those that stay."""

from __future__ import annotations

from pathlib import Path

from stt_core.project.store import Project
from stt_core.workflow.stored import find_predictions, need_predictions, stored_predictions
from tests.core.workflow.material import CLASSES, predict, write_video


def test_reading_predictions_counts_as_use(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", CLASSES, [write_video(tmp_path / "clip.mp4")]) as project:
        (entry,) = project.media
        old, new = (predict(project, entry, range(2), model=m * 64) for m in "ab")
        assert stored_predictions(project, entry) == (new, old)
        reader, _ = need_predictions(project, entry, "a" * 64)
        assert reader.folder == old
        assert stored_predictions(project, entry) == (old, new)
        budget = project.predictions.bytes() - 1
        assert project.predictions.evict(budget) == (new,)
        reader, told = find_predictions(project, entry)
        assert reader is not None
        assert reader.folder == old
        assert told == ()


def test_looking_a_project_over_is_no_use(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", CLASSES, [write_video(tmp_path / "clip.mp4")]) as project:
        (entry,) = project.media
        old, new = (predict(project, entry, range(2), model=m * 64) for m in "ab")
        assert project.check() == ()
        assert stored_predictions(project, entry) == (new, old)
