"""What a new person sees first: four ways to begin, and what was open before."""

from __future__ import annotations

from functools import partial
from pathlib import PurePath

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractButton,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.views.icons import pixmap
from app.views.look import describe, heading, note, shade, small_font

_RECENT = 6


class StartPage(QWidget):
    """Open a video, a folder, a project, or the sample."""

    open_video = Signal()
    open_folder = Signal()
    open_project = Signal()
    try_sample = Signal()
    recent_chosen = Signal(str)  # path

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cards = (
            Card("film", "Open video", "MP4, MKV, AVI, MOV and more, read in place", "Ctrl+O"),
            Card("folder", "Open image folder", "PNG or JPEG, in natural order", "Ctrl+Shift+O"),
            Card("brush", "Open project", "Videos with all that was painted on them", "Ctrl+P"),
            Card("sample", "Try the sample", "A street and a small model. No network needed", ""),
        )
        for card, signal in zip(
            self.cards,
            (self.open_video, self.open_folder, self.open_project, self.try_sample),
            strict=True,
        ):
            card.clicked.connect(partial(signal.emit))
        self._buttons: list[RecentRow] = []
        self._recent_title = heading("Recent")
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        self._lay_out()
        self.set_recent([])

    def _lay_out(self) -> None:
        title = heading("STT Studio")
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 2)
        title.setFont(font)
        cards = QHBoxLayout()
        cards.setSpacing(12)
        for card in self.cards:
            cards.addWidget(card)
        inner = QWidget()
        inner.setMaximumWidth(1080)
        column = QVBoxLayout(inner)
        column.setSpacing(10)
        column.addWidget(title)
        column.addWidget(
            QLabel(
                "Watch a network segment a video, ask any pixel where it looked in "
                "the past, and teach it."
            )
        )
        column.addSpacing(10)
        column.addLayout(cards)
        column.addWidget(
            note("or drop a video, an image folder, a project or a model anywhere here")
        )
        column.addSpacing(10)
        column.addWidget(self._recent_title)
        column.addLayout(self._recent)
        whole = QVBoxLayout(self)
        whole.addStretch(2)
        middle = QHBoxLayout()
        middle.addStretch(1)
        middle.addWidget(inner, 8)
        middle.addStretch(1)
        whole.addLayout(middle)
        whole.addStretch(3)

    def set_recent(self, paths: list[str]) -> None:
        """Show what was open before, newest first."""
        for button in self._buttons:
            self._recent.removeWidget(button)
            button.deleteLater()
        self._buttons = [self._recent_button(path) for path in paths[:_RECENT]]
        for button in self._buttons:
            self._recent.addWidget(button)
        self._recent_title.setVisible(bool(paths))

    def recent_buttons(self) -> list[RecentRow]:
        """The recent entries, newest first."""
        return [*self._buttons]

    def _recent_button(self, path: str) -> RecentRow:
        button = RecentRow(path)
        button.clicked.connect(partial(self.recent_chosen.emit, path))
        return button


class RecentRow(QAbstractButton):
    """A name, and faintly where it lies."""

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = PurePath(path)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        describe(self, f"Open {path}", path)

    def sizeHint(self) -> QSize:
        return QSize(300, self.fontMetrics().height() + 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, metrics = self.palette(), self.fontMetrics()
        if self.underMouse() or self.hasFocus():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(shade(palette, 0.12))
            painter.drawRoundedRect(self.rect(), 4, 4)
        place = QRectF(self.rect()).adjusted(8, 0, -8, 0)
        middle = Qt.AlignmentFlag.AlignVCenter
        right = Qt.TextElideMode.ElideMiddle
        name = metrics.elidedText(self._path.name, right, round(place.width() * 0.5))
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        painter.drawText(place, middle, name)
        taken = metrics.horizontalAdvance(name) + 14
        where = metrics.elidedText(str(self._path.parent), right, round(place.width() - taken))
        painter.setPen(palette.color(QPalette.ColorRole.PlaceholderText))
        painter.drawText(place.adjusted(taken, 0, 0, 0), middle, where)
        painter.end()


class Card(QAbstractButton):
    """A large button: icon, title, what it does, its key."""

    def __init__(
        self, icon_name: str, title: str, text: str, keys: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._icon_name, self._text, self._keys = icon_name, text, keys
        self.setText(title)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        describe(self, title, text, keys)

    def sizeHint(self) -> QSize:
        return QSize(250, 118)

    def minimumSizeHint(self) -> QSize:
        return QSize(180, 118)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        highlight = palette.color(QPalette.ColorRole.Highlight)
        lit = self.underMouse() or self.hasFocus()
        painter.setPen(QPen(highlight if lit else shade(palette, 0.18), 1.5))
        painter.setBrush(shade(palette, 0.12 if self.isDown() else 0.05))
        frame = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.drawRoundedRect(frame, 8, 8)
        painter.drawPixmap(16, 16, pixmap(self._icon_name, highlight, 28, self.devicePixelRatioF()))
        self._paint_words(painter, frame.adjusted(15, 52, -14, -8))
        painter.end()

    def _paint_words(self, painter: QPainter, place: QRectF) -> None:
        palette = self.palette()
        font = self.font()
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft, self.text())
        painter.setFont(small_font(self.font()))
        painter.setPen(palette.color(QPalette.ColorRole.PlaceholderText))
        keys = QRectF(place.left(), 18, place.width(), 24)
        painter.drawText(keys, Qt.AlignmentFlag.AlignRight, self._keys)
        flags = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap
        painter.drawText(place.adjusted(0, 22, 0, 0), flags, self._text)

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.HoverEnter, QEvent.Type.HoverLeave):
            self.update()
        return super().event(event)
