"""Attention as the paper has it, with nothing left out: every key scored, then masked, in float64.

What the tests of sparse attention hold its implementations against; none of their code is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LIKE_FLOAT64 = {
    torch.float64: 1e-10,
    torch.float32: 1e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 2e-2,
}
"""How near float64 an implementation must come, by the dtype of its inputs."""


class Problem(NamedTuple):
    """One call of sparse attention."""

    query: Tensor  # [B, Q, C]
    keys: list[Tensor]  # F of [B, C, h, w], newest first
    values: list[Tensor]
    positions: Tensor  # [B, Q]
    radii: tuple[int, ...]
    heads: int


def problem(
    *,
    size: tuple[int, int] = (5, 9),
    radii: tuple[int, ...] = (1, 3),
    heads: int = 2,
    width: int = 5,
    batch: int = 2,
    queries: int | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Problem:
    """Random maps; by default every other position asks, in no order."""
    g = torch.Generator().manual_seed(seed)
    rows, cols = size
    count = (rows * cols + 1) // 2 if queries is None else queries

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    at = [torch.randperm(rows * cols, generator=g)[:count] for _ in range(batch)]
    return Problem(
        draw(batch, count, heads * width),
        [draw(batch, heads * width, rows, cols) for _ in radii],
        [draw(batch, heads * width, rows, cols) for _ in radii],
        torch.stack(at),
        radii,
        heads,
    )


class Attended(NamedTuple):
    """What came out."""

    values: Tensor  # [B, Q, C] float64
    weights: Tensor  # [B, H, Q, F, h, w]


def dense_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: Sequence[int],
    heads: int,
    muted: Iterable[tuple[int, int, int]] = (),
) -> Attended:
    """Softmax over all positions of all maps, those outside a query's windows masked out.

    Args:
        query: as of `sparse_attention`, and so are the others.
        keys: at least one.
        values: as many.
        positions: of the queries.
        radii: in Chebyshev's distance.
        heads: H.
        muted: keys (frame, row, column) that are masked out too.
    """
    rows, cols = keys[0].shape[2:]
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(cols))  # [N, 2]
    far = (grid[positions][:, :, None] - grid).abs().amax(-1)  # [B, Q, N]
    allowed = torch.stack([far <= r for r in radii], 2)  # [B, Q, F, N]
    for frame, row, col in muted:
        allowed[:, :, frame, row * cols + col] = False
    allowed = allowed.flatten(2)[:, None]  # [B, 1, Q, F * N]

    def split(x: Tensor) -> Tensor:  # [B, C, ...] to [B, H, C / H, ...]
        return x.double().unflatten(1, (heads, -1))

    k, v = (split(torch.cat([m.flatten(2) for m in maps], 2)) for maps in (keys, values))
    q = split(query.transpose(1, 2))
    scores = torch.einsum("bhdq,bhdn->bhqn", q, k) / q.shape[2] ** 0.5
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    weights = weights.masked_fill(~allowed.any(-1, keepdim=True), 0.0)  # 0 / 0: no key at all
    context = torch.einsum("bhqn,bhdn->bqhd", weights, v).flatten(2)
    return Attended(context, weights.unflatten(-1, (len(keys), rows, cols)))
