"""What the window shows of the current frame, and how: overlay, veil, head, brush."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.facts import (
    FrameMarks,
    MediaFacts,
    ModelFacts,
    ProjectFacts,
    ShownPrediction,
    StoredPrediction,
)
from app.views.canvas import MAX_RADIUS, MIN_RADIUS, Canvas, Tool
from app.views.classes import ClassPanel
from app.views.inspector import Inspector
from app.views.key_strip import KeyStrip
from app.views.status import StatusLine
from app.views.timeline import Timeline
from app.views.topbar import TopBar
from stt_core.drawing import need_rgba, veil_rgba
from stt_core.labels import UNLABELLED, VOID, LabelClass, palette_rgba
from stt_core.media.frame import Frame
from stt_core.results import LookBack, Prediction, Timings

_VOID_COLOR = (235, 64, 220)
_PAINTED_ALPHA = 225
_NO_QUERY = "Press Q and click a pixel to see where it looked"


class Display(QObject):
    """Keeps the newest frame, prediction and look-back, and draws them on the views."""

    selection_wanted = Signal()  # a layer is shown that stored predictions lack

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.top_bar = TopBar()
        self.canvas = Canvas()
        self.key_strip = KeyStrip()
        self.timeline = Timeline()
        self.classes = ClassPanel()
        self.inspector = Inspector()
        self.status = StatusLine()
        self._media: MediaFacts | None = None
        self._names: tuple[LabelClass, ...] = ()  # of the model
        self._paints: tuple[LabelClass, ...] = ()  # of the project, where it has any
        self._frame: Frame | None = None
        self._prediction: ShownPrediction | None = None
        self._look: LookBack | None = None
        self._marks = FrameMarks()
        self._place = 0
        self._head: int | None = None
        self._per_frame = False
        self._layer = ""
        self._overlay = True
        self._tool = Tool.INSPECT
        self._class = 0
        self._radius = 5.0
        self._connect()

    def _connect(self) -> None:
        self.top_bar.tool_chosen.connect(self.set_tool)
        self.top_bar.overlay_toggled.connect(self.show_overlay)
        self.top_bar.veil_toggled.connect(lambda on: self.show_layer("veil" if on else ""))
        self.top_bar.need_toggled.connect(lambda on: self.show_layer("need" if on else ""))
        self.top_bar.radius_changed.connect(self.set_radius)
        self.canvas.hovered.connect(self._on_hovered)
        self.canvas.left_image.connect(lambda: self.status.show_pixel(""))
        self.canvas.brush_resized.connect(self.set_radius)
        self.classes.visibility_changed.connect(lambda _: self._color())
        self.classes.opacity_changed.connect(lambda _: self._color())
        self.classes.class_chosen.connect(self._on_class)
        self.inspector.head_chosen.connect(self.set_head)
        self.inspector.normalisation_changed.connect(self._on_normalisation)

    # What there is to see.

    def show_media(self, media: MediaFacts) -> None:
        self._media = media
        self._frame = self._prediction = None
        self.timeline.set_media(media.frames, media.fps)
        self.timeline.set_enabled(True)
        self.canvas.clear_frame()

    def show_model(self, model: ModelFacts) -> None:
        self._names = model.classes
        self._list_classes()
        self.inspector.set_classes(model.classes)
        self.key_strip.set_capacity(model.key_frames if model.heads else 0)
        self.top_bar.set_key_frames(model.key_frames, enabled=model.heads > 0)
        self.status.show_device(f"{model.device}  {model.precision}", _agreement(model))
        self._head = None
        self._color()

    def show_project(self, project: ProjectFacts) -> None:
        """Paint with a project's classes; those of the model until it has any."""
        if project.classes != self._paints:
            self._paints = project.classes
            self._list_classes()
            self._color()

    def show_place(self, index: int, seconds: float) -> None:
        self._place = index
        self.timeline.show_frame(index, seconds)
        self._show_noted()

    def show_marks(self, marks: FrameMarks) -> None:
        """Review states and bookmarks of the medium."""
        self._marks = marks
        self.timeline.set_marks(marks)
        self._show_noted()

    def show_frame(self, frame: Frame) -> None:
        self._frame = frame
        self.canvas.show_frame(frame.image)
        self.timeline.show_frame(frame.index, frame.pts_seconds)
        if self._look is not None and self._look.frame != frame.index:
            self.canvas.mark_query(self._look.box)

    def show_prediction(self, prediction: ShownPrediction | None) -> None:
        self._prediction = prediction
        self.canvas.show_labels(None if prediction is None else prediction.labels)
        self._draw_layer()
        if isinstance(prediction, StoredPrediction):
            self.status.show_speed("stored prediction")
        elif prediction is not None:
            self.status.show_speed(_speed(prediction.timings))

    def show_look(self, look: LookBack | None) -> None:
        self._look = look
        if look is None:
            self.canvas.mark_query(None)
            self.key_strip.clear()
            self.inspector.clear()
        else:
            self.canvas.mark_query(look.box)
            self._draw_look()

    # How it is shown.

    def set_tool(self, tool: Tool) -> None:
        self._tool = tool
        self.canvas.set_tool(tool)
        self.top_bar.set_tool(tool)

    def set_head(self, head: int | None) -> None:
        """The head drawn in the key strip; None for the mean."""
        if self._look is not None and head is not None and head >= self._look.weights.shape[0]:
            return
        self._head = head
        self.inspector.choose_head(head)
        self._draw_look()

    def show_overlay(self, shown: bool) -> None:
        self._overlay = shown
        self.canvas.labels_visible(shown)
        self.top_bar.set_overlay(shown)

    def toggle_overlay(self) -> None:
        self.show_overlay(not self._overlay)

    def show_layer(self, layer: str) -> None:
        """Lay the "veil" of selection or the "need" map above the picture, or nothing."""
        self._layer = layer
        self.top_bar.set_veil(layer == "veil")
        self.top_bar.set_need(layer == "need")
        self._draw_layer()

    def toggle_layer(self, layer: str) -> None:
        self.show_layer("" if self._layer == layer else layer)

    def change_opacity(self, percent: int) -> None:
        slider = self.classes.opacity_slider
        slider.setValue(slider.value() + percent)

    def set_radius(self, radius: float) -> None:
        self._radius = float(np.clip(radius, MIN_RADIUS, MAX_RADIUS))
        self.top_bar.set_radius(self._radius)
        self._set_brush()

    def scale_radius(self, steps: int) -> None:
        self.set_radius(self._radius * 1.25**steps)

    def choose_class(self, number: int) -> None:
        """Paint with the class of a number key: 1 is the first class, 0 is void."""
        chosen = VOID if number == 0 else number - 1
        if chosen == VOID or chosen < len(self._painted_with):
            self.classes.choose_class(chosen)
            self._on_class(chosen)

    @property
    def _painted_with(self) -> tuple[LabelClass, ...]:
        return self._paints or self._names

    def _list_classes(self) -> None:
        classes = self._painted_with
        self.classes.set_classes(classes)
        chosen = self._class if self._class == VOID else min(self._class, len(classes) - 1)
        self.classes.choose_class(max(0, chosen))
        self._on_class(max(0, chosen))

    def _on_class(self, chosen: int) -> None:
        self._class = chosen
        self._set_brush()

    def _set_brush(self) -> None:
        classes = self._painted_with
        known = self._class < len(classes)
        color = classes[self._class].color if known else _VOID_COLOR
        self.canvas.set_brush(self._radius, self._class, color)

    def _on_normalisation(self, per_frame: bool) -> None:
        self._per_frame = per_frame
        self._draw_look()

    def _on_hovered(self, x: int, y: int) -> None:
        text = f"({x}, {y})"
        prediction = self._prediction
        if prediction is not None and y < prediction.labels.shape[0]:
            name = self._names[prediction.labels[y, x]].name
            text += f"  {name} {prediction.confidence[y, x] / 255:.0%}"
        self.status.show_pixel(text)

    def _show_noted(self) -> None:
        place, marks = self._place, self._marks
        self.status.show_marks(marks.review(place), place in marks.bookmarks)

    def _color(self) -> None:
        table = palette_rgba(self._names)
        alpha = round(255 * self.classes.opacity_slider.value() / 100)
        listed = zip(self._painted_with, self.classes.visible_classes(), strict=True)
        hidden = {c.name for c, shown in listed if not shown}
        visible = [c.name not in hidden for c in self._names]
        table[: len(visible), 3] = np.where(visible, alpha, 0)
        self.canvas.set_label_table(table)
        painted = palette_rgba(self._painted_with)
        painted[painted[:, 3] > 0, 3] = _PAINTED_ALPHA
        painted[VOID] = (*_VOID_COLOR, _PAINTED_ALPHA)
        painted[UNLABELLED] = 0
        self.canvas.set_painted_table(painted)

    def _draw_layer(self) -> None:
        if self._layer and isinstance(self._prediction, StoredPrediction):
            self.selection_wanted.emit()
        if not self._layer or not isinstance(self._prediction, Prediction):
            self.canvas.show_layer(None)
            return
        size = (self._prediction.labels.shape[0], self._prediction.labels.shape[1])
        if self._layer == "veil":
            self.canvas.show_layer(veil_rgba(self._prediction.selected, size))
        else:
            self.canvas.show_layer(need_rgba(self._prediction.need, size))

    def _draw_look(self) -> None:
        look, frame = self._look, self._frame
        if look is None:
            return
        self.inspector.show_look_back(look, self._head)
        image = frame.image if frame is not None and frame.index == look.frame else None
        if image is not None:
            self.key_strip.show_look_back(look, image, self._head, self._per_frame)


def _speed(times: Timings) -> str:
    """How long a prediction took; frames a second only where one frame meant one encoder pass."""
    spent = times.decode + times.network + times.postprocess
    text = f"frame in {spent * 1000:.0f} ms"
    if times.encoder_passes == 1:
        return f"{text}, {1 / spent:.1f} fps"
    return f"{text}, {times.encoder_passes} frames encoded"


def _agreement(model: ModelFacts) -> str:
    """What was found when the precision was checked, for the tooltip."""
    if model.agreement is None:
        return ""
    return f"{model.agreement:.2%} of the first frame's pixels get the class that fp32 gives them"
