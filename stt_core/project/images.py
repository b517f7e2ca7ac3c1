"""The images of a folder in a project: each has a number that outlives renaming and inserting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from stt_core.media.folder import image_files
from stt_core.media.source import folder_hash, is_settled, media_hash
from stt_core.project.journal import Journal
from stt_core.project.media import writable_name

_UNSETTLED = -1


@dataclass(frozen=True, slots=True)
class Image:
    number: int
    place: int | None
    """Index of the frame now; None while the file is gone."""
    name: str
    hash: str
    size: int
    mtime: int
    """Of the file, ns; -1 where a change then could have left it the same."""
    inode: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What a look at a folder brought."""

    images: tuple[Image, ...]
    """All that were ever there; those there now by rising place first."""
    messages: tuple[str, ...]


def files_of(path: Path) -> tuple[Path, ...]:
    """The images of a folder, or the single image that is used like one, in order of frames.

    Raises:
        MediaError: there is none.
    """
    return (path,) if path.is_file() else image_files(path)


def list_images(path: Path, known: Iterable[Image] = (), *, thorough: bool = False) -> Listing:
    """Compare a folder with what was in it before.

    An image is the one it was before by name and content; else by content alone, under a new name;
    else by name alone, with its content replaced. Only files that changed are read.

    Args:
        path: of the folder.
        known: what was in it before.
        thorough: read all files.

    Raises:
        MediaError: the folder cannot be read or holds no image.
    """
    old = {image.number: image for image in known}
    by_name = {image.name: image for image in old.values() if image.place is not None}
    by_name = {} if thorough else by_name
    seen = [_look(file, place, by_name.get(file.name)) for place, file in enumerate(files_of(path))]
    numbers = _match(seen, old)
    fresh = count(max(old, default=-1) + 1)
    now = [replace(image, number=numbers[i] if i in numbers else next(fresh))
           for i, image in enumerate(seen)]  # fmt: skip
    present = {image.number for image in now}
    gone = [replace(image, place=None) for n, image in old.items() if n not in present]
    return Listing((*now, *gone), tuple(_messages(path, now, old, gone)) if old else ())


def read_images(journal: Journal, media: int) -> list[Image]:
    """What was in a folder when it was listed last, and before."""
    rows = journal.all(
        "SELECT number, place, name, hash, size, mtime, inode FROM images WHERE media = ?", media
    )
    return [Image(*row) for row in rows]


def store_images(journal: Journal, media: int, images: Iterable[Image]) -> None:
    """Within a transaction: replace what is known of a folder."""
    journal.run("DELETE FROM images WHERE media = ?", media)
    journal.run_many(
        "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(media, i.number, i.place, i.name, i.hash, i.size, i.mtime, i.inode) for i in images],
    )


def changed_images(known: Iterable[Image], listing: Listing) -> int:
    """How many images that were known have another content now."""
    old = {image.number: image.hash for image in known if image.place is not None}
    now = [image for image in listing.images if image.place is not None]
    return sum(old.get(image.number, image.hash) != image.hash for image in now)


def hash_of_images(listing: Listing, path: Path) -> str:
    """What :func:`media_hash` says of a folder, or of the single image at `path`."""
    now = [image for image in listing.images if image.place is not None]
    if path.is_file():
        return now[0].hash
    return folder_hash((image.name, image.hash) for image in now)


def _look(file: Path, place: int, before: Image | None) -> Image:
    stat = file.stat()
    size, inode = stat.st_size, stat.st_ino & (2**63 - 1)
    mtime = stat.st_mtime_ns if is_settled(stat) else _UNSETTLED
    if (
        before
        and mtime != _UNSETTLED
        and (size, mtime, inode) == (before.size, before.mtime, before.inode)
    ):
        return replace(before, place=place)
    return Image(-1, place, writable_name(file.name), media_hash(file), size, mtime, inode)


def _match(seen: list[Image], old: dict[int, Image]) -> dict[int, int]:
    """Index in `seen` -> number in `old`, each used once."""
    found: dict[int, int] = {}
    for same in (_name_and_hash, _hash, _name_if_there):
        free: defaultdict[object, list[int]] = defaultdict(list)
        taken = set(found.values())
        # Those there at the last look come first: a file gone for long is the less likely one.
        for image in sorted(old.values(), key=lambda i: (i.place is None, i.number)):
            if image.number not in taken:
                free[same(image)].append(image.number)
        for i, image in enumerate(seen):
            if i not in found and free[same(image)]:
                found[i] = free[same(image)].pop(0)
    return found


def _name_and_hash(image: Image) -> object:
    return image.name, image.hash


def _hash(image: Image) -> object:
    return image.hash


def _name_if_there(image: Image) -> object:
    # Another picture under the name of one that was gone before is a new picture.
    return image.name if image.place is not None else image.number


def _messages(
    path: Path, now: list[Image], old: dict[int, Image], gone: list[Image]
) -> Iterable[str]:
    renamed = sum(i.number in old and old[i.number].name != i.name for i in now)
    changed = [i.name for i in now if i.number in old and old[i.number].hash != i.hash]
    added = sum(i.number not in old for i in now)
    lost = [i.name for i in gone if old[i.number].place is not None]
    if added:
        yield f"{path}: {added} new images; the labels of the others stayed with them."
    if renamed:
        yield f"{path}: {renamed} images were renamed; their labels went with them."
    if changed:
        yield (
            f"{path}: {len(changed)} images have another content than when they were added, "
            f"{changed[0]} first. Their labels were kept; see whether they still fit."
        )
    if lost:
        yield (
            f"{path}: {len(lost)} images are gone, {lost[0]} first. Their labels are kept and "
            "show again when the images are back."
        )
