"""The dialogs that ask where something is or should go, and what then happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from app.controller import Controller
from app.desk import is_project
from app.doubt import DOUBT, KEEP
from app.facts import Notice

_MEDIA_FILTER = "Video (*.mp4 *.mkv *.avi *.mov *.ts *.webm *.m4v *.mpg);;All files (*)"
_MODEL_SUFFIX = ".safetensors"
_MODEL_FILTER = f"Model (*{_MODEL_SUFFIX})"


class Asking(QObject):
    """Asks in front of a window; a dialog that is left without an answer changes nothing."""

    said = Signal(str)  # for the status bar
    noticed = Signal(object)  # Notice

    def __init__(self, window: QWidget, controller: Controller) -> None:
        super().__init__(window)
        self._window, self._controller = window, controller

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
            self._controller.models.choose_model(name)

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

    def add_videos(self) -> None:
        """Ask for videos to add to the project."""
        if self._may_add():
            title = "Add videos to the project"
            names, _ = QFileDialog.getOpenFileNames(self._window, title, "", _MEDIA_FILTER)
            if names:
                self._controller.add_media([Path(name) for name in names])

    def add_folder(self) -> None:
        """Ask for a folder of images to add to the project."""
        if self._may_add():
            name = self._folder("Add a folder of images to the project")
            if name:
                self._controller.add_media([Path(name)])

    def take(self, paths: Sequence[Path]) -> None:
        """Take what was dropped: media join the open project, anything else is opened."""
        media = [p for p in paths if p.suffix != _MODEL_SUFFIX and not is_project(p)]
        project = self._controller.painting.project
        joins = bool(media) and project is not None and not project.own
        if joins:
            self._controller.add_media(media)
        for path in [p for p in paths if not joins or p not in media]:
            self.open_path(path)

    def open_path(self, path: Path) -> None:
        """Open what a person named: a model, or else a project or a medium."""
        if path.suffix == _MODEL_SUFFIX:
            self._controller.models.choose_model(str(path))
        else:
            self._controller.open(path)

    def answer(self, topic: str, act: str) -> None:
        """Do what a notice offered."""
        medium = self._controller.painting.doubtful
        if topic == DOUBT and act == KEEP:
            self._controller.painting.keep_labels()
        elif topic == DOUBT and medium is not None:
            self.relink_file(medium.id)

    def _may_add(self) -> bool:
        project = self._controller.painting.project
        if project is None:
            self.said.emit("Open a project first.")
        elif project.own:
            self.said.emit("Save the video as a project first: Project > Save project as.")
        return project is not None and not project.own

    def _folder(self, title: str) -> str:
        return QFileDialog.getExistingDirectory(self._window, title)
