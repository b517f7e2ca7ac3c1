"""What is done with the project that is open in the window: reading it, and changing it.

Lives on the lane that `Jobs.write` owns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.facts import FrameMarks, ProjectFacts
from app.media_desk import add_media, project_facts, relink_medium, search_media
from app.presence import Presence
from app.strokes import Painted, Saved, StrokeQueue, apply_stroke
from stt_core.errors import ProjectError, SttError
from stt_core.project.frames import REVIEWS, FrameRef, Review
from stt_core.project.labelling import Moved
from stt_core.project.snapshot import LabelSnapshot
from stt_core.project.store import Project
from stt_core.workflow.importing import ImportPlan, import_labels

_FLUSH_AT_ONCE = 20  # label files, so that a stroke never waits long behind them


@dataclass(frozen=True, slots=True)
class Undone:
    """What undo or redo changed."""

    frames: tuple[FrameRef, ...]
    facts: ProjectFacts | None
    """The project as it is now, where its classes changed."""


class NothingPainted(SttError):
    """There is nothing to learn from."""


class OpenProject:
    """See the module's docstring. A change counts as made only if the project is still there.

    News are taken with :meth:`take_news`.
    """

    def __init__(self) -> None:
        self._project: Project | None = None
        self._presence: Presence | None = None
        self._own = False
        self._medium = ""
        self._waiting = StrokeQueue()
        self._told = 0  # of what the project recovered
        self._news: list[str] = []

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
        self._waiting.add(self._medium, painted)
        return self.save()

    def save(self) -> Saved:
        """Keep the strokes that are not on the disk yet, in order."""
        return self._waiting.save(self._apply)

    def drop(self, number: int) -> None:
        """Give up a stroke that is not on the disk."""
        self._waiting.drop(number)

    def undo(self) -> Undone | None:
        """Take back the newest step, on whichever frame of whichever medium it was."""
        if self._project is None:
            return None
        with self._writing() as project:
            return self._moved(project.undo())

    def redo(self) -> Undone | None:
        if self._project is None:
            return None
        with self._writing() as project:
            return self._moved(project.redo())

    def marks(self) -> FrameMarks:
        """Review states and bookmarks of the medium."""
        project, medium = self._project, self._medium
        if project is None or not medium:
            return FrameMarks()
        states = {
            frame: state
            for state in REVIEWS
            if state != "todo"
            for frame in project.notes.frames_in(medium, state)
        }
        found = (mark.frame for mark in project.notes.bookmarks() if mark.media_id == medium)
        return FrameMarks(states, tuple(sorted(found)))

    def set_review(self, frame: int, state: Review) -> FrameMarks:
        """Say how far a frame is; as all here, on the disk when it returns.

        Raises:
            ProjectError: it could not be written.
        """
        with self._writing() as project:
            project.notes.set_review(self._medium, frame, state)
        return self.marks()

    def set_bookmark(self, frame: int, marked: bool) -> FrameMarks:
        """Mark a frame, or take the mark away. Raises as above."""
        with self._writing() as project:
            project.notes.set_bookmark(self._medium, frame, "" if marked else None)
        return self.marks()

    def take_labels(self, plan: ImportPlan, load: Callable[[int], None]) -> None:
        """Take label maps as one step that undo takes back.

        Args:
            plan: what is to be taken.
            load: told before each map is read which it is, from 0; what it raises ends the import,
                with nothing taken.

        Raises:
            FormatError, LabelError, ProjectError: nothing was taken.
        """
        frames = tuple(
            replace(each, theirs=replace(each.theirs, load=_told(each.theirs.load, load, place)))
            for place, each in enumerate(plan.match.frames)
        )
        with self._writing() as project:
            import_labels(project, replace(plan, match=replace(plan.match, frames=frames)))

    def flush(self) -> bool:
        """Bring some label files up to date; True where some are still behind."""
        project = self._project
        if project is None or project.read_only is not None:
            return False
        with self._writing():
            for _ in islice(project.flushing(), _FLUSH_AT_ONCE):
                pass
        return project.pending() > 0

    def relink(self, media_id: str, path: Path) -> ProjectFacts:
        """Say where a medium is now; of a folder without it, what is below is searched.

        Raises:
            MediaError, ProjectError: it is not there.
        """
        with self._writing() as project:
            self._news += relink_medium(project, media_id, path)
        return self.facts()

    def keep(self, media_id: str) -> ProjectFacts:
        """Take a medium whose content has changed for the same one, so that its labels stay.

        Raises:
            MediaError, ProjectError: it cannot be opened, or labels do not fit it.
        """
        with self._writing() as project:
            project.accept_media(media_id)
        return self.facts()

    def add(self, paths: Sequence[Path]) -> tuple[str, ProjectFacts]:
        """Add media to the project; return the id of the first.

        Raises:
            MediaError, ProjectError: none could be added.
        """
        with self._writing() as project:
            first, refused = add_media(project, paths)
        self._news += refused
        return first, self.facts()

    def search(self, folder: Path) -> ProjectFacts:
        """Look for all missing media below a folder.

        Raises:
            ProjectError: none of them is there.
        """
        with self._writing() as project:
            self._news += search_media(project, folder)
        return self.facts()

    def facts(self) -> ProjectFacts:
        return project_facts(self._ready(), own=self._own)

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

    def _apply(self, medium: str, painted: Painted) -> str:
        """Put a stroke into the journal; return why it can never go there."""
        with self._writing() as project:
            return apply_stroke(project, medium or self._medium, painted)

    @contextmanager
    def _writing(self) -> Iterator[Project]:
        """The project, to change it; where it is gone meanwhile, the change counts as not made."""
        project = self._writable()
        assert self._presence is not None
        self._presence.check()
        yield project
        self._presence.check()

    def _writable(self) -> Project:
        """The project, made where it is yet to be."""
        return self._ready()

    def _ready(self) -> Project:
        if self._project is None:
            raise ProjectError("no project is open: open one first")
        return self._project

    def _moved(self, moved: Moved | None) -> Undone | None:
        if moved is None:
            return None
        return Undone(moved.frames, self.facts() if moved.classes else None)

    def _use(self, project: Project) -> None:
        self._project, self._told = project, 0
        self._presence = Presence(project)


def _told(
    load: Callable[[], NDArray[np.uint8]], tell: Callable[[int], None], place: int
) -> Callable[[], NDArray[np.uint8]]:
    def loaded() -> NDArray[np.uint8]:
        tell(place)
        return load()

    return loaded
