"""What videos and image folders have in common, and opening whichever a path names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from stt_core.errors import MediaError
from stt_core.media.folder import IMAGE_SUFFIXES, ImageFolder, image_files
from stt_core.media.frame import Frame
from stt_core.media.video import VideoFile

_MIB = 2**20


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

    Returns:
        SHA-256 in hex: of a file its size, first and last MiB; of a folder the names and sizes
        of its images in their order.

    Raises:
        MediaError: the path cannot be read, or is a folder without an image.
    """
    path = Path(path)
    try:
        return _folder_hash(path) if path.is_dir() else _file_hash(path)
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read ({error.strerror}). "
            "Check the name, or whether its disk is connected."
        ) from error


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        digest = hashlib.sha256(f"{size}\n".encode())
        digest.update(file.read(_MIB))
        file.seek(max(0, size - _MIB))
        digest.update(file.read(_MIB))
    return digest.hexdigest()


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in image_files(folder):
        digest.update(f"{file.name}\0{file.stat().st_size}\n".encode())
    return digest.hexdigest()
