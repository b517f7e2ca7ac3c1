"""Attention by tiles of the map: dense products over what a tile of queries can reach.

The queries of a tile read the tile and the largest radius around it, under the window mask. Matrix
products over keys that the mask then discards cost less than gathering only the 407 that count,
nothing larger than a tile's scores is ever held, and autograd needs nothing special: this is how
attention is trained on the CPU, and computed on devices without kernels of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Rows and columns of a tile of queries."""


def tiled_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
) -> Tensor:
    """See :func:`stt_core.model.attention.ops.sparse_attention`."""
    memory = [
        [x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 2).contiguous() for x in maps]
        for maps in (keys, values)
    ]  # each [B, H, h, w, D]
    one_by_one = [
        _attend_one(q, [k[b] for k in memory[0]], [v[b] for v in memory[1]], positions[b], radii)
        for b, q in enumerate(query.unflatten(-1, (heads, -1)))
    ]
    return torch.stack(one_by_one)


def _attend_one(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    radii: tuple[int, ...],
) -> Tensor:
    """One image: ``[Q, H, D]`` queries, F maps ``[H, h, w, D]``, to ``[Q, C]``."""
    rows, cols = keys[0].shape[1:3]
    y, x = positions // cols, positions % cols
    parts, order = [], []
    for top, left, chosen in _tiles(y, x, cols):
        boxes = [
            (
                slice(max(0, top - r), min(rows, top + TILE + r)),
                slice(max(0, left - r), min(cols, left + TILE + r)),
            )
            for r in radii
        ]
        key, value = (
            torch.cat(
                [
                    m[:, down, right].flatten(1, 2)
                    for m, (down, right) in zip(maps, boxes, strict=True)
                ],
                1,
            )
            for maps in (keys, values)
        )  # [H, K, D]
        mask = torch.cat(
            [
                (
                    (_distance(y[chosen], down) <= r)[:, :, None]
                    & (_distance(x[chosen], right) <= r)[:, None]
                ).flatten(1)
                for r, (down, right) in zip(radii, boxes, strict=True)
            ],
            1,
        )  # [Q', K]
        attended = F.scaled_dot_product_attention(
            query[chosen].transpose(0, 1)[None], key[None], value[None], attn_mask=mask
        )
        parts.append(attended[0].transpose(0, 1).flatten(1))
        order.append(chosen)
    return torch.empty_like(query.flatten(1)).index_copy(0, torch.cat(order), torch.cat(parts))


def _tiles(y: Tensor, x: Tensor, cols: int) -> Iterator[tuple[int, int, Tensor]]:
    """Top and left of each tile with queries, and which those are."""
    across = -(-cols // TILE)
    tile = y // TILE * across + x // TILE
    order = tile.argsort()
    numbers, counts = tile[order].unique_consecutive(return_counts=True)
    for number, chosen in zip(numbers.tolist(), order.split(counts.tolist()), strict=True):
        yield number // across * TILE, number % across * TILE, chosen


def _distance(from_: Tensor, span: slice) -> Tensor:
    """``[Q', span]``: how far each place lies from those of a span."""
    return (from_[:, None] - torch.arange(span.start, span.stop, device=from_.device)).abs()
