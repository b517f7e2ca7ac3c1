"""Attention by bands of rows: dense products over the few rows a band of queries can reach.

A band of queries reads its own rows and the largest radius above and below, under the window mask.
Matrix products over keys that the mask then discards cost less on CPUs than gathering only the
407 that count, and autograd needs nothing special.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stt_core.model.attention.windows import window_mask

BAND_ROWS = 2
"""Rows of queries at a time: of 1 to 12, the fastest or near it at 45 x 60 and 64 x 128."""


def banded_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    *,
    size: tuple[int, int],
    radii: tuple[int, ...],
    heads: int,
) -> Tensor:
    """See :func:`stt_core.model.attention.ops.sparse_attention`."""
    one_by_one = [
        _attend_one(q, _split(k, size, heads), _split(v, size, heads), p, size, radii)
        for q, k, v, p in zip(query.unflatten(-1, (heads, -1)), key, value, positions, strict=True)
    ]
    return torch.stack(one_by_one)


def _attend_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    size: tuple[int, int],
    radii: tuple[int, ...],
) -> Tensor:
    """One image: ``[Q, H, D]`` queries, ``[H, F, rows, cols, D]`` memory, to ``[Q, C]``."""
    rows, cols = size
    order = positions.argsort()
    starts = range(0, rows, BAND_ROWS)
    edges = torch.tensor([*(y * cols for y in starts), rows * cols], device=positions.device)
    cuts = torch.searchsorted(positions[order], edges).tolist()
    parts = []
    for y0, first, last in zip(starts, cuts[:-1], cuts[1:], strict=True):
        if first == last:
            continue
        top, bottom = max(0, y0 - max(radii)), min(rows, y0 + BAND_ROWS + max(radii))
        which = order[first:last]
        mask = window_mask((positions[which] - top * cols)[None], (bottom - top, cols), radii)
        attended = F.scaled_dot_product_attention(
            query[which].transpose(0, 1)[None],  # [1, H, Q', D]
            key[:, :, top:bottom].flatten(1, 3)[None],
            value[:, :, top:bottom].flatten(1, 3)[None],
            attn_mask=mask[:, None],
        )
        parts.append(attended[0].transpose(0, 1).flatten(1))
    if not parts:
        return query.flatten(1)
    return torch.empty_like(query.flatten(1)).index_copy(0, order, torch.cat(parts))


def _split(memory: Tensor, size: tuple[int, int], heads: int) -> Tensor:
    return memory.unflatten(-1, (heads, -1)).unflatten(1, size).movedim(-2, 0).contiguous()
