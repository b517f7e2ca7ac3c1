"""Where the key windows lie: one square a past frame, wider the older the frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

WIDEST_FUSED = 256
"""Channels of a head the Triton kernels take: more exceed a consumer card's shared memory."""


class Offsets(NamedTuple):
    """The K keys of a query relative to it, newest frame first, row by row."""

    lag: Tensor  # [K] index of the key frame, 0 the newest
    down: Tensor  # [K]
    right: Tensor  # [K]


class KeyIndex(NamedTuple):
    """The K keys of each query as places in the memory."""

    places: Tensor  # [B, Q, K] long in [0, F * N), clamped into the map
    valid: Tensor  # [B, Q, K] bool, False outside the map


def window_offsets(radii: tuple[int, ...], device: torch.device | None = None) -> Offsets:
    """All keys a query may read; 407 of them for radii 1, 2, 3, 4, 4, 4, 4."""
    parts = []
    for lag, radius in enumerate(radii):
        step = torch.arange(-radius, radius + 1, device=device)
        down, right = torch.meshgrid(step, step, indexing="ij")
        parts.append((torch.full_like(down, lag).flatten(), down.flatten(), right.flatten()))
    if not parts:
        none = torch.zeros(0, dtype=torch.long, device=device)
        return Offsets(none, none, none)
    return Offsets(*(torch.cat(column) for column in zip(*parts, strict=True)))


def key_index(
    positions: Tensor,
    size: tuple[int, int],
    offsets: Offsets,
    muted: Iterable[tuple[int, int, int]] = (),
) -> KeyIndex:
    """Place the windows of `positions` in a memory of maps of `size`, newest first.

    Args:
        positions: ``[B, Q]`` long in [0, N).
        size: rows and columns of the maps; N is their product.
        offsets: of K keys.
        muted: keys that count as invalid: lag, row, column. There may be none in that place.
    """
    rows, cols = size
    y = positions[..., None] // cols + offsets.down  # [B, Q, K]
    x = positions[..., None] % cols + offsets.right
    valid = (y >= 0) & (y < rows) & (x >= 0) & (x < cols)
    place = y.clamp(0, rows - 1) * cols + x.clamp(0, cols - 1)
    places = offsets.lag * (rows * cols) + place
    silent = [
        (lag * rows + row) * cols + col
        for lag, row, col in muted
        if 0 <= row < rows and 0 <= col < cols  # another would be a place of another row
    ]
    if silent:
        valid &= ~torch.isin(places, torch.tensor(silent, device=places.device))
    return KeyIndex(places, valid)


def window_mask(positions: Tensor, size: tuple[int, int], radii: tuple[int, ...]) -> Tensor:
    """``[B, Q, F * N]`` bool: which memory positions each query may read.

    Args:
        positions: ``[B, Q]`` long.
        size: rows and columns of the maps.
        radii: half the window in each of F frames.
    """
    rows, cols = size
    y, x = positions // cols, positions % cols  # [B, Q]
    far_y = (y[..., None] - torch.arange(rows, device=y.device)).abs()  # [B, Q, rows]
    far_x = (x[..., None] - torch.arange(cols, device=x.device)).abs()
    far = torch.maximum(far_y[..., None], far_x[..., None, :]).flatten(2)  # [B, Q, N]
    return torch.cat([far <= radius for radius in radii], dim=-1)


def unpack_value(value: Tensor) -> Tensor:
    """A map packed or not as ``[B, C, h, w]``."""
    return value.flatten(1, 2) if value.ndim == 5 else value
