"""A project on disk: labels that cannot be lost, made and read by the window and commands alike.

docs/project-format.md says what lies in its folder and which part is the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import ProjectError, SttError
from stt_core.labels import LabelClass
from stt_core.project import class_table
from stt_core.project.checking import Finding, check_project, mend_indices
from stt_core.project.class_table import ClassTable
from stt_core.project.compaction import compact
from stt_core.project.facts import manifest_of, publish, revise
from stt_core.project.frames import FrameRef
from stt_core.project.history import Provenance
from stt_core.project.journal import Journal
from stt_core.project.labelling import LabelEdit, Labelling, Moved
from stt_core.project.lock import current_user
from stt_core.project.manifest import Manifest, MediaEntry
from stt_core.project.media_table import MediaTable
from stt_core.project.notes import Notes
from stt_core.project.opening import (
    Opened,
    create_folder,
    open_folder,
    remove_made,
    what_is_there,
)
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.project_media import ProjectMedia
from stt_core.project.project_video import ProjectVideo
from stt_core.project.recovery import read_manifest, replace_journal
from stt_core.project.snapshot import LabelSnapshot, write_snapshot

_FILES_AT_CLOSE = 200  # a second or two


class Project(ProjectMedia):
    """An open project. For one thread at a time, whichever.

    Every change is in the journal, on the disk, when its method returns; the label files follow
    with :meth:`flush`. Methods that change something raise ProjectError, with nothing changed,
    where the project is read-only, the disk is full or the journal fails. Made by :meth:`create`
    and :meth:`open`, closed by :meth:`close` or at the end of a ``with`` block.

    Attributes:
        folder: of the project.
        read_only: a sentence saying why it cannot be changed; None where it can.
        holder: who has it open for writing, where that is another and known.
        notes: where labels came from, counts, review states and bookmarks.
        predictions: folders of predictions and their budget.
    """

    def __init__(self, folder: Path, opened: Opened) -> None:
        self.folder = folder
        self.read_only = opened.read_only
        self.holder = opened.holder
        self.predictions = PredictionFolders(folder)
        self._lock = opened.lock
        self._recovered = list(opened.recovered)
        self._use(opened.journal)

    @classmethod
    def create(
        cls, folder: Path | str, classes: Iterable[LabelClass], media: Iterable[Path | str] = ()
    ) -> Project:
        """Make a project in a folder that holds none, and open it.

        Raises:
            LabelError: more than 254 classes, or two of one name.
            MediaError: a medium cannot be opened; nothing is left of the project.
            OutputError: the folder cannot be written to.
            ProjectError: there is a project already, or a medium is twice among them; in the
                second case nothing is left.
        """
        table = class_table.new_table(tuple(classes))
        before = what_is_there(Path(folder))
        project = cls(Path(folder), create_folder(Path(folder), table))
        try:
            for path in media:
                project.add_media(path)
        except BaseException:
            project.close()
            remove_made(Path(folder), before)
            raise
        return project

    @classmethod
    def open(cls, folder: Path | str, *, write: bool = True) -> Project:
        """Open a project, for reading only where another has it open or the folder is read-only.

        A project of an older version is brought to this one, a backup kept. What a crash or
        another program left behind is put right and told in :attr:`recovered`.

        Args:
            folder: of the project.
            write: False to read only in any case.

        Raises:
            ProjectError: no project, of a newer version, or damaged beyond repair.
        """
        project = cls(Path(folder), open_folder(Path(folder), write=write))
        project._look_around()
        return project

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the label files of this session and let the next writer in.

        After work on very many frames their files stay behind, so that closing is quick; use
        :meth:`flushing` before. The journal has everything in any case.

        Raises:
            OutputError: a label file could not be written; the journal has it, and the project is
                closed all the same.
        """
        try:
            if self._lock is not None:
                for _ in islice(self._labels.flushing(all_frames=False), _FILES_AT_CLOSE):
                    pass
        finally:
            self._journal.close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    @property
    def recovered(self) -> tuple[str, ...]:
        """What was found damaged or changed outside since the opening, and what was done."""
        return tuple(self._recovered)

    @property
    def manifest(self) -> Manifest:
        """All that project.json tells, as of now."""
        return manifest_of(self._journal)

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        return self._labels.history.table.classes

    @property
    def media(self) -> tuple[MediaEntry, ...]:
        """In the order they were added."""
        return self.manifest.media

    def set_cache_bytes(self, budget: int | None) -> None:
        """Say what predictions may take, in bytes; None for the default.

        Raises:
            ValueError: it is below 0.
        """
        self._must_write()
        if budget is not None and budget < 0:
            raise ValueError(f"a budget is 0 bytes or more, got {budget=}")
        with self._journal.transaction():
            self._journal.run("DELETE FROM meta WHERE key = 'cache_bytes'")
            if budget is not None:
                self._journal.put("cache_bytes", budget)
            revise(self._journal)
        publish(self.folder, self._journal)

    def labels(self, media_id: str, frame: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids, VOID and UNLABELLED; None where nothing is labelled.

        Raises:
            IndexError: there is no such frame.
        """
        return self._labels.labels(media_id, frame)

    def labelled(self, media_id: str) -> tuple[int, ...]:
        """Rising frames with a pixel that has a class or void."""
        return self._labels.frames_with("labelled", media_id)

    def painted(self, media_id: str) -> tuple[int, ...]:
        """Rising frames with a pixel that has a class: those to learn from."""
        return self._labels.frames_with("painted", media_id)

    def apply(
        self,
        media_id: str,
        frame: int,
        corner: tuple[int, int],
        after: NDArray[np.uint8],
        provenance: Provenance | None = None,
    ) -> int | None:
        """Replace a box of a frame's labels as one step; on the disk when this returns.

        Args:
            media_id: of the medium.
            frame: its index.
            corner: topmost row and leftmost column of the box, image pixels.
            after: ``[h, w]`` of the box: class ids, VOID or UNLABELLED.
            provenance: a stroke of the brush by default.

        Returns:
            The number of the step; None where the labels were like that already.

        Raises:
            IndexError: there is no such frame.
            LabelError: an id that is no class.
            ProjectError: the frame is locked, or its video was replaced by another.
            ValueError: the box does not lie in the frame, or is not uint8.
        """
        self._must_write()
        self._labels.row(media_id, frame)  # sees to a file changed outside first
        return self.apply_many([LabelEdit(media_id, frame, corner, after)], provenance)

    def apply_many(
        self, edits: Iterable[LabelEdit], provenance: Provenance | None = None
    ) -> int | None:
        """:meth:`apply` for several frames as one step.

        Args:
            edits: each of another frame; taken one after the other, so that they need not all be
                held.
            provenance: of all of them.
        """
        self._must_write()
        return self._labels.apply(edits, provenance)

    def can_undo(self) -> bool:
        return self._labels.history.can_undo()

    def can_redo(self) -> bool:
        return self._labels.history.can_redo()

    def undo(self) -> Moved | None:
        """Take back the newest step, whichever frame it was on; None where there is none.

        Raises:
            ProjectError: a frame is locked.
        """
        self._must_write()
        return self._labels.move(forward=False)

    def redo(self) -> Moved | None:
        """Do again what was taken back last; None where there is none. Raises as undo does."""
        self._must_write()
        return self._labels.move(forward=True)

    def pending(self) -> int:
        """How many label files are behind the journal."""
        return len(self._labels.stale())

    def flush(self) -> None:
        """Bring all label files up to date; see :meth:`flushing`."""
        for _ in self.flushing():
            pass

    def flushing(self) -> Iterator[FrameRef | None]:
        """Bring label files up to date, yielding each frame written (None: its image is gone).

        Raises:
            OutputError: one could not be written; the journal has it.
        """
        self._must_write()
        yield from self._labels.flushing()

    def compact(self) -> int:
        """Forget undo, redo, provenance and classes that are gone; return the bytes gained."""
        self._must_write()
        return compact(self._journal, self._labels.history)

    def edit_classes(self, change: Callable[[ClassTable], ClassTable], action: str) -> None:
        """Change the classes as one step that undo takes back.

        No stored pixel is touched, so it takes no longer with many labels; the label files follow
        with :meth:`flushing`.

        Args:
            change: one of the functions of :mod:`stt_core.project.class_table`, bound.
            action: what was done, in a word or two.

        Raises:
            LabelError, ValueError: the change is refused.
        """
        self._must_write()
        table = change(self._labels.history.table)
        with self._labels.history.transaction():
            provenance = Provenance(action, author=current_user())
            self._labels.history.record_table(table, provenance)
            revise(self._journal)
        publish(self.folder, self._journal)

    def add_class(self, label_class: LabelClass) -> None:
        """It becomes the last one. Raises as :meth:`edit_classes` does, as do those below."""
        self.edit_classes(lambda t: class_table.with_class(t, label_class), "add class")

    def change_class(
        self, class_id: int, name: str | None = None, color: tuple[int, int, int] | None = None
    ) -> None:
        """Give a class another name or colour."""
        self.edit_classes(lambda t: class_table.with_look(t, class_id, name, color), "change class")

    def reorder_classes(self, order: Iterable[int]) -> None:
        """Class ``order[i]`` becomes class i, on all frames."""
        ids = tuple(order)
        self.edit_classes(lambda t: class_table.reordered(t, ids), "reorder classes")

    def merge_class(self, class_id: int, into: int) -> None:
        """A class becomes part of another, of VOID or of UNLABELLED, and is gone."""
        self.edit_classes(lambda t: class_table.merged(t, class_id, into), "merge class")

    def video(self, media_id: str) -> ProjectVideo:
        """A medium with its labels, to learn from; it follows the project as it changes.

        Raises:
            ProjectError: the medium is missing.
        """
        return ProjectVideo(self.folder, self._found(media_id), media_id)

    def snapshot(self, media_id: str, folder: Path) -> LabelSnapshot:
        """Copy the labels of a medium into a folder, where they never change again.

        Raises:
            OutputError: the folder cannot be written to, or holds something.
            ProjectError: the medium is missing.
        """
        media = self._found(media_id)
        frames = ((i, self.labels(media_id, i)) for i in self.labelled(media_id))
        return write_snapshot(folder, media, self.classes, frames)

    def check(self, *, repair: bool = False) -> tuple[Finding, ...]:
        """Verify everything, down to the last byte; see :func:`check_project`."""
        if repair:
            self._must_write()
        problems = self._journal.problems()
        if problems and repair:
            problems = mend_indices(self._journal)
        if problems and not repair:
            return (Finding(f"{self._journal.path} is damaged: {'; '.join(problems)}."),)
        found = [self._replace_journal(problems)] if problems else []
        found += check_project(self.folder, self._journal, self._media, self._labels, repair=repair)
        return tuple(found)

    def _use(self, journal: Journal) -> None:
        def tell(sentence: str) -> None:
            self._recovered.append(sentence)

        self._journal = journal
        self._media = MediaTable(self.folder, journal, tell)
        self._labels = Labelling(self.folder, journal, self._media, tell)
        self.notes = Notes(journal, self._labels, self._must_write)

    def tell(self, sentences: Iterable[str]) -> None:
        """Count what another opening found and did as recovered here."""
        self._recovered = [*dict.fromkeys((*sentences, *self._recovered))]

    def _look_around(self) -> None:
        """Tell of videos that were replaced, and keep what can be made again within its budget."""
        for medium in self._media.by_id.values():
            if medium.entry.kind == "video" and self._media.replaced(medium.entry.id) is not None:
                self._recovered.append(self._media.problem(medium.entry.id))
        if self._lock is not None:
            self._recovered += self.predictions.keep_budget()

    def _replace_journal(self, problems: list[str]) -> Finding:
        manifest = read_manifest(self.folder) or self.manifest
        with suppress(SttError):  # as much as can still be read goes to the label files first
            self.flush()
        self._journal.close()
        kept, journal = replace_journal(self.folder, manifest)
        self._use(journal)
        return Finding(
            f"{self._journal.path} was damaged: {'; '.join(problems)}.",
            f"It was made anew from the label files, without undo; {kept} is the damaged one.",
        )

    def _must_write(self) -> None:
        if self._lock is None:
            raise ProjectError(self.read_only or f"{self.folder} is closed. Open it again.")
