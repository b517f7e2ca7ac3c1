"""What the model says of one pixel: its class, whether it looked back, and which head where."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFrame,
    QGridLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.views.buttons import WordButton
from app.views.head_table import HeadTable
from app.views.look import ToneLabel, describe, good, heading, note, shade, small_font
from stt_core.labels import LabelClass
from stt_core.results import LookBack

EMPTY = "Press Q and click a pixel\nto see its class and where it looked in the past"
HEADS = 8

_TOP = 3
_PER_ROW = 9


class Inspector(QWidget):
    """Shows a look-back in words and numbers."""

    force_requested = Signal()
    head_chosen = Signal(object)  # int, or None for the mean
    normalisation_changed = Signal(bool)  # True: each frame by itself

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: tuple[LabelClass, ...] = ()
        self._place, self._grid = heading(""), note("")
        self._bars = ClassBars()
        self._state = ToneLabel()
        self._force = QPushButton("Inspect anyway")
        describe(
            self._force,
            "Inspect anyway",
            "Let this position attend although it was not selected",
            "Shift+Q",
        )
        self._force.clicked.connect(self.force_requested)
        self._heads = HeadButtons()
        self._heads.chosen.connect(self.head_chosen)
        self._normalise = QCheckBox("Scale each frame by itself")
        describe(
            self._normalise,
            "Scale each frame by itself",
            "Off: one heat scale for all key frames. On: each key frame has its own",
            "Shift+N",
        )
        self._normalise.setShortcut("Shift+N")
        self._normalise.toggled.connect(self.normalisation_changed)
        self._table = HeadTable()
        self._table.row_chosen.connect(self._on_row_chosen)
        self._total = note("")
        self._lay_out()
        self.setAccessibleName("Inspector")
        self.clear()

    def _lay_out(self) -> None:
        self._message = note("")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._attention = QWidget()
        inner = QVBoxLayout(self._attention)
        inner.setContentsMargins(0, 0, 0, 0)
        for widget in (self._heads, self._table, self._total, self._normalise):
            inner.addWidget(widget)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        for part in (self._place, self._grid, self._bars, self._state):
            column.addWidget(part)
        column.addWidget(self._force, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self._attention)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(page)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._message)
        self._pages.addWidget(scroll)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._pages)

    def set_classes(self, classes: tuple[LabelClass, ...]) -> None:
        """Name the model's classes, in order of their ids."""
        self._classes = classes
        self._bars.set_classes(classes)

    def show_look_back(self, look: LookBack | None, head: int | None = None) -> None:
        """Show one look-back; None clears.

        Args:
            look: what was found.
            head: the head chosen; None for the mean.
        """
        if look is None:
            self.clear()
            return
        self._pages.setCurrentIndex(1)
        self._place.setText(f"Pixel ({look.x}, {look.y}), frame {look.frame}")
        rows, cols = look.weights.shape[2:]
        self._grid.setText(
            f"grid row {look.row} of {rows}, column {look.col} of {cols}, D_NSM {look.need:.3g}"
        )
        self._bars.show_probabilities(look.probabilities)
        self._show_state(look)
        self._show_attention(look, head)

    def clear(self, message: str = EMPTY) -> None:
        """Say what to do instead."""
        self._message.setText(message)
        self._pages.setCurrentIndex(0)

    def choose_head(self, head: int | None) -> None:
        """Mark a head without saying so; None for the mean."""
        self._heads.choose(head)

    def set_per_frame(self, per_frame: bool) -> None:
        """Set the toggle without saying so."""
        with QSignalBlocker(self._normalise):
            self._normalise.setChecked(per_frame)

    @property
    def table(self) -> HeadTable:
        """Heads by key frames."""
        return self._table

    @property
    def heads(self) -> HeadButtons:
        """The head chooser."""
        return self._heads

    @property
    def bars(self) -> ClassBars:
        """The most probable classes."""
        return self._bars

    @property
    def normalise_box(self) -> QCheckBox:
        """Scale each frame by itself."""
        return self._normalise

    @property
    def force_button(self) -> QPushButton:
        """Shown where the position was not selected."""
        return self._force

    def state_text(self) -> str:
        """What is said about the position's selection."""
        return self._state.text()

    def _show_state(self, look: LookBack) -> None:
        text, is_good = _state(look)
        self._state.setText(text)
        self._state.set_tone(good if is_good else None)
        self._force.setVisible(not look.selected and not look.forced and look.frame > 0)

    def _show_attention(self, look: LookBack, head: int | None) -> None:
        self._attention.setVisible(bool(look.frames))
        if not look.frames:
            return
        self._heads.set_count(look.weights.shape[0])
        self._heads.choose(head)
        lags = tuple(look.frame - i for i in look.frames)
        self._table.show_weights(look.per_frame(), lags, head)
        self._total.setText("% of each head's attention, rows add up to 100")

    def _on_row_chosen(self, head: int | None) -> None:
        self._heads.choose(head)
        self.head_chosen.emit(head)


class HeadButtons(QWidget):
    """mean, 1, 2, ...: one of them is down."""

    chosen = Signal(object)  # int, or None for the mean

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self.set_count(HEADS)
        self.choose(None)

    def set_count(self, heads: int) -> None:
        """Have a button for each head; those that are there stay."""
        while len(self._group.buttons()) > heads + 1:
            button = self._group.buttons()[-1]
            self._group.removeButton(button)
            button.deleteLater()
        for index in range(len(self._group.buttons()), heads + 1):
            button = self._make(index)
            self._group.addButton(button)
            self._grid.addWidget(button, index // _PER_ROW, index % _PER_ROW)

    def choose(self, head: int | None) -> None:
        """Press a button without saying so."""
        index = 0 if head is None else head + 1
        if index < len(self._group.buttons()):
            self._group.buttons()[index].setChecked(True)  # only `clicked` is connected

    def button(self, head: int | None) -> WordButton:
        """A head's button."""
        found = self._group.buttons()[0 if head is None else head + 1]
        assert isinstance(found, WordButton)
        return found

    def _make(self, index: int) -> WordButton:
        button = WordButton("mean" if index == 0 else str(index))
        button.setCheckable(True)
        head = None if index == 0 else index - 1
        name = "Mean of all heads" if head is None else f"Head {index}"
        describe(button, name, name, f"Ctrl+{index}" if index < 10 else "")
        button.clicked.connect(partial(self.chosen.emit, head))
        return button


class ClassBars(QWidget):
    """The most probable classes, each with a bar."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: tuple[LabelClass, ...] = ()
        self._best: list[tuple[int, float]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Most probable classes at this position")

    def set_classes(self, classes: tuple[LabelClass, ...]) -> None:
        """Names and colours by id."""
        self._classes = classes
        self.update()

    def show_probabilities(self, probabilities: NDArray[np.float32]) -> None:
        """``[classes]`` that sum to 1."""
        order = np.argsort(-probabilities, kind="stable")[:_TOP]
        self._best = [(int(i), float(probabilities[i])) for i in order]
        said = ", ".join(f"{self._name(i)} {100 * p:.1f} %" for i, p in self._best)
        self.setAccessibleName(f"Most probable: {said}")
        self.updateGeometry()
        self.update()

    def texts(self) -> list[str]:
        """What the rows say."""
        return [f"{self._name(i)} {100 * p:.1f} %" for i, p in self._best]

    def sizeHint(self) -> QSize:
        return QSize(240, round(self._row_height() * max(1, len(self._best))))

    def minimumSizeHint(self) -> QSize:
        return QSize(180, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for row, (index, share) in enumerate(self._best):
            painter.setFont(small_font(self.font(), bold=row == 0))
            self._paint_row(painter, row * self._row_height(), index, share)
        painter.end()

    def _row_height(self) -> float:
        return round(QFontMetricsF(self.font()).height() + 6)

    def _name(self, index: int) -> str:
        return self._classes[index].name if index < len(self._classes) else f"class {index}"

    def _paint_row(self, painter: QPainter, top: float, index: int, share: float) -> None:
        high, metrics = self._row_height(), QFontMetricsF(painter.font())
        number = metrics.horizontalAdvance("100.0 %") + 4
        place = QRectF(0, top + 2, self.width() - number, high - 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade(self.palette(), 0.08))
        painter.drawRoundedRect(place, 3, 3)
        color = (
            QColor(*self._classes[index].color) if index < len(self._classes) else QColor("gray")
        )
        painter.setBrush(color)
        painter.drawRoundedRect(QRectF(0, place.top(), 5, place.height()), 2, 2)
        painter.setOpacity(0.45)
        full = place.adjusted(5, 0, 0, 0)
        painter.drawRect(QRectF(full.left(), full.top(), full.width() * share, full.height()))
        painter.setOpacity(1)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        middle = Qt.AlignmentFlag.AlignVCenter
        name = metrics.elidedText(self._name(index), Qt.TextElideMode.ElideRight, full.width() - 10)
        painter.drawText(full.adjusted(7, 0, 0, 0), middle | Qt.AlignmentFlag.AlignLeft, name)
        right = QRectF(self.width() - number, place.top(), number, place.height())
        painter.drawText(right, middle | Qt.AlignmentFlag.AlignRight, f"{100 * share:.1f} %")


def _state(look: LookBack) -> tuple[str, bool]:
    """What to say of the selection, and whether it is good news."""
    if look.forced:
        return "Not selected; inspected anyway", False
    if look.frame == 0:
        return "No earlier frames: the first frame of a clip looks back at nothing", False
    if look.selected:
        return "Selected: it looked back", True
    return "Not selected: its neighbours resemble it, so it passed by without looking back", False
