"""Starting the window: what it should show, and the sentence if it cannot start."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.facts import ModelChoice, Session
from app.qt_check import check_qt
from stt_core.errors import SttError
from stt_core.resources import SAMPLE_CLIP, SAMPLE_MODEL, resource_path

if TYPE_CHECKING:
    from app.window import MainWindow

SAMPLE_FRAME = 40
SAMPLE_PIXEL = (372, 190)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the window should show first."""

    paths: tuple[Path, ...] = ()
    """A medium or a project, and a model, each at most once, in any order."""
    model: str = SAMPLE_MODEL
    device: str = "auto"
    frame: int = 0
    inspect: tuple[int, int] | None = None

    def media_path(self) -> Path | None:
        """The medium or project among the paths.

        Raises:
            SttError: there are several, or one does not exist.
        """
        media = [p for p in self.paths if p.suffix != ".safetensors"]
        if len(media) > 1:
            raise SttError(f"one video or folder at a time, got {len(media)}: {media[1]}")
        if media and not media[0].exists():
            raise SttError(f"there is no file or folder {media[0]}: check the name")
        return media[0] if media else None

    def model_name(self) -> str:
        """The model among the paths, or the one named."""
        models = [p for p in self.paths if p.suffix == ".safetensors"]
        return str(models[0]) if models else self.model


def demo_wanted() -> Wanted:
    """The bundled clip with an inspection already open."""
    clip = resource_path(SAMPLE_CLIP)
    return Wanted(paths=(clip,), frame=SAMPLE_FRAME, inspect=SAMPLE_PIXEL)


def run_window(wanted: Wanted) -> int:
    """Show the window until it is closed; return the exit code.

    Raises:
        SttError: there is no display, or a system library that Qt needs is missing.
    """
    media = wanted.media_path()
    check_qt()
    from PySide6.QtWidgets import QApplication

    application = QApplication(sys.argv[:1])
    application.setApplicationName("stt-studio")
    application.setApplicationDisplayName("STT Studio")
    window = make_window()
    start(window, wanted, media)
    window.show()
    return int(application.exec())


def make_window() -> MainWindow:
    """The window with all its parts, not yet shown. Needs a QApplication."""
    from app.controller import Controller
    from app.jobs import Jobs
    from app.settings import Settings
    from app.window import MainWindow

    jobs = Jobs()
    controller = Controller(jobs, _make_session)
    window = MainWindow(controller, jobs, Settings())
    jobs.setParent(window)
    controller.setParent(window)
    return window


def start(window: MainWindow, wanted: Wanted, media: Path | None) -> None:
    """Open the medium now, and load torch and the model once the window is painted."""
    from app.controller import Query

    controller = window.controller
    if media is not None:
        query = None if wanted.inspect is None else Query(*wanted.inspect)
        controller.open(media, frame=wanted.frame, query=query)
    choice = ModelChoice(wanted.model_name(), wanted.device)
    window.first_painted.connect(lambda: controller.load_model(choice))


def _make_session() -> Session:
    from app.session import EngineSession  # imports torch, on the lane that calls this

    return EngineSession()
