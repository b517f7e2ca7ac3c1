from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPalette, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.views.canvas import MAX_RADIUS, Canvas, Tool
from stt_core.labels import UNLABELLED, Stroke, covered_by

LEFT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton
ALT = Qt.KeyboardModifier.AltModifier
HIGH, WIDE = 60, 80


@pytest.fixture
def canvas(qtbot: QtBot) -> Canvas:
    canvas = Canvas()
    qtbot.addWidget(canvas)
    canvas.resize(640, 480)
    canvas.show_frame(np.full((HIGH, WIDE, 3), 40, np.uint8))
    with qtbot.waitExposed(canvas):
        canvas.show()
    return canvas


def _table(**colors: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    table = np.zeros((256, 4), np.uint8)
    for name, color in colors.items():
        table[int(name[1:])] = color
    return table


def _color_at(canvas: Canvas, x: float, y: float) -> tuple[int, int, int]:
    color = canvas.grab().toImage().pixelColor(canvas.position_of(x, y))
    return color.red(), color.green(), color.blue()


def _drag(qtbot: QtBot, canvas: Canvas, points: list[tuple[float, float]]) -> None:
    at = [canvas.position_of(*point) for point in points]
    qtbot.mousePress(canvas.viewport(), LEFT, pos=at[0])
    for position in at[1:]:
        qtbot.mouseMove(canvas.viewport(), position)
    qtbot.mouseRelease(canvas.viewport(), LEFT, pos=at[-1])


def _wheel(canvas: Canvas, at: QPoint, notches: int, modifiers: Qt.KeyboardModifier) -> None:
    turned = QPoint(120 * notches, 0) if modifiers & ALT else QPoint(0, 120 * notches)
    phase = Qt.ScrollPhase.NoScrollPhase
    none = Qt.MouseButton.NoButton
    event = QWheelEvent(QPointF(at), QPointF(at), QPoint(), turned, none, modifiers, phase, False)
    QApplication.sendEvent(canvas.viewport(), event)


@pytest.mark.parametrize("pixel", [(0, 0), (10, 20), (WIDE - 1, HIGH - 1)])
def test_click_is_reported_in_image_pixels(
    qtbot: QtBot, canvas: Canvas, pixel: tuple[int, int]
) -> None:
    at = canvas.position_of(pixel[0] + 0.5, pixel[1] + 0.5)
    with qtbot.waitSignal(canvas.clicked) as click:
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=at)
    assert tuple(click.args) == pixel


def test_click_outside_the_image_says_nothing(qtbot: QtBot, canvas: Canvas) -> None:
    with qtbot.assertNotEmitted(canvas.clicked):
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=QPoint(2, 2))
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=canvas.position_of(-0.6, 20))


def test_click_is_in_image_pixels_after_zooming(qtbot: QtBot, canvas: Canvas) -> None:
    at = canvas.position_of(30.5, 20.5)
    for _ in range(4):
        _wheel(canvas, at, 1, Qt.KeyboardModifier.NoModifier)
    with qtbot.waitSignal(canvas.clicked) as click:
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=canvas.position_of(33.5, 22.5))
    assert tuple(click.args) == (33, 22)


def test_wheel_zooms_to_the_pointer(canvas: Canvas) -> None:
    at = canvas.position_of(60.5, 40.5)
    before = canvas.position_of(61.5, 40.5).x() - at.x()
    _wheel(canvas, at, 3, Qt.KeyboardModifier.NoModifier)
    assert (canvas.position_of(60.5, 40.5) - at).manhattanLength() <= 2
    assert canvas.position_of(61.5, 40.5).x() - at.x() > 1.5 * before


def test_double_click_fits_again(qtbot: QtBot, canvas: Canvas) -> None:
    corner = canvas.position_of(0, 0)
    _wheel(canvas, canvas.position_of(60, 40), 5, Qt.KeyboardModifier.NoModifier)
    assert canvas.position_of(0, 0) != corner
    qtbot.mouseDClick(canvas.viewport(), LEFT, pos=QPoint(300, 200))
    assert canvas.position_of(0, 0) == corner


def test_middle_drag_pans_with_any_tool(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    before = canvas.position_of(40, 30)
    qtbot.mousePress(canvas.viewport(), MIDDLE, pos=QPoint(300, 200))
    qtbot.mouseMove(canvas.viewport(), QPoint(350, 180))
    qtbot.mouseRelease(canvas.viewport(), MIDDLE, pos=QPoint(350, 180))
    moved = canvas.position_of(40, 30) - before
    assert (moved - QPoint(50, -20)).manhattanLength() <= 2


def test_pan_tool_pans_and_does_not_ask(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.PAN)
    before = canvas.position_of(40, 30)
    with qtbot.assertNotEmitted(canvas.clicked):
        _drag(qtbot, canvas, [(20, 20), (30, 20)])
    assert canvas.position_of(40, 30).x() > before.x()


def test_hover_names_each_pixel_once_and_says_when_it_leaves(qtbot: QtBot, canvas: Canvas) -> None:
    hovered: list[tuple[int, int]] = []
    canvas.hovered.connect(lambda x, y: hovered.append((x, y)))
    for point in ((10.3, 5.3), (10.6, 5.6), (11.5, 5.5)):
        qtbot.mouseMove(canvas.viewport(), canvas.position_of(*point))
    assert hovered == [(10, 5), (11, 5)]
    with qtbot.waitSignal(canvas.left_image):
        QApplication.sendEvent(canvas, QEvent(QEvent.Type.Leave))


def test_stroke_has_the_points_radius_and_class_of_the_drag(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    canvas.set_brush(3.0, 5, QColor("lime"))
    drawn = [(10.0, 10.0), (30.0, 12.0), (50.0, 40.0)]
    with qtbot.waitSignal(canvas.stroke_finished) as finished:
        _drag(qtbot, canvas, drawn)
    stroke = finished.args[0]
    assert isinstance(stroke, Stroke)
    assert (stroke.radius, stroke.class_id) == (3.0, 5)
    assert stroke.points.dtype == np.float64
    np.testing.assert_allclose(stroke.points, drawn, atol=0.2)


def test_stroke_paints_what_the_preview_showed(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    canvas.set_brush(4.0, 1, (0, 255, 0))
    start, stop = canvas.position_of(20.5, 30.5), canvas.position_of(50.5, 30.5)
    qtbot.mousePress(canvas.viewport(), LEFT, pos=start)
    qtbot.mouseMove(canvas.viewport(), stop)
    preview = {y: _color_at(canvas, 35.5, y + 0.5) for y in (24, 30, 36)}
    assert preview[30][1] > 120
    assert preview[24] == preview[36] == (40, 40, 40)

    with qtbot.waitSignal(canvas.stroke_finished) as finished:
        qtbot.mouseRelease(canvas.viewport(), LEFT, pos=stop)
    painted = np.full((HIGH, WIDE), UNLABELLED, np.uint8)
    where, covered = covered_by(finished.args[0], (HIGH, WIDE))
    painted[where][covered] = finished.args[0].class_id
    assert painted[30, 35] == 1
    assert painted[24, 35] == UNLABELLED
    assert _color_at(canvas, 35.5, 30.5) == (40, 40, 40)  # the preview is gone


def test_dab_is_a_stroke_of_one_point_and_shows(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    canvas.set_brush(4.0, 1, QColor("lime"))
    at = canvas.position_of(20.5, 30.5)
    qtbot.mousePress(canvas.viewport(), LEFT, pos=at)
    assert _color_at(canvas, 22.5, 30.5)[1] > 120
    with qtbot.waitSignal(canvas.stroke_finished) as finished:
        qtbot.mouseRelease(canvas.viewport(), LEFT, pos=at)
    assert finished.args[0].points.shape == (1, 2)


def test_eraser_strokes_unlabel(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.ERASER)
    with qtbot.waitSignal(canvas.stroke_finished) as finished:
        _drag(qtbot, canvas, [(10, 10), (20, 10)])
    assert finished.args[0].class_id == UNLABELLED


def test_second_dab_of_a_double_click_paints_and_does_not_fit(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    _wheel(canvas, canvas.position_of(40, 30), 3, Qt.KeyboardModifier.NoModifier)
    corner = canvas.position_of(0, 0)
    at = canvas.position_of(40.5, 30.5)
    with qtbot.waitSignals([canvas.stroke_finished] * 2):
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=at)
        qtbot.mouseDClick(canvas.viewport(), LEFT, pos=at)
        qtbot.mouseRelease(canvas.viewport(), LEFT, pos=at)
    assert canvas.position_of(0, 0) == corner


@pytest.mark.parametrize("tool", list(Tool))
def test_alt_click_asks_with_any_tool(qtbot: QtBot, canvas: Canvas, tool: Tool) -> None:
    canvas.set_tool(tool)
    at = canvas.position_of(7.5, 8.5)
    with qtbot.assertNotEmitted(canvas.stroke_finished), qtbot.waitSignal(canvas.clicked) as click:
        qtbot.mouseClick(canvas.viewport(), LEFT, ALT, pos=at)
    assert tuple(click.args) == (7, 8)


def test_alt_wheel_sizes_the_brush_and_does_not_zoom(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.set_tool(Tool.BRUSH)
    canvas.set_brush(10.0, 0, QColor("red"))
    corner = canvas.position_of(0, 0)
    with qtbot.waitSignal(canvas.brush_resized) as larger:
        _wheel(canvas, QPoint(300, 200), 1, ALT)
    with qtbot.waitSignal(canvas.brush_resized) as smaller:
        _wheel(canvas, QPoint(300, 200), -1, ALT)
    assert larger.args[0] > 10 > 0.999 * smaller.args[0]
    assert smaller.args[0] == pytest.approx(10)
    for _ in range(60):
        _wheel(canvas, QPoint(300, 200), 1, ALT)
    with qtbot.waitSignal(canvas.brush_resized) as largest:
        _wheel(canvas, QPoint(300, 200), 1, ALT)
    assert largest.args[0] == MAX_RADIUS
    assert canvas.position_of(0, 0) == corner


def test_right_click_opens_no_menu_and_asks_nothing(qtbot: QtBot, canvas: Canvas) -> None:
    with qtbot.assertNotEmitted(canvas.clicked):
        qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.RightButton, pos=QPoint(300, 200))
    assert QApplication.activePopupWidget() is None


def test_labels_are_drawn_through_their_table_above_the_frame(canvas: Canvas) -> None:
    labels = np.zeros((HIGH, WIDE), np.uint8)
    labels[:, 40:] = 3
    canvas.set_label_table(_table(c3=(200, 0, 0, 255)))
    canvas.show_labels(labels)
    assert _color_at(canvas, 20.5, 30.5) == (40, 40, 40)
    assert _color_at(canvas, 60.5, 30.5) == (200, 0, 0)

    canvas.set_painted_table(_table(c7=(0, 0, 210, 255)))
    canvas.show_painted(np.where(labels == 3, 7, UNLABELLED).astype(np.uint8))
    assert _color_at(canvas, 60.5, 30.5) == (0, 0, 210)

    canvas.labels_visible(False)
    assert _color_at(canvas, 60.5, 30.5) == (40, 40, 40)


def test_changing_the_table_touches_no_image(canvas: Canvas) -> None:
    labels = np.full((HIGH, WIDE), 3, np.uint8)
    canvas.set_label_table(_table(c3=(200, 0, 0, 255)))
    canvas.show_labels(labels)
    item = canvas._labels
    assert _color_at(canvas, 20.5, 30.5) == (200, 0, 0)
    assert item.qimage.format() == QImage.Format.Format_Indexed8

    canvas.set_label_table(_table(c3=(200, 0, 0, 0)))

    assert _color_at(canvas, 20.5, 30.5) == (40, 40, 40)
    assert np.shares_memory(item.image, labels)
    assert item.qimage.format() == QImage.Format.Format_Indexed8
    assert np.shares_memory(np.frombuffer(item.qimage.constBits(), np.uint8), labels)
    assert canvas._frame.qimage.format() == QImage.Format.Format_RGB888


def test_table_given_later_is_not_the_callers_to_change(canvas: Canvas) -> None:
    table = _table(c0=(0, 99, 0, 255))
    canvas.set_label_table(table)
    canvas.show_labels(np.zeros((HIGH, WIDE), np.uint8))
    table[:] = 0
    assert _color_at(canvas, 20.5, 30.5) == (0, 99, 0)


def test_wrong_table_is_refused(canvas: Canvas) -> None:
    with pytest.raises(ValueError, match="a table is uint8"):
        canvas.set_label_table(np.zeros((20, 4), np.uint8))


def test_layer_of_any_size_covers_the_frame(canvas: Canvas) -> None:
    layer = np.zeros((6, 8, 4), np.uint8)
    layer[:, 4:] = (255, 255, 255, 255)
    canvas.show_layer(layer)
    assert _color_at(canvas, 30.5, 30.5) == (40, 40, 40)
    assert _color_at(canvas, 78.5, 58.5) == (255, 255, 255)
    canvas.show_layer(None)
    assert _color_at(canvas, 78.5, 58.5) == (40, 40, 40)


def test_query_box_is_red_where_asked(canvas: Canvas) -> None:
    canvas.mark_query((40, 24, 48, 32))
    red, green, blue = _color_at(canvas, 40, 28)
    assert red > 180
    assert max(green, blue) < 90
    assert _color_at(canvas, 44, 28) == (40, 40, 40)
    canvas.mark_query(None)
    assert _color_at(canvas, 40, 28) == (40, 40, 40)


def test_frame_of_another_size_is_fitted(qtbot: QtBot, canvas: Canvas) -> None:
    _wheel(canvas, QPoint(300, 200), 6, Qt.KeyboardModifier.NoModifier)
    canvas.show_frame(np.zeros((100, 300, 3), np.uint8))
    for x, y in ((0, 0), (300, 100)):
        assert canvas.rect().contains(canvas.position_of(x, y))


def test_frame_of_the_same_size_keeps_the_zoom(canvas: Canvas) -> None:
    _wheel(canvas, QPoint(300, 200), 6, Qt.KeyboardModifier.NoModifier)
    corner = canvas.position_of(0, 0)
    canvas.show_frame(np.zeros((HIGH, WIDE, 3), np.uint8))
    assert canvas.position_of(0, 0) == corner


def test_without_a_frame_it_says_what_to_do_and_ignores_the_mouse(qtbot: QtBot) -> None:
    canvas = Canvas()
    qtbot.addWidget(canvas)
    canvas.resize(400, 300)
    blank = canvas.grab().toImage()
    canvas.show_message("")
    assert canvas.grab().toImage() != blank
    canvas.set_tool(Tool.BRUSH)
    with qtbot.assertNotEmitted(canvas.stroke_finished), qtbot.assertNotEmitted(canvas.clicked):
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=QPoint(100, 100))
        qtbot.mouseClick(canvas.viewport(), LEFT, ALT, pos=QPoint(100, 100))


def test_cleared_canvas_answers_no_click(qtbot: QtBot, canvas: Canvas) -> None:
    canvas.clear_frame()
    with qtbot.assertNotEmitted(canvas.clicked):
        qtbot.mouseClick(canvas.viewport(), LEFT, pos=QPoint(320, 240))


def test_surroundings_follow_the_palette(canvas: Canvas) -> None:
    palette = QPalette(canvas.palette())
    palette.setColor(QPalette.ColorRole.Window, QColor(30, 30, 32))
    palette.setColor(QPalette.ColorRole.WindowText, QColor("white"))
    canvas.setPalette(palette)
    assert canvas.grab().toImage().pixelColor(2, 240).lightness() < 40
