"""kill -9 at random moments of a prediction pass and of exports.

STT_KILLS=100 in the environment makes it 100 moments of each, in place of 25.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stt_core.formats.label_formats import read_labels
from stt_core.labels import IGNORED
from stt_core.media.source import open_media
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from stt_core.workflow.exporting import ExportRequest, export_project
from stt_core.workflow.inspecting import check_all
from stt_core.workflow.prediction_pass import PassOptions, predict_media
from stt_core.workflow.stored import stored_predictions
from tests.conftest import KILLS, ROOT
from tests.core.workflow.material import (
    CLASSES,
    finish,
    network,
    predict,
    whole,
    write_model,
    write_video,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")
_FRAMES = 16
_EXPORTED = 6


class Killer:
    def __init__(self, model: Path) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.core.workflow.killed", str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **threads},
        )

    def __call__(self, kind: str, seconds: float, project: Path, out: Path) -> tuple[str, ...]:
        """How it ended, and what it had acknowledged."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {seconds} {project} {out}\n")
        self.process.stdin.flush()
        ended, *told = self.process.stdout.readline().split()
        assert ended != "failed"
        return (ended, *told)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killing")


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    return write_model(place / "small.safetensors")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_video(place / "clip.mp4", frames=_FRAMES)


@pytest.fixture(scope="module")
def killer(model: Path) -> Iterator[Killer]:
    made = Killer(model)
    yield made
    assert made.process.stdin is not None
    assert made.process.stdout is not None
    made.process.stdin.close()
    made.process.wait()
    made.process.stdout.close()


def _predict(project: Path, model: Path) -> Path:
    with Project.open(project, write=False) as opened:
        path = opened.media_path(opened.media[0].id)
        assert path is not None
        with open_media(path) as media:
            options = PassOptions(frames=range(_FRAMES))
            steps = predict_media(network(model), media, opened.predictions, options)
            return finish(steps).folder  # type: ignore[attr-defined, no-any-return]


def _content(folder: Path) -> list[tuple[object, ...]]:
    reader = PredictionReader(folder)
    return [
        (
            frame,
            reader.labels(frame).tobytes(),
            reader.confidence(frame).tobytes(),
            float(reader.entropy[frame]),
            str(reader.flicker[frame]),
        )
        for frame in reader.frames.tolist()
    ]


def _hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".gitignore"]


def test_a_killed_pass_keeps_what_it_acknowledged_and_goes_on(
    killer: Killer, model: Path, clip: Path, tmp_path: Path
) -> None:
    whole_project, project = tmp_path / "whole", tmp_path / "killed"
    Project.create(whole_project, CLASSES, [clip]).close()
    Project.create(project, CLASSES, [clip]).close()
    expected = _content(_predict(whole_project, model))
    chance = random.Random(KILLS)
    acknowledged: set[int] = set()
    killed = 0
    for _ in range(KILLS):
        ended, *told = killer("pass", chance.uniform(0, 0.3), project, tmp_path)
        killed += ended == "killed"
        acknowledged.update(map(int, told))
        with Project.open(project) as opened:
            folders = stored_predictions(opened, opened.media[0])
        assert _hidden(project) == []
        there = _content(folders[0]) if folders else []
        assert acknowledged <= {frame for frame, *_ in there}
        assert all(row in expected for row in there)
        if len(there) == _FRAMES and chance.random() < 0.7:  # from the beginning
            shutil.rmtree(project / "predictions")
            acknowledged.clear()
    assert killed
    assert _content(_predict(project, model)) == expected
    with Project.open(project) as opened:
        assert list(check_all(opened, repair=True)) == []
    assert _hidden(project) == []


def test_a_killed_export_is_there_whole_or_not_at_all(
    killer: Killer, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p" / "exports"
    with Project.create(tmp_path / "p", CLASSES, [clip]) as project:
        entry = project.media[0]
        predict(project, entry, range(_EXPORTED))
        project.apply(entry.id, 3, (0, 0), whole(3, version=1))
        first = ExportRequest(format="png", target=tmp_path / "first", media=(entry,))
        finish(export_project(project, first))
    expected = read_labels("png", tmp_path / "first").frames[-1].load()
    chance = random.Random(KILLS)
    done: set[Path] = set()
    begun = 0
    for _ in range(KILLS):
        _, *told = killer("export", chance.uniform(0.02, 0.4), tmp_path / "p", out)
        done.update(map(Path, told))
        begun += bool(_hidden(out))
        with Project.open(tmp_path / "p") as project:
            assert _hidden(project.folder) == []
        there = set(out.glob("[!.]*"))
        assert done <= there
        done = there  # some were finished, and killed before they could tell
    assert begun  # else they were killed too early to prove anything
    with Project.open(tmp_path / "p") as project:
        again = ExportRequest(format="png", target=out / "0-0-png", media=project.media)
        finish(export_project(project, again))
        assert list(check_all(project, repair=True)) == []
    assert _hidden(tmp_path / "p") == []
    for path in {*done, out / "0-0-png"}:
        found = read_labels(path.name.split("-")[2].partition(".")[0], path)
        assert len(found.frames) == _EXPORTED
        labelled = found.frames[-1].load() != IGNORED  # ids differ between formats
        np.testing.assert_array_equal(labelled, expected != IGNORED)
