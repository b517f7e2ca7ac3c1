from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from app.views.scrubber import shares_per_column
from app.views.timeline import Timeline
from tests.app.widgets import named, shown

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def timeline(qtbot: QtBot) -> Timeline:
    timeline = Timeline()
    shown(qtbot, timeline, 1000, 44)
    timeline.set_media(1831, 30)
    return timeline


def _at(timeline: Timeline, frame: int) -> QPoint:
    return QPoint(round(timeline.scrubber.position_of(frame)), 15)


def test_clicking_the_bar_goes_there(qtbot: QtBot, timeline: Timeline) -> None:
    with qtbot.waitSignal(timeline.moved) as moved:
        qtbot.mouseClick(timeline.scrubber, LEFT, pos=_at(timeline, 900))
    assert abs(moved.args[0] - 900) <= 2


def test_dragging_the_bar_names_every_frame_passed(qtbot: QtBot, timeline: Timeline) -> None:
    frames: list[int] = []
    timeline.moved.connect(frames.append)
    qtbot.mousePress(timeline.scrubber, LEFT, pos=_at(timeline, 100))
    for frame in (400, 700, 5000):
        qtbot.mouseMove(timeline.scrubber, _at(timeline, frame))
    qtbot.mouseRelease(timeline.scrubber, LEFT, pos=_at(timeline, 1830))
    assert len(frames) == 4
    assert frames == sorted(frames)
    assert frames[-1] == 1830


def test_late_pictures_do_not_pull_the_handle_from_the_hand(
    qtbot: QtBot, timeline: Timeline
) -> None:
    qtbot.mousePress(timeline.scrubber, LEFT, pos=_at(timeline, 900))
    held = timeline.scrubber.value()
    timeline.show_frame(880, 29.3)
    assert timeline.scrubber.value() == held
    qtbot.mouseRelease(timeline.scrubber, LEFT, pos=_at(timeline, 900))
    timeline.show_frame(held, 30)
    assert timeline.frame_box.value() == held


def test_showing_a_frame_does_not_echo(qtbot: QtBot, timeline: Timeline) -> None:
    with qtbot.assertNotEmitted(timeline.moved):
        timeline.show_frame(57, 1.933)
        timeline.set_media(100, 25)
        timeline.show_frame(99, 3.96)
    assert timeline.frame_box.value() == timeline.scrubber.value() == 99


def test_frame_and_time_are_written_out(timeline: Timeline) -> None:
    timeline.show_frame(57, 1.933)
    assert timeline.frame_box.text() == "57 / 1830"
    assert timeline.time_text == "00:01.933"


def test_typed_frame_number_moves_once_it_is_complete(qtbot: QtBot, timeline: Timeline) -> None:
    frames: list[int] = []
    timeline.moved.connect(frames.append)
    timeline.focus_frame()
    qtbot.keyClicks(timeline.frame_box, "123")
    assert frames == []
    qtbot.keyClick(timeline.frame_box, Qt.Key.Key_Return)
    assert frames == [123]


@pytest.mark.parametrize(
    ("name", "signal", "value"),
    [
        ("First frame", "moved", 0),
        ("Last frame", "moved", 1830),
        ("Previous frame", "stepped", -1),
        ("Next frame", "stepped", 1),
    ],
)
def test_buttons_move_and_step(
    qtbot: QtBot, timeline: Timeline, name: str, signal: str, value: int
) -> None:
    with qtbot.waitSignal(getattr(timeline, signal)) as sent:
        qtbot.mouseClick(named(timeline, name), LEFT)
    assert sent.args == [value]


def test_play_button_asks_and_shows_the_state_it_is_told(qtbot: QtBot, timeline: Timeline) -> None:
    button = named(timeline, "Play")
    before = button.grab().toImage()
    with qtbot.waitSignal(timeline.play_toggled):
        qtbot.mouseClick(button, LEFT)
    timeline.set_playing(True)
    assert button.accessibleName() == "Pause"
    assert button.grab().toImage() != before


def test_without_media_nothing_can_be_pressed(timeline: Timeline) -> None:
    timeline.set_media(0, 25)
    assert not timeline.isEnabled()
    assert timeline.frame_box.text() == "0 / 0"


def test_half_a_million_frames_show_where_they_are_predicted(
    qtbot: QtBot, timeline: Timeline
) -> None:
    count = 500_000
    timeline.set_media(count, 30)
    predicted = np.zeros(count, np.bool_)
    predicted[200_000:300_000] = True
    predicted[450_000] = True
    timeline.set_predicted(predicted)
    timeline.set_painted(range(0, count, 3))
    timeline.set_painted([])
    image = timeline.scrubber.grab().toImage()

    def is_green(frame: int) -> bool:
        x = round(timeline.scrubber.position_of(frame))
        colors = [image.pixelColor(x + dx, 17) for dx in (-1, 0, 1)]
        return any(c.green() > c.red() + 20 for c in colors)

    marks = [is_green(f) for f in (100_000, 250_000, 400_000, 450_000)]
    assert marks == [False, True, False, True]


def test_painted_frames_have_diamonds(timeline: Timeline) -> None:
    before = timeline.scrubber.grab().toImage()
    timeline.set_painted([900])
    after = timeline.scrubber.grab().toImage()
    x = round(timeline.scrubber.position_of(900))
    assert after.pixelColor(x, 10) != before.pixelColor(x, 10)
    assert after.pixelColor(x + 30, 10) == before.pixelColor(x + 30, 10)


@pytest.mark.parametrize(("count", "width"), [(10, 30), (30, 30), (31, 30), (1000, 7), (1, 5)])
def test_columns_show_every_predicted_frame(count: int, width: int) -> None:
    for frame in range(0, count, max(1, count // 11)):
        flags = np.zeros(count, np.bool_)
        flags[frame] = True
        shares = shares_per_column(flags, width)
        assert shares.shape == (width,)
        assert shares.max() > 0
    assert (shares_per_column(np.ones(count, np.bool_), width) == 1).all()
    assert not shares_per_column(np.zeros(0, np.bool_), width).any()
