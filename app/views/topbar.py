"""The bar above the video: model, device, and the tools with their options."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QSpinBox,
    QWidget,
)

from app.views.buttons import IconButton
from app.views.canvas import MAX_RADIUS, MIN_RADIUS, Tool
from app.views.look import describe, note, shade
from stt_core.config import MAX_KEY_FRAMES, Precision

LOAD = "Load model..."

_TOOLS = (
    (Tool.INSPECT, "inspect", "Inspect: click a pixel to see where it looked", "Q"),
    (Tool.BRUSH, "brush", "Brush: paint the chosen class", "B"),
    (Tool.ERASER, "eraser", "Eraser: take painted labels away", "E"),
)


class TopBar(QWidget):
    """Choices about the model left, tools and what is overlaid right."""

    model_chosen = Signal(str)  # path
    load_model_requested = Signal()
    device_chosen = Signal(str)
    precision_chosen = Signal(str)
    key_frames_chosen = Signal(int)
    tool_chosen = Signal(object)  # Tool
    overlay_toggled = Signal(bool)
    veil_toggled = Signal(bool)
    need_toggled = Signal(bool)
    radius_changed = Signal(float)  # image pixels

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = QComboBox()
        self._model_at = 0
        self._device, self._precision = QComboBox(), QComboBox()
        self._key_frames, self._radius = QSpinBox(), QDoubleSpinBox()
        self._tools = {tool: _tool(name, tip, keys) for tool, name, tip, keys in _TOOLS}
        self._overlay = _tool("overlay", "Labels over the picture", "H")
        self._veil = _tool("veil", "Selected queries: veil over what did not look back", "S")
        self._need = _tool("need", "Neighbouring similarity D_NSM, what selection ranks", "Shift+S")
        self._fill()
        self._lay_out()
        self._connect()
        self.set_models([])
        self.set_tool(Tool.INSPECT)
        self.set_overlay(True)

    def _fill(self) -> None:
        self._precision.addItems([*get_args(Precision)])
        self._key_frames.setRange(0, MAX_KEY_FRAMES)
        self._key_frames.setValue(7)
        self._key_frames.setKeyboardTracking(False)
        self._radius.setRange(MIN_RADIUS, MAX_RADIUS)
        self._radius.setDecimals(1)
        self._radius.setValue(5)
        self._radius.setSuffix(" px")
        self._radius.setKeyboardTracking(False)
        self._model.setMinimumContentsLength(32)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self._model.setSizeAdjustPolicy(policy)
        self._device.setMinimumContentsLength(6)
        describe(self._model, "Model", "The model that segments", "load: Ctrl+M")
        describe(self._device, "Device", "Where the model computes")
        describe(self._precision, "Precision", "Numbers the model computes with; auto picks")
        describe(
            self._key_frames,
            "Key frames",
            "How many past frames a query reads; 0: none, each frame for itself",
        )
        describe(self._radius, "Brush radius", "Brush radius in image pixels", "[ ] or Alt+wheel")

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 10, 6)
        row.setSpacing(5)
        row.addWidget(self._model, 1)
        row.addWidget(self._device)
        row.addWidget(self._precision)
        row.addSpacing(8)
        row.addWidget(_label("Key frames", self._key_frames))
        row.addWidget(self._key_frames)
        row.addStretch(2)
        for tool in self._tools.values():
            row.addWidget(tool)
        row.addWidget(_label("Radius", self._radius))
        row.addWidget(self._radius)
        row.addSpacing(12)
        for toggle in (self._overlay, self._veil, self._need):
            row.addWidget(toggle)

    def _connect(self) -> None:
        group = QButtonGroup(self)
        for tool, button in self._tools.items():
            group.addButton(button)
            button.clicked.connect(partial(self.tool_chosen.emit, tool))
        # `activated` and `clicked` come from the person only
        self._model.activated.connect(self._on_model)
        self._device.textActivated.connect(self.device_chosen)
        self._precision.textActivated.connect(self.precision_chosen)
        self._key_frames.valueChanged.connect(self.key_frames_chosen)
        self._radius.valueChanged.connect(self.radius_changed)
        self._overlay.clicked.connect(self.overlay_toggled)
        self._veil.clicked.connect(self._on_veil)
        self._need.clicked.connect(self._on_need)

    def set_models(self, models: Sequence[tuple[str, str, str]]) -> None:
        """Offer models: name, path, what the tooltip says (training, licence). Chooses none."""
        self._model.clear()
        for name, path, tip in models:
            self._model.addItem(name, path)
            index = self._model.count() - 1
            self._model.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        if models:
            self._model.insertSeparator(self._model.count())
        self._model.addItem(LOAD, None)
        self._model.setPlaceholderText("No model")
        self._model_at = -1
        self._model.setCurrentIndex(-1)

    def choose_model(self, path: str) -> None:
        """Show a model as the one in use, without saying so; adds it if it is not listed."""
        index = self._model.findData(path)
        if index < 0:
            self._model.insertItem(0, path.replace("\\", "/").rsplit("/", 1)[-1], path)
            index = 0
        self._model_at = index
        self._model.setCurrentIndex(index)
        tip = self._model.itemData(index, Qt.ItemDataRole.ToolTipRole) or path
        describe(self._model, "Model", str(tip), "load: Ctrl+M")

    def set_devices(self, devices: list[str]) -> None:
        """Offer devices; the first is shown."""
        self._device.clear()
        self._device.addItems(devices)

    def choose_device(self, device: str) -> None:
        """Show a device without saying so."""
        self._device.setCurrentIndex(self._device.findText(device))

    def choose_precision(self, precision: str) -> None:
        """Show a precision without saying so."""
        self._precision.setCurrentIndex(self._precision.findText(precision))

    def set_key_frames(self, count: int, enabled: bool = True) -> None:
        """Show how many key frames are read, without saying so.

        Args:
            count: 0..9.
            enabled: False for a model that reads none.
        """
        with QSignalBlocker(self._key_frames):
            self._key_frames.setValue(count)
        self._key_frames.setEnabled(enabled)

    def set_tool(self, tool: Tool) -> None:
        """Press a tool's button without saying so; panning has none."""
        if tool in self._tools:
            self._tools[tool].setChecked(True)

    def set_radius(self, radius: float) -> None:
        """Show the brush's radius without saying so."""
        with QSignalBlocker(self._radius):
            self._radius.setValue(radius)

    def set_overlay(self, shown: bool) -> None:
        """Press the overlay button without saying so."""
        self._overlay.setChecked(shown)

    def set_veil(self, shown: bool) -> None:
        """Press the veil button without saying so."""
        self._veil.setChecked(shown)

    def set_need(self, shown: bool) -> None:
        """Press the similarity button without saying so."""
        self._need.setChecked(shown)

    def tool_button(self, tool: Tool) -> IconButton:
        """A tool's button."""
        return self._tools[tool]

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(0, self.height() - 1, self.width(), 1, shade(self.palette(), 0.15))
        painter.end()

    def _on_model(self, index: int) -> None:
        path = self._model.itemData(index)
        if path is None:
            self._model.setCurrentIndex(self._model_at)
            self.load_model_requested.emit()
        else:
            self._model_at = index
            self.model_chosen.emit(path)

    def _on_veil(self, shown: bool) -> None:
        # veil and similarity share one layer: one of them at a time
        if shown and self._need.isChecked():
            self._need.setChecked(False)
            self.need_toggled.emit(False)
        self.veil_toggled.emit(shown)

    def _on_need(self, shown: bool) -> None:
        if shown and self._veil.isChecked():
            self._veil.setChecked(False)
            self.veil_toggled.emit(False)
        self.need_toggled.emit(shown)


def _tool(name: str, tip: str, keys: str) -> IconButton:
    return IconButton(name, tip.split(":")[0], tip, keys, side=32, checkable=True)


def _label(text: str, buddy: QWidget) -> QWidget:
    label = note(text)
    label.setWordWrap(False)
    label.setBuddy(buddy)
    return label
