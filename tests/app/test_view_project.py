from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QMessageBox
from pytestqt.qtbot import QtBot

from app.facts import MediumFacts, Notice, ProjectFacts, SaveState
from app.views.export_dialog import ExportDialog
from app.views.media_bar import MediaBar
from app.views.notices import NoticeBar
from app.views.status import StatusLine
from tests.app.widgets import shown

LEFT = Qt.MouseButton.LeftButton
HERE = MediumFacts("a" * 12, "day.mp4", Path("/v/day.mp4"), "/v/day.mp4")
GONE = MediumFacts("b" * 12, "night.mp4", None, "/old/night.mp4")


def _project(*media: MediumFacts, own: bool = False) -> ProjectFacts:
    return ProjectFacts(Path("/p/street"), own, None, (), media)


@pytest.fixture
def notices(qtbot: QtBot) -> NoticeBar:
    bar = NoticeBar()
    shown(qtbot, bar, 800, 80)
    return bar


def test_a_newer_notice_of_a_topic_takes_the_place_of_the_older(notices: NoticeBar) -> None:
    notices.show_notice(Notice("a", "first"))
    notices.show_notice(Notice("b", "other"))
    notices.show_notice(Notice("a", "second", urgent=True))
    assert notices.texts() == ["other", "second"]
    notices.show_notice(Notice("a", ""))
    assert notices.texts() == ["other"]


def test_a_notice_can_be_dismissed_and_takes_no_room_then(qtbot: QtBot, notices: NoticeBar) -> None:
    notices.show_notice(Notice("a", "first"))
    qtbot.mouseClick(notices.line("a").close_button, LEFT)
    assert notices.texts() == []
    assert not notices.isVisible()


def test_details_are_there_where_there_are_any(qtbot: QtBot, notices: NoticeBar) -> None:
    notices.show_notice(Notice("a", "first"))
    assert not notices.line("a").details.isVisible()
    notices.show_notice(Notice("b", "second", ("one thing", "another")))
    qtbot.mouseClick(notices.line("b").details, LEFT)
    (box,) = notices.window().findChildren(QMessageBox)
    assert box.text() == "one thing\n\nanother"
    box.close()


def test_missing_media_are_listed_as_missing(qtbot: QtBot) -> None:
    bar = MediaBar()
    shown(qtbot, bar, 800, 40)
    bar.show_project(_project(HERE, GONE))
    assert bar.texts() == ["day.mp4", "night.mp4 (missing)"]
    assert bar.relink.isVisible()
    with qtbot.waitSignal(bar.relink_file_asked) as asked:
        bar.make_menu().actions()[0].trigger()
    assert asked.args == [GONE.id]
    bar.show_project(_project(HERE))
    assert not bar.relink.isVisible()
    bar.show_project(_project(HERE, own=True))
    assert not bar.isVisible()


def test_choosing_a_medium_by_program_does_not_echo(qtbot: QtBot) -> None:
    bar = MediaBar()
    shown(qtbot, bar, 800, 40)
    with qtbot.assertNotEmitted(bar.medium_chosen):
        bar.show_project(_project(HERE, GONE))
        bar.choose(GONE.id)
    combo = bar.findChild(QComboBox)
    combo.setFocus()
    with qtbot.waitSignal(bar.medium_chosen) as chosen:
        qtbot.keyClick(combo, Qt.Key.Key_Up)
    assert chosen.args == [HERE.id]


def test_the_status_bar_says_whether_labels_are_saved(qtbot: QtBot) -> None:
    line = StatusLine()
    shown(qtbot, line, 900, 30)
    line.show_saved(SaveState("saving"))
    assert line.saved_text() == "saving ..."
    line.show_saved(SaveState("unsaved", "the disk is full"))
    assert line.saved_text() == "not saved"
    assert line.currentMessage() == "the disk is full"
    line.show_saved(SaveState("saved"))
    assert line.saved_text() == "saved"
    assert not line.currentMessage()


def test_the_export_dialog_asks_for_what_it_shows(qtbot: QtBot) -> None:
    dialog = ExportDialog(_project(HERE))
    shown(qtbot, dialog, 560, 360)
    dialog.format.setCurrentIndex(dialog.format.findData("coco-panoptic"))
    dialog.source.setCurrentIndex(dialog.source.findData("predictions"))
    dialog.media.setCurrentIndex(1)
    dialog.out.setText("/out/here")
    dialog.threshold.setValue(0.75)
    dialog.split.setText("../up")
    assert not dialog.start.isEnabled()
    dialog.split.setText("val")
    with qtbot.waitSignal(dialog.asked) as asked:
        qtbot.mouseClick(dialog.start, LEFT)
    (wish,) = asked.args
    assert (wish.format, wish.out, wish.source) == (
        "coco-panoptic",
        Path("/out/here"),
        "predictions",
    )
    assert (wish.threshold, wish.split, wish.media_id) == (0.75, "val", HERE.id)
