"""Making a project's folder, and opening one as its writer or as a reader."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stt_core.errors import ProjectError
from stt_core.files import make_folder, unwritable, writing
from stt_core.project import journal as journals
from stt_core.project import manifest as manifests
from stt_core.project.class_table import ClassTable
from stt_core.project.facts import fill_journal, publish
from stt_core.project.journal import Journal
from stt_core.project.lock import Holder, WriterLock, read_holder, take_lock
from stt_core.project.manifest import ClassEntry, Manifest
from stt_core.project.migrations import migrate
from stt_core.project.prediction_folders import remove_tree
from stt_core.project.recovery import (
    open_journal,
    own_strays,
    read_manifest,
    strays_of_others,
    sweep,
)

LOCK = "writer.lock"


@dataclass(frozen=True, slots=True)
class Opened:
    """A project's journal and the right to write it, or the reason why not."""

    journal: Journal
    lock: WriterLock | None
    read_only: str | None
    holder: Holder | None
    recovered: tuple[str, ...]


def create_folder(folder: Path, table: ClassTable) -> Opened:
    """Make a project without media.

    Raises:
        OutputError: the folder cannot be written to.
        ProjectError: there is a project already.
    """
    if any((folder / name).exists() for name in (manifests.NAME, journals.NAME)):
        raise ProjectError(f"{folder} is a project already. Open it, or choose another folder.")
    make_folder(folder)
    manifest = Manifest(
        id=uuid.uuid4().hex,
        revision=0,
        classes=tuple(ClassEntry(name=c.name, color=c.color) for c in table.classes),
        media=(),
    )
    with writing(folder / LOCK):
        lock = take_lock(folder / LOCK)
    if lock is None:
        raise ProjectError(f"{folder} is being made a project by another program. Open it there.")
    with ExitStack() as stack:
        stack.callback(lock.release)
        journal = Journal.create(folder / journals.NAME, partial(fill_journal, manifest=manifest))
        stack.callback(journal.close)
        publish(folder, journal)
        stack.pop_all()
    return Opened(journal, lock, None, None, ())


def what_is_there(folder: Path) -> frozenset[Path]:
    """Before a project is made: what :func:`remove_made` leaves alone."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return frozenset([*inside, *(p for p in (folder, *folder.parents) if p.exists())])


def remove_made(folder: Path, before: frozenset[Path]) -> None:
    """Remove what was made of a project that came to nothing, and the folders made for it.

    Raises:
        OutputError: something cannot be removed.
    """
    with writing(folder):
        for path in folder.iterdir():
            if path not in before:
                remove_tree(path)
        for path in (folder, *folder.parents):
            if path in before:
                break
            path.rmdir()


def open_folder(folder: Path, *, write: bool) -> Opened:
    """Open a project; see :meth:`stt_core.project.store.Project.open`."""
    if not (folder / journals.NAME).exists():
        manifests.read_raw(folder / manifests.NAME)
    read_manifest(folder)  # refuses newer versions before anything is touched
    if not write:
        return _to_read(folder, f"{folder} was opened for reading only.", None)
    try:
        lock = take_lock(folder / LOCK)
    except OSError as error:
        return _to_read(folder, str(unwritable(folder / LOCK, error)), None)
    if lock is None:
        holder = read_holder(folder / LOCK)
        who = str(holder) if holder else "another program"
        reason = f"{folder} is open for writing by {who}. Close it there to edit it here."
        return _to_read(folder, reason, holder)
    with ExitStack() as stack:
        stack.callback(lock.release)
        opened = _to_write(folder, lock)
        stack.pop_all()
    return opened


def _to_write(folder: Path, lock: WriterLock) -> Opened:
    said: list[str] = []
    crashed = lock.crashed is not None
    left = [*(own_strays(folder) if crashed else ()), *strays_of_others(folder)]
    swept = sweep(left, said.append)
    if crashed:
        what = f"{swept} half-written files were removed" if swept else "nothing was left behind"
        said.append(
            f"The program was not closed properly by {lock.crashed}; all that had been saved is "
            f"there, and {what}."
        )
    elif swept:
        said.append(
            f"A pass, a training or an export was killed; {swept} half-written files of it were "
            "removed."
        )
    migrate(folder, said.append)
    journal = open_journal(folder, said.append, crashed=crashed)
    return Opened(journal, lock, None, None, tuple(said))


def _to_read(folder: Path, reason: str, holder: Holder | None) -> Opened:
    if not (folder / journals.NAME).exists():
        raise ProjectError(
            f"{folder} must be converted or repaired before it can be read. Open it once where it "
            "can be written to and nobody else has it open."
        )
    journal = Journal(folder / journals.NAME, read_only=True)
    return Opened(journal, None, reason, holder, ())
