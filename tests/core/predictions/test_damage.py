from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.errors import FormatError, OutputError, ProjectError
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.repair import repair
from stt_core.project.predictions.writer import PredictionWriter
from tests.conftest import ROOT
from tests.core.predictions.stores import MANIFEST, add, check, fill

_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 0 to 127 in one segment, 128 to 137 in another, 138 to 145 in a spool."""
    folder = tmp_path_factory.mktemp("store")
    fill(folder, range(138))
    fill(folder, range(138, 146), fold=False)
    return folder


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def _sound(reader: PredictionReader) -> list[int]:
    """Frames that can be read; those that cannot are told by a FormatError."""
    sound, told = [], {}
    for frame in reader.frames.tolist():
        try:
            check(reader, frame)
            sound.append(frame)
        except FormatError as error:
            told[frame] = str(error)
    assert all(f"frame {frame} in" in message for frame, message in told.items())
    return sound


def _made_whole(folder: Path) -> None:
    """Repair, predict what is missing, and find all as it was."""
    repair(folder)
    assert not [*PredictionReader(folder).verify()]
    with PredictionWriter(folder, MANIFEST) as writer:
        assert not writer.problems
        for run in writer.missing(range(146)):
            for frame in run:
                add(writer, frame)
    assert _sound(PredictionReader(folder)) == [*range(146)]


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_flipped_byte_costs_its_own_frames_and_is_never_shown(
    store: Path, data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(shutil.copytree(store, Path(name) / "store"))
        files = sorted(p for p in folder.iterdir() if p.suffix in (".h5", ".spool"))
        path = data.draw(st.sampled_from(files), "file")
        _flip(path, data.draw(st.integers(0, path.stat().st_size - 1), "byte"))
        others = {0: range(128, 146), 1: [*range(128), *range(138, 146)], 2: range(138)}
        reader = PredictionReader(folder)
        sound = _sound(reader)
        assert set(others[files.index(path)]) <= set(sound)
        lost = 146 - len(sound)
        unfinished = path.suffix == ".spool" and lost == 1  # what seems so is no problem
        assert bool([*reader.verify()]) == bool(lost) or unfinished
        _made_whole(folder)


@pytest.mark.parametrize("keep", [0, 10, 600, 20_000, 60_000])
def test_a_segment_cut_short_costs_the_frames_beyond(
    store: Path, tmp_path: Path, keep: int
) -> None:
    folder = Path(shutil.copytree(store, tmp_path / "store"))
    first = min(folder.glob("*.h5"))
    os.truncate(first, keep)
    reader = PredictionReader(folder)
    (problem,) = reader.problems
    assert problem.path == first
    assert "lost" in str(problem)
    assert 0 <= len(_sound(reader)) - 18 < 128
    assert _sound(reader) == reader.frames.tolist()
    assert [*reader.verify()] == [problem]
    assert repair(folder) == (problem,)
    _made_whole(folder)
    assert reader.refresh()
    assert _sound(reader) == [*range(146)]


def test_what_repair_drops_is_gone_for_those_who_read(store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store, tmp_path / "store"))
    reader = PredictionReader(folder)
    first = min(folder.glob("*.h5"))
    for at in range(40_000, first.stat().st_size, 50_000):
        _flip(first, at)
    lost = {*range(146)} - {*_sound(reader)}
    assert 0 < len(lost) < 10
    with pytest.raises(FormatError, match=r"cannot be read \(.*\)\. Check the project"):
        check(reader, min(lost))
    told = [str(problem) for problem in reader.verify()]
    assert len(told) == len(lost)
    assert f"frame {min(lost)} are lost" in told[0]
    assert [str(problem) for problem in repair(folder)] == told
    assert reader.refresh()
    assert {*reader.frames.tolist()} == {*range(146)} - lost
    assert not [*reader.verify()]
    assert all(math.isnan(reader.entropy[frame]) for frame in lost)


@pytest.mark.parametrize("records", [4, 4.5], ids=["head", "body"])
def test_a_damaged_frame_of_a_spool_is_told_by_the_next_writer(
    store: Path, tmp_path: Path, records: float
) -> None:
    folder = Path(shutil.copytree(store, tmp_path / "store"))
    (spool,) = folder.glob("*.spool")
    _flip(spool, int(spool.stat().st_size * records / 8) + 4)
    with PredictionWriter(folder, MANIFEST) as writer:
        (problem,) = writer.problems
        assert "is lost" in str(problem)
        assert writer.recovered == 7
    reader = PredictionReader(folder)
    assert len(_sound(reader)) == 145
    assert not [*reader.verify()]


def test_what_is_missing_of_a_spools_end_was_never_acknowledged(
    store: Path, tmp_path: Path
) -> None:
    (whole,) = store.glob("*.spool")
    for cut in (1, 70, whole.stat().st_size // 8 + 20):
        folder = Path(shutil.copytree(store, tmp_path / str(cut)))
        os.truncate(folder / whole.name, whole.stat().st_size - cut)
        reader = PredictionReader(folder)
        assert len(_sound(reader)) == 146 - (1 if cut < 100 else 2)
        assert not reader.problems


def test_files_of_another_folder_do_no_harm(store: Path, tmp_path: Path) -> None:
    large = replace(MANIFEST, frames=400, height=30)
    fill(tmp_path / "other", range(140, 310, 10), large)
    folder = Path(shutil.copytree(store, tmp_path / "store"))
    (foreign,) = (tmp_path / "other").glob("*.h5")
    shutil.copy(foreign, folder / "00000099_foreign.h5")
    reader = PredictionReader(folder)
    assert {*range(146)} - {*_sound(reader)} == {140}
    assert any("in place of" in str(problem) for problem in reader.verify())
    _made_whole(folder)


def test_segments_without_a_manifest_are_not_adopted(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(FormatError, match=r"manifest\.json is missing"):
        fill(tmp_path, range(3))
    with pytest.raises(FormatError, match="is not a folder of predictions"):
        PredictionReader(tmp_path)


def test_repair_waits_for_nobody(tmp_path: Path) -> None:
    with (
        PredictionWriter(tmp_path, MANIFEST),
        pytest.raises(ProjectError, match="being written by"),
    ):
        repair(tmp_path)


@_posix
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="permissions do not bind this user"
)
def test_a_folder_that_may_not_be_written_is_told_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    fill(folder, range(3))
    folder.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permission denied"):
            fill(folder, range(3, 4))
        assert _sound(PredictionReader(folder)) == [0, 1, 2]
    finally:
        folder.chmod(0o700)


_FILLS_THE_DISK = """
    import resource, sys
    from pathlib import Path
    from stt_core.errors import OutputError
    from stt_core.project.predictions.writer import PredictionWriter
    from tests.core.predictions.stores import MANIFEST, add
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        with PredictionWriter(Path(sys.argv[1]), MANIFEST) as writer:
            for frame in range(int(sys.argv[3]), 300):
                add(writer, frame)
                print(frame)
    except OutputError as error:
        print(error, file=sys.stderr)
        sys.exit(7)
"""


def _fill_disk(folder: Path, limit: int, first: int = 0) -> tuple[list[int], str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_FILLS_THE_DISK),
            str(folder),
            str(limit),
            str(first),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    return [int(line) for line in done.stdout.split()], done.stderr


@_posix
def test_a_full_disk_is_told_and_keeps_every_acknowledged_frame(tmp_path: Path) -> None:
    told, message = _fill_disk(tmp_path, random.Random(0).randrange(8_000, 20_000))
    assert "the disk is full" in message
    assert len(message.splitlines()) == 1
    assert told
    assert _sound(PredictionReader(tmp_path)) == told
    fill(tmp_path, range(len(told), 20))
    assert _sound(PredictionReader(tmp_path)) == [*range(20)]


@_posix
def test_a_disk_too_full_to_fold_keeps_the_spool(tmp_path: Path) -> None:
    fill(tmp_path, range(12), fold=False)
    (spool,) = tmp_path.glob("*.spool")
    told, message = _fill_disk(tmp_path, spool.stat().st_size + 200, 12)
    assert told == []
    assert "the disk is full" in message
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", spool.name}
    assert _sound(PredictionReader(tmp_path)) == [*range(12)]
