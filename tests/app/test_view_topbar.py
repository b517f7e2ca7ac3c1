from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox
from pytestqt.qtbot import QtBot

from app.views.canvas import Tool
from app.views.topbar import LOAD, TopBar
from tests.app.widgets import named, shown

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def topbar(qtbot: QtBot) -> TopBar:
    bar = TopBar()
    shown(qtbot, bar, 1280, 44)
    bar.set_models([("Street", "/m/a.stt", "Apache-2.0"), ("CamVid", "/m/b.stt", "own use only")])
    bar.set_devices(["cpu", "cuda:0"])
    return bar


def _combo(bar: TopBar, name: str) -> QComboBox:
    return next(c for c in bar.findChildren(QComboBox) if c.accessibleName() == name)


def _pick(qtbot: QtBot, combo: QComboBox, text: str) -> None:
    """Open the list, walk down to an entry, press Return."""
    combo.showPopup()
    view = combo.view()
    view.setCurrentIndex(combo.model().index(combo.findText(text), 0))
    qtbot.keyClick(view, Qt.Key.Key_Return)


def test_picked_model_is_named_by_its_path(qtbot: QtBot, topbar: TopBar) -> None:
    with qtbot.waitSignal(topbar.model_chosen) as chosen:
        _pick(qtbot, _combo(topbar, "Model"), "CamVid")
    assert chosen.args == ["/m/b.stt"]


def test_load_entry_asks_and_leaves_the_modelshown(qtbot: QtBot, topbar: TopBar) -> None:
    topbar.choose_model("/m/a.stt")
    with (
        qtbot.assertNotEmitted(topbar.model_chosen),
        qtbot.waitSignal(topbar.load_model_requested),
    ):
        _pick(qtbot, _combo(topbar, "Model"), LOAD)
    assert _combo(topbar, "Model").currentText() == "Street"


def test_model_not_listed_is_added_when_it_is_in_use(topbar: TopBar) -> None:
    topbar.choose_model("/elsewhere/mine.stt")
    combo = _combo(topbar, "Model")
    assert combo.currentText() == "mine.stt"
    assert combo.findData("/m/a.stt") >= 0


@pytest.mark.parametrize(
    ("name", "text", "signal"),
    [("Device", "cuda:0", "device_chosen"), ("Precision", "bf16", "precision_chosen")],
)
def test_device_and_precision_are_told(
    qtbot: QtBot, topbar: TopBar, name: str, text: str, signal: str
) -> None:
    with qtbot.waitSignal(getattr(topbar, signal)) as chosen:
        _pick(qtbot, _combo(topbar, name), text)
    assert chosen.args == [text]


def test_top_bar_does_not_echo(qtbot: QtBot, topbar: TopBar) -> None:
    signals = (
        topbar.model_chosen,
        topbar.load_model_requested,
        topbar.device_chosen,
        topbar.precision_chosen,
        topbar.key_frames_chosen,
        topbar.tool_chosen,
        topbar.overlay_toggled,
        topbar.veil_toggled,
        topbar.need_toggled,
        topbar.radius_changed,
    )
    heard: list[object] = []
    for signal in signals:
        signal.connect(lambda *args: heard.append(args))
    topbar.set_models([("x", "/x", "")])
    topbar.choose_model("/x")
    topbar.set_devices(["cpu"])
    topbar.choose_device("cpu")
    topbar.choose_precision("fp16")
    topbar.set_key_frames(3)
    topbar.set_tool(Tool.BRUSH)
    topbar.set_overlay(False)
    topbar.set_veil(True)
    topbar.set_need(True)
    topbar.set_radius(9)
    assert heard == []


@pytest.mark.parametrize("tool", [Tool.INSPECT, Tool.BRUSH, Tool.ERASER])
def test_tool_buttons_are_exclusive(qtbot: QtBot, topbar: TopBar, tool: Tool) -> None:
    with qtbot.waitSignal(topbar.tool_chosen) as chosen:
        qtbot.mouseClick(topbar.tool_button(tool), LEFT)
    assert chosen.args == [tool]
    down = [t for t in (Tool.INSPECT, Tool.BRUSH, Tool.ERASER) if topbar.tool_button(t).isChecked()]
    assert down == [tool]


def test_veil_and_similarity_replace_each_other(qtbot: QtBot, topbar: TopBar) -> None:
    veil = named(topbar, "Selected queries")
    need = named(topbar, "Neighbouring similarity D_NSM, what selection ranks")
    heard: list[tuple[str, bool]] = []
    topbar.veil_toggled.connect(lambda on: heard.append(("veil", on)))
    topbar.need_toggled.connect(lambda on: heard.append(("need", on)))
    qtbot.mouseClick(veil, LEFT)
    qtbot.mouseClick(need, LEFT)
    qtbot.mouseClick(need, LEFT)
    assert heard == [("veil", True), ("veil", False), ("need", True), ("need", False)]


def test_key_frames_and_radius_are_told(qtbot: QtBot, topbar: TopBar) -> None:
    boxes = {b.accessibleName(): b for b in topbar.findChildren(QAbstractSpinBox)}
    with qtbot.waitSignal(topbar.key_frames_chosen) as count:
        qtbot.keyClick(boxes["Key frames"], Qt.Key.Key_Down)
    with qtbot.waitSignal(topbar.radius_changed) as radius:
        qtbot.keyClick(boxes["Brush radius"], Qt.Key.Key_Up)
    assert (count.args, radius.args) == ([6], [6.0])


def test_top_bar_fits_a_small_window(topbar: TopBar) -> None:
    topbar.choose_model("/a/very/long/" + 60 * "name" + ".stt")
    assert topbar.minimumSizeHint().width() <= 1280
