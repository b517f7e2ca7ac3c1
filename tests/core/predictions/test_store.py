from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.errors import FormatError, ProjectError
from stt_core.project.predictions import folding, segment
from stt_core.project.predictions.codec import zstd
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.writer import PredictionWriter
from tests.conftest import ROOT
from tests.core.predictions.stores import (
    CLASSES,
    FULL,
    MANIFEST,
    Stop,
    add,
    check,
    content,
    fill,
)


def _files(folder: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{suffix}"))


@pytest.mark.parametrize("manifest", [MANIFEST, FULL])
@pytest.mark.parametrize("fold", [True, False])
def test_frames_are_read_as_they_were_written(tmp_path: Path, manifest: object, fold: bool) -> None:
    fill(tmp_path, range(10, 30, 3), manifest, fold=fold)
    reader = PredictionReader(tmp_path)
    assert reader.frames.tolist() == [*range(10, 30, 3)]
    assert len(reader) == 7
    for frame in range(10, 30, 3):
        check(reader, frame)
    elsewhere = np.setdiff1d(np.arange(300), reader.frames)
    assert np.isnan(reader.entropy[elsewhere]).all()
    assert np.isnan(reader.flicker[elsewhere]).all()
    assert not [*reader.verify()]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 299), st.booleans()), max_size=12), min_size=1, max_size=5
    )
)
@settings(max_examples=20, deadline=None)
def test_the_newest_of_each_frame_is_read_whatever_came_when(
    sessions: list[list[tuple[int, bool]]],
) -> None:
    known: dict[int, int] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        watcher = None
        for version, session in enumerate(sessions):
            try:
                with PredictionWriter(folder, MANIFEST) as writer:
                    for frame, stop in session:
                        add(writer, frame, version=version)
                        known[frame] = version
                        assert frame in writer
                        if stop and len(known) % 3 == 0:
                            raise Stop
            except Stop:
                pass
            watcher = watcher or PredictionReader(folder)
            watcher.refresh()
            for reader in (watcher, PredictionReader(folder)):
                assert reader.frames.tolist() == sorted(known)
                for frame, version_known in known.items():
                    check(reader, frame, version=version_known)
        assert len(_files(folder, ".h5")) <= 1 + len(sessions)


def test_full_spools_become_segments_that_other_programs_read(tmp_path: Path) -> None:
    fill(tmp_path, range(150), FULL)
    assert _files(tmp_path, ".spool") == []
    names = _files(tmp_path, ".h5")
    assert [name[9:] for name in names] == ["0000000-0000127.h5", "0000128-0000149.h5"]
    with h5py.File(tmp_path / names[1]) as file:
        assert file.attrs["digest"] == FULL.key.digest
        assert file["frame"][:].tolist() == [*range(128, 150)]
        expected = [content(frame).entropy for frame in range(128, 150)]
        np.testing.assert_array_equal(file["entropy"][:], np.float32(expected))
        labels, features = file["labels"], file["features"]
        assert labels.shape == (22, 24, 32)
        assert labels.chunks == (1, 24, 32)
        assert labels.dtype == np.uint8
        _, packed = labels.id.read_direct_chunk((5, 0, 0))
        found = np.frombuffer(zstd.decompress(packed), np.uint8).reshape(24, 32)
        np.testing.assert_array_equal(found, content(133).labels)
        pipeline = features.id.get_create_plist()
        assert [pipeline.get_filter(i)[0] for i in range(2)] == [2, 32015]
        _, packed = features.id.read_direct_chunk((5, 0, 0, 0))
        planes = np.frombuffer(zstd.decompress(packed), np.uint8).reshape(2, -1)
        found = planes.T.copy().view(np.float16).reshape(5, 3, 4)
        np.testing.assert_array_equal(found, content(133).features)


def test_many_short_passes_leave_few_files(tmp_path: Path) -> None:
    for frame in range(40):
        fill(tmp_path, range(frame, frame + 1))
    assert len(_files(tmp_path, ".h5")) <= 6
    reader = PredictionReader(tmp_path)
    for frame in range(40):
        check(reader, frame)


def test_a_pass_resumes_where_it_stopped(tmp_path: Path) -> None:
    fill(tmp_path, range(20, 45), fold=False)
    reader = PredictionReader(tmp_path)
    assert reader.missing() == [range(20), range(45, 300)]
    assert reader.missing(range(10, 50)) == [range(10, 20), range(45, 50)]
    assert reader.missing(range(30, 40)) == []
    assert reader.missing(range(15, 48, 10)) == [range(15, 16), range(45, 46)]
    assert reader.missing(range(5, 5)) == []
    for wrong in (range(290, 301), range(-1, 4), range(9, 2, -1)):
        with pytest.raises(ValueError, match="must rise within 0 to 299"):
            reader.missing(wrong)
    with PredictionWriter(tmp_path, MANIFEST) as writer:
        assert writer.recovered == 25
        assert writer.missing() == [range(20), range(45, 300)]
        for run in writer.missing(range(60)):
            for frame in run:
                add(writer, frame)
    reader.refresh()
    assert reader.frames.tolist() == [*range(60)]
    with PredictionWriter(tmp_path, MANIFEST) as writer:
        assert writer.recovered == 0


def test_a_reader_sees_each_frame_once_it_is_acknowledged(tmp_path: Path) -> None:
    with PredictionWriter(tmp_path, MANIFEST) as writer:
        reader = PredictionReader(tmp_path)
        assert not reader.refresh()
        for frame in range(140):
            add(writer, frame)
            assert frame not in reader
            assert reader.refresh()
            assert len(reader) == frame + 1
            check(reader, frame)
    assert 139 in reader
    check(reader, 139)  # folded since: found again without being told
    assert not [*PredictionReader(tmp_path).verify()]


def test_a_second_writer_is_told_who_is_at_work(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.core.predictions.stores import MANIFEST\n"
        "from stt_core.project.predictions.writer import PredictionWriter\n"
        "with PredictionWriter(Path(sys.argv[1]), MANIFEST):\n"
        "    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    with pytest.raises(ProjectError, match=rf"being written by .* \(process {child.pid}, since "):
        fill(tmp_path, range(1))
    child.communicate()
    fill(tmp_path, range(1))
    check(PredictionReader(tmp_path), 0)


def test_two_writers_of_one_process_exclude_each_other_as_well(tmp_path: Path) -> None:
    with (
        PredictionWriter(tmp_path, MANIFEST),
        pytest.raises(ProjectError, match="being written by"),
        PredictionWriter(tmp_path, MANIFEST),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"settings": {}}, "settings"),
        ({"model_hash": "x"}, "model_hash"),
        ({"frames": 301}, "frames"),
        ({"classes": CLASSES[:1]}, "classes"),
        ({"features": (1, 2, 3)}, "features"),
    ],
)
def test_other_predictions_are_not_mixed_in(
    tmp_path: Path, change: dict[str, object], what: str
) -> None:
    fill(tmp_path, range(2))
    with pytest.raises(FormatError, match=f"holds predictions with other {what}"):
        fill(tmp_path, range(2), replace(MANIFEST, **change))
    fill(tmp_path, range(2))  # the lock was given back


def test_wrong_arguments_are_refused_and_change_nothing(tmp_path: Path) -> None:
    each = content(3)
    with PredictionWriter(tmp_path, MANIFEST) as writer:
        for wrong in (
            {"frame": 300},
            {"frame": -1},
            {"labels": each.labels[1:]},
            {"labels": each.labels.astype(np.int64)},
            {"labels": each.labels + np.uint8(1)},
            {"confidence": each.confidence.astype(np.float32)},
            {"entropy": float("nan")},
            {"flicker": 1.5},
            {"probabilities": each.probabilities},
        ):
            given_all = {"frame": 3, "labels": each.labels, "confidence": each.confidence}
            with pytest.raises(ValueError, match="got"):
                writer.add(**(given_all | {"entropy": 0.5} | wrong))
        add(writer, 4)
    with pytest.raises(ValueError, match="inside of the with block"):
        add(writer, 5)
    reader = PredictionReader(tmp_path)
    assert reader.frames.tolist() == [4]
    with pytest.raises(ValueError, match="stores no features"):
        reader.features(4)
    for absent in (3, -1, 300):
        assert absent not in reader
        with pytest.raises(KeyError):
            reader.labels(absent)


def test_half_a_million_frames_are_found_without_their_pixels(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, frames=500_000)
    fill(tmp_path, range(folding.SEGMENT_FRAMES), manifest)
    (first,) = tmp_path.glob("*.h5")
    source = segment.read_segment(first)
    image = first.read_bytes()
    body = image[len(segment.head_of(source.rows)) :]
    placed = source.rows.copy()
    placed["offset"][placed["size"] > 0] -= np.uint64(len(image) - len(body))
    for number in range(1, 500_000 // folding.SEGMENT_FRAMES):
        placed["frame"] += folding.SEGMENT_FRAMES
        (tmp_path / f"{number + 1:08d}_x.h5").write_bytes(segment.head_of(placed) + body)
    reader = PredictionReader(tmp_path)
    assert len(reader) == 499_968
    assert reader.missing() == [range(499_968, 500_000)]
    np.testing.assert_array_equal(
        reader.entropy[128:499_968].reshape(-1, 128), np.tile(reader.entropy[:128], (3905, 1))
    )
    np.testing.assert_array_equal(reader.labels(128 * 2000 + 77), content(77).labels)
