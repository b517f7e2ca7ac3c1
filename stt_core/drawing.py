"""Label maps, veils and heat over an image. numpy in, numpy out; the exporter draws with it too.

H, W are the image's height and width; rows, cols those of the feature grid. Cell (r, c) covers the
image from (c W / cols, r H / rows) to ((c + 1) W / cols, (r + 1) H / rows).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Rgba = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in image pixels."""

RED = (229, 28, 35)
"""Query boxes, key windows and the contour of the selected queries."""

_FAINT, _DEEP = (255, 170, 120), (165, 0, 16)
_HEAT_ALPHA = 0.88


def blend(image: Rgb, labels: NDArray[np.uint8], table: Rgba, opacity: float) -> Rgb:
    """Lay coloured labels over an image.

    Args:
        image: ``[H, W, 3]``.
        labels: ``[H, W]``.
        table: ``[256, 4]`` RGBA of each label.
        opacity: factor in [0, 1] on the table's alpha.

    Returns:
        ``[H, W, 3]``, within 1 of the exact mixture.
    """
    if labels.shape != image.shape[:2]:
        raise ValueError(f"the sizes differ: {labels.shape=} {image.shape[:2]=}")
    alpha = table[:, 3:].astype(np.float32) / 255 * opacity
    paint = np.rint(table[:, :3] * alpha).astype(np.uint8)
    keep = np.repeat(np.rint(255 * (1 - alpha)).astype(np.uint8), 3, axis=1)
    three = cv2.merge([labels, labels, labels])
    kept = cv2.multiply(image, cv2.LUT(three, keep[None]), scale=1 / 255)
    return _u8(cv2.add(kept, cv2.LUT(three, paint[None])))


def veil(image: Rgb, selected: NDArray[np.bool_], opacity: float = 0.6) -> Rgb:
    """The supplement's Fig. 3: what did not attend lies under white, a red line in between.

    Args:
        image: ``[H, W, 3]``, a frame or a coloured label map.
        selected: ``[rows, cols]`` positions that attended as queries.
        opacity: of the white.
    """
    size = (image.shape[0], image.shape[1])
    chosen = to_image_size(selected, size)
    out = _u8(cv2.convertScaleAbs(image, alpha=1 - opacity, beta=255 * opacity))
    cv2.copyTo(image, chosen.view(np.uint8), out)
    out[_contour(chosen)] = RED
    return out


def veil_rgba(selected: NDArray[np.bool_], size: tuple[int, int], opacity: float = 0.6) -> Rgba:
    """The veil of :func:`veil` as a layer ``[H, W, 4]`` to be drawn above the image.

    Args:
        selected: ``[rows, cols]``.
        size: H, W.
        opacity: of the white.
    """
    chosen = to_image_size(selected, size)
    kinds = np.where(_contour(chosen), 2, chosen.view(np.uint8))
    white, clear, red = (255, 255, 255, round(255 * opacity)), (255, 255, 255, 0), (*RED, 255)
    return _colored(kinds, np.array([white, clear, red], np.uint8))


def heat_rgba(weights: NDArray[np.float32], size: tuple[int, int], peak: float) -> Rgba:
    """Attention as a red ramp: deeper and more opaque where the weight is higher.

    Args:
        weights: ``[rows, cols]``, non-negative.
        size: H, W of the layer; the grid is interpolated bilinearly between cell centres.
        peak: the weight drawn deepest; above it nothing gets deeper.

    Returns:
        ``[H, W, 4]``, transparent where the weight is 0.
    """
    return _colored(_levels(weights, size, peak), heat_table())


def need_rgba(
    need: NDArray[np.float32],
    size: tuple[int, int],
    opacity: float = 0.75,
    peak: float | None = None,
) -> Rgba:
    """The neighbouring similarity D_NSM in viridis.

    Args:
        need: ``[rows, cols]``, non-negative.
        size: H, W of the layer.
        opacity: of all of it.
        peak: drawn brightest; the 99th percentile for None, since a few outliers would leave the
            rest dark.
    """
    top = float(np.percentile(need, 99)) if peak is None else peak
    table = viridis_table().copy()
    table[:, 3] = round(255 * opacity)
    return _colored(_levels(need, size, top), table)


@cache
def heat_table() -> Rgba:
    """``[256, 4]`` RGBA of the red ramp, from transparent to deep; not to be written to."""
    share = np.linspace(0, 1, 256)[:, None]
    table = np.empty((256, 4), np.uint8)
    table[:, :3] = np.rint(np.array(_FAINT) * (1 - share) + np.array(_DEEP) * share)
    # The root lifts small weights into sight; the order stays.
    table[:, 3] = np.rint(255 * _HEAT_ALPHA * share[:, 0] ** 0.6)
    table.setflags(write=False)
    return table


@cache
def viridis_table() -> Rgba:
    """``[256, 4]`` opaque RGBA of viridis; not to be written to."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    bgr = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)[:, 0]
    table = np.full((256, 4), 255, np.uint8)
    table[:, :3] = bgr[:, ::-1]
    table.setflags(write=False)
    return table


def to_image_size(cells: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """``[H, W]``: each pixel has the value of the cell that holds it."""
    rows = np.arange(size[0]) * cells.shape[0] // size[0]
    cols = np.arange(size[1]) * cells.shape[1] // size[1]
    return np.ascontiguousarray(cells[rows][:, cols])


def cell_box(row: int, col: int, grid: tuple[int, int], size: tuple[int, int]) -> Box:
    """Where one cell lies in the image.

    Args:
        row: in [0, rows).
        col: in [0, cols).
        grid: rows, cols.
        size: H, W.
    """
    return window_box((row, row + 1, col, col + 1), grid, size)


def window_box(
    window: tuple[int, int, int, int], grid: tuple[int, int], size: tuple[int, int]
) -> Box:
    """Where cells ``[r0, r1) x [c0, c1)`` lie in the image.

    Args:
        window: r0, r1, c0, c1, as :meth:`stt_core.results.LookBack.window` gives them.
        grid: rows, cols.
        size: H, W.
    """
    r0, r1, c0, c1 = window
    high, wide = size[0] / grid[0], size[1] / grid[1]
    return c0 * wide, r0 * high, c1 * wide, r1 * high


def _contour(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The two pixels astride every border between chosen and not."""
    line = np.zeros_like(chosen)
    across = chosen[:, 1:] != chosen[:, :-1]
    down = chosen[1:] != chosen[:-1]
    line[:, 1:] |= across
    line[:, :-1] |= across
    line[1:] |= down
    line[:-1] |= down
    return line


def _levels(cells: NDArray[np.float32], size: tuple[int, int], peak: float) -> NDArray[np.uint8]:
    """0..peak as 0..255, interpolated to an image's size between cell centres."""
    if not peak > 0:
        return np.zeros(size, np.uint8)
    scaled = np.clip(cells.astype(np.float32) * (255 / peak), 0, 255)
    # cv2 has half-pixel centres, as our cells do.
    full = cv2.resize(scaled, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return _u8(cv2.convertScaleAbs(full))


def _colored(levels: NDArray[np.integer], table: Rgba) -> Rgba:
    """``table[levels]``, moving four bytes at once."""
    words = np.ascontiguousarray(table).view(np.uint32)[:, 0]
    return words[levels].view(np.uint8).reshape(*levels.shape, 4)


def _u8(array: object) -> NDArray[np.uint8]:
    return np.asarray(array, np.uint8)
