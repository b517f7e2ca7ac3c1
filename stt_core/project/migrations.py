"""Bringing projects of older layouts to this one, with a backup.

Version 1 had `project.json` with `media` (one path) and `classes`, and `labels/NNNNNN.png`: the
label folder of :mod:`stt_core.project.label_folder` with what it was painted on. Version 2 is that
of docs/project-format.md.

A migration leaves project.json for last. Killed before that it starts again from the old files,
killed after it there is only tidying left.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from stt_core.errors import LabelError, MediaError, ProjectError, first_complaint
from stt_core.files import replacing, writing
from stt_core.labels import UNLABELLED, read_label_png
from stt_core.project import journal as journals
from stt_core.project import manifest as manifests
from stt_core.project.facts import fill_journal, publish, stored_times
from stt_core.project.frames import Medium, frame_by_number, make_frame, read_media
from stt_core.project.history import History, Patch, Provenance
from stt_core.project.images import list_images, store_images
from stt_core.project.journal import Journal
from stt_core.project.manifest import ClassEntry, Manifest, MediaEntry
from stt_core.project.media import describe, relative_path, writable_name

BACKUPS = "backups"

Tell = Callable[[str], None]


def migrate(folder: Path, tell: Tell) -> None:
    """As the writer: bring a project to this version. Does nothing where it is.

    Raises:
        OutputError: the disk is full or read-only; the project is as it was.
        ProjectError: it is not a sound project of its version.
    """
    try:
        raw = manifests.read_raw(folder / manifests.NAME)
    except ProjectError:
        return  # damaged: recovery knows what to do
    version = raw["version"]
    while version < manifests.VERSION:
        if version not in MIGRATIONS:
            raise ProjectError(f"{folder} states layout {version}, which never was one.")
        kept = _back_up(folder, version)
        MIGRATIONS[version](folder, raw, tell)
        raw = manifests.read_raw(folder / manifests.NAME)
        tell(
            f"{folder} was converted from layout {version} to {raw['version']}; {kept} keeps the "
            "old files."
        )
        version = raw["version"]
    _move_label_files(folder, raw)


class _Version1(BaseModel):
    version: Literal[1]
    media: str
    classes: tuple[ClassEntry, ...]


def _from_1(folder: Path, raw: dict[str, Any], tell: Tell) -> None:
    try:
        old = _Version1.model_validate(raw)
    except ValidationError as error:
        raise ProjectError(
            f"{folder / manifests.NAME} is not a valid project file{first_complaint(error)}"
        ) from error
    path = folder / old.media  # an absolute path stays itself
    # The same id each time, so that a conversion that was killed can be repeated.
    media_id = hashlib.sha256(old.media.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    try:
        entry, times = describe(path, folder, media_id)
    except MediaError as error:
        tell(f"{error} The labels are there all the same; relink the medium when it is back.")
        entry, times = _unseen(folder, path, media_id), None
    manifest = Manifest(
        id=hashlib.sha256(
            f"{old.media}\n{media_id}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:32],
        revision=0,
        classes=old.classes,
        media=(entry,),
    )

    def fill(journal: Journal) -> None:
        fill_journal(journal, manifest)
        with journal.transaction():
            journal.run("UPDATE media SET times = ?", stored_times(times))
            (medium,) = read_media(journal).values()
            if entry.kind == "folder" and entry.hash:
                store_images(journal, medium.number, list_images(path).images)
            _record_files(folder, journal, medium, tell)

    journal = Journal.create(folder / journals.NAME, fill)
    try:
        publish(folder, journal)
    finally:
        journal.close()


MIGRATIONS: dict[int, Callable[[Path, dict[str, Any], Tell], None]] = {1: _from_1}
"""Version -> what brings a folder from it to the next: given project.json as it is, to be replaced
by the next version's last of all."""


def _old_files(folder: Path) -> list[Path]:
    return sorted(f for f in (folder / "labels").glob("*.png") if f.stem.isdecimal())


def _record_files(folder: Path, journal: Journal, medium: Medium, tell: Tell) -> None:
    history = History(journal, partial(frame_by_number, journal, {medium.entry.id: medium}))
    empty = np.full(medium.size, UNLABELLED, np.uint8)

    def patches() -> Iterator[Patch]:
        for file in _old_files(folder):
            try:
                ids = read_label_png(file, len(history.table.classes))
            except LabelError as error:
                tell(f"{str(error).rstrip('.')}. It was left out; the backup has it.")
                continue
            if ids.shape != medium.size:
                tell(
                    f"{file} has another size than the medium. It was left out; the backup has it."
                )
                continue
            yield Patch(make_frame(journal, medium, int(file.stem)), 0, 0, empty, ids)

    history.record(patches(), Provenance("converted", note="layout 1"))
    journal.put("floor", history.position)


def _unseen(folder: Path, path: Path, media_id: str) -> MediaEntry:
    """An entry for a medium that is missing, as far as its labels tell."""
    files = _old_files(folder)
    width, height = 1, 1
    for file in files:
        try:
            with Image.open(file) as image:
                width, height = image.size
            break
        except OSError:
            continue
    return MediaEntry(
        id=media_id,
        kind="folder" if not path.suffix else "video",
        relative=relative_path(path, folder),
        absolute=writable_name(str(path.absolute())),
        bytes=0,
        hash="",
        frames=int(files[-1].stem) + 1 if files else 0,
        width=width,
        height=height,
    )


def _back_up(folder: Path, version: int) -> Path:
    """Keep project.json, journal and labels; a whole backup of an earlier try is left alone."""
    target = folder / BACKUPS / f"layout-{version}.zip"
    if target.exists():
        return target
    files = [folder / manifests.NAME, *folder.glob(f"{journals.NAME}*")]
    files += sorted(f for f in (folder / "labels").rglob("*") if f.is_file())
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            # Not write(): that refuses files older than 1980, as clocks that went back leave them.
            archive.writestr(file.relative_to(folder).as_posix(), file.read_bytes())
    return target


def _move_label_files(folder: Path, raw: dict[str, Any]) -> None:
    """Layout 2 keeps label files by medium. Those that could not be used stay in the backup."""
    files = _old_files(folder)
    if not files or not (folder / BACKUPS / "layout-1.zip").exists():
        return
    for file in files:
        target = folder / "labels" / str(raw["media"][0]["id"]) / f"{int(file.stem):06d}.png"
        with writing(target):
            if target.exists():
                file.unlink()
                continue
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
