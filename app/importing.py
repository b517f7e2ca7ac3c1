"""Taking label maps made elsewhere into the open project: read, shown, and then applied."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject, Signal

from app.desk_line import DeskLine
from app.jobs import Jobs, Lane, Slot
from app.wishes import ImportWish
from stt_core.errors import FormatError, OutputError, ProjectError, SttError
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.workflow.importing import ImportPlan, import_predictions, plan_import
from stt_core.workflow.opening import find_medium, open_to_read

IMPORT_JOB = "import"
_GENERAL = ("png", "camvid-index", "mmseg")
"""Formats whose readers take what others wrote, too: asked last, in this order."""


class Progress(NamedTuple):
    done: int
    total: int


class Cancelled(SttError):
    """The person gave it up."""


class Importing(QObject):
    """One import at a time. Labels are taken on the desk's lane, the rest goes on DECODE's."""

    guessed = Signal(object, str)  # path, format; empty where it is none that is known
    planned = Signal(object)  # ImportPlan
    refused = Signal(str)  # why it could not be planned
    read_so_far = Signal(int, int)  # maps, of how many
    applied = Signal(str)  # "labels" or "predictions"
    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, line: DeskLine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._line = jobs, line
        self._busy = self._cancelled = self._on_lane = False

    @property
    def busy(self) -> bool:
        """Whether maps are being taken."""
        return self._busy

    def guess(self, path: Path) -> None:
        """Find out which format is at a path."""
        self._jobs.start(
            Lane.DECODE,
            Slot.IMPORT,
            partial(guess_format, path),
            on_done=lambda name: self.guessed.emit(path, name),
            on_failed=lambda _: self.guessed.emit(path, ""),
        )

    def plan(self, folder: Path, wish: ImportWish) -> None:
        """Read all maps, and propose which class of ours each class is; nothing is changed.

        Args:
            folder: of the project.
            wish: what is to be taken.
        """
        # The lane is first in, first out: by then every stroke is on the disk.
        self._jobs.write(lambda: None, on_done=lambda _: self._plan(folder, wish))

    def stop_planning(self) -> None:
        """Read no further."""
        if not self._busy:
            self._jobs.cancel(Lane.DECODE, Slot.IMPORT)

    def apply(self, folder: Path, wish: ImportWish, plan: ImportPlan) -> None:
        """Take the maps as the plan says."""
        self._busy, self._cancelled = True, False
        count = len(plan.match.frames)
        self.job_started.emit(IMPORT_JOB, f"Import {wish.kind} from {wish.source.name}")
        self._on_lane = wish.kind == "predictions"
        if self._on_lane:
            named = replace(plan, source=Path(wish.method or plan.source.name))
            self._jobs.start(
                Lane.DECODE,
                Slot.IMPORT,
                partial(_store, folder, named),
                on_step=self._tell,
                on_done=lambda _: self._end(f"{count} frames as predictions", wish.kind),
                on_failed=self._fail,
            )
            return
        tell = self._jobs.teller(self._tell)

        def load(place: int) -> None:
            if self._cancelled:
                raise Cancelled("cancelled; nothing was taken")
            tell(Progress(place, count))

        self._line.ask(
            partial(self._line.desk.take_labels, plan, load),
            lambda _: self._end(f"{count} frames as labels; undo takes them back", wish.kind),
            self._fail,
        )

    def cancel(self) -> None:
        """Give it up: of labels nothing is taken, of predictions what is stored stays."""
        self._cancelled = True
        if self._busy and self._on_lane:
            self._jobs.cancel(Lane.DECODE, Slot.IMPORT)
            self._end("cancelled; what was stored is kept", "predictions")

    def _plan(self, folder: Path, wish: ImportWish) -> None:
        self._jobs.start(
            Lane.DECODE,
            Slot.IMPORT,
            partial(_read, folder, wish),
            on_step=lambda step: self.read_so_far.emit(step.done, step.total),
            on_done=self.planned.emit,
            on_failed=self._on_refused,
        )

    def _on_refused(self, error: Exception) -> None:
        if isinstance(error, SttError):
            self.refused.emit(str(error))
        else:
            self._jobs.failed.emit(error)
            self.refused.emit("It could not be read.")

    def _tell(self, step: Progress) -> None:
        if self._busy:
            text = f"{step.done} of {step.total} frames"
            self.job_updated.emit(IMPORT_JOB, step.done, step.total, text)

    def _end(self, text: str, kind: str) -> None:
        self._busy = False
        self.job_finished.emit(IMPORT_JOB, text, True)
        self.applied.emit(kind)

    def _fail(self, error: Exception) -> None:
        self._busy = False
        self.job_finished.emit(IMPORT_JOB, str(error), isinstance(error, Cancelled))
        if not isinstance(error, SttError):
            self._jobs.failed.emit(error)


def guess_format(path: Path) -> Generator[None, None, str]:
    """Which format a path holds; empty where it is none, or nothing is in it."""
    for name in (*(n for n in LABEL_FORMATS if n not in _GENERAL), *_GENERAL):
        yield
        try:
            if len(read_labels(name, path).frames):
                return name
        except (FormatError, OutputError, OSError):
            continue
    return ""


def _read(folder: Path, wish: ImportWish) -> Generator[Progress | None, None, ImportPlan]:
    with open_to_read(folder) as project:
        entry = find_medium(project, wish.media_id)
        found = read_labels(wish.format, wish.source)
        yield None
        total = len(found.frames)
        with closing(plan_import(project, entry, found, wish.source, wish.format)) as steps:
            while True:
                try:
                    done = next(steps)
                except StopIteration as end:
                    plan: ImportPlan = end.value
                    return plan
                yield Progress(done, total)


def _store(folder: Path, plan: ImportPlan) -> Generator[Progress, None, None]:
    total = len(plan.match.frames)
    with open_to_read(folder) as project:
        if all(entry.hash != plan.entry.hash for entry in project.media):
            raise ProjectError(f"{plan.entry.name} has changed meanwhile. Read the maps again.")
        with closing(import_predictions(project, plan)) as steps:
            for done in steps:
                yield Progress(done, total)
