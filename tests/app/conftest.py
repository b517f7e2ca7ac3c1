"""A window with a small clip and a small model open, for tests that drive it as a person does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.facts import ModelChoice
from app.startup import make_window
from app.window import MainWindow
from stt_core.checkpoint import save_checkpoint
from tests.core.models import checkpoint, images, write_clip

SLOW = 60_000  # ms; a first act imports torch


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, checkpoint())
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", images(30))


@pytest.fixture
def new_window(qtbot: QtBot) -> Iterator[Callable[[], MainWindow]]:
    """Starts the program once more, as often as it is called."""
    windows: list[MainWindow] = []

    def start() -> MainWindow:
        window = make_window()
        window.remembers = False
        windows.append(window)
        qtbot.addWidget(window)
        window.resize(1280, 720)
        window.show()
        window.activateWindow()
        with qtbot.waitActive(window):
            pass
        return window

    yield start
    for window in windows:
        window.close()


@pytest.fixture
def window(new_window: Callable[[], MainWindow]) -> MainWindow:
    return new_window()


@pytest.fixture
def opened(qtbot: QtBot, window: MainWindow, model: Path, clip: Path) -> MainWindow:
    """The clip open at frame 12, its prediction drawn."""
    controller = window.controller
    controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    with qtbot.waitSignal(
        controller.prediction_changed, timeout=SLOW, check_params_cb=lambda p: p is not None
    ):
        controller.open(clip, frame=12)
    return window
