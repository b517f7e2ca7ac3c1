"""The window as a person drives it: mouse and keys, on a real clip with a real model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QComboBox, QMessageBox
from pytestqt.qtbot import QtBot

from app.facts import ModelChoice
from app.training import TRAIN_JOB
from app.views.canvas import Tool
from app.whole_pass import PASS_JOB
from app.window import MainWindow, _model_row
from stt_core.checkpoint import save_checkpoint
from stt_core.data.sources import camvid_classes
from stt_core.formats.model_file import bundled_models
from stt_core.media.source import open_media
from stt_core.project.labelling import LabelEdit
from stt_core.project.store import Project
from stt_core.resources import SAMPLE_MODEL
from tests.app.conftest import SLOW
from tests.core.models import checkpoint, images, pspnet_config, write_clip


def _click(qtbot: QtBot, window: MainWindow, x: int, y: int) -> None:
    canvas = window.display.canvas
    at = canvas.position_of(x + 0.5, y + 0.5)
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)


def _pixel(window: MainWindow, *, selected: bool) -> tuple[int, int]:
    prediction = window.display._prediction
    assert prediction is not None
    row, col = np.argwhere(prediction.selected == selected)[5]
    (rows, cols), (height, width) = prediction.selected.shape, prediction.labels.shape
    return int((col + 0.5) * width / cols), int((row + 0.5) * height / rows)


def _wait_frame(qtbot: QtBot, window: MainWindow, index: int) -> None:
    qtbot.waitUntil(
        lambda: window.display._frame is not None and window.display._frame.index == index,
        timeout=SLOW,
    )


def test_the_picker_says_what_the_bundled_weights_may_be_used_for(window: MainWindow) -> None:
    name, _, licence = _model_row(bundled_models()[SAMPLE_MODEL])
    assert name == "stt-lite0 (research use)"
    assert licence.startswith("Research use only")
    picker = window.display.top_bar.findChildren(QComboBox)[0]
    assert picker.itemText(0) == name


def test_the_start_page_is_shown_first_and_needs_no_model(window: MainWindow) -> None:
    assert window.start_page.isVisible()
    assert not window.display.canvas.isVisible()


def test_open_shows_the_right_frame_and_its_labels(
    qtbot: QtBot, opened: MainWindow, clip: Path
) -> None:
    assert opened.display.canvas.isVisible()
    assert opened.windowTitle().startswith("clip.mp4")
    with open_media(clip) as media:
        _wait_frame(qtbot, opened, 12)
        np.testing.assert_array_equal(opened.display._frame.image, media[12].image)  # type: ignore[union-attr]
    assert opened.display.timeline.frame_box.value() == 12


def test_no_part_ever_flashes_up_as_a_window_of_its_own(qtbot: QtBot, opened: MainWindow) -> None:
    assert opened.isActiveWindow()
    shown = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    assert shown == [opened]


def test_arrow_keys_step_and_ends_are_ends(qtbot: QtBot, opened: MainWindow) -> None:
    canvas = opened.display.canvas
    canvas.setFocus()
    for key, modifier, expected in (
        (Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier, 13),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier, 12),
        (Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier, 22),
        (Qt.Key.Key_End, Qt.KeyboardModifier.NoModifier, 29),
        (Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier, 29),
        (Qt.Key.Key_Home, Qt.KeyboardModifier.NoModifier, 0),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier, 0),
    ):
        qtbot.keyClick(canvas, key, modifier)
        assert opened.controller.frame == expected
        _wait_frame(qtbot, opened, expected)


def test_scrubbing_ends_on_the_last_frame_asked_for(qtbot: QtBot, opened: MainWindow) -> None:
    scrubber = opened.display.timeline.scrubber
    with qtbot.waitSignal(
        opened.controller.prediction_changed,
        timeout=SLOW,
        check_params_cb=lambda p: p is not None and p.frame == 27,
    ):
        middle = scrubber.height() // 2
        at = [QPoint(round(scrubber.position_of(i)), middle) for i in (3, 20, 8, 15, 27)]
        qtbot.mousePress(scrubber, Qt.MouseButton.LeftButton, pos=at[0])
        for point in at[1:]:
            qtbot.mouseMove(scrubber, point)
        qtbot.mouseRelease(scrubber, Qt.MouseButton.LeftButton, pos=at[-1])
    assert opened.display._prediction is not None
    assert opened.display._prediction.frame == 27
    _wait_frame(qtbot, opened, 27)


def test_playing_advances_and_pausing_stays(qtbot: QtBot, opened: MainWindow) -> None:
    canvas = opened.display.canvas
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: opened.controller.frame >= 15, timeout=SLOW)
    qtbot.keyClick(canvas, Qt.Key.Key_Space)
    stopped = opened.controller.frame
    qtbot.wait(300)
    assert opened.controller.frame == stopped


def test_a_click_shows_seven_tiles_whose_weights_sum_to_one(
    qtbot: QtBot, opened: MainWindow
) -> None:
    x, y = _pixel(opened, selected=True)
    with qtbot.waitSignal(
        opened.controller.look_changed, timeout=SLOW, check_params_cb=lambda v: v is not None
    ) as told:
        _click(qtbot, opened, x, y)
    look = told.args[0]
    assert (look.x, look.y) == (x, y)
    assert look.box == (x - 4, y - 4, x + 4, y + 4)
    captions = opened.display.key_strip.captions()[:7]
    assert [c.split()[0] for c in captions] == [f"t-{i}" for i in range(7, 0, -1)]
    np.testing.assert_allclose(look.per_frame().sum(1), 1, rtol=1e-4)
    shares = [float(c.split()[-2]) for c in captions]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_a_head_can_be_chosen_by_key(qtbot: QtBot, opened: MainWindow) -> None:
    x, y = _pixel(opened, selected=True)
    with qtbot.waitSignal(
        opened.controller.look_changed, timeout=SLOW, check_params_cb=lambda v: v is not None
    ):
        _click(qtbot, opened, x, y)
    mean = opened.display.key_strip.captions()
    qtbot.keyClick(opened.display.canvas, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    assert opened.display._head == 1
    assert opened.display.key_strip.captions() != mean
    qtbot.keyClick(opened.display.canvas, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert opened.display.key_strip.captions() == mean


def test_an_unselected_pixel_says_so_and_can_be_forced(qtbot: QtBot, opened: MainWindow) -> None:
    x, y = _pixel(opened, selected=False)
    with qtbot.waitSignal(
        opened.controller.look_changed, timeout=SLOW, check_params_cb=lambda v: v is not None
    ):
        _click(qtbot, opened, x, y)
    assert "not selected" in opened.display.inspector.state_text().lower()
    with qtbot.waitSignal(opened.controller.look_changed, timeout=SLOW) as told:
        qtbot.mouseClick(opened.display.inspector.force_button, Qt.MouseButton.LeftButton)
    assert told.args[0].forced
    assert len(told.args[0].frames) == 7


def test_the_inspection_follows_the_frame_and_escape_ends_it(
    qtbot: QtBot, opened: MainWindow
) -> None:
    x, y = _pixel(opened, selected=True)
    controller = opened.controller
    with qtbot.waitSignal(
        controller.look_changed, timeout=SLOW, check_params_cb=lambda v: v is not None
    ):
        _click(qtbot, opened, x, y)
    with qtbot.waitSignal(
        controller.look_changed,
        timeout=SLOW,
        check_params_cb=lambda v: v is not None and v.frame == 13,
    ):
        qtbot.keyClick(opened.display.canvas, Qt.Key.Key_Right)
    qtbot.keyClick(opened.display.canvas, Qt.Key.Key_Escape)
    assert controller.query is None
    assert opened.display._look is None


def test_hovering_tells_class_and_probability(qtbot: QtBot, opened: MainWindow) -> None:
    canvas = opened.display.canvas
    qtbot.mouseMove(canvas.viewport(), canvas.position_of(20.5, 30.5))
    prediction = opened.display._prediction
    assert prediction is not None
    names = [c.name for c in opened.controller.model.classes]  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: opened.display.status.texts()[0].startswith("(20, 30)"))
    assert names[prediction.labels[30, 20]] in opened.display.status.texts()[0]


def test_the_veil_toggles_with_one_key(qtbot: QtBot, opened: MainWindow) -> None:
    canvas = opened.display.canvas
    bare = canvas.grab().toImage()
    qtbot.keyClick(canvas, Qt.Key.Key_S)
    assert canvas.grab().toImage() != bare
    qtbot.keyClick(canvas, Qt.Key.Key_S)
    qtbot.keyClick(canvas, Qt.Key.Key_H)
    assert canvas.grab().toImage() != bare
    qtbot.keyClick(canvas, Qt.Key.Key_H)


def test_a_pass_fills_the_timeline_and_going_back_needs_no_work(
    qtbot: QtBot, opened: MainWindow
) -> None:
    controller = opened.controller
    with qtbot.waitSignal(
        controller.whole_pass.job_finished,
        timeout=SLOW,
        check_params_cb=lambda job, *_: job == PASS_JOB,
    ) as told:
        qtbot.keyClick(opened.display.canvas, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    assert told.args[2]
    assert controller.predictions.present.all()
    with qtbot.waitSignal(
        controller.prediction_changed, check_params_cb=lambda p: p is not None
    ) as shown:
        controller.show_frame(2)
    assert shown.args[0].frame == 2


def test_a_pass_can_be_cancelled_and_keeps_what_was_done(qtbot: QtBot, opened: MainWindow) -> None:
    controller = opened.controller
    qtbot.keyClick(opened.display.canvas, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: controller.predictions.present.sum() >= 4, timeout=SLOW)
    with qtbot.waitSignal(controller.whole_pass.job_finished) as told:
        opened.jobs_panel.cancel_requested.emit(PASS_JOB)
    assert "cancelled" in told.args[1]
    done = int(controller.predictions.present.sum())
    assert 4 <= done < 30
    with qtbot.waitSignal(
        controller.prediction_changed, timeout=SLOW, check_params_cb=lambda p: p is not None
    ):
        controller.show_frame(29)  # the lane still works


def test_closing_during_inference_neither_hangs_nor_crashes(
    qtbot: QtBot, opened: MainWindow
) -> None:
    opened.controller.run_pass()
    qtbot.waitUntil(lambda: opened.controller.predictions.present.sum() >= 2, timeout=SLOW)
    assert opened.close()


def test_closing_while_the_model_loads_neither_hangs_nor_crashes(
    window: MainWindow, model: Path, clip: Path
) -> None:
    window.controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    window.controller.open(clip)
    assert window.close()


def test_key_frames_change_the_prediction_and_drop_the_old_ones(
    qtbot: QtBot, opened: MainWindow
) -> None:
    controller = opened.controller
    with qtbot.waitSignal(
        controller.prediction_changed,
        timeout=SLOW,
        check_params_cb=lambda p: p is not None and not p.selected.any(),
    ):
        opened.display.top_bar.key_frames_chosen.emit(0)
    assert controller.model is not None
    assert controller.model.key_frames == 0


def test_a_model_without_attention_says_so(
    qtbot: QtBot, opened: MainWindow, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "per-frame.safetensors", checkpoint(pspnet_config()))
    with qtbot.waitSignal(opened.controller.model_changed, timeout=SLOW):
        opened.controller.models.choose_model(str(tmp_path / "per-frame.safetensors"))
    with qtbot.waitSignal(opened.controller.said) as told:
        opened.controller.inspect(5, 5)
    assert "no attention" in told.args[0]


def test_a_file_that_changed_is_not_taken_for_the_old_one(
    qtbot: QtBot, opened: MainWindow, clip: Path
) -> None:
    prediction = opened.display._prediction
    assert prediction is not None
    write_clip(clip, images(30, seed=9)[::-1])
    with qtbot.waitSignal(
        opened.controller.prediction_changed,
        timeout=SLOW,
        check_params_cb=lambda p: p is not None and p.frame == 12,
    ) as told:
        opened.controller.open(clip, frame=12)
    assert not np.array_equal(told.args[0].need, prediction.need)


def test_a_dropped_video_opens(qtbot: QtBot, opened: MainWindow, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.mp4", images(5))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(other))])
    event = QDropEvent(
        QPointF(10, 10),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    with qtbot.waitSignal(opened.controller.media_changed, timeout=SLOW) as told:
        opened.dropEvent(event)
    assert told.args[0].frames == 5


@pytest.mark.parametrize("name", ["nothing.mp4", "text.mp4", "model.safetensors"])
def test_what_cannot_be_opened_is_told_and_the_window_goes_on(
    qtbot: QtBot, opened: MainWindow, tmp_path: Path, name: str
) -> None:
    if name != "nothing.mp4":
        (tmp_path / name).write_text("hello")
    opened.open_path(tmp_path / name)
    qtbot.waitUntil(lambda: bool(opened.findChildren(QMessageBox)), timeout=SLOW)
    box = opened.findChildren(QMessageBox)[0]
    assert name in box.text()
    box.close()
    with qtbot.waitSignal(
        opened.controller.prediction_changed, timeout=SLOW, check_params_cb=lambda p: p is not None
    ):
        opened.controller.show_frame(20)


def test_paint_undo_train_and_see_it(qtbot: QtBot, opened: MainWindow, tmp_path: Path) -> None:
    """The whole circle: a stroke, its label file, undo, a fine-tuned model in use."""
    canvas, painting = opened.display.canvas, opened.controller.painting
    qtbot.waitUntil(lambda: painting.project is not None, timeout=SLOW)
    qtbot.keyClick(canvas, Qt.Key.Key_B)
    qtbot.keyClick(canvas, Qt.Key.Key_4)
    view = canvas.viewport()
    with qtbot.waitSignal(painting.settled, timeout=SLOW):
        qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=canvas.position_of(20, 40))
        qtbot.mouseMove(view, canvas.position_of(60, 40))
        qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=canvas.position_of(60, 40))
    assert painting.project is not None
    qtbot.waitUntil(lambda: bool(painting.medium), timeout=SLOW)
    with Project.open(painting.project.folder, write=False) as read:
        ids = read.labels(painting.medium, 12)
    assert ids is not None
    assert ids[40, 20] == ids[40, 40] == ids[40, 60] == 3
    assert (ids == 255).sum() > ids.size / 2

    shown: list[object] = []
    painting.changed.connect(shown.append)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: bool(shown) and shown[-1] is None, timeout=SLOW)
    shown.clear()
    qtbot.keyClick(
        canvas,
        Qt.Key.Key_Z,
        Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier,
    )
    qtbot.waitUntil(lambda: bool(shown) and shown[-1] is not None, timeout=SLOW)
    np.testing.assert_array_equal(shown[-1], ids)  # type: ignore[arg-type]

    recipe = tmp_path / "quick.toml"
    recipe.write_text("steps = 3\nbatch_size = 2\n[augment]\ncrop = [64, 96]\nshort_side = 64\n")
    training = opened.controller.training
    training.recipe = str(recipe)
    lines: list[int] = []
    training.job_updated.connect(lambda job, done, total, text: lines.append(done))
    with qtbot.waitSignals(
        [training.job_finished, opened.controller.model_changed], timeout=120_000
    ):
        opened.controller.fine_tune()
    assert lines[-1] == 3
    assert opened.controller.choice.name.endswith("last.safetensors")
    assert opened.jobs_panel.row(TRAIN_JOB).text.startswith("done")


def test_training_on_nothing_is_told(qtbot: QtBot, opened: MainWindow) -> None:
    qtbot.waitUntil(lambda: opened.controller.painting.project is not None, timeout=SLOW)
    with qtbot.waitSignal(opened.controller.training.job_finished, timeout=SLOW) as told:
        opened.controller.fine_tune()
    assert not told.args[2]
    assert "Nothing is painted" in told.args[1]


def test_training_reads_what_was_painted_before(
    qtbot: QtBot, window: MainWindow, model: Path, clip: Path, tmp_path: Path
) -> None:
    """Asked for while the labels of an earlier day are still being read, it waits for them."""
    with Project.create(tmp_path / "p", camvid_classes(), [clip]) as project:
        whole = np.zeros((64, 96), np.uint8)
        project.apply_many([LabelEdit(project.media[0].id, 3, (0, 0), whole)])
    controller = window.controller
    controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    with qtbot.waitSignals([controller.media_changed, controller.model_changed], timeout=SLOW):
        controller.open(tmp_path / "p")
    with qtbot.waitSignal(controller.training.job_started, timeout=SLOW) as told:
        controller.fine_tune()
    assert told.args[1] == "Fine-tune on what is painted (frames: 1)"
    with qtbot.waitSignal(controller.training.job_finished, timeout=SLOW):
        controller.training.cancel()


def test_every_tool_has_its_key(qtbot: QtBot, opened: MainWindow) -> None:
    for key, tool in (
        (Qt.Key.Key_B, Tool.BRUSH),
        (Qt.Key.Key_E, Tool.ERASER),
        (Qt.Key.Key_Q, Tool.INSPECT),
    ):
        qtbot.keyClick(opened.display.canvas, key)
        assert opened.display._tool is tool


def test_the_shortcut_sheet_opens_with_a_question_mark(qtbot: QtBot, opened: MainWindow) -> None:
    from app.views.shortcut_sheet import ShortcutSheet

    qtbot.keyClick(opened.display.canvas, "?")
    sheets = opened.findChildren(ShortcutSheet)
    assert len(sheets) == 1
    sheets[0].close()
