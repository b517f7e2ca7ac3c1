"""The dialogs that ask where something is or should go, and what then happens."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from app.controller import Controller
from app.desk import is_project
from app.exporting import Exporting
from app.facts import Notice, ProjectFacts
from app.views.export_dialog import ExportDialog, ExportWish

_MEDIA_FILTER = "Video (*.mp4 *.mkv *.avi *.mov *.ts *.webm *.m4v *.mpg);;All files (*)"
_MODEL_FILTER = "Model (*.safetensors)"


class Asking(QObject):
    """Asks in front of a window; a dialog that is left without an answer changes nothing."""

    said = Signal(str)  # for the status bar
    noticed = Signal(object)  # Notice

    def __init__(self, window: QWidget, controller: Controller, exporting: Exporting) -> None:
        super().__init__(window)
        self._window, self._controller, self._exporting = window, controller, exporting

    def open_video(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._window, "Open a video", "", _MEDIA_FILTER)
        if name:
            self._controller.open(Path(name))

    def open_folder(self) -> None:
        name = self._folder("Open a folder of images")
        if name:
            self._controller.open(Path(name))

    def open_model(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._window, "Open a model", "", _MODEL_FILTER)
        if name:
            self._controller.choose_model(name)

    def open_project(self) -> None:
        name = self._folder("Open a project")
        if name and is_project(Path(name)):
            self._controller.open(Path(name))
        elif name:
            text = f"{name} is not a project. Open it as an image folder, or choose another."
            self.noticed.emit(Notice("open", text, urgent=True))

    def save_project_as(self) -> None:
        if self._controller.painting.project is None:
            self.said.emit("Open a video first.")
            return
        name, _ = QFileDialog.getSaveFileName(self._window, "Save the project as a new folder")
        if name:
            self._controller.save_project_as(Path(name))

    def relink_file(self, media_id: str) -> None:
        title = "Where is it now?"
        name, _ = QFileDialog.getOpenFileName(self._window, title, "", _MEDIA_FILTER)
        if name:
            self._controller.relink(media_id, Path(name))

    def relink_folder(self, media_id: str) -> None:
        name = self._folder("Where is it now?")
        if name:
            self._controller.relink(media_id, Path(name))

    def search_media(self) -> None:
        project = self._controller.painting.project
        if project is None or all(m.path is not None for m in project.media):
            self.said.emit("No medium is missing.")
            return
        name = self._folder("Search a folder for missing media")
        if name:
            self._controller.search_media(Path(name))

    def export(self) -> None:
        """Ask how labels are to be exported, and export them."""
        painting = self._controller.painting
        if painting.project is None:
            self.said.emit("Open a video first.")
        elif self._exporting.busy:
            self.said.emit("An export is running already: see Jobs.")
        elif painting.project.media:
            self._ask_how(painting.project)
        else:  # perhaps its predictions
            painting.make(self._ask_how)

    def _ask_how(self, project: ProjectFacts) -> None:
        dialog = ExportDialog(project, self._window)
        dialog.asked.connect(partial(self._export, project))
        dialog.open()

    def _folder(self, title: str) -> str:
        return QFileDialog.getExistingDirectory(self._window, title)

    def _export(self, project: ProjectFacts, wish: ExportWish) -> None:
        words = ["--format", wish.format, "--out", str(wish.out), "--source", wish.source]
        words += ["--split", wish.split]
        if wish.source != "labels":
            words += ["--threshold", f"{wish.threshold:g}"]
        if wish.media_id:
            words += ["--media", wish.media_id]
        title = f"Export {wish.format} to {wish.out.name}"
        self._exporting.start(project.folder, words, title)
