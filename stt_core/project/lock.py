"""The right to write a project, or a folder of predictions: one process at a time.

The system frees it when its holder dies.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from stt_core.errors import ProjectError
from stt_core.files import writing

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FOLDER_LOCKS = "locks"
"""Where the locks of folders lie: beside them."""
_READING = ".read-"
_FAR = 1 << 30  # Windows forbids others to read what is locked, so a byte past the text is


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a project open for writing, or writes predictions."""

    pid: int
    host: str
    user: str
    since: str
    """Local time, for people; nothing is decided by it."""

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, since {self.since})"


class WriterLock:
    """A held lock. The file stays when it is released: removing it would let two holders in.

    Attributes:
        crashed: who held it last and never released it; None after an orderly end.
    """

    def __init__(self, handle: int, crashed: Holder | None) -> None:
        self._handle = handle
        self.crashed = crashed

    def release(self) -> None:
        """Let the next writer in. Does nothing the second time."""
        if self._handle < 0:
            return
        handle, self._handle = self._handle, -1
        with contextlib.suppress(OSError):  # on a failing disk; the lock ends all the same
            os.ftruncate(handle, 0)
        _unlock(handle)
        os.close(handle)


def take_lock(path: Path) -> WriterLock | None:
    """Become the writer; None where another process, or another part of this one, is.

    Raises:
        OSError: the file cannot be made or locked, as in a folder that is read-only.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if not _lock(handle):
            os.close(handle)
            return None
        crashed = _parse(os.read(handle, 4096))
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(asdict(_myself())).encode())
    except OSError:
        os.close(handle)
        raise
    return WriterLock(handle, crashed)


def take_folder_lock(folder: Path) -> WriterLock | None:
    """Become the only one to write or delete a folder that need not exist; None as above.

    The lock lies beside it, so that the folder can go while it is held.

    Raises:
        OutputError: the folder beside cannot be written to.
    """
    path = _folder_lock(folder)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return take_lock(path)


def need_folder_lock(folder: Path) -> WriterLock:
    """As :func:`take_folder_lock`.

    Raises:
        ProjectError: another writes there.
    """
    lock = take_folder_lock(folder)
    if lock is None:
        holder = read_holder(_folder_lock(folder)) or "another program"
        raise ProjectError(
            f"{folder} is being written by {holder}. Wait until that is done, or stop it."
        )
    return lock


class ReadingMark:
    """Says that a folder is being read, until it is released or its process ends."""

    def __init__(self, path: Path, lock: WriterLock) -> None:
        self._path, self._lock = path, lock

    def release(self) -> None:
        """Does nothing the second time."""
        self._lock.release()
        with contextlib.suppress(OSError):  # whoever asks next removes it
            self._path.unlink(missing_ok=True)


def mark_reading(folder: Path) -> ReadingMark | None:
    """Keep a folder from being deleted to make room.

    None where there is nothing to mark it by: nobody ever wrote there, or it cannot be written to,
    so that nobody can delete it either.
    """
    lock = _folder_lock(folder)
    path = lock.with_name(f"{folder.name}{_READING}{os.getpid()}-{secrets.token_hex(4)}")
    if not lock.parent.is_dir():
        return None
    try:
        held = take_lock(path)
    except OSError:
        return None
    return None if held is None else ReadingMark(path, held)


def is_being_read(folder: Path) -> bool:
    """Whether anybody holds a mark of it; those of dead readers are removed."""
    for path in _folder_lock(folder).parent.glob(f"{folder.name}{_READING}*"):
        try:
            lock = take_lock(path)
        except OSError:
            return True  # nobody can tell
        if lock is None:
            return True
        ReadingMark(path, lock).release()
    return False


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock that could not be taken; None where that is not told."""
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def current_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
        return "unknown"


def _folder_lock(folder: Path) -> Path:
    return folder.parent / FOLDER_LOCKS / f"{folder.name}.lock"


def _myself() -> Holder:
    now = datetime.now().isoformat(" ", "seconds")
    return Holder(os.getpid(), socket.gethostname(), current_user(), now)


def _parse(text: bytes) -> Holder | None:
    try:
        fields = json.loads(text)
        return Holder(
            int(fields["pid"]), str(fields["host"]), str(fields["user"]), str(fields["since"])
        )
    except (ValueError, KeyError, TypeError):
        return None


if sys.platform == "win32":

    def _lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:

    def _lock(handle: int) -> bool:
        # flock, not lockf: that one is lost when the process closes any handle of the file.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
