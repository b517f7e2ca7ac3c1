"""One writer at a time: a lock of the operating system, which ends with the process."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import BinaryIO

from stt_core.errors import OutputError
from stt_core.files import unwritable, writing

NAME = "writer.lock"
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What systems answer where another process holds a lock."""

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read, and the name of the holder must be

    def _try_lock(file: BinaryIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """Holds a folder of predictions from when it is made until it is closed.

    The file stays behind; it is held only while a process holds its lock.

    Raises:
        OutputError: another writer holds it, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        with writing(path):
            file = path.open("a+b")
        try:
            _try_lock(file)
        except OSError as error:
            holder = _holder(file)
            file.close()
            if error.errno not in _HELD:
                raise unwritable(path, error) from error
            raise OutputError(
                f"the predictions in {folder} are being written by {holder}. Wait until it is "
                "done, or end it."
            ) from error
        self._file = file
        with writing(path):
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk; the lock ends all the same
            self._file.truncate(0)
        self._file.close()


def _holder(file: BinaryIO) -> str:
    try:
        file.seek(0)
        told = json.loads(file.read())
        return f"process {told['pid']} on {told['host']}"
    except (OSError, KeyError, TypeError, ValueError):
        return "another process"
