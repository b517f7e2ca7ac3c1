"""The open project at work for the window. Lives on the lane that `Jobs.write` owns.

A bare medium has a project of its own in the user's data folder, which is made when there is
something to keep.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.copying import copy_project
from app.facts import MediaFacts, MediumFacts, ProjectFacts
from app.settings import old_labels, own_project
from stt_core.errors import LabelError, ProjectError, SttError
from stt_core.files import writing
from stt_core.labels import UNLABELLED, LabelClass, Stroke, covered_by
from stt_core.project import journal as journals
from stt_core.project import manifest as manifests
from stt_core.project.adopting import adopt_label_folder
from stt_core.project.frames import FrameRef
from stt_core.project.labelling import Moved
from stt_core.project.manifest import MediaEntry
from stt_core.project.snapshot import LabelSnapshot
from stt_core.project.store import Project

_FLUSH_AT_ONCE = 20  # label files, so that a stroke never waits long behind them


@dataclass(frozen=True, slots=True)
class Painted:
    """A stroke on a frame."""

    number: int
    media: str
    """Hash of the medium."""
    frame: int
    stroke: Stroke


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of the strokes that were not on the disk yet."""

    done: tuple[int, ...]
    """Numbers of those that are on the disk now."""
    refused: tuple[tuple[int, str], ...]
    """Those that can never be applied, and why: as on a locked frame."""
    failed: str
    """Why the others are still not on the disk; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What undo or redo changed."""

    frames: tuple[FrameRef, ...]
    facts: ProjectFacts | None
    """The project as it is now, where its classes changed."""


class NothingPainted(SttError):
    """There is nothing to learn from."""


def is_project(path: Path) -> bool:
    """Whether a folder is a project. Looks at names only."""
    return any((path / name).is_file() for name in (manifests.NAME, journals.NAME))


class ProjectDesk:
    """See the module's docstring. News are taken with :meth:`take_news`."""

    def __init__(self) -> None:
        self._project: Project | None = None
        self._own = False
        self._bare: MediaFacts | None = None
        self._medium = ""
        self._classes: tuple[LabelClass, ...] = ()
        self._waiting: deque[tuple[str, Painted]] = deque()
        self._told = 0  # of what the project recovered
        self._news: list[str] = []

    def open(self, folder: Path) -> ProjectFacts:
        """Open a project; what was open before is closed.

        Raises:
            ProjectError: no project, or strokes of the one before could not be saved.
        """
        if not self._holds(folder):
            self._leave(lambda: Project.open(folder))
            self._bare, self._medium = None, ""
        self._own = False
        return self.facts()

    def open_own(self, media: MediaFacts, classes: tuple[LabelClass, ...]) -> ProjectFacts:
        """Open the project of a bare medium, if there is anything in it.

        Args:
            media: the medium.
            classes: of the model, () while there is none.
        """
        folder = own_project(media.sha256)
        if not self._holds(folder):
            self._leave(lambda: Project.open(folder) if is_project(folder) else None)
        self._own, self._bare, self._medium = True, media, ""
        self._classes = classes
        self._find_own_medium()
        self._adopt_old()
        return self.facts()

    def make(self) -> ProjectFacts:
        """Make the project of a bare medium now, although nothing was painted.

        Raises:
            OutputError, ProjectError: it cannot be made.
        """
        self._writable()
        return self.facts()

    def use_classes(self, classes: tuple[LabelClass, ...]) -> ProjectFacts | None:
        """The classes of another model: what a project that is yet to be made will have."""
        self._classes = classes
        if self._project is not None or self._bare is None:
            return None
        self._adopt_old()
        return self.facts()

    def choose(self, media_id: str) -> tuple[int, ...]:
        """Work on a medium of the project; return its labelled frames."""
        if media_id:
            self._medium = media_id
        return self.labelled()

    def labelled(self) -> tuple[int, ...]:
        """Frames of the medium with a label."""
        if self._project is None or not self._medium:
            return ()
        return self._project.labelled(self._medium)

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` ids of a frame, None where there are none."""
        if self._project is None or not self._medium:
            return None
        return self._project.labels(self._medium, frame)

    def paint(self, painted: Painted) -> Saved:
        """Keep a stroke, and those before it that could not be kept."""
        self._waiting.append((self._medium, painted))
        return self.save()

    def save(self) -> Saved:
        """Keep the strokes that are not on the disk yet, in order."""
        done: list[int] = []
        refused: list[tuple[int, str]] = []
        while self._waiting:
            medium, painted = self._waiting[0]
            try:
                why = self._apply(medium, painted)
            except (LabelError, IndexError) as error:
                why = str(error)
            except SttError as error:
                return Saved(tuple(done), tuple(refused), str(error))
            self._waiting.popleft()
            if why:
                refused.append((painted.number, why))
            else:
                done.append(painted.number)
        return Saved(tuple(done), tuple(refused), "")

    def drop(self, number: int) -> None:
        """Give up a stroke that is not on the disk."""
        kept = [(medium, p) for medium, p in self._waiting if p.number != number]
        self._waiting = deque(kept)

    def undo(self) -> Undone | None:
        """Take back the newest step, on whichever frame of whichever medium it was."""
        return self._moved(None if self._project is None else self._project.undo())

    def redo(self) -> Undone | None:
        return self._moved(None if self._project is None else self._project.redo())

    def flush(self) -> bool:
        """Bring some label files up to date; True where some are still behind."""
        project = self._project
        if project is None or project.read_only is not None:
            return False
        for _ in islice(project.flushing(), _FLUSH_AT_ONCE):
            pass
        return project.pending() > 0

    def relink(self, media_id: str, path: Path) -> ProjectFacts:
        """Say where a medium is now; of a folder without it, what is below is searched.

        Raises:
            MediaError, ProjectError: it is not there.
        """
        project = self._ready()
        entry = next(e for e in project.media if e.id == media_id)
        if path.is_dir() and entry.hash:
            found = project.relink_below(path)
            if project.media_path(media_id) is None:
                raise ProjectError(
                    f"{entry.name} was not found in {path} or below. Choose another folder, or the "
                    "file itself."
                )
            self._news += [r.message for r in found if r.path is not None]
        else:
            project.relink(media_id, path)
        return self.facts()

    def search(self, folder: Path) -> ProjectFacts:
        """Look for all missing media below a folder.

        Raises:
            ProjectError: none of them is there.
        """
        found = self._ready().relink_below(folder)
        self._news += [r.message for r in found if r.path is not None]
        if found and not any(r.path is not None for r in found):
            raise ProjectError(
                f"none of the {len(found)} missing media was found in {folder} or below. Choose "
                "another folder."
            )
        return self.facts()

    def save_as(self, target: Path) -> ProjectFacts:
        """Copy the project, or make one of a bare medium, and go on there.

        Raises:
            OutputError, ProjectError: it cannot be made; the work goes on where it was.
        """
        failed = self.save().failed
        if failed:
            raise ProjectError(f"{len(self._waiting)} strokes are not saved: {failed}")
        if target.is_dir() and any(target.iterdir()):
            raise ProjectError(f"{target} is not empty. Choose a new folder.")
        if self._project is None:
            made = self._create(target)
        else:
            places = {e.id: self._project.media_path(e.id) for e in self._project.media}
            if self._project.read_only is None:
                self._project.flush()
            copy_project(self._project.folder, target)
            made = Project.open(target)
            for media_id, path in places.items():
                try:
                    if path is not None:
                        made.relink(media_id, path.absolute())
                except SttError as error:  # it is found by its absolute path
                    self._news.append(str(error))
        medium = self._medium or (made.media[0].id if made.media else "")
        self._leave(lambda: made)
        self._own, self._bare, self._medium = False, None, medium
        return self.facts()

    def snapshot(self, folder: Path) -> LabelSnapshot:
        """Freeze the labels of the medium in a folder below `folder`.

        Raises:
            NothingPainted: there is nothing to learn from.
        """
        project = self._project
        if project is None or not self._medium or not project.painted(self._medium):
            raise NothingPainted("Nothing is painted yet: press B and paint.")
        return project.snapshot(self._medium, folder / "labels")

    def take_news(self) -> tuple[str, ...]:
        """What was recovered or done since this was asked before, a sentence each."""
        if self._project is not None:
            recovered = self._project.recovered
            self._news += recovered[self._told :]
            self._told = len(recovered)
        news, self._news = tuple(self._news), []
        return news

    def close(self) -> Saved:
        """Keep what can be kept, and let the next writer in."""
        saved = self.save()
        if self._project is not None:
            project, self._project = self._project, None
            project.close()
        return saved

    def _apply(self, medium: str, painted: Painted) -> str:
        """Put a stroke into the journal; return why it can never go there."""
        project = self._writable()
        media_id = medium or self._medium
        if project.notes.review(media_id, painted.frame) == "locked":
            return f"Frame {painted.frame} is locked, so its labels cannot be changed."
        entry = next(e for e in project.media if e.id == media_id)
        where, covered = covered_by(painted.stroke, (entry.height, entry.width))
        if not covered.any():
            return ""
        labels = project.labels(media_id, painted.frame)
        after = (
            np.full(covered.shape, UNLABELLED, np.uint8) if labels is None else labels[where].copy()
        )
        after[covered] = painted.stroke.class_id
        project.apply(media_id, painted.frame, (where[0].start, where[1].start), after)
        return ""

    def _ready(self) -> Project:
        if self._project is None:
            raise ProjectError("no project is open: open one first")
        return self._project

    def _writable(self) -> Project:
        """The project; that of a bare medium is made here."""
        if self._project is None:
            folder = self._own_folder()
            project = Project.open(folder) if is_project(folder) else self._create(folder)
            self._use(project)
            self._find_own_medium()
        return self._ready()

    def _own_folder(self) -> Path:
        if self._bare is None:
            raise ProjectError("no video is open: open one first")
        return own_project(self._bare.sha256)

    def _create(self, folder: Path) -> Project:
        if self._bare is None or not self._classes:
            raise ProjectError("there are no classes yet: choose a model first")
        return Project.create(folder, self._classes, [self._bare.path])

    def _find_own_medium(self) -> None:
        """The bare medium in its own project, wherever it lies now."""
        project, media = self._project, self._bare
        if project is None or media is None:
            return
        entry = next((e for e in project.media if e.hash == media.sha256), None)
        if entry is None and project.read_only is None:  # killed before it was added
            entry = project.add_media(media.path)
        if entry is None:
            return
        self._medium = entry.id
        if project.media_path(entry.id) is None and project.read_only is None:
            project.relink(entry.id, media.path)

    def _adopt_old(self) -> None:
        """Take labels that a version before projects kept, once."""
        if self._bare is None or not self._classes:
            return
        old = old_labels(self._bare.sha256)
        if not any(old.glob("*.png")):
            return
        kept = old.with_name(f"{old.name}.adopted")
        try:
            project = self._writable()
            if project.read_only is not None:
                return
            step = adopt_label_folder(project, self._medium, old)
            with writing(kept):
                os.replace(old, kept)
        except (SttError, ValueError, IndexError) as error:
            self._news.append(
                f"The labels that an older version kept in {old} were not taken over: {error}"
            )
            return
        if step is not None:
            self._news.append(
                f"The labels painted with an older version were taken over into {project.folder}; "
                f"the old files are kept in {kept}."
            )

    def _holds(self, folder: Path) -> bool:
        """Whether a project is open already, to be changed."""
        current = self._project
        return current is not None and current.read_only is None and _same(current.folder, folder)

    def _leave(self, open_next: Callable[[], Project | None]) -> None:
        """Open the next project, if any, and close this one; this one stays where that fails."""
        failed = self.save().failed
        if failed:
            raise ProjectError(
                f"{len(self._waiting)} strokes are not saved, so another project or medium cannot "
                f"be opened yet: {failed} Undo them to give them up."
            )
        opened = open_next()
        before, self._project = self._project, None
        if opened is not None:
            self._use(opened)
        if before is not None and before is not opened:
            before.close()

    def _use(self, project: Project) -> None:
        self._project, self._told = project, 0

    def _moved(self, moved: Moved | None) -> Undone | None:
        if moved is None:
            return None
        return Undone(moved.frames, self.facts() if moved.classes else None)

    def facts(self) -> ProjectFacts:
        project = self._project
        if project is None:
            return ProjectFacts(self._own_folder(), True, None, (), ())
        return ProjectFacts(
            project.folder,
            self._own,
            project.read_only,
            project.classes,
            tuple(_medium_facts(project, entry) for entry in project.media),
        )


def _medium_facts(project: Project, entry: MediaEntry) -> MediumFacts:
    path = project.media_path(entry.id)
    seen = None if path is None else path.absolute()
    return MediumFacts(entry.id, entry.name, seen, entry.absolute)


def _same(folder: Path, other: Path) -> bool:
    return folder.exists() and other.exists() and folder.samefile(other)
