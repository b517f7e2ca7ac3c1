from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QWidget
from pytestqt.qtbot import QtBot

from app.views.buttons import IconButton
from app.views.classes import ClassPanel
from app.views.icons import icon
from app.views.inspector import Inspector
from app.views.key_strip import KeyStrip
from app.views.look import ToneLabel, clock, good, text_on
from app.views.start_page import StartPage
from app.views.timeline import Timeline
from app.views.topbar import TopBar
from stt_core.labels import LabelClass
from stt_core.resources import resource_path

CLASSES = tuple(LabelClass(f"class {i}", (20 * i, 100, 50)) for i in range(11))


MAKERS: list[Callable[[], QWidget]] = [Timeline, ClassPanel, TopBar, Inspector, KeyStrip, StartPage]


@pytest.mark.parametrize("make", MAKERS)
def test_whatever_can_be_used_has_a_name_and_a_tooltip(
    qtbot: QtBot, make: Callable[[], QWidget]
) -> None:
    widget = make()
    qtbot.addWidget(widget)
    if isinstance(widget, ClassPanel):
        widget.set_classes(CLASSES)
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox)
    parts = [part for kind in kinds for part in widget.findChildren(kind)]
    named = [p for p in parts if not p.objectName().startswith("qt_")]
    # the scroll bars of a scroll area are Qt's own
    named = [p for p in named if type(p).__name__ != "QScrollBar"]
    assert named
    for part in named:
        assert part.accessibleName(), part
        assert part.toolTip(), part


@pytest.mark.parametrize(
    "path", sorted(resource_path("icons").glob("*.svg")), ids=lambda path: path.stem
)
def test_icons_take_the_colour_they_are_given(qtbot: QtBot, path: object) -> None:
    name = re.sub(r".*/|\.svg$", "", str(path).replace("\\", "/"))
    image = icon(name, QColor(250, 0, 0)).pixmap(32, 32).toImage()
    inked = [
        image.pixelColor(x, y)
        for x in range(image.width())
        for y in range(image.height())
        if image.pixelColor(x, y).alpha() > 200
    ]
    assert len(inked) > 20
    assert all(c.red() > 230 and c.green() < 20 for c in inked)


def test_missing_icon_is_an_error(qtbot: QtBot) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-icon"):
        icon("no-such-icon", QColor("red"))


def test_icon_follows_the_palette(qtbot: QtBot) -> None:
    button = IconButton("play", "Play", "Play", "Space")
    qtbot.addWidget(button)

    def ink(text: str, window: str) -> QColor:
        palette = QPalette(QColor(window))
        palette.setColor(QPalette.ColorRole.WindowText, QColor(text))
        palette.setColor(QPalette.ColorRole.Window, QColor(window))
        button.setPalette(palette)
        return button.grab().toImage().pixelColor(13, 15)

    assert ink("white", "black").lightness() > 200
    assert ink("black", "white").lightness() < 60


def test_times_are_written_with_hours_only_when_there_are_any() -> None:
    assert clock(1.933) == "00:01.933"
    assert clock(59.9996) == "01:00.000"
    assert clock(3723.004) == "1:02:03.004"
    assert clock(-1) == "00:00.000"


@pytest.mark.parametrize(("ground", "ink"), [("white", "black"), ("#202020", "white")])
def test_text_contrasts_with_its_ground(ground: str, ink: str) -> None:
    assert text_on(QColor(ground)) == QColor(ink)


def test_toned_text_follows_the_palette_and_becomes_plain_again(qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    label = ToneLabel("done", parent)

    def ink() -> QColor:
        return label.palette().color(QPalette.ColorRole.WindowText)

    parent.setPalette(QPalette(QColor("#202020")))
    label.set_tone(good)
    on_dark = ink()
    parent.setPalette(QPalette(QColor("#f0f0f0")))
    assert on_dark == good(QPalette(QColor("#202020")))
    assert ink() == good(QPalette(QColor("#f0f0f0"))) != on_dark
    label.set_tone(None)
    assert ink() == parent.palette().color(QPalette.ColorRole.WindowText)
