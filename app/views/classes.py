"""The classes: which are shown, which one the brush paints."""

from __future__ import annotations

from functools import partial

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.views.buttons import IconButton, WordButton
from app.views.look import describe, note, shade, small_font
from stt_core.labels import VOID, LabelClass

_VOID = LabelClass("void (teaches nothing)", (0, 0, 0))


class ClassPanel(QWidget):
    """One row a class, and void last. A click chooses; the eye hides; twice on the eye is solo."""

    visibility_changed = Signal(object)  # bool [classes]
    class_chosen = Signal(int)  # a class id, or VOID
    opacity_changed = Signal(float)  # 0..1

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ClassRow] = []
        self._chosen = 0
        self._solo: int | None = None
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setRange(0, 100)
        self._opacity.setValue(55)
        self._opacity.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        describe(
            self._opacity, "Overlay opacity", "How much the labels cover the picture", "- and ="
        )
        self._percent = note("55 %")
        self._percent.setWordWrap(False)
        self._all = WordButton("Show all")
        describe(self._all, "Show all classes", "Show all classes", "Shift+A")
        self._all.setShortcut("Shift+A")
        self._empty = note("Load a model to see its classes (Ctrl+M)")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._lay_out()
        self._opacity.valueChanged.connect(self._on_opacity)
        self._all.clicked.connect(self.show_all)
        self.set_classes(())

    def _lay_out(self) -> None:
        opacity = QHBoxLayout()
        opacity.addWidget(note("Opacity"))
        opacity.addWidget(self._opacity, 1)
        opacity.addWidget(self._percent)
        opacity.addWidget(self._all)
        self._percent.setMinimumWidth(self._percent.fontMetrics().horizontalAdvance("100 %") + 2)
        self._percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._body = QWidget()
        self._list = QVBoxLayout(self._body)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(0)
        self._list.addWidget(self._empty)
        self._list.addStretch(1)
        self._scroll = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self._body)
        column = QVBoxLayout(self)
        opacity.setContentsMargins(0, 0, 10, 0)
        column.setContentsMargins(10, 6, 2, 4)
        column.setSpacing(4)
        column.addLayout(opacity)
        column.addWidget(scroll, 1)

    def set_classes(self, classes: tuple[LabelClass, ...]) -> None:
        """Show other classes, all visible, the first one chosen; says nothing."""
        for row in self._rows:
            self._list.removeWidget(row)
            row.deleteLater()
        ids = [*enumerate(classes), (VOID, _VOID)] if classes else []
        self._rows = [ClassRow(index, label_class) for index, label_class in ids]
        for place, row in enumerate(self._rows):
            self._list.insertWidget(place, row)
            row.chosen.connect(self._on_chosen)
            row.eye_clicked.connect(self._on_eye)
            row.solo_asked.connect(self.solo)
        self._solo = None
        self._empty.setVisible(not classes)
        self._all.setVisible(bool(classes))
        self.choose_class(0)

    def choose_class(self, index: int) -> None:
        """Mark the class the brush paints, without saying so."""
        self._chosen = index
        for row in self._rows:
            row.set_chosen(row.index == index)
        self._reveal()

    def set_opacity(self, opacity: float) -> None:
        """0..1, without saying so."""
        with QSignalBlocker(self._opacity):
            self._opacity.setValue(round(100 * opacity))
        self._percent.setText(f"{round(100 * opacity)} %")

    def visible_classes(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Bool ``[classes]``."""
        return np.array([row.shown for row in self._rows if row.index != VOID], np.bool_)

    def solo(self, index: int) -> None:
        """Show one class alone; all of them if it was alone already."""
        again = self._solo == index
        self._solo = None if again else index
        for row in self._rows:
            row.set_shown(again or row.index == index)
        self.visibility_changed.emit(self.visible_classes())

    def show_all(self) -> None:
        """Show every class."""
        self._solo = None
        for row in self._rows:
            row.set_shown(True)
        self.visibility_changed.emit(self.visible_classes())

    def row(self, index: int) -> ClassRow:
        """The row of a class id or VOID."""
        return next(row for row in self._rows if row.index == index)

    @property
    def opacity_slider(self) -> QSlider:
        """0..100."""
        return self._opacity

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._reveal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._reveal()

    def _reveal(self) -> None:
        """Scroll to the chosen class."""
        for row in self._rows:
            if row.index == self._chosen:
                self._body.adjustSize()
                self._scroll.ensureWidgetVisible(row, 0, 4)

    def _on_chosen(self, index: int) -> None:
        self.choose_class(index)
        self.class_chosen.emit(index)

    def _on_eye(self, index: int) -> None:
        row = self.row(index)
        row.set_shown(not row.shown)
        if index != self._solo:  # the first half of a double click must not forget it
            self._solo = None
        self.visibility_changed.emit(self.visible_classes())

    def _on_opacity(self, percent: int) -> None:
        self._percent.setText(f"{percent} %")
        self.opacity_changed.emit(percent / 100)


class ClassRow(QFrame):
    """Eye, colour, key and name of one class."""

    chosen = Signal(int)
    eye_clicked = Signal(int)
    solo_asked = Signal(int)

    def __init__(self, index: int, label_class: LabelClass, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.index = index
        self.shown = True
        self._chosen = False
        key = _key(index)
        self.eye = IconButton(
            "eye",
            f"Show {label_class.name}",
            "Show or hide; double-click: only this class",
            side=24,
        )
        if index == VOID:  # never setVisible(True): without a parent yet, it would be a window
            self.eye.hide()
        self.eye.clicked.connect(partial(self.eye_clicked.emit, index))
        self.eye.installEventFilter(self)
        self._name = QLabel(label_class.name)
        self._key = QLabel(key)
        self._key.setFont(small_font(self._key.font()))
        self._key.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._key.setFixedWidth(18)
        self._key.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        describe(self, label_class.name, f"Paint {label_class.name}", key)
        self._lay_out(QColor(*label_class.color))

    def _lay_out(self, color: QColor) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 1, 8, 1)
        row.setSpacing(6)
        if self.index == VOID:
            row.addSpacing(30)
        row.addWidget(self.eye)
        row.addWidget(_Swatch(color, hatched=self.index == VOID))
        row.addWidget(self._name, 1)
        row.addWidget(self._key)
        self.setMinimumHeight(28)

    def set_chosen(self, chosen: bool) -> None:
        """Mark the row."""
        self._chosen = chosen
        role = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.WindowText
        self._name.setForegroundRole(role)
        faint = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.PlaceholderText
        self._key.setForegroundRole(faint)
        self.update()

    def set_shown(self, shown: bool) -> None:
        """Open or close the eye."""
        if self.index == VOID:
            return
        self.shown = shown
        self.eye.set_icon("eye" if shown else "eye-off")
        self._name.setEnabled(shown)

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        if watched is self.eye and event.type() == QEvent.Type.MouseButtonDblClick:
            self.solo_asked.emit(self.index)
            return True
        return False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(self.index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit(self.index)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.index != VOID:
            self.make_menu().popup(QPoint(event.globalPos()))

    def make_menu(self) -> QMenu:
        """Paint, hide or show, only this class."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        entries = (
            ("Paint this class", self.chosen),
            ("Hide" if self.shown else "Show", self.eye_clicked),
            ("Only this class", self.solo_asked),
        )
        for text, signal in entries:
            action = QAction(text, menu)
            action.triggered.connect(partial(signal.emit, self.index))
            menu.addAction(action)
        return menu

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        highlight = self.palette().color(QPalette.ColorRole.Highlight)
        ground = highlight if self._chosen else shade(self.palette(), 0.08)
        if self._chosen or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(32, 1, -2, -1), 4, 4)
        if self.hasFocus():
            ink = self.palette().color(QPalette.ColorRole.WindowText) if self._chosen else highlight
            painter.setPen(QPen(ink, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(32, 1, -2, -1), 4, 4)
        painter.end()


class _Swatch(QWidget):
    """A square of a class's colour; void is hatched."""

    def __init__(self, color: QColor, *, hatched: bool) -> None:
        super().__init__()
        self._color = color
        self._hatched = hatched
        self.setFixedSize(QSize(16, 16))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(255, 255, 255, 200), 1))
        painter.setBrush(self._color)
        place = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.drawRoundedRect(place, 3, 3)
        if self._hatched:
            painter.setBrush(Qt.BrushStyle.BDiagPattern)
            painter.drawRoundedRect(place, 3, 3)
        painter.end()


def _key(index: int) -> str:
    if index == VOID:
        return "0"
    return str(index + 1) if index < 9 else ""
