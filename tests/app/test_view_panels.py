from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.views.classes import ClassPanel
from app.views.jobs_panel import JobsPanel
from app.views.shortcut_sheet import ShortcutSheet
from app.views.start_page import StartPage
from stt_core.labels import VOID, LabelClass
from tests.app.widgets import named, shown

LEFT = Qt.MouseButton.LeftButton
CLASSES = tuple(LabelClass(f"class {i}", (20 * i, 100, 50)) for i in range(11))


# Classes


@pytest.fixture
def classes(qtbot: QtBot) -> ClassPanel:
    panel = ClassPanel()
    shown(qtbot, panel, 320, 460)
    panel.set_classes(CLASSES)
    return panel


def test_clicked_class_is_chosen(qtbot: QtBot, classes: ClassPanel) -> None:
    with qtbot.waitSignal(classes.class_chosen) as chosen:
        qtbot.mouseClick(classes.row(4), LEFT, pos=QPoint(120, 10))
    assert chosen.args == [4]
    with qtbot.waitSignal(classes.class_chosen) as by_key:
        qtbot.keyClick(classes.row(2), Qt.Key.Key_Space)
    assert by_key.args == [2]


def test_void_can_be_painted_but_not_hidden(qtbot: QtBot, classes: ClassPanel) -> None:
    with qtbot.waitSignal(classes.class_chosen) as chosen:
        qtbot.mouseClick(classes.row(VOID), LEFT, pos=QPoint(120, 10))
    assert chosen.args == [VOID]
    assert not classes.row(VOID).eye.isVisible()


def test_choosing_by_program_does_not_echo(qtbot: QtBot, classes: ClassPanel) -> None:
    with (
        qtbot.assertNotEmitted(classes.class_chosen),
        qtbot.assertNotEmitted(classes.opacity_changed),
        qtbot.assertNotEmitted(classes.visibility_changed),
    ):
        classes.choose_class(3)
        classes.set_opacity(0.25)
        classes.set_classes(CLASSES)
    assert classes.opacity_slider.value() == 25


def test_eye_hides_one_class(qtbot: QtBot, classes: ClassPanel) -> None:
    with qtbot.waitSignal(classes.visibility_changed) as changed:
        qtbot.mouseClick(classes.row(2).eye, LEFT)
    assert changed.args[0].dtype == np.bool_
    assert changed.args[0].tolist() == [i != 2 for i in range(11)]


def test_double_click_on_an_eye_is_solo_and_again_is_all(qtbot: QtBot, classes: ClassPanel) -> None:
    def double_click() -> list[bool]:
        eye = classes.row(5).eye
        qtbot.mouseClick(eye, LEFT)
        with qtbot.waitSignal(classes.visibility_changed) as changed:
            qtbot.mouseDClick(eye, LEFT)
        return changed.args[0].tolist()

    assert double_click() == [i == 5 for i in range(11)]
    assert double_click() == [True] * 11


def test_menu_of_a_class_paints_hides_and_solos(qtbot: QtBot, classes: ClassPanel) -> None:
    menu = classes.row(1).make_menu()
    paint, hide, solo = menu.actions()
    with qtbot.waitSignal(classes.class_chosen) as chosen:
        paint.trigger()
    with qtbot.waitSignal(classes.visibility_changed) as alone:
        solo.trigger()
    with qtbot.waitSignal(classes.visibility_changed) as none:
        hide.trigger()
    assert chosen.args == [1]
    assert alone.args[0].sum() == 1
    assert none.args[0].sum() == 0


def test_show_all_brings_classes_back(qtbot: QtBot, classes: ClassPanel) -> None:
    classes.solo(3)
    with qtbot.waitSignal(classes.visibility_changed) as changed:
        qtbot.mouseClick(named(classes, "Show all classes"), LEFT)
    assert changed.args[0].all()


def test_opacity_is_told_in_zero_to_one(qtbot: QtBot, classes: ClassPanel) -> None:
    with qtbot.waitSignal(classes.opacity_changed) as changed:
        qtbot.keyClick(classes.opacity_slider, Qt.Key.Key_End)
    assert changed.args == [1.0]


def test_chosen_class_is_scrolled_into_sight(qtbot: QtBot, classes: ClassPanel) -> None:
    classes.resize(320, 200)
    classes.choose_class(10)
    row = classes.row(10)
    qtbot.waitUntil(lambda: not row.visibleRegion().isEmpty())
    assert row.visibleRegion().boundingRect().height() > row.height() // 2


# Jobs


@pytest.fixture
def jobs(qtbot: QtBot) -> JobsPanel:
    panel = JobsPanel()
    shown(qtbot, panel, 320, 240)
    return panel


def test_job_shows_progress_and_text(jobs: JobsPanel) -> None:
    jobs.add("pass", "Segment street.mp4")
    jobs.update_job("pass", 30, 120, "30 / 120, 9 fps, 10 s left")
    row = jobs.row("pass")
    assert (row.bar.value(), row.bar.maximum()) == (30, 120)
    assert row.text == "30 / 120, 9 fps, 10 s left"


def test_cancel_names_the_job_once_and_ends_as_told(qtbot: QtBot, jobs: JobsPanel) -> None:
    jobs.add("a", "First")
    jobs.add("b", "Second")
    with qtbot.waitSignal(jobs.cancel_requested) as cancelled:
        qtbot.mouseClick(jobs.row("a").button, LEFT)
    assert cancelled.args == ["a"]
    with qtbot.assertNotEmitted(jobs.cancel_requested):
        qtbot.mouseClick(jobs.row("a").button, LEFT)
    jobs.finish("a", "stopped by you", False)
    assert jobs.row("a").text == "stopped by you"


def test_finished_job_is_dismissed_not_cancelled(qtbot: QtBot, jobs: JobsPanel) -> None:
    jobs.add("a", "First")
    jobs.finish("a", "120 frames in 12 s", True)
    jobs.update_job("a", 1, 2, "a late word")
    assert jobs.row("a").text == "120 frames in 12 s"
    with qtbot.assertNotEmitted(jobs.cancel_requested):
        qtbot.mouseClick(jobs.row("a").button, LEFT)
    assert len(jobs) == 0


def test_unknown_job_is_ignored(jobs: JobsPanel) -> None:
    jobs.update_job("gone", 1, 2, "x")
    jobs.finish("gone", "x", True)
    assert len(jobs) == 0


def test_empty_job_list_says_how_to_start_one(jobs: JobsPanel) -> None:
    empty = jobs.grab().toImage()
    jobs.add("a", "First")
    assert jobs.grab().toImage() != empty
    jobs.finish("a", "done", True)
    jobs.row("a").button.click()
    assert jobs.grab().toImage() == empty


# Start page, shortcut sheet


def test_start_page_offers_four_ways(qtbot: QtBot) -> None:
    page = StartPage()
    shown(qtbot, page, 1280, 640)
    for card, signal in zip(
        page.cards,
        (page.open_video, page.open_folder, page.open_project, page.try_sample),
        strict=True,
    ):
        with qtbot.waitSignal(signal):
            qtbot.mouseClick(card, LEFT)
        with qtbot.waitSignal(signal):
            qtbot.keyClick(card, Qt.Key.Key_Space)


def test_recent_entry_is_opened_by_its_path(qtbot: QtBot) -> None:
    page = StartPage()
    shown(qtbot, page, 1280, 640)
    page.set_recent(["/v/a & b.mp4", "/v/c"])
    page.set_recent([f"/v/{i}.mp4" for i in range(20)])
    buttons = page.recent_buttons()
    assert len(buttons) == 6
    with qtbot.waitSignal(page.recent_chosen) as chosen:
        qtbot.mouseClick(buttons[2], LEFT)
    assert chosen.args == ["/v/2.mp4"]


@pytest.mark.parametrize("groups", [0, 1, 2, 5, 9])
def test_shortcut_sheet_shows_every_key(qtbot: QtBot, groups: int) -> None:
    rows = [(f"Ctrl+{i}", f"does thing {i}") for i in range(6)]
    sheet = ShortcutSheet([(f"Group {g}", rows) for g in range(groups)])
    shown(qtbot, sheet, 900, 500)
    labels = [w.text() for w in sheet.findChildren(QWidget) if hasattr(w, "text")]
    assert labels.count("Ctrl+3") == groups
    assert labels.count("does thing 3") == groups
