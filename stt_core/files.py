"""Writing files so that a crash, a full disk or a second look never finds half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_core.errors import OutputError

_CHUNK_BYTES = 1 << 20
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # process ids say nothing of other machines
_START = secrets.token_hex(2)  # and are given again: in a container often the same at each start
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-([0-9a-f]{4})-[0-9a-z_]{8}(\..*)?", re.DOTALL)
_NAME_BYTES = 40
"""Of the final name that a temporary one keeps: long names leave no room for more."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block ends well.

    The temporary keeps the suffix of `path`, since writers choose formats by it. It is synced to
    the disk before the rename and removed when the block fails.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    temporary: Path | None = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(
                prefix=temporary_prefix(path), suffix=path.suffix, dir=path.parent
            )
            os.close(handle)
            temporary = Path(name)
            yield temporary
            _sync(temporary)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def temporary_prefix(path: Path) -> str:
    """What the name of everything begins with that this process writes on the way to `path`.

    Eight random characters and perhaps a suffix follow.
    """
    stem = os.fsencode(path.stem)[:_NAME_BYTES].decode(errors="ignore")
    return f".{stem}.{_HOST}-{os.getpid()}-{_START}-"


def is_temporary(path: Path) -> bool:
    """Whether its name is that of something half-written, by whomever."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_left_behind(path: Path) -> bool:
    """Whether its name is that of something whose writer, on this machine, was killed."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None or match[1] != _HOST:
        return False
    process = int(match[2])
    return match[3] != _START if process == os.getpid() else not _is_alive(process)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into a sentence.

    Raises:
        OutputError: in place of any OSError of the block.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> OutputError:
    """The system's refusal to write `path`, in a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason = "the disk is full. Free some space, or choose another folder."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "permission denied. Choose a folder you may write to."
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        reason = "a file stands where a folder is needed. Choose another folder."
    else:
        reason = f"{error.strerror or error}."
    return OutputError(f"cannot write {path}: {reason}")


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path` in one step; see :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` in one step, as UTF-8; see :func:`replacing`."""
    write_bytes(path, text.encode())


def file_hash(path: Path) -> str:
    """SHA-256 of a whole file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    """Create a folder that results will go to, and see that it takes files.

    Raises:
        OutputError: it cannot be made or written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _is_alive(process: int) -> bool:
    import psutil  # only who finds something half-written needs it

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
