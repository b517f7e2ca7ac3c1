"""The clear implementation: gather the keys of each query, a chunk of queries at a time.

Works in any floating dtype and on any device, and is the one that also returns weights. The others
are tested against it. Dimensions: B batch, H heads, Q queries, F key frames, N positions of a map,
K keys of a query, C = H * D channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stt_core.model.attention.windows import KeyIndex, key_index, window_offsets

CHUNK_BYTES = 64 << 20
"""Of gathered keys at a time: unchunked, a 1024 x 2048 frame would gather 12.7 GiB."""


class Attended(NamedTuple):
    """What came out of attention, and where it came from."""

    values: Tensor  # [B, Q, C]
    weights: Tensor  # [B, H, Q, K]; sums to 1 over the valid keys, 0 at the others


def gather_attention(
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
    offsets = window_offsets(radii, query.device)
    one = max(1, query.shape[0] * len(offsets.lag) * query.shape[-1] * query.element_size())
    step = max(1, CHUNK_BYTES // one)
    parts = [
        attend(query[:, i : i + step], key, value, keys, heads).values
        for i in range(0, query.shape[1], step)
        for keys in [key_index(positions[:, i : i + step], size, offsets)]
    ]
    return torch.cat(parts, dim=1) if parts else torch.zeros_like(query)


def attend(query: Tensor, key: Tensor, value: Tensor, keys: KeyIndex, heads: int) -> Attended:
    """Attention of queries to gathered keys, one joint softmax over all K (Eq. 6).

    Args:
        query: ``[B, Q, C]``, projected.
        key: ``[B, F, N, C]``, projected.
        value: ``[B, F, N, C]``, projected.
        keys: the K keys of each query; at least one of them valid.
        heads: H; must divide C.
    """
    chosen_key = _gather(key, keys.places, heads)  # [B, Q, K, H, D]
    chosen_value = _gather(value, keys.places, heads)
    scores = torch.einsum("bqhd,bqkhd->bhqk", query.unflatten(-1, (heads, -1)), chosen_key)
    scores = scores * (query.shape[-1] // heads) ** -0.5
    scores = scores.masked_fill(~keys.valid[:, None], -torch.inf)
    weights = scores.softmax(-1)
    return Attended(torch.einsum("bhqk,bqkhd->bqhd", weights, chosen_value).flatten(2), weights)


def _gather(memory: Tensor, index: Tensor, heads: int) -> Tensor:
    # index_select on rows, not expand + gather: it never materialises [B, Q, F * N, C].
    batch, frames, positions, channels = memory.shape
    first = torch.arange(batch, device=index.device)[:, None, None] * (frames * positions)
    rows = memory.reshape(-1, channels).index_select(0, (index + first).flatten())
    return rows.view(*index.shape, heads, channels // heads)
