"""Attention by tiles of the map: dense products over what a tile of queries can reach.

The queries of a tile read the tile and the largest radius around it, under the window mask. Matrix
products over keys that the mask then discards cost less than gathering only the 407 that count, and
nothing larger than a tile's scores is ever held, going backward neither: this is how attention is
trained on the CPU, and computed on devices without kernels of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
        x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 2).to(query.dtype).contiguous()
        for x in (*keys, *values)
    ]  # each [B, H, h, w, D]
    one_by_one = [
        _Attention.apply(positions[b], radii, q, *(m[b] for m in memory))
        for b, q in enumerate(query.unflatten(-1, (heads, -1)))
    ]
    return torch.stack(one_by_one).flatten(2)


class _Attention(torch.autograd.Function):
    """One image: ``[Q, H, D]`` queries, F key and F value maps ``[H, h, w, D]``, to ``[Q, H, D]``.

    Autograd by itself would fill a map of zeros for every window of every tile, and hold all
    windows until then. Here each tile is computed again going backward, and its gradients are
    added where they belong.
    """

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, radii: tuple[int, ...], query: Tensor, *maps: Tensor
    ) -> Tensor:
        ctx.radii = radii
        ctx.save_for_backward(positions, query, *maps)
        out = torch.empty_like(query)
        with torch.autocast(query.device.type, enabled=False):
            for tile in _tiles(positions, maps[0].shape[1:3], radii):
                out[tile.chosen] = tile.attend(query[tile.chosen], *tile.windows(maps))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        positions, query, *maps = ctx.saved_tensors
        grad_query = torch.zeros_like(query)
        grad_maps = [torch.zeros_like(m) for m in maps]
        with torch.autocast(query.device.type, enabled=False):
            for tile in _tiles(positions, maps[0].shape[1:3], ctx.radii):
                inputs = [x.detach() for x in (query[tile.chosen], *tile.windows(maps))]
                with torch.enable_grad():
                    attended = tile.attend(*(x.requires_grad_() for x in inputs))
                found = torch.autograd.grad(attended, inputs, grads[0][tile.chosen])
                grad_query[tile.chosen] = found[0]
                tile.add_windows(grad_maps, *found[1:])
        return None, None, grad_query, *grad_maps


class _Tile(NamedTuple):
    """Queries of one tile, and what they can reach."""

    chosen: Tensor  # [Q'] which queries
    boxes: list[tuple[slice, slice]]  # rows and columns in each key frame
    mask: Tensor  # [Q', K] keys that lie in a query's window

    def windows(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Keys and values ``[H, K, D]`` out of F maps each."""
        frames = len(self.boxes)
        return [
            torch.cat(
                [
                    m[:, down, right].flatten(1, 2)
                    for m, (down, right) in zip(half, self.boxes, strict=True)
                ],
                1,
            )
            for half in (maps[:frames], maps[frames:])
        ]

    def add_windows(self, maps: Sequence[Tensor], *parts: Tensor) -> None:
        """The way back: add ``[H, K, D]`` for keys and for values to the maps."""
        frames = len(self.boxes)
        for half, part in zip((maps[:frames], maps[frames:]), parts, strict=True):
            sizes = [(d.stop - d.start) * (r.stop - r.start) for d, r in self.boxes]
            for m, (down, right), piece in zip(half, self.boxes, part.split(sizes, 1), strict=True):
                window = m[:, down, right]
                window += piece.unflatten(1, window.shape[1:3])

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``[Q', H, D]`` queries to the same shape."""
        attended = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None], key[None], value[None], attn_mask=self.mask
        )
        return attended[0].transpose(0, 1)


def _tiles(positions: Tensor, size: Sequence[int], radii: tuple[int, ...]) -> Iterator[_Tile]:
    """Every tile with queries."""
    rows, cols = size
    y, x = positions // cols, positions % cols
    across = -(-cols // TILE)
    number = y // TILE * across + x // TILE
    order = number.argsort()
    numbers, counts = number[order].unique_consecutive(return_counts=True)
    for n, chosen in zip(numbers.tolist(), order.split(counts.tolist()), strict=True):
        top, left = n // across * TILE, n % across * TILE
        boxes = [
            (
                slice(max(0, top - r), min(rows, top + TILE + r)),
                slice(max(0, left - r), min(cols, left + TILE + r)),
            )
            for r in radii
        ]
        masks = [
            (
                (_distance(y[chosen], down) <= r)[:, :, None]
                & (_distance(x[chosen], right) <= r)[:, None]
            ).flatten(1)
            for r, (down, right) in zip(radii, boxes, strict=True)
        ]
        yield _Tile(chosen, boxes, torch.cat(masks, 1))


def _distance(from_: Tensor, span: slice) -> Tensor:
    """``[Q', span]``: how far each place lies from those of a span."""
    return (from_[:, None] - torch.arange(span.start, span.stop, device=from_.device)).abs()
