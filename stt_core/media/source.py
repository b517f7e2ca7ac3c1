"""What videos and image folders have in common, and opening whichever a path names."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from stt_core.errors import MediaError
from stt_core.media.folder import IMAGE_SUFFIXES, ImageFolder, image_files
from stt_core.media.frame import Frame
from stt_core.media.video import VideoFile

_MIB = 2**20
_SETTLED_NS = 2_000_000_000
_COMPRESSED = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Another picture has another size or another end (a PNG ends in checksums); reading no more of
them opens a folder of thousands in a second."""
_IMAGE_ENDS = 1 << 16


class MediaSource(Protocol):
    """Frames by index, from 0 in order of display. Not thread-safe: each user opens its own."""

    path: Path
    width: int
    """Of every frame as displayed, pixels."""
    height: int
    fps: float
    """Average, frames a second."""
    warnings: tuple[str, ...]
    """Sentences for the person at the keyboard; empty when all is well."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame:
        """The frame; IndexError out of range, MediaError where the file is damaged."""
        ...

    def time_of(self, index: int) -> float:
        """Presentation time in seconds, without decoding; IndexError out of range."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_media(path: Path | str) -> MediaSource:
    """Open a video file, a folder of images or a single image.

    Raises:
        MediaError: the path names none of these, or it is damaged beyond use.
    """
    path = Path(path)
    if path.is_dir() or (os.path.isfile(path) and path.suffix.lower() in IMAGE_SUFFIXES):
        return ImageFolder(path)
    return VideoFile(path)


def media_hash(path: Path | str) -> str:
    """A name for what is in a file or folder that does not change when it is moved.

    Of a folder every image is looked at, once in a process while size and times stay as they are.

    Returns:
        SHA-256 in hex: of a video its size, first and last MiB; of a PNG, JPEG or WebP its size,
        first and last 64 KiB; of another image all of it; of a folder the names and hashes of its
        images in their order.

    Raises:
        MediaError: the path cannot be read, or is a folder without an image.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return folder_hash((file.name, _remembered(file)) for file in image_files(path))
        return _remembered(path)
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read ({error.strerror}). "
            "Check the name, or whether its disk is connected."
        ) from error


def folder_hash(images: Iterable[tuple[str, str]]) -> str:
    """The :func:`media_hash` of a folder, of the names and hashes of its images in their order."""
    digest = hashlib.sha256()
    for name, content in images:
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def is_settled(stat: os.stat_result) -> bool:
    """Whether a change of the file after this look is sure to change its times.

    Clocks of file systems tick slowly, so what was written a moment ago may change unseen.
    """
    newest = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return time.time_ns() - newest > _SETTLED_NS


def _remembered(path: Path) -> str:
    stat = path.stat()
    if not is_settled(stat):
        return _file_hash(path)
    return _settled_hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=1 << 16)
def _settled_hash(path: Path, *_look: int) -> str:
    return _file_hash(path)


def _file_hash(path: Path) -> str:
    suffix = path.suffix.lower()
    whole = suffix in IMAGE_SUFFIXES - _COMPRESSED
    ends = _IMAGE_ENDS if suffix in _COMPRESSED else _MIB
    with path.open("rb") as file:
        size = path.stat().st_size
        digest = hashlib.sha256(f"{size}\n".encode())
        digest.update(file.read(ends))
        while whole and (part := file.read(_MIB)):
            digest.update(part)
        file.seek(max(0, size - ends))
        digest.update(file.read(ends))
    return digest.hexdigest()
