"""Exporting, importing and making videos from the window, as a person does with mouse and keys."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.facts import ModelChoice, StoredModel
from app.importing import IMPORT_JOB
from app.views.export_dialog import ExportDialog
from app.views.import_dialog import ImportDialog
from app.views.video_dialog import VideoDialog
from app.whole_pass import PASS_JOB
from app.window import MainWindow
from stt_core.data.sources import camvid_classes
from stt_core.formats.exchange import ExportFrame, ExportOptions
from stt_core.formats.label_formats import write_labels
from stt_core.labels import LabelClass
from stt_core.project.store import Project

LEFT = Qt.MouseButton.LeftButton
SOON = 30_000  # ms; a command imports torch
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CLASSES = camvid_classes()
THEIRS = (LabelClass("Road", (9, 9, 9)), LabelClass("Boat", (1, 2, 3)))


@pytest.fixture
def project(tmp_path: Path, clip: Path) -> Path:
    """A label on frame 3."""
    with Project.create(tmp_path / "street", CLASSES, [clip]) as made:
        made.apply(made.media[0].id, 3, (10, 10), np.full((8, 8), 2, np.uint8))
    return tmp_path / "street"


@pytest.fixture
def window_on(qtbot: QtBot, window: MainWindow, project: Path) -> MainWindow:
    with qtbot.waitSignal(window.controller.frame_changed, timeout=SOON):
        window.controller.open(project)
    qtbot.waitUntil(lambda: bool(window.controller.painting.medium), timeout=SOON)
    return window


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Maps of frames 3 and 7 made elsewhere: the left half road, the right half boat."""
    whole = np.zeros((64, 96), np.uint8)
    whole[:, 48:] = 1
    frames = [ExportFrame(f"{i:06d}", i, whole) for i in (3, 7)]
    steps = write_labels("voc", tmp_path / "maps", frames, ExportOptions(classes=THEIRS, total=2))
    list(steps)
    return tmp_path / "maps"


def _import_dialog(qtbot: QtBot, window: MainWindow, maps: Path) -> ImportDialog:
    """Opened by its key, the maps chosen and read."""
    qtbot.keyClick(window.display.canvas, Qt.Key.Key_I, CTRL)
    (dialog,) = window.findChildren(ImportDialog)
    assert not dialog.start.isEnabled()
    with qtbot.waitSignal(window.dialogs.importing.guessed, timeout=SOON):
        qtbot.keyClicks(dialog.source, str(maps))
    assert dialog.format.currentData() == "voc"
    with qtbot.waitSignal(window.dialogs.importing.planned, timeout=SOON):
        qtbot.mouseClick(dialog.read, LEFT)
    return dialog


def _row(dialog: ImportDialog, name: str) -> int:
    table = dialog.table
    return next(i for i in range(table.rowCount()) if table.item(i, 0).text() == name)


def test_labels_are_imported_as_the_table_says_and_shown(
    qtbot: QtBot, window_on: MainWindow, project: Path, maps: Path
) -> None:
    dialog = _import_dialog(qtbot, window_on, maps)
    table = dialog.table
    road, boat = _row(dialog, "Road"), _row(dialog, "Boat")
    assert table.boxes[road].currentText() == "Road"
    assert table.item(road, 3).text() == "name"
    assert table.boxes[boat].currentText() == "Not labelled"
    assert table.item(boat, 4).text() == "6,144"
    assert "1 of these frames have labels" in dialog.told.text()
    qtbot.keyClicks(table.boxes[boat], "Car")
    qtbot.keyClick(table.boxes[boat], Qt.Key.Key_Return)
    table.boxes[boat].activated.emit(table.boxes[boat].currentIndex())
    assert table.item(boat, 3).text() == "hand"
    with qtbot.waitSignal(window_on.dialogs.importing.job_finished, timeout=SOON) as told:
        qtbot.mouseClick(dialog.start, LEFT)
    assert told.args[2], told.args[1]
    scrubber = window_on.display.timeline.scrubber
    qtbot.waitUntil(lambda: scrubber._painted.tolist() == [3, 7], timeout=SOON)
    names = [c.name for c in CLASSES]
    with Project.open(project, write=False) as read:
        labels = read.labels(read.media[0].id, 7)
    assert labels is not None
    assert labels[5, [5, 90]].tolist() == [names.index("Road"), names.index("Car")]
    window_on.activateWindow()
    with qtbot.waitActive(window_on):
        pass
    qtbot.keyClick(window_on.display.canvas, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: scrubber._painted.tolist() == [3], timeout=SOON)


def test_predictions_of_a_named_method_are_listed_by_the_other_dialogs(
    qtbot: QtBot, window_on: MainWindow, maps: Path
) -> None:
    dialog = _import_dialog(qtbot, window_on, maps)
    dialog.kind.setCurrentIndex(dialog.kind.findData("predictions"))
    qtbot.keyClicks(dialog.method, "a/b")
    assert not dialog.start.isEnabled()
    assert dialog.why_method.isVisible()
    dialog.method.clear()
    qtbot.keyClicks(dialog.method, "SegFormer B5")
    with qtbot.waitSignal(window_on.dialogs.importing.job_finished, timeout=SOON) as told:
        qtbot.mouseClick(dialog.start, LEFT)
    assert told.args[2], told.args[1]
    window_on.dialogs.export()
    (export,) = window_on.findChildren(ExportDialog)
    model = export.believing.model
    qtbot.waitUntil(lambda: model.count() == 2, timeout=SOON)
    assert model.itemText(1) == "SegFormer B5: 2 of 30 frames"
    model.setCurrentIndex(1)
    export.believing.attention.setChecked(True)  # nobody has that model
    assert not export.start.isEnabled()
    assert "not at hand" in export.believing.why_attention.text()


def test_maps_that_cannot_be_read_are_told_beside_their_place(
    qtbot: QtBot, window_on: MainWindow, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    window_on.dialogs.import_labels()
    (dialog,) = window_on.findChildren(ImportDialog)
    with qtbot.waitSignal(window_on.dialogs.importing.guessed, timeout=SOON):
        dialog.source.setText(str(tmp_path / "none"))
    assert "No format is recognised" in dialog.why_source.text()
    with qtbot.waitSignal(window_on.dialogs.importing.refused, timeout=SOON):
        qtbot.mouseClick(dialog.read, LEFT)
    assert str(tmp_path / "none") in dialog.why_source.text()
    assert not dialog.start.isEnabled()
    assert dialog.read.isEnabled()


def test_an_import_that_is_cancelled_takes_nothing(
    qtbot: QtBot, window_on: MainWindow, project: Path, maps: Path
) -> None:
    dialog = _import_dialog(qtbot, window_on, maps)
    importing, behind = window_on.dialogs.importing, Event()
    window_on.dialogs._jobs.write(behind.wait)  # the import waits for what came before
    with qtbot.waitSignal(importing.job_finished, timeout=SOON) as told:
        dialog.start.click()
        qtbot.mouseClick(window_on.jobs_panel.row(IMPORT_JOB).button, LEFT)
        behind.set()
    assert told.args[1:] == ["cancelled; nothing was taken", True]
    with Project.open(project, write=False) as read:
        assert read.labelled(read.media[0].id) == (3,)


def test_a_video_is_made_from_the_window(
    qtbot: QtBot, window_on: MainWindow, tmp_path: Path
) -> None:
    qtbot.keyClick(window_on.display.canvas, Qt.Key.Key_E, CTRL | SHIFT)
    (dialog,) = window_on.findChildren(VideoDialog)
    dialog.layout_box.setCurrentIndex(1)
    assert [row.title.text() for row in dialog.panels[:2]] == ["Picture", "Labels"]
    dialog.panels[1].title.setText("a=b")
    assert not dialog.start.isEnabled()
    dialog.panels[1].title.setText("Mine")
    dialog.last.setValue(4)
    dialog.first.setValue(6)
    assert dialog.why_range.isVisible()
    dialog.first.setValue(1)
    dialog.out.setText(str(tmp_path / "show.avi"))
    assert not dialog.start.isEnabled()
    dialog.out.setText(str(tmp_path / "show.mp4"))
    with qtbot.waitSignal(window_on.dialogs.video_making.job_finished, timeout=SOON) as told:
        qtbot.mouseClick(dialog.start, LEFT)
    assert told.args[2], told.args[1]
    with av.open(str(tmp_path / "show.mp4")) as file:
        pictures = [frame.width for frame in file.decode(video=0)]
    assert len(pictures) == 4
    assert pictures[0] > 2 * 96 - 1


def test_an_export_with_checks_tells_what_they_removed(
    qtbot: QtBot, window_on: MainWindow, model: Path, tmp_path: Path
) -> None:
    controller = window_on.controller
    with qtbot.waitSignal(controller.model_changed, timeout=SOON):
        controller.load_model(ModelChoice(str(model), "cpu", "fp32"))
    with qtbot.waitSignal(
        controller.whole_pass.job_finished,
        timeout=SOON,
        check_params_cb=lambda job, *_: job == PASS_JOB,
    ):
        controller.run_pass()
    window_on.dialogs.export()
    (dialog,) = window_on.findChildren(ExportDialog)
    believing = dialog.believing
    qtbot.waitUntil(lambda: believing.model.count() == 2, timeout=SOON)
    believing.model.setCurrentIndex(1)
    assert believing.model.currentText().endswith("30 of 30 frames")
    assert believing.model.currentData() == str(model)
    believing.threshold.setValue(0)
    dict(believing.rows)[CLASSES[0].name].setValue(0.99)
    believing.flow.setChecked(True)
    dialog.out.setText(str(tmp_path / "out"))
    with (
        qtbot.waitSignal(window_on.exporting.noticed, timeout=SOON) as noticed,
        qtbot.waitSignal(window_on.exporting.job_finished, timeout=SOON) as told,
    ):
        qtbot.mouseClick(dialog.start, LEFT)
    assert told.args[2], told.args[1]
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    labels = record["media"][0]["pseudo_labels"]
    pixels = labels["pixels"]
    assert f"{pixels['kept']:,} of {pixels['predicted']:,} predicted pixels" in noticed.args[0].text
    assert f"by flow {pixels['against_flow']:,}" in noticed.args[0].text
    assert f"by attention {pixels['against_attention']:,}" in told.args[1]


def test_the_words_of_an_export_are_those_of_the_command(
    qtbot: QtBot, window_on: MainWindow
) -> None:
    window_on.dialogs.export()
    (dialog,) = window_on.findChildren(ExportDialog)
    painting = window_on.controller.painting
    assert painting.project is not None
    stored = StoredModel("a" * 64, "old", None, {painting.project.media[0].sha256: 12})
    dialog.set_models([stored])
    dialog.believing.model.setCurrentIndex(1)
    dialog.believing.by_share.setChecked(True)
    dialog.believing.share.setValue(25)
    assert not dialog.threshold.isEnabled()
    dialog.only.setCurrentIndex(dialog.only.findData("checked"))
    dialog.images.setChecked(True)
    dialog.believing.attention.setChecked(True)
    assert not dialog.start.isEnabled()  # nobody has that model
    words = dialog.wish().words()
    pairs = dict(pairwise(words))
    assert (pairs["--top-share"], pairs["--model"]) == ("0.25", "a" * 64)
    assert (pairs["--only"], pairs["--attention-check"]) == ("checked", "0.5")
    assert "--images" in words
    assert "--threshold" not in words
    dialog.set_models([])
    dialog.source.setCurrentIndex(dialog.source.findData("predictions"))
    assert not dialog.start.isEnabled()
    assert dialog.believing.why_model.isVisible()
    dialog.source.setCurrentIndex(dialog.source.findData("labels"))
    assert dialog.start.isEnabled()
    assert "--top-share" not in dialog.wish().words()
