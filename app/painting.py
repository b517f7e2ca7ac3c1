"""What is painted on the open medium, as the window shows it; the project keeps it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from app.desk_line import DeskLine
from app.facts import MediaFacts, MediumFacts, Notice, ProjectFacts, SaveState
from app.label_files import LabelFiles
from app.marks import Marks
from app.open_project import Undone
from app.strokes import Painted, Saved
from stt_core.labels import UNLABELLED, LabelClass, Stroke, covered_by
from stt_core.project.snapshot import LabelSnapshot

_KEPT = "They stay on the screen and are tried again with the next stroke."


class Painting(QObject):
    """The open project, and the labels of the shown frame.

    A stroke is shown at once and on the disk a moment later, in the order of painting. What could
    not be saved stays on the screen and is tried again with the next stroke.
    """

    project_changed = Signal(object)  # ProjectFacts, or None
    changed = Signal(object)  # [H, W] ids of the shown frame, or None where nothing is painted
    frames_changed = Signal(object)  # list of painted frames
    state_changed = Signal(object)  # SaveState
    place_wanted = Signal(str, int)  # medium id, frame: where undo or redo changed something
    noticed = Signal(object)  # Notice
    doubted = Signal(object)  # MediumFacts whose file holds something else, or None any more
    kept = Signal()  # the person said that it is the same medium
    said = Signal(str)  # for the status bar
    settled = Signal()  # nothing waits any more to be saved, or it could not be

    def __init__(self, line: DeskLine, marks: Marks, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ask, self._failed, self._desk = line.ask, line.failed.emit, line.desk
        self._marks = marks
        marks.made.connect(self._learn_of_project)
        self.project: ProjectFacts | None = None
        self.medium = ""
        """Id in the project; empty for a bare medium without a project yet."""
        self.doubtful: MediumFacts | None = None
        """The medium, where its file holds something else than what was painted on."""
        self._media: MediaFacts | None = None
        self._classes: tuple[LabelClass, ...] = ()
        self._why_not = "no video is open"
        self.frame = 0
        """The one that is shown."""
        self._base: NDArray[np.uint8] | None = None
        self._reading = False
        self._read_again = False
        self._labelled: set[int] = set()
        self._numbers = count()
        self._pending: list[Painted] = []
        self._error = ""
        self._state = SaveState("none")
        self._files = LabelFiles(line, self)
        self._files.noticed.connect(self.noticed)

    @property
    def state(self) -> SaveState:
        """How far what was painted is on the disk."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many strokes are not on the disk yet."""
        return len(self._pending)

    @property
    def error(self) -> str:
        """Why they are not, if it could not be done."""
        return self._error

    # Opening.

    def open_project(self, folder: Path, *, on_done: Callable[[ProjectFacts], None]) -> None:
        """Open a project; its media are not opened yet."""

        def opened(project: ProjectFacts) -> None:
            self._media, self.medium, self._labelled = None, "", set()
            self._base, self._why_not = None, "no video of the project is open"
            self._marks.clear()
            self._emit_frames()
            self.changed.emit(None)
            self.use(project)
            on_done(project)

        self._ask(partial(self._desk.open, folder), opened)

    def open_own(self, media: MediaFacts) -> None:
        """Work on a bare medium, in the project kept for it."""
        self._begin(media, "the project of this video is still being opened")
        self._ask(
            partial(self._desk.open_own, media, self._classes),
            partial(self._on_own, media),
            self._on_no_project,
        )

    def open_medium(self, project: ProjectFacts, media_id: str, media: MediaFacts) -> None:
        """Work on a medium of the open project."""
        self._begin(media, "the labels of this video are still being read")
        medium = next(m for m in project.media if m.id == media_id)
        if medium.differs(media):
            self._doubt(project, medium)
        else:
            self._use(project, media_id)

    def keep_labels(self) -> None:
        """Take the medium in doubt for the one that was painted on."""
        if self.doubtful is not None and self._media is not None:
            media_id, media = self.doubtful.id, self._media

            def kept(project: ProjectFacts) -> None:
                self.open_medium(project, media_id, media)
                self.kept.emit()

            self._ask(partial(self._desk.keep, media_id), kept)

    def use(self, project: ProjectFacts) -> None:
        """The open project has changed: its place, its media or its classes."""
        self.project = project
        self.project_changed.emit(project)
        self._tell_state()

    def set_classes(self, classes: tuple[LabelClass, ...]) -> None:
        """The classes of the model: those of a project that is yet to be made."""
        self._classes = classes
        if self._media is not None:
            self._ask(partial(self._desk.use_classes, classes), self._on_classes)

    def make(self, on_done: Callable[[ProjectFacts], None]) -> None:
        """Make the project of a bare medium, although nothing was painted."""

        def made(project: ProjectFacts) -> None:
            self._on_made(project)
            on_done(project)

        self._ask(self._desk.make, made)

    def snapshot(self, folder: Path) -> LabelSnapshot:
        """Freeze the labels of the medium below a folder. On the lane that owns the project."""
        return self._desk.snapshot(folder)

    def stop(self) -> None:
        """Write no more label files; what is behind is written when the project is closed."""
        self._files.stop()

    def read_again(self) -> None:
        """Labels were changed by other means than a stroke."""
        self._ask(self._desk.labelled, self._on_labelled)
        self._read()
        self._files.changed()

    # Painting.

    def show(self, frame: int) -> None:
        """Say what is painted on a frame."""
        self.frame, self._base = frame, None
        self._emit_map()
        self._read()

    def paint(self, stroke: Stroke) -> None:
        """Paint on the shown frame."""
        refused = self.refusal() or self._locked()
        if refused:
            self.said.emit(f"This cannot be painted: {refused}")
            return
        assert self._media is not None  # there would be no project
        painted = Painted(next(self._numbers), self._media.sha256, self.frame, stroke)
        self._pending.append(painted)
        self._emit_map()
        self._tell_state()
        self._ask(partial(self._desk.paint, painted), self._on_saved)

    def undo(self) -> None:
        """Take back the newest step, on whichever frame it was."""
        if self._error and self._pending:
            gone = self._pending.pop()
            self._ask(partial(self._desk.drop, gone.number), lambda _: self._try_again())
            self._emit_map()
            self._tell_state()
        elif self._may_change():
            self._ask(self._desk.undo, partial(self._on_moved, "undo"))

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self._may_change():
            self._ask(self._desk.redo, partial(self._on_moved, "redo"))

    def _may_change(self) -> bool:
        refused = self.refusal()
        if refused:
            self.said.emit(f"Nothing can be undone: {refused}")
        return not refused

    def refusal(self) -> str:
        """Why nothing of the medium can be changed; empty where it can."""
        if self.project is None or self._why_not:
            return self._why_not
        if self.project.read_only is not None:
            return self.project.read_only
        if not self.project.classes and not self._classes:
            return "there are no classes yet. Choose a model first."
        return ""

    def _locked(self) -> str:
        if self._marks.marks.review(self.frame) != "locked":
            return ""
        return f"frame {self.frame} is locked. Give it another review state first (Alt+1 to 3)."

    def _try_again(self) -> None:
        if self._pending:
            self._ask(self._desk.save, self._on_saved)
        else:
            self._on_saved(Saved((), (), ""))

    # Back on the GUI thread.

    def _begin(self, media: MediaFacts, why_not: str) -> None:
        self.project, self.medium, self._why_not = None, "", why_not
        self._media = media
        self._labelled = set()
        self._base = None
        if self.doubtful is not None:
            self.doubtful = None
            self.doubted.emit(None)
        self._marks.clear()
        self._emit_frames()

    def _on_own(self, media: MediaFacts, project: ProjectFacts) -> None:
        if media is self._media:
            found = [m.id for m in project.media if m.path is not None]
            self._use(project, found[0] if found else "")

    def _on_no_project(self, error: Exception) -> None:
        """The medium can be watched all the same."""
        self._why_not = str(error)
        self.state_changed.emit(SaveState("none", str(error)))
        self._failed(error)

    def _on_classes(self, project: ProjectFacts | None) -> None:
        if project is not None and self.project is not None and self.project.own:
            self._use(project, project.media[0].id if project.media else "")

    def _use(self, project: ProjectFacts, media_id: str) -> None:
        self.medium, self._why_not = media_id, ""
        self.use(project)
        self._ask(partial(self._desk.choose, media_id), self._on_labelled)
        self._marks.read()
        self._read()

    def _doubt(self, project: ProjectFacts, medium: MediumFacts) -> None:
        """Show none of the labels: they are of what the file was."""
        self.medium, self.doubtful = medium.id, medium
        self._why_not = f"{medium.name} is not what it was when it was labelled."
        self.use(project)
        self.doubted.emit(medium)

    def _on_labelled(self, frames: tuple[int, ...]) -> None:
        self._labelled = set(frames)
        self._emit_frames()

    def _on_saved(self, saved: Saved) -> None:
        over = {*saved.done, *(number for number, _ in saved.refused)}
        done = [p for p in self._pending if p.number in saved.done and self._is_here(p)]
        for painted in done:
            if painted.frame == self.frame:
                self._base = self._painted_over(self._base, painted.stroke)
        self._pending = [p for p in self._pending if p.number not in over]
        self._error = saved.failed
        if saved.refused:
            self.noticed.emit(Notice("refused", saved.refused[-1][1], urgent=True))
        if saved.refused or not self._pending:
            self._emit_map()
        self._labelled |= {p.frame for p in done}
        if done:
            self._emit_frames()
        self._tell_state()
        if saved.done:
            self._files.changed()
            self._learn_of_project()
        if not self._pending or self._error:
            self.settled.emit()

    def _learn_of_project(self) -> None:
        """The project of a bare medium is made with its first stroke."""
        if self.project is not None and self.project.own and not self.medium:
            self._ask(self._desk.facts, self._on_made)

    def _on_made(self, project: ProjectFacts) -> None:
        if self.project is not None and self.project.own and project.media:
            self.medium = project.media[0].id
            self.use(project)

    def _on_moved(self, act: str, undone: Undone | None) -> None:
        if undone is None:
            self.said.emit(f"There is nothing to {act}.")
            return
        if undone.facts is not None:
            self.use(undone.facts)
        self._ask(self._desk.labelled, self._on_labelled)
        here = [f for f in undone.frames if f.media_id == self.medium and f.frame == self.frame]
        if undone.frames and not here:
            first = undone.frames[0]
            self.place_wanted.emit(first.media_id, first.frame)
        else:
            self._read()
        self._files.changed()

    def _read(self) -> None:
        """Read the labels of the shown frame; one reading at a time, the newest wish last."""
        if self.project is None or self.doubtful is not None:
            return
        if self._reading:
            self._read_again = True
            return
        self._reading = True
        wanted = (self.medium, self.frame)
        self._ask(
            partial(self._desk.labels, self.frame),
            partial(self._on_read, wanted),
            self._on_read_failed,
        )

    def _on_read(self, wanted: tuple[str, int], labels: NDArray[np.uint8] | None) -> None:
        self._reading = False
        if wanted == (self.medium, self.frame):
            self._base = labels
            self._emit_map()
        if self._read_again:
            self._read_again = False
            self._read()

    def _on_read_failed(self, error: Exception) -> None:
        self._reading = self._read_again = False
        self._failed(error)

    def _emit_map(self) -> None:
        shown = self._base
        for painted in self._pending:
            if painted.frame == self.frame and self._is_here(painted):
                shown = self._painted_over(shown, painted.stroke)
        self.changed.emit(shown)

    def _is_here(self, painted: Painted) -> bool:
        return self._media is not None and painted.media == self._media.sha256

    def _painted_over(self, labels: NDArray[np.uint8] | None, stroke: Stroke) -> NDArray[np.uint8]:
        """A copy of a map with a stroke on it."""
        assert self._media is not None
        size = (self._media.height, self._media.width)
        shown = np.full(size, UNLABELLED, np.uint8) if labels is None else labels.copy()
        where, covered = covered_by(stroke, size)
        shown[where][covered] = stroke.class_id
        return shown

    def _emit_frames(self) -> None:
        self.frames_changed.emit(sorted(self._labelled))

    def _tell_state(self) -> None:
        state = SaveState("saved")
        if self.project is None or self._why_not:
            state = SaveState("none", self._why_not)
        elif self.project.read_only is not None:
            state = SaveState("read-only", self.project.read_only)
        elif self._error and self._pending:
            strokes = "1 stroke is" if self.waiting == 1 else f"{self.waiting} strokes are"
            state = SaveState("unsaved", f"{strokes} not saved: {self._error} {_KEPT}")
        elif self._pending:
            state = SaveState("saving")
        elif not self.medium:
            state = SaveState("none", "nothing was painted yet")
        if state == self._state:
            return
        before, self._state = self._state, state
        self.state_changed.emit(state)
        if state.state == "unsaved":
            self.noticed.emit(Notice("saving", state.detail, urgent=True))
        elif before.state == "unsaved" and state.state != "saving":
            self.noticed.emit(Notice("saving", ""))
