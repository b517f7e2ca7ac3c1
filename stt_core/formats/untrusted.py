"""Files of other people: paths that stay in their folder, sizes that stay within limits."""

from __future__ import annotations

import json
import re
import stat
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stt_core.errors import FormatError

_LONGEST_NAME = 255  # bytes, on all common file systems
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may ask for before it is refused."""

    pixels: int = 1 << 26
    """Of one label map. 2**26 is 8192 x 8192."""
    file_bytes: int = 1 << 30
    """Of one file as read, after decompression."""
    total_bytes: int = 1 << 36
    """Of all files of an archive, after decompression."""
    files: int = 1_000_000
    """Files of a folder or archive, frames of a set."""


LIMITS = Limits()


def inside(root: Path, name: str, told_by: Path | str) -> Path:
    """The path of a name that a file gives, which must lie in `root`.

    Args:
        root: the folder that was opened.
        name: relative to `root`, with forward slashes.
        told_by: what holds the name, for the message.

    Raises:
        FormatError: the name leads out of the folder, by itself or through a link.
    """
    if any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in name.split("/")):
        raise FormatError(f"{told_by} names a file with a name too long: {name[:80]!r}...")
    if not _stays(name):
        raise FormatError(
            f"{told_by} names {name!r}, which lies outside of its folder. Do not trust this file."
        )
    return _checked(root.resolve(), root.joinpath(*PurePosixPath(name).parts))


def is_there(root: Path, name: str) -> bool:
    """Whether a folder holds a file of that name; FormatError where it is a link out of it."""
    return inside(root, name, root).is_file()


def files_in(root: Path, pattern: str, limits: Limits) -> list[Path]:
    """The files of a folder that match, in order; hidden ones are left out.

    Raises:
        FormatError: a link leads out of the folder, there are too many, or it cannot be read.
    """
    found: list[Path] = []
    home = root.resolve()
    try:
        for path in root.glob(pattern):
            if not path.name.startswith(".") and path.is_file():
                found.append(_checked(home, path))
            if len(found) > limits.files:
                raise FormatError(f"{root} holds more than {limits.files} files.")
    except OSError as error:
        raise FormatError(f"cannot read {root}: {error.strerror or error}.") from error
    return sorted(found)


def subfolders(root: Path, folder: str) -> list[Path]:
    """The folders in a folder of `root`, in order; none where it is missing."""
    where = root / folder
    if not where.is_dir():
        return []
    home = root.resolve()
    return [_checked(home, p) for p in sorted(where.iterdir()) if p.is_dir() and p.name[0] != "."]


def read_bytes(path: Path, limits: Limits) -> bytes:
    """A whole file.

    Raises:
        FormatError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.file_bytes + 1)
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing.") from error
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}.") from error
    if len(data) > limits.file_bytes:
        raise FormatError(f"{path} is larger than {limits.file_bytes} bytes, the limit.")
    return data


def read_text(path: Path, limits: Limits) -> str:
    """A whole text file; FormatError as of :func:`read_bytes`, or if it is not UTF-8."""
    return as_text(read_bytes(path, limits), path)


def as_text(data: bytes, what: Path | str) -> str:
    """FormatError where `data` is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not a text file in UTF-8.") from error


def read_json(path: Path, limits: Limits) -> dict[str, Any]:
    """A JSON object; FormatError where the file holds none."""
    text = read_text(path, limits)
    with malformed(path, "a JSON file"):
        told = json.loads(text)
        if not isinstance(told, dict):
            raise ValueError("it holds no object")
        return told


@contextmanager
def malformed(what: Path | str, wanted: str) -> Iterator[None]:
    """Turn what the wrong types, keys and values of a parsed file raise into a sentence.

    Raises:
        FormatError: in place of the errors of the block.
    """
    try:
        yield
    except KeyError as error:
        raise FormatError(f"{what} is not {wanted}: it lacks {error}.") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise FormatError(f"{what} is not {wanted}: {error}.") from error
    except RecursionError as error:
        raise FormatError(f"{what} is not {wanted}: it is nested too deeply.") from error


def checked_size(height: Any, width: Any, what: Path | str, limits: Limits) -> tuple[int, int]:
    """Height and width that a file tells, once they make sense.

    Raises:
        FormatError: not above 0, or too many pixels.
    """
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise FormatError(f"{what} asks for {width!r} x {height!r} pixels.")
    if height * width > limits.pixels:
        raise FormatError(
            f"{what} asks for {width} x {height} pixels, more than the limit of {limits.pixels}."
        )
    return height, width


class Archive:
    """A zip archive whose names and sizes were looked at before anything is unpacked.

    Raises:
        FormatError: it is no zip, a name leads out of it, an entry is a link or encrypted, or it
            unpacks to more than the limits.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise FormatError(f"{path} cannot be read as a zip archive: {error}.") from error
        weakref.finalize(self, self._zip.close)
        entries = self._zip.infolist()
        if len(entries) > limits.files:
            raise FormatError(f"{path} holds more than {limits.files} files.")
        if sum(entry.file_size for entry in entries) > limits.total_bytes:
            raise FormatError(f"{path} unpacks to more than {limits.total_bytes} bytes, the limit.")
        self._entries = {entry.filename: self._checked(entry) for entry in entries}

    def names(self, keep: Callable[[str], bool]) -> Sequence[str]:
        """Names of files, in order."""
        return sorted(n for n, e in self._entries.items() if not e.is_dir() and keep(n))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def size_of(self, name: str) -> int:
        """Bytes of a file that is there, after decompression."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """Raises FormatError where the file is missing or damaged."""
        if name not in self._entries:
            raise FormatError(f"{self.path} holds no {name}.")
        try:
            # Reads no more than the size in the directory, which was checked.
            return self._zip.read(self._entries[name])
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise FormatError(f"{name} in {self.path} is damaged: {error}.") from error
        except (NotImplementedError, RuntimeError) as error:
            raise FormatError(f"{name} in {self.path} cannot be unpacked: {error}.") from error

    def _checked(self, entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
        # zipfile itself turns backslashes into slashes, and cuts names at a zero byte.
        name = entry.orig_filename.replace("\\", "/")
        if not _stays(name) or stat.S_ISLNK(entry.external_attr >> 16):
            raise FormatError(
                f"{self.path} holds {entry.orig_filename!r}, which leads out of the archive. "
                "Do not trust this file."
            )
        if entry.flag_bits & 1:
            raise FormatError(f"{self.path} is encrypted. Unpack it and open the folder.")
        if entry.file_size > self._limits.file_bytes:
            raise FormatError(
                f"{entry.filename} in {self.path} unpacks to more than "
                f"{self._limits.file_bytes} bytes, the limit."
            )
        return entry


def _stays(name: str) -> bool:
    return not (
        name == ""
        or "\0" in name
        or "\\" in name
        or name.startswith("/")
        or _DRIVE.match(name)
        or ".." in name.split("/")
    )


def _checked(home: Path, path: Path) -> Path:
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise FormatError(f"{path} is a link that leads nowhere.") from error
    if not resolved.is_relative_to(home):
        raise FormatError(
            f"{path} is a link that leads out of {home}, to {resolved}. Put the files themselves "
            "there."
        )
    return path
