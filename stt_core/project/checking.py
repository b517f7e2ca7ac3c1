"""Verifying a project down to the last byte, and putting right what can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_core.errors import LabelError, MediaError, ProjectError
from stt_core.files import is_left_behind, is_temporary
from stt_core.media.source import open_media
from stt_core.project import manifest as manifests
from stt_core.project.aside import set_aside
from stt_core.project.facts import manifest_of, publish
from stt_core.project.frames import FrameRow, Medium, all_frames, make_frame
from stt_core.project.images import changed_images, list_images, read_images
from stt_core.project.journal import DamagedJournal, Journal
from stt_core.project.labelling import Labelling
from stt_core.project.media_table import MediaTable
from stt_core.project.mirror import FOLDER as LABELS
from stt_core.project.pngs import read_png
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.recovery import own_strays, read_manifest, strays_of_others, sweep

_SECONDS = 1e-3  # pts that differ less are the same


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    what: str
    """A sentence with the path."""
    done: str = ""
    """What was done about it; empty where nothing was, or could be."""

    def __str__(self) -> str:
        return f"{self.what} {self.done}".rstrip()


def check_project(
    folder: Path, journal: Journal, media: MediaTable, labels: Labelling, *, repair: bool
) -> tuple[Finding, ...]:
    """Compare everything in a project's folder with everything the journal says.

    Reads every label file, every video's ends, every image and the whole journal.

    Args:
        folder: of the project.
        journal: sound by SQLite's account, which :meth:`Project.check` sees to.
        media: its media.
        labels: its labels.
        repair: put right what can be; nothing is deleted but half-written files, what cannot be
            known goes to `aside/`.
    """
    found = list(_temporary(folder, repair))
    found += _manifest(folder, journal, repair)
    for medium in list(media.by_id.values()):
        found += _medium(media, medium, journal, repair)
        labels.medium(medium.entry.id)  # an image folder, as it is now
    for medium in list(media.by_id.values()):
        found += _strange_files(folder, journal, labels, medium, repair)
        for frame in all_frames(journal, medium):
            found += _frame(labels, frame, repair)
    found += _strange_folders(folder, media, repair)
    found += _strange_predictions(folder, repair)
    return tuple(found)


def _temporary(folder: Path, repair: bool) -> Iterator[Finding]:
    left = own_strays(folder)
    if not repair:  # then somebody else may be writing the project
        left = [path for path in left if is_left_behind(path) or not is_temporary(path)]
    left += strays_of_others(folder)
    if left:
        what = f"{len(left)} half-written files were left by a crash, {left[0]} first."
        kept: list[str] = []
        if repair:
            sweep(left, kept.append)
        done = "They were removed." if repair and not kept else ""
        yield Finding(what, done)
        yield from map(Finding, kept)


def _manifest(folder: Path, journal: Journal, repair: bool) -> Iterator[Finding]:
    if read_manifest(folder) != manifest_of(journal):
        if repair:
            publish(folder, journal)
        yield Finding(
            f"{folder / manifests.NAME} does not say what the journal does.",
            "It was written again." if repair else "",
        )


def _medium(media: MediaTable, medium: Medium, journal: Journal, repair: bool) -> Iterator[Finding]:
    entry = medium.entry
    path = media.path(entry.id) or media.replaced(entry.id)
    if path is None:
        yield Finding(f"{entry.absolute} is missing. Relink it; its labels are kept.")
        return
    try:
        if entry.kind == "folder":
            yield from _images(media, medium, path, journal, repair)
            entry = media[entry.id].entry
        elif media.replaced(entry.id) is not None:
            yield Finding(media.problem(entry.id))
        with open_media(path) as opened:
            found = (len(opened), opened.width, opened.height)
            if found != (entry.frames, entry.width, entry.height):
                yield Finding(
                    f"{path} has {found[0]} frames of {found[1]} x {found[2]} pixels, but "
                    f"{entry.frames} of {entry.width} x {entry.height} when it was added."
                )
            rows = journal.all(
                "SELECT key, pts FROM frames WHERE media = ? AND pts IS NOT NULL AND key < ?",
                medium.number, found[0],
            )  # fmt: skip
            moved = [key for key, pts in rows if abs(opened.time_of(key) - pts) > _SECONDS]
    except MediaError as error:
        yield Finding(str(error))
        return
    if moved:
        yield Finding(f"{path} shows frame {moved[0]} at another time than when it was labelled.")


def _images(
    media: MediaTable, medium: Medium, path: Path, journal: Journal, repair: bool
) -> Iterator[Finding]:
    """Every image of a folder is read, so that one written anew is found whatever it looks like."""
    if repair:
        changed = media.refresh(medium.entry.id, thorough=True)
    else:
        known = read_images(journal, medium.number)
        changed = changed_images(known, list_images(path, known, thorough=True))
    if changed:
        yield Finding(
            f"{path}: {changed} images have another content than when they were added. Their "
            "labels are kept; see whether they still fit.",
            "They count as they are now; predictions from before are stale." if repair else "",
        )
    elif media.replaced(medium.entry.id) is not None:
        yield Finding(media.problem(medium.entry.id))


def _frame(labels: Labelling, frame: FrameRow, repair: bool) -> Iterator[Finding]:
    path = labels.mirror.path(frame.medium, frame.key)
    try:
        labels.history.slots(frame)
    except DamagedJournal as error:
        yield Finding(str(error), _restore(labels, frame, path) if repair else "")
        return
    fits = labels.mirror.fits(frame, thorough=True)
    if fits and (frame.current or not frame.version):
        return
    what = "differs from the journal" if not fits else "is behind the journal"
    if not repair:
        yield Finding(f"{path} {what}.")
        return
    quiet = labels.settle(frame, thorough=True)
    labels.flush_frame(frame.number)
    if not (quiet and fits):
        yield Finding(f"{path} {what}.", "It was put right; see what the project recovered.")


def _restore(labels: Labelling, frame: FrameRow, path: Path) -> str:
    try:
        size, classes = frame.medium.size, len(labels.history.table.classes)
        ids = read_png(path, size, classes).ids
    except LabelError:
        return "Its label file cannot be read either."
    labels.restart(frame, ids)
    return "Its labels were taken from the label file; what came before cannot be undone to."


def _strange_files(
    folder: Path, journal: Journal, labels: Labelling, medium: Medium, repair: bool
) -> Iterator[Finding]:
    """Label files that the journal has no frame for."""
    keys = {frame.key for frame in all_frames(journal, medium)}
    for file in sorted((folder / LABELS / medium.entry.id).glob("[!.]*")):
        if not file.stem.isdecimal() or file.name != f"{int(file.stem):06d}.png":
            yield _stray(folder, file, "is not a label file of this program.", repair)
        elif int(file.stem) not in keys and int(file.stem) >= medium.entry.frames:
            yield _stray(folder, file, "belongs to no frame.", repair)
        elif int(file.stem) not in keys:
            key, done = int(file.stem), ""
            if repair:
                with journal.transaction():
                    frame = make_frame(journal, medium, key)
                labels.settle(frame)
                labels.flush_frame(frame.number)
                done = "It was seen to; see what the project recovered."
            yield Finding(f"{file} belongs to no labelled frame.", done)


def _strange_folders(folder: Path, media: MediaTable, repair: bool) -> Iterator[Finding]:
    if not (folder / LABELS).is_dir():
        return
    for path in sorted((folder / LABELS).iterdir()):
        if path.name not in media.by_id:
            yield _stray(folder, path, "belongs to no medium of the project.", repair)


def _strange_predictions(folder: Path, repair: bool) -> Iterator[Finding]:
    """Folders that do not say what they are of; with frames in them they may be imported maps."""
    folders = PredictionFolders(folder)
    for path, problem in folders.unusable().items():
        yield Finding(problem, folders.put_away(path) if repair else "")


def _stray(folder: Path, path: Path, what: str, repair: bool) -> Finding:
    done = f"It was moved to {set_aside(folder, path)}." if repair else ""
    return Finding(f"{path} {what}", done)


def mend_indices(journal: Journal) -> list[str]:
    """Make the journal's indices anew, which hold nothing of their own; return what stays wrong."""
    try:
        journal.run("REINDEX")
    except ProjectError as error:
        return [str(error)]
    return journal.problems()
