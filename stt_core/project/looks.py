"""Whether media are still what they were: by a look from outside, by content where that differs.

A look is sizes and times; of a folder those of each image. It is kept in the journal beside the
hash that it stands for, so that nothing is read where nothing changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from stt_core.errors import MediaError
from stt_core.media.folder import IMAGE_SUFFIXES
from stt_core.media.source import is_settled
from stt_core.project.frames import Medium
from stt_core.project.images import hash_of_images, list_images, read_images
from stt_core.project.journal import Journal
from stt_core.project.media import same_content


def take_look(path: Path, content: str) -> str | None:
    """A file or folder as it looks from outside, standing for `content`, its hash.

    None where it cannot be looked at, or where a change now could leave the look the same.
    """
    digest = hashlib.sha256(f"{content}\0{os.path.abspath(path)}".encode(errors="surrogateescape"))
    try:
        for name, stat in sorted(_stats(path)):
            if not is_settled(stat):
                return None
            numbers = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
            digest.update(f"{name}\0{numbers}\n".encode(errors="surrogateescape"))
    except OSError:
        return None
    return f"look {digest.hexdigest()}"


def stored_look(journal: Journal, medium: Medium) -> str | None:
    """The look that :func:`store_look` kept; None where there is none."""
    row = journal.one("SELECT listed FROM media WHERE number = ?", medium.number)
    return str(row[0]) if row and row[0] is not None else None


def store_look(journal: Journal, number: int, look: str | None) -> None:
    """Keep the look of a medium by its number in the journal."""
    with journal.transaction():
        journal.run("UPDATE media SET listed = ? WHERE number = ?", look, number)


def looks_same(journal: Journal, medium: Medium, path: Path) -> bool:
    """Whether a path has the look that stands for what the project knows; reads no content."""
    look = take_look(path, medium.entry.hash)
    return look is not None and look == stored_look(journal, medium)


def holds(journal: Journal, medium: Medium, path: Path) -> bool:
    """Whether a path holds a medium as the project knows it, image folders with all images.

    Reads only what looks another than it did. A medium that was never seen is anything; an image
    folder without an image, or that cannot be read, is as it was: its use tells.
    """
    entry = medium.entry
    if not entry.hash or looks_same(journal, medium, path):
        return True
    look = take_look(path, entry.hash)
    if entry.kind == "video":
        same = path.is_file() and path.stat().st_size == entry.bytes and same_content(entry, path)
    else:
        try:
            found = list_images(path, read_images(journal, medium.number))
        except MediaError:
            return True
        same = hash_of_images(found, path) == entry.hash
    if same and look is not None and not journal.read_only and not journal.in_transaction:
        store_look(journal, medium.number, look)
    return same


def _stats(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield "", path.stat()
    if not path.is_dir():
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                yield entry.name, entry.stat()
