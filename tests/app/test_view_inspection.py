from __future__ import annotations

import re

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QFontMetricsF
from pytestqt.qtbot import QtBot

from app.views.inspector import Inspector
from app.views.key_strip import EMPTY, KeyStrip
from app.views.look import percentages, small_font
from app.views.tiles import crop_cells, tile_picture
from stt_core.drawing import heat_table
from stt_core.labels import LabelClass
from stt_core.results import LookBack

LEFT = Qt.MouseButton.LeftButton
ROWS, COLS, STRIDE = 30, 40, 8
IMAGE = np.full((ROWS * STRIDE, COLS * STRIDE, 3), 90, np.uint8)
RADII = (1, 2, 3, 4, 4, 4, 4, 4, 4)
CLASSES = tuple(LabelClass(name, (10 * i, 90, 90)) for i, name in enumerate("abcdef"))


def _look(
    *,
    frame: int = 57,
    past: int = 7,
    cell: tuple[int, int] = (15, 20),
    selected: bool = True,
    forced: bool = False,
    heads: int = 8,
    spacing: int = 1,
) -> LookBack:
    rng = np.random.default_rng(frame)
    row, col = cell
    weights = np.zeros((heads, past, ROWS, COLS), np.float32)
    for lag in range(past):
        r = RADII[lag]
        rows = slice(max(0, row - r), row + r + 1)
        cols = slice(max(0, col - r), col + r + 1)
        weights[:, lag, rows, cols] = rng.random(weights[:, lag, rows, cols].shape)
    if past:
        weights /= weights.sum((1, 2, 3), keepdims=True)
    return LookBack(
        frame=frame,
        x=col * STRIDE + 3,
        y=row * STRIDE + 3,
        row=row,
        col=col,
        box=(col * STRIDE, row * STRIDE, (col + 1) * STRIDE, (row + 1) * STRIDE),
        selected=selected,
        forced=forced,
        need=0.731,
        frames=tuple(frame - spacing * (i + 1) for i in range(past)),
        radii=RADII[:past],
        images=(IMAGE,) * past,
        weights=weights,
        probabilities=np.array([0.05, 0.6, 0.0, 0.25, 0.1, 0.0], np.float32),
    )


@pytest.fixture
def strip(qtbot: QtBot) -> KeyStrip:
    strip = KeyStrip()
    qtbot.addWidget(strip)
    strip.resize(1000, 204)
    with qtbot.waitExposed(strip):
        strip.show()
    return strip


@pytest.fixture
def inspector(qtbot: QtBot) -> Inspector:
    inspector = Inspector()
    qtbot.addWidget(inspector)
    inspector.resize(330, 620)
    inspector.set_classes(CLASSES)
    with qtbot.waitExposed(inspector):
        inspector.show()
    return inspector


# Percentages


@pytest.mark.parametrize("seed", range(20))
def test_percentages_add_up_to_one_hundred_and_are_off_by_less_than_a_tenth(seed: int) -> None:
    weights = np.random.default_rng(seed).random(7) ** 3
    shown = percentages(weights)
    assert round(sum(shown), 6) == 100
    assert np.abs(np.array(shown) - 100 * weights / weights.sum()).max() < 0.1


def test_percentages_of_nothing_are_zero() -> None:
    assert percentages([]) == []
    assert percentages([0.0, 0.0]) == [0, 0]


# Key strip


def test_seven_tiles_oldest_left_then_the_query(strip: KeyStrip) -> None:
    strip.show_look_back(_look(), IMAGE)
    captions = strip.captions()
    assert len(captions) == 8
    names = [caption.split()[:2] for caption in captions[:7]]
    assert names == [
        ["t-7", "9x9"],
        ["t-6", "9x9"],
        ["t-5", "9x9"],
        ["t-4", "9x9"],
        ["t-3", "7x7"],
        ["t-2", "5x5"],
        ["t-1", "3x3"],
    ]
    assert captions[7] == "t query (163, 123)"


@pytest.mark.parametrize("head", [None, 0, 7])
def test_shares_of_the_tiles_sum_to_one_hundred(strip: KeyStrip, head: int | None) -> None:
    look = _look()
    strip.show_look_back(look, IMAGE, head)
    shown = [float(re.findall(r"([\d.]+) %", text)[0]) for text in strip.captions()[:7]]
    assert round(sum(shown), 6) == 100
    expected = look.of_head(head).sum((1, 2))[::-1] * 100
    np.testing.assert_allclose(shown, expected, atol=0.11)


def test_clip_start_is_padded_with_grey_tiles(strip: KeyStrip) -> None:
    strip.show_look_back(_look(frame=3, past=3), IMAGE)
    captions = strip.captions()
    assert captions[:4] == [f"t-{lag} no frame" for lag in (7, 6, 5, 4)]
    assert [strip.tile_at(i).is_empty for i in range(8)] == [True] * 4 + [False] * 4


def test_first_frame_shows_the_query_alone(strip: KeyStrip) -> None:
    strip.show_look_back(_look(frame=0, past=0), IMAGE)
    assert [strip.tile_at(i).is_empty for i in range(8)] == [True] * 7 + [False]


def test_nine_key_frames_get_nine_tiles_and_seven_come_back(strip: KeyStrip) -> None:
    strip.show_look_back(_look(past=9), IMAGE)
    assert len(strip.captions()) == 10
    strip.show_look_back(_look(past=7), IMAGE)
    assert len(strip.captions()) == 8


def test_clicked_tile_says_its_lag(qtbot: QtBot, strip: KeyStrip) -> None:
    strip.show_look_back(_look(spacing=2), IMAGE)
    with qtbot.waitSignal(strip.tile_clicked) as oldest:
        qtbot.mouseClick(strip.tile_at(0), LEFT)
    with qtbot.waitSignal(strip.tile_clicked) as newest:
        qtbot.keyClick(strip.tile_at(6), Qt.Key.Key_Return)
    with qtbot.waitSignal(strip.tile_clicked) as query:
        qtbot.mouseClick(strip.tile_at(7), LEFT)
    assert [s.args[0] for s in (oldest, newest, query)] == [14, 2, 0]


def test_grey_tile_cannot_be_clicked(qtbot: QtBot, strip: KeyStrip) -> None:
    strip.show_look_back(_look(frame=3, past=3), IMAGE)
    with qtbot.assertNotEmitted(strip.tile_clicked):
        qtbot.mouseClick(strip.tile_at(0), LEFT)


def test_cleared_strip_teaches(strip: KeyStrip) -> None:
    shown = strip.grab().toImage()
    strip.show_look_back(_look(), IMAGE)
    assert strip.grab().toImage() != shown
    strip.show_look_back(None, IMAGE)
    assert strip.grab().toImage() == shown
    assert "Press Q and click a pixel" in EMPTY


def test_one_scale_for_all_tiles_or_one_each(strip: KeyStrip) -> None:
    look = _look()
    look.weights[:, 6] *= 0.02  # the oldest frame gets next to nothing
    strip.show_look_back(look, IMAGE, None, per_frame=False)
    together = strip.tile_at(0).grab().toImage()
    newest = strip.tile_at(5).grab().toImage()
    strip.show_look_back(look, IMAGE, None, per_frame=True)
    assert strip.tile_at(0).grab().toImage() != together
    strip.show_look_back(look, IMAGE, None, per_frame=False)
    assert strip.tile_at(0).grab().toImage() == together
    assert strip.tile_at(5).grab().toImage() == newest


@pytest.mark.parametrize("cell", [(15, 20), (0, 0), (ROWS - 1, COLS - 1), (2, 38)])
def test_crop_holds_the_largest_window_and_its_context(cell: tuple[int, int]) -> None:
    look = _look(cell=cell)
    r0, r1, c0, c1 = crop_cells(look)
    assert (r1 - r0, c1 - c0) == (17, 17)
    assert min(r0, c0) >= 0
    assert r1 <= ROWS
    assert c1 <= COLS
    for lag in range(7):
        top, bottom, left, right = look.window(lag)
        assert r0 <= top
        assert bottom <= r1
        assert c0 <= left
        assert right <= c1


def test_tile_picture_puts_box_and_heat_where_the_window_is() -> None:
    weights = np.zeros((ROWS, COLS), np.float32)
    weights[14, 21] = 1
    picture = tile_picture(IMAGE, (7, 24, 12, 29), (ROWS, COLS), (12, 19, 17, 24), (weights, 1.0))
    assert picture.image.shape == (136, 136, 3)
    assert picture.box == (40, 40, 96, 96)
    assert picture.heat is not None
    hottest = np.unravel_index(picture.heat[..., 3].argmax(), (136, 136))
    assert 56 <= hottest[0] < 64
    assert 72 <= hottest[1] < 80
    # Half a pixel off the cell's centre, as it has an even width.
    assert picture.heat[..., 3].max() >= heat_table()[220, 3]


def test_whole_frames_show_the_whole_frame(qtbot: QtBot, strip: KeyStrip) -> None:
    strip.show_look_back(_look(), IMAGE)
    crop = strip.tile_at(0).grab().toImage()
    qtbot.mouseClick(strip.whole_button, LEFT)
    assert strip.tile_at(0).grab().toImage() != crop
    qtbot.mouseClick(strip.whole_button, LEFT)
    assert strip.tile_at(0).grab().toImage() == crop


def test_captions_fit_their_tiles_in_a_small_window(strip: KeyStrip) -> None:
    strip.resize(880, 180)
    strip.show_look_back(_look(past=9), IMAGE)
    for index in range(10):
        tile = strip.tile_at(index)
        bold = QFontMetricsF(small_font(tile.font(), bold=True))
        line = f"{tile.text.title}  {tile.text.aside}"
        assert bold.horizontalAdvance(line) <= tile.width()
        assert bold.horizontalAdvance(tile.text.value) <= tile.width()


# Inspector


def test_inspector_teaches_until_asked(inspector: Inspector) -> None:
    empty = inspector.grab().toImage()
    inspector.show_look_back(_look())
    assert inspector.grab().toImage() != empty
    inspector.clear()
    assert inspector.grab().toImage() == empty


def test_three_most_probable_classes_by_name(inspector: Inspector) -> None:
    inspector.show_look_back(_look())
    assert inspector.bars.texts() == ["b 60.0 %", "d 25.0 %", "e 10.0 %"]


def test_every_row_of_the_table_sums_to_one_hundred(inspector: Inspector) -> None:
    look = _look()
    inspector.show_look_back(look)
    rows = inspector.table.rows()
    assert len(rows) == 9
    assert [round(sum(row), 6) for row in rows] == [100] * 9
    np.testing.assert_allclose(rows[:8], 100 * look.per_frame()[:, ::-1], atol=0.1)
    np.testing.assert_allclose(rows[8], 100 * look.per_frame().mean(0)[::-1], atol=0.1)


@pytest.mark.parametrize("head", [0, 4, 7])
def test_head_is_chosen_by_its_button(qtbot: QtBot, inspector: Inspector, head: int) -> None:
    inspector.show_look_back(_look())
    with qtbot.waitSignal(inspector.head_chosen) as chosen:
        qtbot.mouseClick(inspector.heads.button(head), LEFT)
    assert chosen.args == [head]
    assert inspector.heads.button(head).isChecked()
    with qtbot.waitSignal(inspector.head_chosen) as mean:
        qtbot.mouseClick(inspector.heads.button(None), LEFT)
    assert mean.args == [None]
    assert not inspector.heads.button(head).isChecked()


@pytest.mark.parametrize(("row", "head"), [(0, 0), (5, 5), (8, None)])
def test_head_is_chosen_by_its_row(
    qtbot: QtBot, inspector: Inspector, row: int, head: int | None
) -> None:
    inspector.show_look_back(_look(), head=2)
    with qtbot.waitSignal(inspector.head_chosen) as chosen:
        at = inspector.table.row_centre(row).toPoint()
        qtbot.mouseClick(inspector.table, LEFT, pos=at)
    assert chosen.args == [head]
    assert inspector.heads.button(head).isChecked()


def test_arrow_keys_walk_the_rows(qtbot: QtBot, inspector: Inspector) -> None:
    inspector.show_look_back(_look(), head=None)
    with qtbot.waitSignal(inspector.head_chosen) as up:
        qtbot.keyClick(inspector.table, Qt.Key.Key_Up)
    with qtbot.waitSignal(inspector.head_chosen) as down:
        qtbot.keyClick(inspector.table, Qt.Key.Key_Down)
    assert (up.args, down.args) == ([7], [None])


def test_header_of_the_table_chooses_nothing(qtbot: QtBot, inspector: Inspector) -> None:
    inspector.show_look_back(_look())
    with qtbot.assertNotEmitted(inspector.head_chosen):
        qtbot.mouseClick(inspector.table, LEFT, pos=QPoint(100, 3))


def test_showing_a_look_back_does_not_echo(qtbot: QtBot, inspector: Inspector) -> None:
    with (
        qtbot.assertNotEmitted(inspector.head_chosen),
        qtbot.assertNotEmitted(inspector.normalisation_changed),
    ):
        inspector.show_look_back(_look(), head=3)
        inspector.choose_head(5)
        inspector.set_per_frame(True)
    assert inspector.heads.button(5).isChecked()


def test_unselected_position_offers_to_inspect_anyway(qtbot: QtBot, inspector: Inspector) -> None:
    inspector.show_look_back(_look(selected=False, past=0))
    assert inspector.state_text().startswith("Not selected")
    assert not inspector.table.isVisible()
    with qtbot.waitSignal(inspector.force_requested):
        qtbot.mouseClick(inspector.force_button, LEFT)
    inspector.show_look_back(_look(selected=False, forced=True))
    assert "anyway" in inspector.state_text()
    assert not inspector.force_button.isVisible()
    assert inspector.table.isVisible()


def test_first_frame_says_that_nothing_was_before(inspector: Inspector) -> None:
    inspector.show_look_back(_look(frame=0, past=0))
    assert inspector.state_text().startswith("No earlier frames")
    assert not inspector.force_button.isVisible()


def test_normalisation_is_told_when_toggled(qtbot: QtBot, inspector: Inspector) -> None:
    inspector.show_look_back(_look())
    with qtbot.waitSignal(inspector.normalisation_changed) as changed:
        qtbot.mouseClick(inspector.normalise_box, LEFT, pos=QPoint(8, 8))
    assert changed.args == [True]


def test_another_number_of_heads_gets_as_many_buttons(inspector: Inspector) -> None:
    inspector.show_look_back(_look(heads=4))
    assert len(inspector.table.rows()) == 5
    inspector.show_look_back(_look(heads=12), head=11)
    assert inspector.heads.button(11).isChecked()


def test_key_of_the_normalisation_toggle_works(qtbot: QtBot, inspector: Inspector) -> None:
    inspector.show_look_back(_look())
    with qtbot.waitSignal(inspector.normalisation_changed):
        qtbot.keyClick(inspector, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)


def test_key_of_the_whole_frames_toggle_works(qtbot: QtBot, strip: KeyStrip) -> None:
    with qtbot.waitSignal(strip.whole_button.toggled):
        qtbot.keyClick(strip, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier)
