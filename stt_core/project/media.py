"""Media of a project: what is noted of them, and finding them again."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import MediaError, ProjectError
from stt_core.media.folder import IMAGE_SUFFIXES, ImageFolder, image_files
from stt_core.media.source import media_hash, open_media
from stt_core.project.manifest import MediaEntry


@dataclass(frozen=True, slots=True)
class Relinked:
    """What became of one medium that was looked for."""

    media_id: str
    path: Path | None
    """Where it is now; None where it stays missing."""
    message: str


def describe(
    path: Path, project: Path, media_id: str | None = None
) -> tuple[MediaEntry, NDArray[np.float64] | None]:
    """Open a medium and note what identifies it.

    Returns:
        Its entry, and of a video the time of every frame in seconds.

    Raises:
        MediaError: it cannot be opened.
        ProjectError: its name cannot be written down.
    """
    path = Path(os.path.abspath(path))
    with open_media(path) as media:
        folder = isinstance(media, ImageFolder)
        times = None if folder else np.array([media.time_of(i) for i in range(len(media))])
        entry = MediaEntry(
            id=media_id or secrets.token_hex(6),
            kind="folder" if folder else "video",
            relative=relative_path(path, project),
            absolute=writable_name(str(path)),
            bytes=byte_size(path),
            hash=media_hash(path),
            frames=len(media),
            width=media.width,
            height=media.height,
        )
    return entry, times


def places(entry: MediaEntry, project: Path) -> list[Path]:
    """Where a medium may be now: what there is under its names, the likelier one first."""
    return [path for path in _candidates(entry, project) if path.exists()]


def moved(entry: MediaEntry, path: Path, project: Path) -> MediaEntry:
    """The entry of the same medium in another place."""
    path = Path(os.path.abspath(path))
    place = {
        "relative": relative_path(path, project),
        "absolute": writable_name(str(path)),
    }
    return entry.model_copy(update=place)


def relative_path(path: Path, project: Path) -> str | None:
    """Of a medium, from the project's folder; None on another drive."""
    try:
        return writable_name(Path(os.path.relpath(path, os.path.abspath(project))).as_posix())
    except ValueError:
        return None


def writable_name(name: str) -> str:
    """The name, if it can be stored.

    Raises:
        ProjectError: it is not Unicode.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ProjectError(
            f"{os.fsencode(name)!r} is a name that is not Unicode and cannot be stored in a "
            "project. Rename the file or folder."
        ) from error
    return name


def byte_size(path: Path) -> int:
    """Of a file, or of the images of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in image_files(path))
    return path.stat().st_size


def same_content(entry: MediaEntry, path: Path) -> bool:
    """Whether `path` holds that medium, by its hash; False where it cannot be read."""
    try:
        return bool(entry.hash) and media_hash(path) == entry.hash
    except MediaError:
        return False


def find_below(folder: Path, entries: tuple[MediaEntry, ...]) -> dict[str, Path]:
    """Look for media by content, in a folder and all folders below it.

    Only files and folders that could be one of them are hashed. Links to folders are not followed.
    """
    wanted = {entry.id: entry for entry in entries if entry.hash}
    found: dict[str, Path] = {}
    for path, size, count in _walk(folder):
        for entry in list(wanted.values()):
            fits = count == entry.frames if count else size == entry.bytes
            if fits and same_content(entry, path):
                found[entry.id] = path
                del wanted[entry.id]
        if not wanted:
            break
    return found


def with_prefix(entry: MediaEntry, old: str, new: Path) -> Path | None:
    """Where a medium would be if `old`, the start of its path, had become `new`.

    Paths of other systems are understood; None where the path does not start so.
    """
    parts, start = _parts(entry.absolute), _parts(old)
    if not start or parts[: len(start)] != start:
        return None
    return new.joinpath(*parts[len(start) :])


def _candidates(entry: MediaEntry, project: Path) -> tuple[Path, ...]:
    absolute = Path(entry.absolute)
    if entry.relative is None:
        return (absolute,)
    relative = Path(
        os.path.normpath(Path(os.path.abspath(project)) / PurePosixPath(entry.relative))
    )
    return (relative, absolute)


def _walk(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Path, size in bytes and, of folders, number of images (0 of files)."""
    for name, _, files in os.walk(folder):
        images = 0
        for file in files:
            path = Path(name, file)
            images += path.suffix.lower() in IMAGE_SUFFIXES and file[0] != "."
            if path.is_file():
                yield path, path.stat().st_size, 0
        if images:
            yield Path(name), 0, images


def _parts(path: str) -> list[str]:
    separator = "/" if path.startswith("/") else r"[\\/]"
    return [part for part in re.split(separator, path) if part]
