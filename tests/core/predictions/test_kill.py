from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.repair import repair
from tests.conftest import KILLS, ROOT
from tests.core.predictions.stores import MANIFEST, check, fill

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")

# Forks a writer for each line it reads, so that only one process has to import everything.
_WRITERS = """
    import os, sys
    from pathlib import Path
    from stt_core.project.predictions import folding, segment
    from stt_core.project.predictions.writer import PredictionWriter
    from tests.core.predictions.stores import MANIFEST, add
    import h5py
    folding.SEGMENT_FRAMES = 6  # so that many moments lie in the folding
    def tell(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())
    while folder := sys.stdin.readline().strip():
        child = os.fork()
        if child:
            tell("begun", child)
            os.waitpid(child, 0)
            tell("ended")
            continue
        while True:
            with PredictionWriter(Path(folder), MANIFEST) as writer:
                runs = writer.missing() or [range(MANIFEST.frames)]
                for frame in [frame for run in runs for frame in run][:20]:
                    add(writer, frame)
                    tell("added", frame)
"""


@contextmanager
def _writers() -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with child:
        yield child


def _kill_after(writers: subprocess.Popen[str], folder: Path, seconds: float) -> list[int]:
    """Kill a writer after a while; return the frames it had acknowledged."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{folder}\n")
    writers.stdin.flush()
    lines = iter(writers.stdout.readline, "")
    before = []
    for line in lines:  # the writer may be faster than the word of its beginning
        if line.startswith("begun"):
            pid = int(line.split()[1])
            break
        before.append(line)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    for line in lines:
        if line == "ended\n":
            return [int(told.split()[1]) for told in before]
        before.append(line)
    raise AssertionError("the writers are gone")


def test_kill_9_costs_no_acknowledged_frame(tmp_path: Path) -> None:
    chance = random.Random(KILLS)
    acknowledged: set[int] = set()
    reader = None
    with _writers() as writers:
        for _ in range(KILLS):
            acknowledged.update(_kill_after(writers, tmp_path, chance.uniform(0, 0.25)))
            if not (tmp_path / "manifest.json").exists():
                assert not acknowledged
                continue
            reader = reader or PredictionReader(tmp_path)
            reader.refresh()
            fresh = PredictionReader(tmp_path)
            assert reader.frames.tolist() == fresh.frames.tolist()
            assert acknowledged <= set(fresh.frames.tolist())
            assert not [*fresh.verify()]
            for frame in chance.sample(sorted(acknowledged), min(10, len(acknowledged))):
                check(reader, frame)
    assert len(acknowledged) > KILLS
    assert repair(tmp_path) == ()
    fill(tmp_path, range(0))
    after = PredictionReader(tmp_path)
    assert acknowledged <= set(after.frames.tolist())
    for frame in after.frames.tolist():
        check(after, frame)
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".h5"}
    assert names == {"manifest.json"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_reader_keeps_up_with_a_writer_at_work(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    reader = PredictionReader(tmp_path)
    seen = 0
    with _writers() as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        writers.stdin.write(f"{tmp_path}\n")
        writers.stdin.flush()
        pid = int(next(ln for ln in iter(writers.stdout.readline, "") if "begun" in ln).split()[1])
        deadline = time.monotonic() + 60
        try:
            while seen < 60 and time.monotonic() < deadline:
                reader.refresh()
                assert len(reader) >= seen  # nothing that was there is ever gone
                seen = len(reader)
                for frame in reader.frames[-5:].tolist():
                    check(reader, frame)
        finally:
            os.kill(pid, signal.SIGKILL)
    assert seen >= 60
    assert not reader.problems
    assert MANIFEST.frames >= seen
