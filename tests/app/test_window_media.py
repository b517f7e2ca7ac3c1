"""Media of a project in the window: adding them, and a file that holds something else now."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from app.doubt import DOUBT, KEEP, RELINK
from app.facts import ModelChoice
from app.window import MainWindow
from stt_core.data.sources import camvid_classes
from stt_core.project.store import Project
from tests.app.conftest import SLOW
from tests.core.models import images, write_clip

LEFT = Qt.MouseButton.LeftButton
CLASSES = camvid_classes()


@pytest.fixture
def project(tmp_path: Path, clip: Path) -> Path:
    """A label on frame 3 of a video."""
    with Project.create(tmp_path / "street", CLASSES, [clip]) as made:
        made.apply(made.media[0].id, 3, (10, 10), np.full((8, 8), 2, np.uint8))
    return tmp_path / "street"


def _open(qtbot: QtBot, window: MainWindow, path: Path) -> None:
    with qtbot.waitSignal(window.controller.frame_changed, timeout=SLOW):
        window.controller.open(path, frame=3)
    qtbot.waitUntil(lambda: window.controller.painting.project is not None, timeout=SLOW)


def _drag(qtbot: QtBot, window: MainWindow, y: int) -> None:
    canvas = window.display.canvas
    qtbot.keyClick(canvas, Qt.Key.Key_B)
    view = canvas.viewport()
    qtbot.mousePress(view, LEFT, pos=canvas.position_of(20, y))
    qtbot.mouseMove(view, canvas.position_of(60, y))
    qtbot.mouseRelease(view, LEFT, pos=canvas.position_of(60, y))


def _label(folder: Path, y: int) -> int:
    with Project.open(folder, write=False) as read:
        labels = read.labels(read.media[0].id, 3)
        assert labels is not None
        return int(labels[y, 40])


def _wait_painted(qtbot: QtBot, window: MainWindow) -> None:
    canvas = window.display.canvas
    qtbot.waitUntil(lambda: canvas._painted.image is not None, timeout=SLOW)


def _doubts(window: MainWindow) -> list[str]:
    return [text for text in window.notices.texts() if "has another content" in text]


def _wait_doubt(qtbot: QtBot, window: MainWindow) -> str:
    qtbot.waitUntil(lambda: bool(_doubts(window)), timeout=20_000)
    return _doubts(window)[0]


def test_a_file_with_another_content_is_doubted_until_its_labels_are_kept(
    qtbot: QtBot, window: MainWindow, project: Path, clip: Path, tmp_path: Path
) -> None:
    other = write_clip(tmp_path / "other.mp4", images(30, seed=9))
    shutil.copy(other, clip)
    _open(qtbot, window, project)
    assert "has another content" in _wait_doubt(qtbot, window)
    assert window.display.canvas._painted.image is None  # the old labels
    assert not window.display.timeline.scrubber._painted.size
    with qtbot.waitSignal(window.controller.painting.said) as told:
        _drag(qtbot, window, 40)
        window.controller.painting.undo()
    assert "is not what it was" in told.args[0]
    assert _label(project, 40) == 255

    qtbot.mouseClick(window.notices.line(DOUBT).acts[KEEP], LEFT)
    _wait_painted(qtbot, window)
    assert not _doubts(window)
    with qtbot.waitSignal(window.controller.painting.settled, timeout=SLOW):
        _drag(qtbot, window, 40)
    assert _label(project, 40) == 0
    assert _label(project, 14) == 255


def test_a_file_of_another_size_can_only_be_relinked(
    qtbot: QtBot,
    window: MainWindow,
    project: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept.mp4"
    shutil.copy(clip, kept)
    shutil.copy(write_clip(tmp_path / "wide.mp4", [i[:32] for i in images(30, seed=9)]), clip)
    _open(qtbot, window, project)
    _wait_doubt(qtbot, window)
    line = window.notices.line(DOUBT)
    assert KEEP not in line.acts
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(kept), ""))
    with qtbot.waitSignal(window.controller.media_changed, timeout=SLOW):
        qtbot.mouseClick(line.acts[RELINK], LEFT)
    window.controller.show_frame(3)
    _wait_painted(qtbot, window)
    assert not _doubts(window)


def test_media_are_added_by_the_menu_and_by_dropping_them(
    qtbot: QtBot,
    window: MainWindow,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = write_clip(tmp_path / "second.mp4", images(8, seed=2))
    third = write_clip(tmp_path / "third.mp4", images(9, seed=3))
    _open(qtbot, window, project)
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(second)], ""))
    with qtbot.waitSignal(window.controller.media_changed, timeout=SLOW) as opened:
        window.asking.add_videos()
    assert opened.args[0].frames == 8
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(third))])
    drop = QDropEvent(
        QPointF(50, 50), Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier
    )
    with qtbot.waitSignal(window.controller.media_changed, timeout=SLOW):
        window.dropEvent(drop)
    qtbot.waitUntil(
        lambda: window.media_bar.texts() == ["clip.mp4", "second.mp4", "third.mp4"], timeout=SLOW
    )
    assert window.media_bar._media.currentText() == "third.mp4"


def test_a_bare_video_becomes_a_project_before_media_join_it(
    qtbot: QtBot, window: MainWindow, clip: Path
) -> None:
    _open(qtbot, window, clip)
    with qtbot.waitSignal(window.asking.said) as told:
        window.asking.add_folder()
    assert "Save the video as a project first" in told.args[0]


@pytest.mark.skipif("sys.platform == 'win32'", reason="an open file cannot be deleted")
def test_strokes_on_a_deleted_project_are_not_called_saved(
    qtbot: QtBot, window: MainWindow, project: Path, tmp_path: Path
) -> None:
    _open(qtbot, window, project)
    painting = window.controller.painting
    with qtbot.waitSignal(painting.settled, timeout=SLOW):
        _drag(qtbot, window, 20)
    assert window.display.status.saved_text() == "saved"
    project.rename(tmp_path / "away")
    for y in (30, 40):
        with qtbot.waitSignal(painting.settled, timeout=SLOW):
            _drag(qtbot, window, y)
    assert painting.waiting == 2
    assert window.display.status.saved_text() == "not saved"
    (notice,) = (t for t in window.notices.texts() if "not saved" in t)
    assert str(project) in notice
    shutil.rmtree(project, ignore_errors=True)
    (tmp_path / "away").rename(project)
    with qtbot.waitSignal(painting.settled, timeout=SLOW):
        _drag(qtbot, window, 50)
    assert painting.waiting == 0
    assert window.display.status.saved_text() == "saved"
    assert [_label(project, y) for y in (20, 30, 40, 50)] == [0, 0, 0, 0]


def test_bookmarks_and_review_states_are_kept_and_a_locked_frame_is_not_painted(
    qtbot: QtBot, window: MainWindow, project: Path, model: Path
) -> None:
    controller, status = window.controller, window.display.status
    _open(qtbot, window, project)
    canvas, alt = window.display.canvas, Qt.KeyboardModifier.AltModifier
    with qtbot.waitSignal(controller.marks.made, timeout=SLOW):
        qtbot.keyClick(canvas, Qt.Key.Key_M)
    assert status.marks_text() == "bookmarked"
    with qtbot.waitSignal(controller.marks.made, timeout=SLOW):
        qtbot.keyClick(canvas, Qt.Key.Key_4, alt)
    assert status.marks_text() == "locked, bookmarked"
    with qtbot.waitSignal(controller.painting.said) as told:
        _drag(qtbot, window, 40)
    assert "frame 3 is locked" in told.args[0]
    assert controller.painting.waiting == 0

    controller.show_frame(20)
    assert status.marks_text() == ""
    qtbot.keyClick(canvas, Qt.Key.Key_M, Qt.KeyboardModifier.ShiftModifier)
    assert controller.frame == 3
    assert window.display.timeline.scrubber._marks.bookmarks == (3,)
    with qtbot.waitSignal(controller.marks.made, timeout=SLOW):
        qtbot.keyClick(canvas, Qt.Key.Key_3, alt)
    with qtbot.waitSignal(controller.painting.settled, timeout=SLOW):
        _drag(qtbot, window, 40)
    with Project.open(project, write=False) as read:
        assert read.notes.review(read.media[0].id, 3) == "checked"
    assert _label(project, 40) == 0


def test_the_first_mark_of_a_bare_video_makes_its_project(qtbot: QtBot, opened: MainWindow) -> None:
    controller = opened.controller
    qtbot.waitUntil(lambda: controller.painting.project is not None, timeout=SLOW)
    controller.load_model(ModelChoice(controller.choice.name, "cpu", "fp32"))
    with qtbot.waitSignal(controller.marks.made, timeout=SLOW):
        qtbot.keyClick(opened.display.canvas, Qt.Key.Key_M)
    qtbot.waitUntil(lambda: bool(controller.painting.medium), timeout=SLOW)
    assert opened.display.status.marks_text() == "bookmarked"
