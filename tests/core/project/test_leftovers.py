"""No temporary file of a killed writer stays behind the next start; none of a living one goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_core.files import temporary_prefix
from stt_core.project.store import Project
from tests.conftest import ROOT
from tests.core.project.material import new_project, whole, write_layout_1, write_video

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")
_ALONE = ("flush", "rename-class", "rebuild", "back-up")
_BESIDE = (
    "begin-pass",
    "fold",
    "export",
    "export-deep",
    "export-file",
    "export-video",
    "train",
    "snapshot",
)


class Stopper:
    def __init__(self) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.core.project.stopped"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **threads},
        )

    def __call__(self, act: str, how: signal.Signals, folder: Path) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{act} {int(how)} {folder}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def stopper() -> Iterator[Stopper]:
    made = Stopper()
    yield made
    made("none", signal.SIGKILL, Path())
    made.process.communicate()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fresh")
    project, media_id = new_project(place / "p", write_video(place / "clip.avi"))
    with project:
        project.apply(media_id, 0, (0, 0), whole(0))
    return place / "p"


@pytest.fixture
def folder(request: pytest.FixtureRequest, fresh: Path, tmp_path: Path) -> Path:
    if request.node.callspec.params["act"] == "back-up":
        return write_layout_1(tmp_path / "p", fresh.with_name("clip.avi"))
    return Path(shutil.copytree(fresh, tmp_path / "p"))


def _temporary(folder: Path) -> set[Path]:
    return set(folder.rglob(".*"))


@pytest.mark.parametrize("act", [*_ALONE, *_BESIDE, "evict"])
def test_what_a_killed_writer_left_is_gone_after_the_next_start(
    act: str, folder: Path, stopper: Stopper
) -> None:
    assert stopper(act, signal.SIGKILL, folder) == "killed"
    left = _temporary(folder)
    assert left
    with Project.open(folder) as project:
        assert any(f"{len(left)} half-written files" in told for told in project.recovered)
        assert not _temporary(folder)
        assert project.labelled(project.media[0].id)
        project.flush()
        assert project.check() == ()


@pytest.mark.parametrize("act", _BESIDE)
def test_what_a_living_writer_writes_is_left_alone(
    act: str, folder: Path, stopper: Stopper
) -> None:
    assert stopper(act, signal.SIGSTOP, folder) == "stopped"
    begun = _temporary(folder)
    assert begun
    with Project.open(folder) as project:
        assert project.recovered == ()
        assert project.check(repair=True) == ()
        assert _temporary(folder) == begun
    stopper("none", signal.SIGKILL, folder)
    with Project.open(folder) as project:
        assert not _temporary(folder)


@pytest.mark.parametrize("act", ["fold", "export"])
def test_a_check_tells_and_removes_them_as_well(act: str, folder: Path, stopper: Stopper) -> None:
    with Project.open(folder) as project:
        assert stopper(act, signal.SIGKILL, folder) == "killed"
        (finding,) = project.check()
        assert "1 half-written files were left by a crash" in finding.what
        (finding,) = project.check(repair=True)
        assert finding.done == "They were removed."
        assert project.check() == ()
        assert not _temporary(folder)


def test_what_another_machine_left_is_gone_after_a_week(folder_alone: Path) -> None:
    """Nobody can ask whether its process lives, so what rests for long counts as left."""
    name = ".labels.00000000-17-abcd-12345678"
    old, new = folder_alone / "exports" / name, folder_alone / "exports" / f"{name[:-1]}9"
    ours = folder_alone / "runs" / "1" / f"{temporary_prefix(Path('state'))}12345678.pt"
    for path in (old, new):
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "1.png").write_bytes(b"half")
    ours.parent.mkdir(parents=True)
    ours.write_bytes(b"half")
    week = time.time() - 8 * 24 * 3600
    for path in (old, *old.rglob("*"), new, new / "deep", ours):
        os.utime(path, (week, week))  # of the second, a file is being written
    with Project.open(folder_alone) as project:
        assert any("1 half-written files" in told for told in project.recovered)
    assert (old.exists(), new.exists(), ours.exists()) == (False, True, True)


@pytest.fixture
def folder_alone(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "p"))
