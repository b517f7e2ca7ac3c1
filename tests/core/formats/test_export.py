from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stt_core.errors import MediaError, OutputError
from stt_core.formats.exchange import ExportFrame, ExportOptions, ExportStep
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels, write_labels
from stt_core.formats.staging import remove_leftovers
from stt_core.labels import LabelClass
from tests.core.formats.samples import CLASSES, checkers, export, frames_of, target_of

_ROOT = Path(__file__).resolve().parents[3]
_OPTIONS = ExportOptions(classes=CLASSES, total=3)


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_nothing_is_to_be_seen_before_the_end_nor_after_a_cancel(name: str, tmp_path: Path) -> None:
    target = target_of(name, tmp_path)
    steps = write_labels(name, target, frames_of([checkers()] * 3, images=True), _OPTIONS)
    assert [next(steps), next(steps)] == [ExportStep(0, 1, 3), ExportStep(1, 2, 3)]
    assert not target.exists()
    steps.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_an_image_that_cannot_be_read_leaves_nothing(name: str, tmp_path: Path) -> None:
    def broken() -> Iterator[ExportFrame]:
        yield from frames_of([checkers()])
        raise MediaError("frame 1 is damaged")

    target = target_of(name, tmp_path)
    with pytest.raises(MediaError, match="frame 1 is damaged"):
        list(write_labels(name, target, broken(), _OPTIONS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_what_stands_there_is_never_touched(name: str, tmp_path: Path) -> None:
    target = target_of(name, tmp_path)
    kept = target
    if not LABEL_FORMATS[name].suffix:
        kept = target / "mine.txt"
        target.mkdir()
    kept.write_text("mine")
    with pytest.raises(OutputError, match=r"is not empty|exists already"):
        export(name, target, frames_of([checkers()]))
    assert kept.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["png", "cvat"])
def test_folders_are_made_on_the_way_and_empty_ones_used(name: str, tmp_path: Path) -> None:
    target = target_of(name, tmp_path / "a" / "b")
    export(name, target, frames_of([checkers()]))
    assert len(read_labels(name, target).frames) == 1
    if name == "png":
        (tmp_path / "empty").mkdir()
        export(name, tmp_path / "empty", frames_of([checkers()]))
        assert len(read_labels(name, tmp_path / "empty").frames) == 1


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target, message in (
        (tmp_path / "file" / "out", "a file stands where a folder is needed"),
        (tmp_path / "file", "exists already, as a file"),
    ):
        with pytest.raises(OutputError, match=message):
            export("png", target, frames_of([checkers()]))
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(OutputError, match="exists already, as a folder"):
        export("cvat", tmp_path / "a.zip", frames_of([checkers()]))


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    frames = [ExportFrame("a", 0, checkers()), ExportFrame("A", 1, checkers())]
    with pytest.raises(OutputError, match="two frames are called A"):
        export("png", tmp_path / "out", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["palette", "cvat"])
def test_two_frames_of_one_number_are_refused_where_names_are_numbers(
    name: str, tmp_path: Path
) -> None:
    frames = [ExportFrame("left-5", 5, checkers()), ExportFrame("right-5", 5, checkers())]
    with pytest.raises(OutputError, match="two frames would both be"):
        export(name, target_of(name, tmp_path), frames)
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_for_the_disk_is_told(tmp_path: Path) -> None:
    frame = ExportFrame("🚗" * 70, 0, checkers())
    with pytest.raises(OutputError, match="cannot write"):
        export("png", tmp_path / "out", [frame])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 2, 4])
def test_the_number_of_frames_must_be_the_one_announced(count: int, tmp_path: Path) -> None:
    steps = write_labels("hdf5", tmp_path / "a.h5", frames_of([checkers()] * count), _OPTIONS)
    with pytest.raises((ValueError, OutputError), match=r"announced|no frame"):
        list(steps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "C:a", "a\n", "a.", "a ", "con", "Nul.1"]
)
def test_a_frame_cannot_be_called_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="without folders"):
        ExportFrame(name, 0, checkers())
    with pytest.raises(ValueError, match="names of folders"):
        ExportOptions(classes=CLASSES, total=1, split=name)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="uint8"):
        ExportFrame("a", 0, np.zeros((2, 2), np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0"):
        ExportFrame("a", -1, checkers())
    with pytest.raises(ValueError, match="1 to 254 classes"):
        ExportOptions(classes=(LabelClass("a", (1, 2, 3)),) * 255, total=1)
    with pytest.raises(ValueError, match="there is no label format 'jpg': use cityscapes, camvid"):
        read_labels("jpg", Path())


@pytest.mark.parametrize("provenance", [{"path": Path()}, {"loss": float("nan")}])
def test_a_provenance_that_json_cannot_hold_is_refused_first(
    provenance: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        export("png", tmp_path / "out", frames_of([checkers()]), provenance=provenance)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="permissions do not bind this user",
)
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        export("png", tmp_path / "out", frames_of([checkers()]))


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX's")
@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_a_full_disk_is_told_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    import resource

    noise = np.random.default_rng(0).integers(0, 4, (64, 64), np.uint8)
    target = target_of(name, tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1]))
    try:
        with pytest.raises(OutputError, match="the disk is full"):
            export(name, target, frames_of([noise]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize("name", ["voc", "hdf5"])
def test_kill_9_leaves_nothing_under_the_name_and_the_next_export_cleans_up(
    name: str, tmp_path: Path
) -> None:
    target = target_of(name, tmp_path)
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tests.core.formats.samples import CLASSES, checkers, frames_of
        from stt_core.formats.exchange import ExportOptions
        from stt_core.formats.label_formats import write_labels
        options = ExportOptions(classes=CLASSES, total=9)
        frames = frames_of([checkers()] * 9)
        for step in write_labels(sys.argv[1], Path(sys.argv[2]), frames, options):
            print(step.done, flush=True)
            sys.stdin.readline()
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, name, str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".out")
        # While its process lives it is nobody's to remove.
        assert remove_leftovers(tmp_path) == []
        child.send_signal(signal.SIGKILL)
    assert not target.exists()
    export(name, target, frames_of([checkers()]))
    assert list(tmp_path.iterdir()) == [target]
