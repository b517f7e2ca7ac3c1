from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from stt_core.errors import OutputError
from stt_core.files import (
    file_hash,
    is_left_behind,
    is_temporary,
    make_folder,
    replacing,
    temporary_prefix,
    write_text,
    writing,
)
from stt_core.resources import resource_path

_ROOT = Path(__file__).resolve().parents[2]


def _write_half(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError):
        _write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["x" * 250 + ".png", "\N{EVERGREEN TREE}" * 62, "a b.c.json"])
def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        assert is_temporary(temporary)
        assert not is_left_behind(temporary)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert not is_temporary(tmp_path / name)


def test_what_is_left_behind_is_that_of_dead_processes_of_this_machine(tmp_path: Path) -> None:
    mine = f"{temporary_prefix(tmp_path / 'a.png')}abcd_123.png"
    host, process, start = mine.split(".")[2].split("-")[:3]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = tmp_path / mine.replace(f"-{process}-", f"-{child.pid}-")
        assert not is_left_behind(other)
        assert not is_left_behind(tmp_path / mine)
        child.kill()
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            assert is_left_behind(other)  # although nobody has taken note of its end
    assert is_left_behind(other)
    assert not is_left_behind(tmp_path / other.name.replace(host, "0" * 8))
    # of a process before this one that had its id
    assert is_left_behind(tmp_path / mine.replace(f"-{start}-", f"-{int(start, 16) ^ 1:04x}-"))
    for name in ("a.png", ".hidden.png", ".a.b-1-2-3.png"):
        assert not is_temporary(tmp_path / name)


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "b.txt", "x")
    with pytest.raises(OutputError, match="cannot write"):
        make_folder(tmp_path / "file" / "folder")


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="permissions do not bind this user",
)
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        write_text(tmp_path / "a.txt", "x")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_told() -> None:
    with (
        pytest.raises(OutputError, match="disk is full"),
        writing(Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize("after", [0.05, 0.15, 0.3])
def test_kill_9_never_leaves_half_a_file(tmp_path: Path, after: float) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"\0" * 300_000)
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from stt_core.files import write_bytes
        print("ready", flush=True)
        n = 0
        while True:
            n = n % 255 + 1
            write_bytes(Path(sys.argv[1]), bytes([n]) * 300_000)
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, cwd=_ROOT
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    data = target.read_bytes()
    assert len(data) == 300_000
    assert len(set(data)) == 1


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_missing_resource_says_what_to_do() -> None:
    with pytest.raises(FileNotFoundError, match="install stt-studio again"):
        resource_path("models/nothing.bin")
