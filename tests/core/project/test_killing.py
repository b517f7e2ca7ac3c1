"""kill -9 at random moments: at most the act in hand is lost, and nothing is left lying about.

Strokes, saves and the conversion of an older layout; tests/core/workflow/test_killing.py has passes
and exports. STT_KILLS=100 in the environment makes it 100 moments of each, in place of 25.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from stt_core.project.store import Project
from tests.conftest import KILLS, ROOT
from tests.core.project.killed import acts
from tests.core.project.material import all_labels, new_project, write_layout_1, write_video

_LONGEST = 0.25  # seconds: some 40 acts
_CONVERTED = 30  # frames

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")


class Killer:
    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.core.project.killed"]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **threads},
        )

    def __call__(self, seed: int, seconds: float, folder: Path) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seed} {seconds} {folder}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    made = Killer()
    yield made
    assert made.process.stdin is not None
    assert made.process.stdout is not None
    made.process.stdin.close()
    made.process.wait()
    made.process.stdout.close()


def _states(folder: Path, seed: int, count: int) -> list[tuple[object, ...]]:
    """What a project shows after each of the last two of `count` acts, done in peace."""
    states = []
    with Project.open(folder) as project:
        for i, (_, act) in enumerate(islice(acts(seed), count)):
            if i >= count - 1:
                states.append(_state(project))
            act(project)
        states.append(_state(project))
    return states


def _state(project: Project) -> tuple[object, ...]:
    return all_labels(project), project.classes, project.can_undo(), project.can_redo()


def _no_temporary_files(folder: Path) -> bool:
    return not [p for p in folder.rglob(".*") if p.is_file()]


def _survives(project: Project, folder: Path, expected: list[tuple[object, ...]]) -> None:
    with project:
        assert _state(project) in expected
        assert _no_temporary_files(folder)
        project.flush()
        assert project.check() == ()
        found = all_labels(project)
        steps = 0
        while project.undo():
            steps += 1
        assert all_labels(project) == {}
        for _ in range(steps):
            project.redo()
        assert all_labels(project) == found


def test_killed_while_working_at_most_the_act_in_hand_is_lost(
    tmp_path: Path, killer: Killer
) -> None:
    clip = write_video(tmp_path / "clip.avi")
    fresh = tmp_path / "fresh"
    new_project(fresh, clip)[0].close()
    rng = random.Random(1)
    finished = 0
    for seed in range(KILLS):
        folder = shutil.copytree(fresh, tmp_path / f"p{seed}")
        done = killer(seed, rng.uniform(0.01, _LONGEST), folder)
        finished += done
        peaceful = shutil.copytree(fresh, tmp_path / f"q{seed}")
        expected = _states(peaceful, seed, done + 1)
        project = Project.open(folder)
        assert project.recovered or not done
        _survives(project, folder, expected)
        shutil.rmtree(folder)
        shutil.rmtree(peaceful)
    assert finished > KILLS  # else they were killed too early to prove anything


def test_killed_while_being_converted_it_is_converted_the_next_time(
    tmp_path: Path, killer: Killer
) -> None:
    clip = write_video(tmp_path / "clip.avi", frames=_CONVERTED)
    fresh = write_layout_1(tmp_path / "fresh", clip, tuple(range(_CONVERTED)))
    with Project.open(shutil.copytree(fresh, tmp_path / "peaceful")) as project:
        expected = all_labels(project)
    rng = random.Random(2)
    converting = 0
    for seed in range(KILLS):
        folder = shutil.copytree(fresh, tmp_path / f"p{seed}")
        done = killer(seed, rng.uniform(0.0, 0.15), folder)
        converting += _is_half_converted(folder)
        with Project.open(folder) as project:
            assert project.recovered
            if not done:  # it may have done one act, so compare what it was converted from
                while project.undo():
                    pass
                assert all_labels(project) == expected
            assert _no_temporary_files(folder)
            assert not list((folder / "labels").glob("*.png"))
            project.flush()
            assert project.check() == ()
        shutil.rmtree(folder)
    assert converting  # else they were killed too early or too late to prove anything


def _is_half_converted(folder: Path) -> bool:
    """Whether there is something new, and something is still to be done."""
    begun = (folder / "backups").exists()
    version = json.loads((folder / "project.json").read_text())["version"]
    return begun and (version == 1 or bool(list((folder / "labels").glob("*.png"))))
