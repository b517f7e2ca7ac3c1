"""The window and its project: nothing painted is lost, and what is kept is found again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from app.facts import ModelChoice, StoredPrediction
from app.settings import old_labels, own_project
from app.views.export_dialog import ExportDialog
from app.whole_pass import PASS_JOB
from app.window import MainWindow
from stt_core.data.sources import camvid_classes
from stt_core.labels import LabelClass
from stt_core.media.source import media_hash
from stt_core.project.label_folder import write_labels
from stt_core.project.store import Project
from stt_core.results import Prediction
from tests.app.conftest import SLOW
from tests.core.models import images, write_clip

LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier
CLASSES = camvid_classes()
ROOT = Path(__file__).resolve().parents[2]

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits and signals")


@pytest.fixture
def project(tmp_path: Path, clip: Path) -> Path:
    """A project of two videos, with a label on frame 3 of the first."""
    other = write_clip(tmp_path / "other.mp4", images(12, seed=5))
    with Project.create(tmp_path / "street", CLASSES, [clip, other]) as made:
        made.apply(made.media[0].id, 3, (10, 10), np.full((8, 8), 2, np.uint8))
    return tmp_path / "street"


def _open(qtbot: QtBot, window: MainWindow, path: Path, model: Path, frame: int = 12) -> None:
    """Open a medium or a project, and wait until it can be painted on."""
    controller = window.controller
    controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    with qtbot.waitSignal(
        controller.prediction_changed, timeout=SLOW, check_params_cb=lambda p: p is not None
    ):
        controller.open(path, frame=frame)
    qtbot.waitUntil(lambda: controller.painting.project is not None, timeout=SLOW)


def _drag(qtbot: QtBot, window: MainWindow, y: int, *, key: Qt.Key = Qt.Key.Key_4) -> None:
    """Paint a line across the picture with the brush."""
    window.activateWindow()  # another window or a message may have been in front
    with qtbot.waitActive(window):
        pass
    canvas = window.display.canvas
    qtbot.keyClick(canvas, Qt.Key.Key_B)
    qtbot.keyClick(canvas, key)
    view = canvas.viewport()
    qtbot.mousePress(view, LEFT, pos=canvas.position_of(20, y))
    qtbot.mouseMove(view, canvas.position_of(60, y))
    qtbot.mouseRelease(view, LEFT, pos=canvas.position_of(60, y))


def _paint(qtbot: QtBot, window: MainWindow, y: int = 40) -> None:
    """Paint, and wait until it is on the disk."""
    with qtbot.waitSignal(window.controller.painting.settled, timeout=SLOW):
        _drag(qtbot, window, y)


def _shown(window: MainWindow) -> NDArray[np.uint8] | None:
    """The painted map on the canvas."""
    image = window.display.canvas._painted.image
    return None if image is None else np.asarray(image)


def _wait_shown(qtbot: QtBot, window: MainWindow, y: int, value: int | None) -> None:
    """Until pixel (40, y) is painted with a class, or the frame with nothing."""

    def there() -> bool:
        shown = _shown(window)
        return shown is None if value is None else shown is not None and shown[y, 40] == value

    qtbot.waitUntil(there, timeout=SLOW)


def _wait_notice(qtbot: QtBot, window: MainWindow, words: str) -> str:
    qtbot.waitUntil(lambda: any(words in t for t in window.notices.texts()), timeout=SLOW)
    return next(t for t in window.notices.texts() if words in t)


def _stored_map(folder: Path, frame: int) -> NDArray[np.uint8] | None:
    with Project.open(folder, write=False) as read:
        return read.labels(read.media[0].id, frame)


@contextmanager
def _full_disk(files: list[Path]) -> Iterator[None]:
    """No file may grow beyond the largest of these."""
    import resource  # POSIX only

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = max(file.stat().st_size for file in files if file.exists())
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


_CHILD = textwrap.dedent(
    """
    import sys
    import time
    from pathlib import Path
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication
    from app.facts import ModelChoice
    from app.startup import make_window

    clip, model = map(Path, sys.argv[1:])
    application = QApplication([])
    window = make_window()
    window.resize(1280, 720)
    window.show()
    painting, canvas = window.controller.painting, window.display.canvas

    def paint() -> None:
        if painting.project is None or window.display._frame is None or not painting._classes:
            QTimer.singleShot(50, paint)
            return
        QTest.keyClick(canvas, Qt.Key.Key_B)
        QTest.keyClick(canvas, Qt.Key.Key_4)
        view, left = canvas.viewport(), Qt.MouseButton.LeftButton
        QTest.mousePress(view, left, pos=canvas.position_of(20, 40))
        QTest.mouseMove(view, canvas.position_of(60, 40))
        QTest.mouseRelease(view, left, pos=canvas.position_of(60, 40))

    def saved() -> None:
        print("saved", flush=True)
        time.sleep(60)

    painting.settled.connect(saved)
    window.controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    window.controller.open(clip, frame=7)
    QTimer.singleShot(0, paint)
    application.exec()
    """
)


@posix
def test_a_stroke_survives_the_kill_of_the_program(
    qtbot: QtBot, new_window: Callable[[], MainWindow], clip: Path, model: Path
) -> None:
    words = [sys.executable, "-c", _CHILD, str(clip), str(model)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "saved\n"
        child.send_signal(signal.SIGKILL)
    window = new_window()
    _open(qtbot, window, clip, model, frame=7)
    _wait_shown(qtbot, window, 40, 3)
    assert "was not closed properly" in _wait_notice(qtbot, window, "closed properly")
    assert not window.findChildren(QMessageBox)  # it blocks nothing


def test_undo_reaches_across_frames_and_restarts(
    qtbot: QtBot, new_window: Callable[[], MainWindow], clip: Path, model: Path
) -> None:
    first = new_window()
    _open(qtbot, first, clip, model, frame=3)
    _paint(qtbot, first)
    first.controller.show_frame(8)
    _paint(qtbot, first, 20)
    assert first.close()

    window = new_window()
    _open(qtbot, window, clip, model, frame=20)
    controller, canvas = window.controller, window.display.canvas
    qtbot.keyClick(canvas, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: controller.frame == 8, timeout=SLOW)
    _wait_shown(qtbot, window, 20, None)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: controller.frame == 3, timeout=SLOW)
    _wait_shown(qtbot, window, 40, None)
    with qtbot.waitSignal(controller.painting.said, timeout=SLOW) as told:
        qtbot.keyClick(canvas, Qt.Key.Key_Z, CTRL)
    assert "nothing to undo" in told.args[0]
    qtbot.keyClick(canvas, Qt.Key.Key_Y, CTRL)
    _wait_shown(qtbot, window, 40, 3)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, CTRL | Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: controller.frame == 8, timeout=SLOW)
    _wait_shown(qtbot, window, 20, 3)


def test_closing_right_after_a_stroke_keeps_it(
    qtbot: QtBot, opened: MainWindow, clip: Path
) -> None:
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    _drag(qtbot, opened, 40)
    opened.close()
    qtbot.waitUntil(lambda: not opened.isVisible(), timeout=SLOW)
    labels = _stored_map(own_project(media_hash(clip)), 12)
    assert labels is not None
    assert labels[40, 40] == 3


def test_a_second_window_reads_and_says_who_writes(
    qtbot: QtBot, new_window: Callable[[], MainWindow], project: Path, model: Path
) -> None:
    first = new_window()
    _open(qtbot, first, project, model, frame=3)
    second = new_window()
    _open(qtbot, second, project, model, frame=3)
    assert "is open for writing by" in _wait_notice(qtbot, second, "Read-only")
    assert second.display.status.saved_text() == "read-only"
    qtbot.waitUntil(lambda: _shown(second) is not None, timeout=SLOW)
    with qtbot.waitSignal(second.controller.painting.said) as told:
        _drag(qtbot, second, 40)
    assert "is open for writing by" in told.args[0]
    before = _stored_map(project, 3)
    assert before is not None
    assert before[40, 40] == 255
    _paint(qtbot, first)
    second.controller.show_frame(4)
    second.controller.show_frame(3)
    _wait_shown(qtbot, second, 40, 3)


def test_a_missing_medium_is_shown_and_found_again(
    qtbot: QtBot,
    window: MainWindow,
    project: Path,
    clip: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    shutil.move(clip, away / "renamed.mp4")
    _open(qtbot, window, project, model, frame=2)  # the other one can be used
    assert window.controller.media is not None
    assert window.controller.media.path.name == "other.mp4"
    assert window.media_bar.texts() == ["clip.mp4 (missing)", "other.mp4"]
    _paint(qtbot, window)

    lost = window.controller.painting.project.media[0].id  # type: ignore[union-attr]
    window.media_bar.medium_chosen.emit(lost)
    assert "clip.mp4 is missing" in _wait_notice(qtbot, window, "missing")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(away))
    find = next(a for a in window.media_bar.make_menu().actions() if "A folder" in a.text())
    with qtbot.waitSignal(window.controller.media_changed, timeout=SLOW) as told:
        find.trigger()
    assert told.args[0].path == away / "renamed.mp4"
    qtbot.waitUntil(lambda: window.controller.painting.medium == lost, timeout=SLOW)
    assert "missing" not in "".join(window.media_bar.texts())
    window.controller.show_frame(3)
    qtbot.waitUntil(lambda: _shown(window) is not None, timeout=SLOW)


def test_another_file_is_not_taken_for_the_missing_one(
    qtbot: QtBot,
    window: MainWindow,
    project: Path,
    clip: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip.unlink()
    _open(qtbot, window, project, model, frame=2)
    wrong = write_clip(tmp_path / "wrong.mp4", images(30, seed=8))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(wrong), ""))
    find = next(a for a in window.media_bar.make_menu().actions() if "A file" in a.text())
    find.trigger()
    qtbot.waitUntil(lambda: bool(window.findChildren(QMessageBox)), timeout=SLOW)
    box = window.findChildren(QMessageBox)[0]
    assert "its content differs" in box.text()
    box.close()


def test_undo_goes_to_the_medium_it_was_on(
    qtbot: QtBot, window: MainWindow, project: Path, model: Path
) -> None:
    _open(qtbot, window, project, model, frame=0)
    controller = window.controller
    other = controller.painting.project.media[1].id  # type: ignore[union-attr]
    with qtbot.waitSignal(controller.media_changed, timeout=SLOW):
        window.media_bar.medium_chosen.emit(other)
    qtbot.waitUntil(lambda: controller.painting.medium == other, timeout=SLOW)
    assert controller.media is not None
    assert controller.media.frames == 12
    qtbot.keyClick(window.display.canvas, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(
        lambda: controller.painting.medium != other and controller.frame == 3, timeout=SLOW
    )
    assert window.media_bar._media.currentText() == "clip.mp4"


def test_a_project_whose_media_are_all_missing_cannot_be_painted_until_one_is_found(
    qtbot: QtBot, opened: MainWindow, project: Path, clip: Path, tmp_path: Path
) -> None:
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    away = tmp_path / "away"
    away.mkdir()
    shutil.move(clip, away / "clip.mp4")
    shutil.move(tmp_path / "other.mp4", away / "other.mp4")
    opened.controller.open(project)
    _wait_notice(qtbot, opened, "clip.mp4 is missing")
    with qtbot.waitSignal(opened.controller.painting.said) as told:
        _drag(qtbot, opened, 40)
    assert "no video of the project is open" in told.args[0]
    with qtbot.waitSignal(opened.controller.media_changed, timeout=SLOW):
        opened.controller.relink(opened.media_bar._missing[0].id, away)
    qtbot.waitUntil(lambda: opened.media_bar.texts() == ["clip.mp4", "other.mp4"], timeout=SLOW)
    qtbot.waitUntil(lambda: bool(opened.controller.painting.medium), timeout=SLOW)
    qtbot.waitUntil(lambda: opened.display._frame is not None, timeout=SLOW)
    _paint(qtbot, opened)


def test_a_video_opened_before_the_model_can_be_painted(
    qtbot: QtBot, window: MainWindow, clip: Path, model: Path
) -> None:
    controller = window.controller
    with qtbot.waitSignal(controller.media_changed, timeout=SLOW):
        controller.open(clip)
    qtbot.waitUntil(lambda: window.display._frame is not None, timeout=SLOW)
    qtbot.waitUntil(lambda: controller.painting.project is not None, timeout=SLOW)
    with qtbot.waitSignal(controller.painting.said) as told:
        _drag(qtbot, window, 40)
    assert "Choose a model first" in told.args[0]
    with qtbot.waitSignal(controller.model_changed, timeout=SLOW):
        controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    _paint(qtbot, window)
    assert _stored_map(own_project(media_hash(clip)), 0) is not None


@posix
def test_a_full_disk_keeps_strokes_on_the_screen_and_tries_again(
    qtbot: QtBot, window: MainWindow, project: Path, model: Path
) -> None:
    _open(qtbot, window, project, model, frame=3)
    painting = window.controller.painting
    _paint(qtbot, window, 20)
    log = project / "journal.sqlite-wal"
    with _full_disk([log]):
        for y in (30, 40):
            _paint(qtbot, window, y)
    notice = _wait_notice(qtbot, window, "not saved")
    assert "2 strokes are not saved" in notice
    assert "tried again with the next stroke" in notice
    assert window.display.status.saved_text() == "not saved"
    for y in (20, 30, 40):
        _wait_shown(qtbot, window, y, 3)
    window.controller.show_frame(4)
    window.controller.show_frame(3)
    _wait_shown(qtbot, window, 40, 3)

    _paint(qtbot, window, 50)
    assert painting.waiting == 0
    assert window.display.status.saved_text() == "saved"
    assert not any("not saved" in text for text in window.notices.texts())
    labels = _stored_map(project, 3)
    assert labels is not None
    assert (labels[[20, 30, 40, 50], 40] == 3).all()


def test_a_folder_that_cannot_be_made_is_tried_again(
    qtbot: QtBot, opened: MainWindow, clip: Path
) -> None:
    folder = own_project(media_hash(clip))
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.write_text("in the way")
    painting = opened.controller.painting
    qtbot.waitUntil(lambda: painting.project is not None, timeout=SLOW)
    _paint(qtbot, opened, 30)
    assert "cannot write" in _wait_notice(qtbot, opened, "not saved")
    with qtbot.waitSignal(painting.settled, timeout=SLOW):  # undo gives the stroke up
        qtbot.keyClick(opened.display.canvas, Qt.Key.Key_Z, CTRL)
    _wait_shown(qtbot, opened, 30, None)
    assert painting.waiting == 0
    _paint(qtbot, opened, 40)
    folder.parent.unlink()
    _paint(qtbot, opened, 50)
    labels = _stored_map(folder, 12)
    assert labels is not None
    assert labels[[30, 40, 50], 40].tolist() == [255, 3, 3]


def test_strokes_that_cannot_be_saved_are_not_lost_without_a_word(
    qtbot: QtBot, opened: MainWindow, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_project(media_hash(clip))
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.write_text("in the way")
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    _paint(qtbot, opened)
    monkeypatch.setattr(QMessageBox, "exec", lambda _: QMessageBox.StandardButton.Cancel)
    assert not opened.close()
    assert opened.isVisible()
    folder.parent.unlink()
    _paint(qtbot, opened, 20)
    assert opened.close()
    assert _stored_map(folder, 12) is not None


def test_labels_of_older_versions_are_taken_over_once(
    qtbot: QtBot, new_window: Callable[[], MainWindow], clip: Path, model: Path
) -> None:
    old = old_labels(media_hash(clip))
    whole = np.full((64, 96), 255, np.uint8)
    whole[40] = 3
    write_labels(old, 5, whole, CLASSES)
    window = new_window()
    _open(qtbot, window, clip, model, frame=5)
    _wait_shown(qtbot, window, 40, 3)
    _wait_notice(qtbot, window, "older version")
    assert not old.exists()
    assert len(list(old.parent.glob("*.adopted/000005.png"))) == 1
    qtbot.keyClick(window.display.canvas, Qt.Key.Key_Z, CTRL)
    _wait_shown(qtbot, window, 40, None)
    assert window.close()
    again = new_window()
    _open(qtbot, again, clip, model, frame=5)
    qtbot.wait(100)
    assert _shown(again) is None


def test_a_project_is_saved_elsewhere_and_gone_on_with(
    qtbot: QtBot,
    opened: MainWindow,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    painting = opened.controller.painting
    qtbot.waitUntil(lambda: painting.project is not None, timeout=SLOW)
    _paint(qtbot, opened, 40)
    assert not opened.media_bar.isVisible()
    target = tmp_path / "my project"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    keys = CTRL | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(opened.display.canvas, Qt.Key.Key_S, keys)
    qtbot.waitUntil(lambda: opened.windowTitle().startswith("my project"), timeout=SLOW)
    assert opened.media_bar.isVisible()
    _paint(qtbot, opened, 20)
    copied, before = _stored_map(target, 12), _stored_map(own_project(media_hash(clip)), 12)
    assert copied is not None
    assert before is not None
    assert copied[[20, 40], 40].tolist() == [3, 3]
    assert before[[20, 40], 40].tolist() == [255, 3]
    with Project.open(target, write=False) as read:
        assert read.media_path(read.media[0].id) == clip
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_with_something_in_it_is_no_place_to_save(
    qtbot: QtBot, opened: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    _paint(qtbot, opened)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path), ""))
    opened.asking.save_project_as()
    qtbot.waitUntil(lambda: bool(opened.findChildren(QMessageBox)), timeout=SLOW)
    box = opened.findChildren(QMessageBox)[0]
    assert "is not empty" in box.text()
    box.close()
    _paint(qtbot, opened, 20)  # it goes on where it was


def _run_pass(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitSignal(
        window.controller.whole_pass.job_finished,
        timeout=SLOW,
        check_params_cb=lambda job, *_: job == PASS_JOB,
    ) as told:
        window.controller.run_pass()
    assert told.args[2], told.args[1]


def test_a_stored_prediction_is_shown_in_place_of_computing(
    qtbot: QtBot, new_window: Callable[[], MainWindow], clip: Path, model: Path
) -> None:
    first = new_window()
    _open(qtbot, first, clip, model)
    computed = first.display._prediction
    assert isinstance(computed, Prediction)
    _run_pass(qtbot, first)
    assert first.close()

    window = new_window()
    _open(qtbot, window, clip, model)
    stored = window.display._prediction
    assert isinstance(stored, StoredPrediction)
    np.testing.assert_array_equal(stored.labels, computed.labels)
    assert window.controller.predictions.present.all()
    assert window.display.status.texts()[1] == "stored prediction"
    qtbot.keyClick(window.display.canvas, Qt.Key.Key_S)  # the veil is of what was selected
    qtbot.waitUntil(lambda: isinstance(window.display._prediction, Prediction), timeout=SLOW)


def test_stale_predictions_are_told_and_never_shown(qtbot: QtBot, opened: MainWindow) -> None:
    _run_pass(qtbot, opened)
    with qtbot.waitSignal(opened.controller.model_changed, timeout=SLOW):
        opened.display.top_bar.key_frames_chosen.emit(2)
    notice = _wait_notice(qtbot, opened, "stale")
    assert "with other settings (key_frames): 30 frames" in notice
    qtbot.waitUntil(lambda: isinstance(opened.display._prediction, Prediction), timeout=SLOW)
    assert opened.controller.predictions.present.sum() <= 2


def test_a_damaged_stored_prediction_is_computed(
    qtbot: QtBot, new_window: Callable[[], MainWindow], clip: Path, model: Path
) -> None:
    first = new_window()
    _open(qtbot, first, clip, model)
    _run_pass(qtbot, first)
    assert first.close()
    (folder,) = (own_project(media_hash(clip)) / "predictions").glob("*/manifest.json")
    files = [f for f in folder.parent.iterdir() if f.name[:8].isdecimal()]
    window = new_window()
    _open(qtbot, window, clip, model, frame=12)
    for file in files:
        file.write_bytes(file.read_bytes()[:200])
    with qtbot.waitSignal(
        window.controller.prediction_changed,
        timeout=SLOW,
        check_params_cb=lambda p: isinstance(p, Prediction) and p.frame == 20,
    ):
        window.controller.show_frame(20)


def test_labels_are_exported_from_the_window(
    qtbot: QtBot, window: MainWindow, project: Path, model: Path, tmp_path: Path
) -> None:
    _open(qtbot, window, project, model, frame=3)
    qtbot.keyClick(window.display.canvas, Qt.Key.Key_E, CTRL)
    (dialog,) = window.findChildren(ExportDialog)
    dialog.format.setCurrentIndex(dialog.format.findData("png"))
    dialog.source.setCurrentIndex(dialog.source.findData("labels"))
    assert not dialog.threshold.isEnabled()
    dialog.out.setText("")
    assert not dialog.start.isEnabled()
    dialog.out.setText(str(tmp_path / "out"))
    with qtbot.waitSignal(window.exporting.job_finished, timeout=SLOW) as told:
        qtbot.mouseClick(dialog.start, LEFT)
    assert told.args[2], told.args[1]
    assert "1 frames in" in told.args[1]
    assert list((tmp_path / "out").rglob("*.png"))


def test_predictions_of_a_video_never_painted_can_be_exported(
    qtbot: QtBot, opened: MainWindow, tmp_path: Path
) -> None:
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    _run_pass(qtbot, opened)
    opened.dialogs.export()
    qtbot.waitUntil(lambda: bool(opened.findChildren(ExportDialog)), timeout=SLOW)
    (dialog,) = opened.findChildren(ExportDialog)
    dialog.source.setCurrentIndex(dialog.source.findData("predictions"))
    dialog.threshold.setValue(0)
    dialog.out.setText(str(tmp_path / "out"))
    with qtbot.waitSignal(opened.exporting.job_finished, timeout=SLOW) as told:
        dialog.start.click()
    assert told.args[2], told.args[1]
    assert "30 frames in" in told.args[1]


def test_an_export_that_cannot_be_made_says_why(
    qtbot: QtBot, window: MainWindow, project: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("x")
    _open(qtbot, window, project, model, frame=3)
    window.dialogs.export()
    (dialog,) = window.findChildren(ExportDialog)
    dialog.out.setText(str(tmp_path / "out"))
    with qtbot.waitSignal(window.exporting.job_finished, timeout=SLOW) as told:
        dialog.start.click()
    assert not told.args[2]
    assert "not empty" in told.args[1]


def test_painting_is_done_with_the_projects_classes(
    qtbot: QtBot, window: MainWindow, clip: Path, model: Path, tmp_path: Path
) -> None:
    own = (LabelClass("lane", (10, 200, 30)), LabelClass("rest", (90, 90, 90)))
    Project.create(tmp_path / "lanes", own, [clip]).close()
    _open(qtbot, window, tmp_path / "lanes", model)
    assert window.display.classes.row(0)._name.text() == "lane"
    with qtbot.waitSignal(window.controller.painting.settled, timeout=SLOW):
        _drag(qtbot, window, 40, key=Qt.Key.Key_2)
    labels = _stored_map(tmp_path / "lanes", 12)
    assert labels is not None
    assert labels[40, 40] == 1
    with qtbot.waitSignal(window.controller.training.job_finished, timeout=SLOW) as told:
        window.controller.fine_tune()
    assert "The project's classes are lane, rest" in told.args[1]


@pytest.mark.parametrize("text", ["{}", "not json", '{"version": 99}'])
def test_a_project_that_cannot_be_opened_leaves_the_window_as_it_was(
    qtbot: QtBot, opened: MainWindow, tmp_path: Path, text: str
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "project.json").write_text(text)
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    opened.open_path(broken)
    qtbot.waitUntil(lambda: bool(opened.findChildren(QMessageBox)), timeout=SLOW)
    box = opened.findChildren(QMessageBox)[0]
    assert "broken" in box.text()
    box.close()
    _paint(qtbot, opened)
