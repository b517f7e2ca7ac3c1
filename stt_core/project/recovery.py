"""Opening the journal of a project whatever happened to it, and cleaning up after a crash."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np

from stt_core.errors import LabelError, OutputError, ProjectError
from stt_core.files import is_left_behind, is_temporary, temporary_prefix, writing
from stt_core.labels import UNLABELLED
from stt_core.project import journal as journals
from stt_core.project import manifest as manifests
from stt_core.project.aside import set_aside, unused
from stt_core.project.facts import fill_journal, manifest_of, publish
from stt_core.project.frames import Medium, frame_by_number, make_frame, read_media
from stt_core.project.history import History, Patch, Provenance
from stt_core.project.images import Image, list_images, store_images
from stt_core.project.journal import DamagedJournal, Journal
from stt_core.project.manifest import Manifest, parse_manifest, read_raw
from stt_core.project.media import places
from stt_core.project.mirror import FOLDER as LABELS
from stt_core.project.pngs import read_about, read_png
from stt_core.project.prediction_folders import PredictionFolders, remove_tree

BACKUPS = "backups"
RUNS, EXPORTS = "runs", "exports"
_FOREIGN_SECONDS = 7 * 24 * 3600
"""After this rest, what a machine that cannot be asked left half-written is taken for left."""
_QUICKLY_CHECKED = 64 * 2**20  # bytes: a few tenths of a second


def own_strays(folder: Path) -> list[Path]:
    """What a writer of the project that died left half-written.

    The caller holds the project's lock: to others they may be files that are being written.
    """
    left = [*folder.glob(f".{Path(manifests.NAME).stem}.*"), *folder.glob(f".{journals.NAME}.*")]
    left += (folder / LABELS).glob("*/.*.png")
    left += (folder / BACKUPS).glob(".*.zip")
    return left


def strays_of_others(folder: Path) -> list[Path]:
    """What passes, trainings and exports that died left half-written.

    They need no lock of the project, so they may be at work now: nothing of such is among these.
    """
    left = PredictionFolders(folder).leftovers()
    for root, folders, files in os.walk(folder / RUNS):
        left += [p for p in (Path(root, name) for name in (*folders, *files)) if _is_left(p)]
    exports = folder / EXPORTS
    found = [*exports.glob(".*"), *exports.glob("*/.*")]
    return left + [path for path in found if _is_left(path)]


def _is_left(path: Path) -> bool:
    """Whether its writer was killed; of one on another machine, whether it rests for long."""
    if not is_temporary(path) or is_left_behind(path):
        return is_left_behind(path)
    host = temporary_prefix(Path("x")).partition("-")[0].removeprefix(".x")
    return f"{host}-" not in path.name and time.time() - _newest(path) > _FOREIGN_SECONDS


def _newest(path: Path) -> float:
    """When a file, or anything in a folder, changed last, seconds since 1970."""
    times = [path.lstat().st_mtime]
    for root, folders, files in os.walk(path):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                times.append(Path(root, name).lstat().st_mtime)
    return max(times)


def sweep(left: Sequence[Path], tell: Callable[[str], None]) -> int:
    """Remove them; return how many there were. Tells of those that cannot be removed."""
    for stray in left:
        try:
            with writing(stray):
                remove_tree(stray)
        except OutputError as error:
            tell(f"A half-written file was left by a crash and stays there: {error}")
    return len(left)


def open_journal(folder: Path, tell: Callable[[str], None], *, crashed: bool) -> Journal:
    """As the writer: open the journal, made anew from the label files where it must be.

    project.json is written again where it is damaged, missing or behind.

    Raises:
        ProjectError: neither of the two can be read.
    """
    path = folder / journals.NAME
    manifest = read_manifest(folder)
    if not path.exists():
        if manifest is None:
            read_raw(folder / manifests.NAME)
            raise ProjectError(f"{folder} is not a project any more: its files are damaged.")
        tell(f"{path} was missing; it was made anew from the label files, without undo.")
        return rebuild(folder, manifest, None)
    try:
        journal, truth = _sound(path, crashed=crashed)
    except DamagedJournal as error:
        if manifest is None:
            raise
        kept, journal = replace_journal(folder, manifest)
        tell(
            f"{path} was damaged ({error.__cause__ or error}). It was made anew from the label "
            f"files, without undo; the damaged one is kept in {kept}."
        )
        return journal
    _mend_manifest(folder, journal, truth, manifest, tell)
    return journal


def read_manifest(folder: Path) -> Manifest | None:
    """project.json; None where it is damaged or missing.

    Raises:
        ProjectError: a newer version wrote it.
    """
    path = folder / manifests.NAME
    try:
        raw = read_raw(path)
    except ProjectError:
        return None
    if raw["version"] > manifests.VERSION:
        parse_manifest(path, raw)
    try:
        return parse_manifest(path, raw)
    except ProjectError:
        return None


def replace_journal(folder: Path, manifest: Manifest) -> tuple[Path, Journal]:
    """Put a damaged journal, which nobody has open, away and make a new one.

    Returns:
        The folder where the damaged one is, and the new one.
    """
    kept = unused(folder / BACKUPS / "damaged-journal")
    with writing(kept):
        journals.move_journal(folder / journals.NAME, kept)
    return kept, rebuild(folder, manifest, kept / journals.NAME)


def rebuild(folder: Path, manifest: Manifest, damaged: Path | None) -> Journal:
    """Make the journal anew from project.json and the label files.

    Files that are no label maps are moved aside. Review states and bookmarks are read from the
    damaged journal as far as it goes; undo starts anew.

    Raises:
        OutputError, ProjectError: it cannot be written.
    """
    return Journal.create(folder / journals.NAME, partial(_refill, folder, manifest, damaged))


def _sound(path: Path, *, crashed: bool) -> tuple[Journal, Manifest]:
    """The journal, with what project.json should say: all of that could be read."""
    journal = Journal(path)
    try:
        problems: list[str] = []
        if not journal.one("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            raise DamagedJournal(f"{path} is empty")
        if crashed and path.stat().st_size <= _QUICKLY_CHECKED:
            problems = journal.problems(quick=True)
        if problems or journal.get("position") is None:
            raise DamagedJournal("; ".join(problems) or f"{path} is empty")
        return journal, manifest_of(journal)
    except (ValueError, TypeError) as error:  # a page that says something else than it should
        journal.close()
        raise DamagedJournal(f"{path} is damaged: {error}") from error
    except BaseException:
        journal.close()
        raise


def _mend_manifest(
    folder: Path,
    journal: Journal,
    truth: Manifest,
    manifest: Manifest | None,
    tell: Callable[[str], None],
) -> None:
    path = folder / manifests.NAME
    if manifest == truth:
        return
    if manifest is None:
        what = "was missing" if not path.exists() else "was damaged"
        if path.exists():
            what += f" and moved to {set_aside(folder, path)}"
        tell(f"{path} {what}; it was written again from the journal.")
    elif manifest.revision >= truth.revision:
        tell(
            f"{path} was changed outside. It was moved to {set_aside(folder, path)} and written "
            "again from the journal: change classes and media in the program."
        )
    publish(folder, journal)


def _refill(folder: Path, manifest: Manifest, damaged: Path | None, journal: Journal) -> None:
    fill_journal(journal, manifest)
    media = read_media(journal)
    history = History(journal, partial(frame_by_number, journal, media))
    with journal.transaction():
        for medium in media.values():
            if medium.entry.kind == "folder":
                _find_images(folder, journal, medium)
        patches = (p for m in media.values() for p in _patches(folder, journal, history, m))
        history.record(patches, Provenance("rebuilt from label files"))
        journal.put("floor", history.position)
        if damaged is not None:
            _salvage(damaged, journal, media)


def _find_images(folder: Path, journal: Journal, medium: Medium) -> None:
    known = []
    for file, key in label_files(folder, medium):
        about = read_about(file)
        # Without a name and hash nothing matches it, but its number stays taken.
        name, content = str(about.get("name", "")), str(about.get("hash", ""))
        known.append(Image(key, None, name, content, 0, 0, 0))
    found = places(medium.entry, folder)
    store_images(journal, medium.number, list_images(found[0], known).images if found else known)


def label_files(folder: Path, medium: Medium) -> list[tuple[Path, int]]:
    """The label files of a medium with the key in their names."""
    files = sorted((folder / LABELS / medium.entry.id).glob("[!.]*.png"))
    return [(file, int(file.stem)) for file in files if file.stem.isdecimal()]


def _patches(folder: Path, journal: Journal, history: History, medium: Medium) -> Iterator[Patch]:
    empty = np.full(medium.size, UNLABELLED, np.uint8)
    for file, key in label_files(folder, medium):
        try:
            ids = read_png(file, medium.size, len(history.table.classes)).ids
        except LabelError:
            set_aside(folder, file)
            continue
        yield Patch(make_frame(journal, medium, key), 0, 0, empty, ids)


def _salvage(damaged: Path, journal: Journal, media: dict[str, Medium]) -> None:
    """Review states and bookmarks, as far as they can be read."""
    queries = (
        "SELECT id, key, review, NULL FROM frames JOIN media ON media.number = frames.media "
        "WHERE review != 'todo'",
        "SELECT id, key, NULL, note FROM bookmarks JOIN frames ON frames.number = frame "
        "JOIN media ON media.number = frames.media",
    )
    rows = []
    for query in queries:
        try:
            with closing(
                sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
            ) as old:
                rows += old.execute(query).fetchall()
        except sqlite3.Error:
            continue  # the damage lies there; the labels do not depend on it
    for media_id, key, review, note in rows:
        if media_id not in media:
            continue
        frame = make_frame(journal, media[media_id], key)
        if review is not None:
            journal.run("UPDATE frames SET review = ? WHERE number = ?", review, frame.number)
        if note is not None:
            journal.run("INSERT OR REPLACE INTO bookmarks VALUES (?, ?)", frame.number, note)
