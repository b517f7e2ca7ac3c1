"""Two processes at one project."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stt_core.errors import ProjectError
from stt_core.labels import LabelClass
from stt_core.project.lock import read_holder, take_lock
from stt_core.project.store import Project
from tests.core.project.material import CLASSES, all_labels, block, new_project, whole, write_video

_ROOT = Path(__file__).resolve().parents[3]

_READER = textwrap.dedent(
    """
    import os
    import sys
    from stt_core.errors import SttError
    from stt_core.project.store import Project
    if os.geteuid() == 0:  # permissions do not bind root
        os.setgroups([])
        os.setuid(65534)
    with Project.open(sys.argv[1]) as project:
        media = project.media[0].id
        print(project.read_only)
        print(project.labelled(media), int(project.labels(media, 2).min()))
        try:
            project.undo()
        except SttError as error:
            print(error)
    try:
        Project.create(sys.argv[1] + "/new", ())
    except SttError as error:
        print(error)
    """
)

_OTHER = textwrap.dedent(
    """
    import sys
    import numpy as np
    from stt_core.project.store import Project
    project = Project.open(sys.argv[1])
    media = project.media[0].id
    print(project.read_only or "writer", flush=True)
    for line in sys.stdin:
        frame, value = map(int, line.split())
        project.apply(media, frame, (0, 0), np.full((5, 7), value, np.uint8))
        print("done", flush=True)
    project.close()
    """
)


@contextmanager
def _other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the project open and paints what it is told to."""
    other = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    )  # fmt: skip
    try:
        yield other
    finally:
        assert other.stdin is not None
        assert other.stdout is not None
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()


def _hear(other: subprocess.Popen[str]) -> str:
    assert other.stdout is not None
    return other.stdout.readline().strip()


def _tell(other: subprocess.Popen[str], text: str) -> None:
    assert other.stdin is not None
    other.stdin.write(text + "\n")
    other.stdin.flush()
    assert _hear(other) == "done"


def test_the_second_reads_what_the_first_writes_and_writes_when_it_died(tmp_path: Path) -> None:
    made, media_id = new_project(tmp_path / "p", write_video(tmp_path / "v.avi"))
    made.close()
    with _other(tmp_path / "p") as other:
        assert _hear(other) == "writer"
        with Project.open(tmp_path / "p") as reader:
            assert reader.read_only is not None
            assert f"process {other.pid}" in reader.read_only
            assert reader.holder is not None
            assert reader.holder.pid == other.pid
            assert reader.labels(media_id, 2) is None
            _tell(other, "2 1")
            np.testing.assert_array_equal(reader.labels(media_id, 2)[:5, :7], block(1))  # type: ignore[index]
            _tell(other, "2 0")
            _tell(other, "3 0")
            np.testing.assert_array_equal(reader.labels(media_id, 2)[:5, :7], block(0))  # type: ignore[index]
            assert reader.labelled(media_id) == (2, 3)
            for change in (
                lambda: reader.apply(media_id, 0, (0, 0), block(1)),
                reader.undo,
                reader.redo,
                reader.flush,
                reader.compact,
                lambda: reader.add_class(LabelClass("x", (0, 0, 0))),
                lambda: reader.add_media(tmp_path / "v.avi"),
                lambda: reader.notes.set_review(media_id, 0, "draft"),
                lambda: reader.notes.set_bookmark(media_id, 0, ""),
                lambda: reader.check(repair=True),
            ):
                with pytest.raises(ProjectError, match="open for writing by"):
                    change()
            assert all("behind the journal" in f.what for f in reader.check())
        if sys.platform != "win32":
            other.send_signal(signal.SIGKILL)
        other.kill()
        other.wait()
        with Project.open(tmp_path / "p") as heir:
            assert heir.read_only is None
            assert "not closed properly" in heir.recovered[0]
            assert f"process {other.pid}" in heir.recovered[0]
            assert heir.labelled(media_id) == (2, 3)
            heir.apply(media_id, 4, (0, 0), block(1))
        with Project.open(tmp_path / "p") as again:
            assert again.recovered == ()


def test_a_second_window_of_the_same_process_only_reads(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    with Project.open(project.folder) as second:
        assert second.read_only is not None
        assert f"process {os.getpid()}" in second.read_only
        assert all_labels(second) == all_labels(project)
        project.reorder_classes([2, 1, 0])
        assert all_labels(second) == all_labels(project)
        assert second.classes == project.classes
    project.apply(media_id, 1, (0, 0), whole(0))  # the second's end did not free the lock


def test_opened_for_reading_only_it_takes_no_lock(project: Project) -> None:
    project.close()
    with (
        Project.open(project.folder, write=False) as reader,
        Project.open(project.folder) as writer,
    ):
        assert reader.read_only is not None
        assert writer.read_only is None


def test_a_closed_project_says_so(project: Project, media_id: str) -> None:
    project.close()
    project.close()
    with pytest.raises(ProjectError, match="is closed"):
        project.apply(media_id, 0, (0, 0), block(1))


@pytest.mark.parametrize("text", [b"", b"junk", b"{}", b'{"pid": "x"}', b"\xff" * 9000])
def test_a_lock_file_with_any_content_can_be_taken(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    lock = take_lock(tmp_path / "lock")
    assert lock is not None
    assert lock.crashed is None
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert take_lock(tmp_path / "lock") is None
    holder = read_holder(tmp_path / "lock")
    assert holder is not None
    assert holder.pid == os.getpid()
    lock.release()
    lock.release()
    again = take_lock(tmp_path / "lock")
    assert again is not None
    again.release()


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("crashed", [False, True])
def test_a_folder_that_cannot_be_written_is_read(open_place: Path, *, crashed: bool) -> None:
    folder = open_place / "p"
    made, media_id = new_project(folder, write_video(open_place / "v.avi"))
    made.close()
    with _other(folder) as other:
        assert _hear(other) == "writer"
        _tell(other, "2 1")
        if not crashed:
            assert other.stdin is not None
            other.stdin.close()
            other.wait()
    if crashed:
        assert (folder / "journal.sqlite-wal").stat().st_size
        (folder / "journal.sqlite-shm").unlink()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    ran = subprocess.run(
        [sys.executable, "-c", _READER, str(folder)],
        cwd=_ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    assert ran.returncode == 0, ran.stderr
    reason, labels, undo, create = ran.stdout.splitlines()
    assert "permission denied" in reason
    assert labels == "(2,) 1"
    assert undo == reason
    assert "permission denied" in create
    with Project.open(folder) as project:
        assert project.classes == CLASSES
        assert project.labelled(media_id) == (2,)
