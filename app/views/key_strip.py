"""The key frames of one query, oldest left, then the query itself (the supplement's Fig. 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from app.views.buttons import IconButton
from app.views.look import heading, note, percentages, shade, small_font, to_qimage
from app.views.tiles import Tile, TilePicture, TileText, crop_cells, tile_picture
from stt_core.drawing import heat_table
from stt_core.results import LookBack

TILES = 7
"""Key frames of the published model; fewer leave grey tiles."""

EMPTY = "Press Q and click a pixel to see where it looked in the past"


class KeyStrip(QWidget):
    """Shows a look-back: a tile for each key frame, and one for the query."""

    tile_clicked = Signal(int)  # lag in frames: 3 for t-3, 0 for the query

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tiles: list[Tile] = []
        self._lags: list[int] = []
        self._shown: tuple[LookBack, NDArray[np.uint8], int | None, bool] | None = None
        self._title = heading("Key frames")
        self._summary = note("")
        self._summary.setWordWrap(False)
        self._legend = HeatLegend()
        self._whole = IconButton(
            "whole", "Whole frames", "Whole frames instead of crops", "Shift+W", checkable=True
        )
        self._whole.setShortcut("Shift+W")
        self._whole.toggled.connect(self._redraw)
        self._message = note(EMPTY)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._lay_out()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Key frames")
        self.set_capacity(TILES)
        self.clear()

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self._title)
        top.addWidget(self._summary, 1)
        top.addWidget(self._legend)
        top.addWidget(self._whole)
        row = QWidget()
        self._row = QHBoxLayout(row)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(6)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._message)
        self._stack.addWidget(row)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(10, 4, 10, 6)
        whole.setSpacing(4)
        whole.addLayout(top)
        whole.addLayout(self._stack, 1)

    def set_capacity(self, key_frames: int) -> None:
        """Have a tile for each of at least seven key frames, and one for the query."""
        wanted = max(TILES, key_frames) + 1
        while len(self._tiles) < wanted:
            tile = Tile()
            tile.clicked.connect(self._on_tile_clicked)
            self._row.addWidget(tile, 1)
            self._tiles.append(tile)
        while len(self._tiles) > wanted:
            tile = self._tiles.pop()
            self._row.removeWidget(tile)
            tile.deleteLater()

    def show_look_back(
        self,
        look: LookBack | None,
        image: NDArray[np.uint8] | None,
        head: int | None = None,
        per_frame: bool = False,
    ) -> None:
        """Show where a query looked.

        Args:
            look: None clears the strip.
            image: ``[H, W, 3]`` of the query's frame.
            head: None for the mean over heads.
            per_frame: scale the heat of each tile by itself instead of all alike.
        """
        if look is None or image is None:
            self.clear()
            return
        self._shown = (look, image, head, per_frame)
        self.set_capacity(len(look.frames))
        self._stack.setCurrentIndex(1)
        self._redraw()

    def clear(self, message: str = EMPTY) -> None:
        """Say what to do instead of showing tiles."""
        self._shown = None
        self._message.setText(message)
        self._summary.clear()
        self._legend.show_peak(None)
        self._stack.setCurrentIndex(0)

    def captions(self) -> list[str]:
        """The words of each tile from left to right, such as "t-3 7x7 12.4 %"."""
        texts = (tile.text for tile in self._tiles)
        return [" ".join(part for part in (t.title, t.aside, t.value) if part) for t in texts]

    def tile_at(self, index: int) -> Tile:
        """A tile from the left; the last is the query."""
        return self._tiles[index]

    @property
    def whole_button(self) -> IconButton:
        """Whole frames instead of crops."""
        return self._whole

    def sizeHint(self) -> QSize:
        return QSize(900, 204)

    def minimumSizeHint(self) -> QSize:
        return QSize(600, 150)

    def _redraw(self) -> None:
        if self._shown is None:
            return
        look, image, head, per_frame = self._shown
        weights = look.of_head(head)
        joint = float(weights.max(initial=0))
        shares = percentages(weights.sum((1, 2)))
        count = len(self._tiles) - 1
        self._lags = [0] * (count + 1)
        for index in range(count):
            tile = self._tiles[count - 1 - index]
            if index >= len(look.frames):
                tile.show_nothing(_missing(look, index))
                continue
            self._lags[count - 1 - index] = look.frame - look.frames[index]
            peak = float(weights[index].max(initial=0)) if per_frame else joint
            picture = self._key_picture(look, index, weights[index], peak)
            tile.show_picture(picture, _key_text(look, index, shares[index]))
        self._show_query(look, image)
        self._set_aspects(look, image)
        self._summary.setText(_summary(look, head))
        self._legend.show_peak(joint if look.frames else None, per_frame)

    def _key_picture(
        self, look: LookBack, index: int, weights: NDArray[np.float32], peak: float
    ) -> TilePicture:
        grid = (look.weights.shape[2], look.weights.shape[3])
        window = look.window(index)
        return tile_picture(look.images[index], self._cells(look), grid, window, (weights, peak))

    def _show_query(self, look: LookBack, image: NDArray[np.uint8]) -> None:
        grid = (look.weights.shape[2], look.weights.shape[3])
        window = (look.row, look.row + 1, look.col, look.col + 1)
        picture = tile_picture(image, self._cells(look), grid, window, None)
        tip = f"Query at pixel ({look.x}, {look.y}) of frame {look.frame}"
        text = TileText("t", "query", f"({look.x}, {look.y})", tip)
        self._tiles[-1].show_picture(picture, text)

    def _set_aspects(self, look: LookBack, image: NDArray[np.uint8]) -> None:
        r0, r1, c0, c1 = self._cells(look)
        rows, cols = look.weights.shape[2:]
        high, wide = (r1 - r0) * image.shape[0] / rows, (c1 - c0) * image.shape[1] / cols
        for tile in self._tiles:
            tile.set_aspect(wide / high)

    def _cells(self, look: LookBack) -> tuple[int, int, int, int]:
        if self._whole.isChecked():
            return 0, look.weights.shape[2], 0, look.weights.shape[3]
        return crop_cells(look)

    def _on_tile_clicked(self) -> None:
        sender = self.sender()
        if isinstance(sender, Tile) and self._shown is not None:
            self.tile_clicked.emit(self._lags[self._tiles.index(sender)])


class HeatLegend(QWidget):
    """The red ramp with the weight at its deep end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._label = QLabel(self)
        self._label.setFont(small_font(self._label.font()))
        self._label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(88, 0, 0, 0)
        layout.addWidget(self._label)
        self.setToolTip("Attention weight of one position: deeper red is higher")
        table = heat_table()[None]
        self._ramp: QImage = to_qimage(np.ascontiguousarray(table))

    def show_peak(self, peak: float | None, per_frame: bool = False) -> None:
        """The weight drawn deepest; hidden for None."""
        self.setVisible(peak is not None)
        if peak is not None:
            self._label.setText("each tile by itself" if per_frame else f"{100 * peak:.2g} %")

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        bar = QRectF(0, self.height() / 2 - 5, 80, 10)
        painter.fillRect(bar, shade(self.palette(), 0.12))
        painter.drawImage(bar, self._ramp)
        painter.end()


def _key_text(look: LookBack, index: int, share: float) -> TileText:
    lag = look.frame - look.frames[index]
    side = 2 * look.radii[index] + 1
    tip = (
        f"t-{lag}  {side}x{side}  {share:.1f} %: frame {look.frames[index]}, "
        f"a window of {side} x {side} positions. Click to go there"
    )
    return TileText(f"t-{lag}", f"{side}x{side}", f"{share:.1f} %", tip)


def _missing(look: LookBack, index: int) -> TileText:
    spacing = look.frame - look.frames[0] if look.frames else 1
    lag = (index + 1) * spacing
    if look.frame - lag < 0:
        return TileText(f"t-{lag}", "", "no frame", f"t-{lag}: before the clip begins")
    return TileText(f"t-{lag}", "", "not read", f"t-{lag}: this query did not look there")


def _summary(look: LookBack, head: int | None) -> str:
    if not look.frames:
        bypass = "this position was not selected; inspect it anyway with Shift+Q"
        return "the first frame has nothing to look back at" if look.frame == 0 else bypass
    heads = f"mean of {look.weights.shape[0]} heads" if head is None else f"head {head + 1}"
    windows = (look.window(i) for i in range(len(look.frames)))
    keys = sum((r1 - r0) * (c1 - c0) for r0, r1, c0, c1 in windows)
    return f"frame {look.frame}, pixel ({look.x}, {look.y}), {heads}, {keys} keys"
