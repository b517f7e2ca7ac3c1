"""The dialogs on what to do with the project's labels and predictions, and the jobs they start."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QDialog, QWidget

from app.controller import Controller
from app.exporting import EXPORT_JOB, VIDEO_JOB, Exporting, VideoMaking
from app.facts import ProjectFacts, StoredModel
from app.importing import IMPORT_JOB, Importing
from app.jobs import Jobs, Lane, Slot
from app.stored_models import stored_models
from app.views.export_dialog import ExportDialog
from app.views.import_dialog import ImportDialog
from app.views.video_dialog import VideoDialog
from app.wishes import ExportWish, ImportWish, VideoWish
from stt_core.workflow.importing import ImportPlan


class Dialogs(QObject):
    """Opens them in front of a window; one that is left without an answer changes nothing."""

    said = Signal(str)  # for the status bar

    def __init__(self, window: QWidget, controller: Controller, jobs: Jobs) -> None:
        super().__init__(window)
        self._window, self._controller, self._jobs = window, controller, jobs
        self.exporting = Exporting(jobs, self)
        self.video_making = VideoMaking(jobs, self)
        self.importing = Importing(jobs, controller.line, self)
        self.importing.applied.connect(self._on_imported)

    def cancel(self, job: str) -> bool:
        """Cancel a job of these; False where it is none of them."""
        acts = {
            EXPORT_JOB: self.exporting.cancel,
            VIDEO_JOB: self.video_making.cancel,
            IMPORT_JOB: self.importing.cancel,
        }
        if job in acts:
            acts[job]()
        return job in acts

    def export(self) -> None:
        """Ask how labels are to be exported, and export them."""
        self._ask(self.exporting.busy, "An export", self._ask_export)

    def make_video(self) -> None:
        """Ask what a video should show, and make it."""
        self._ask(self.video_making.busy, "A video", self._ask_video)

    def import_labels(self) -> None:
        """Ask which label maps are to be imported, show what they become, and import them."""
        project = self._controller.painting.project
        if project is not None and project.read_only is not None:
            self.said.emit(project.read_only)
            return
        self._ask(self.importing.busy, "An import", self._ask_import)

    def _ask(self, busy: bool, what: str, ask: Callable[[ProjectFacts], None]) -> None:
        project = self._controller.painting.project
        if project is None:
            self.said.emit("Open a video first.")
        elif busy:
            self.said.emit(f"{what} is being made already: see Jobs.")
        elif project.media:
            ask(project)
        else:  # a bare medium that nothing was kept of yet
            self._controller.painting.make(ask)

    def _ask_export(self, project: ProjectFacts) -> None:
        dialog = ExportDialog(project, None, self._window)
        dialog.asked.connect(partial(self._export, project.folder))
        self._list_models(project, dialog, dialog.set_models)
        dialog.open()

    def _ask_video(self, project: ProjectFacts) -> None:
        if all(m.path is None for m in project.media):
            self.said.emit("All media of the project are missing: relink one first.")
            return
        dialog = VideoDialog(project, self._controller.painting.medium, self._window)
        dialog.asked.connect(partial(self._make_video, project.folder))
        self._list_models(project, dialog, dialog.set_models)
        dialog.open()

    def _ask_import(self, project: ProjectFacts) -> None:
        dialog = ImportDialog(project, self._controller.painting.medium, self._window)
        importing = self.importing
        dialog.source_chosen.connect(importing.guess)
        dialog.read_asked.connect(partial(importing.plan, project.folder))
        dialog.stopped.connect(importing.stop_planning)
        dialog.asked.connect(partial(self._import, project.folder))
        importing.guessed.connect(dialog.show_guess)
        importing.planned.connect(dialog.show_plan)
        importing.refused.connect(dialog.show_refusal)
        importing.read_so_far.connect(dialog.show_progress)
        dialog.open()

    def _list_models(
        self,
        project: ProjectFacts,
        dialog: QDialog,
        show: Callable[[Sequence[StoredModel]], None],
    ) -> None:
        """Tell a dialog whose predictions are stored, if it is still there by then."""
        model = self._controller.model
        alive = [True]
        dialog.destroyed.connect(alive.clear)
        self._jobs.start(
            Lane.DECODE,
            Slot.LISTING,
            partial(_listed, project.folder, None if model is None else model.path),
            on_done=lambda models: show(models) if alive else None,
        )

    def _export(self, folder: Path, wish: ExportWish) -> None:
        self.exporting.start(folder, wish.words(), f"Export {wish.format} to {wish.out.name}")

    def _make_video(self, folder: Path, wish: VideoWish) -> None:
        self.video_making.start(folder, wish.words(), f"Make {wish.out.name}")

    def _import(self, folder: Path, wish: ImportWish, plan: ImportPlan) -> None:
        self.importing.apply(folder, wish, plan)

    def _on_imported(self, kind: str) -> None:
        if kind == "labels":
            self._controller.painting.read_again()
        else:
            self._controller.look_up()


def _listed(folder: Path, in_use: Path | None) -> Generator[None, None, tuple[StoredModel, ...]]:
    yield
    return stored_models(folder, in_use)
