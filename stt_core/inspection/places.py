"""Where a question is asked, and which keys lie within its reach. Free of torch.

h, w: rows and columns of the feature map. H, W: height and width of the image. F key frames, of
which lag 0 is the newest; K keys of a query's windows, those beyond the map's border counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in image pixels, the far sides not included."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A feature position of a frame."""

    frame: int
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Pixel:
    """An image pixel of a frame; it stands for the cell it lies in."""

    frame: int
    x: int
    y: int


Place = Cell | Pixel


@dataclass(frozen=True, slots=True)
class KeyWindow:
    """The keys of one query, newest frame first, row by row: the order of its weights."""

    lag: NDArray[np.intp]  # [K]
    row: NDArray[np.intp]  # [K]
    col: NDArray[np.intp]  # [K]
    inside: NDArray[np.bool_]
    """``[K]``: whether the map has that place. A key it does not have weighs nothing."""

    @property
    def count(self) -> int:
        """Keys that are there."""
        return int(self.inside.sum())


def cell_of(place: Place, grid: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Row and column of a place in a map of `grid` rows and columns, of an image of `size` H, W.

    Raises:
        IndexError: it lies outside of the image or the map.
    """
    (rows, cols), (height, width) = grid, size
    if isinstance(place, Cell):
        if not (0 <= place.row < rows and 0 <= place.col < cols):
            raise IndexError(
                f"position ({place.row}, {place.col}) lies outside the {rows}x{cols} map"
            )
        return place.row, place.col
    if not (0 <= place.x < width and 0 <= place.y < height):
        raise IndexError(f"pixel ({place.x}, {place.y}) lies outside the {width}x{height} image")
    return place.y * rows // height, place.x * cols // width


def cell_box(row: int, col: int, grid: tuple[int, int], size: tuple[int, int]) -> Box:
    """What part of the image a cell stands for."""
    (rows, cols), (height, width) = grid, size
    return (
        col * width / cols,
        row * height / rows,
        (col + 1) * width / cols,
        (row + 1) * height / rows,
    )


def cell_centre(
    row: int, col: int, grid: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float]:
    """x, y of a cell's middle, where whole numbers are the middles of pixels."""
    x0, y0, x1, y1 = cell_box(row, col, grid, size)
    return (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2


def cells_of_pixels(grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.intp]:
    """``[H, W]``: the number ``row * w + col`` of the cell each pixel lies in."""
    (rows, cols), (height, width) = grid, size
    down = np.arange(height) * rows // height
    across = np.arange(width) * cols // width
    return down[:, None] * cols + across


def key_offsets(radii: tuple[int, ...]) -> NDArray[np.intp]:
    """``[K, 3]`` lag, rows down and columns right of every key from its query."""
    parts = []
    for lag, radius in enumerate(radii):
        step = np.arange(-radius, radius + 1)
        down, right = np.meshgrid(step, step, indexing="ij")
        parts.append(np.stack([np.full(down.size, lag), down.ravel(), right.ravel()], 1))
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.intp)


def key_window(row: int, col: int, radii: tuple[int, ...], grid: tuple[int, int]) -> KeyWindow:
    """The keys of the query in a cell, with a window of each of `radii`."""
    lag, down, right = key_offsets(radii).T
    y, x = row + down, col + right
    return KeyWindow(lag, y, x, (y >= 0) & (y < grid[0]) & (x >= 0) & (x < grid[1]))


def spread(
    weights: NDArray[np.float32], window: KeyWindow, frames: int, grid: tuple[int, int]
) -> NDArray[np.float32]:
    """``[..., K]`` of each key as maps ``[..., F, h, w]``, 0 outside of the windows."""
    maps = np.zeros((*weights.shape[:-1], frames, *grid), weights.dtype)
    there = window.inside
    maps[..., window.lag[there], window.row[there], window.col[there]] = weights[..., there]
    return maps
