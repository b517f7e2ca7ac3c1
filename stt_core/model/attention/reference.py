"""The clear implementation: gather the keys of each query, a chunk of queries at a time.

Works in any floating dtype and on any device, and is the one that also returns weights and leaves
out single keys. The others are tested against it. Dimensions: B batch, H heads, Q queries, F key
frames, N = h * w positions of a map, K keys of a query, C = H * D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
    muted: frozenset[tuple[int, int, int]] = frozenset(),
) -> Tensor:
    """See :func:`stt_core.model.attention.ops.sparse_attention`.

    `muted` keys (lag, row, column) are read by nobody.
    """
    offsets = window_offsets(radii, query.device)
    size = (keys[0].shape[2], keys[0].shape[3])
    one = max(1, query.shape[0] * len(offsets.lag) * query.shape[-1] * query.element_size())
    step = max(1, CHUNK_BYTES // one)
    key, value = as_memory(keys), as_memory(values)
    parts = [
        attend(query[:, i : i + step], key, value, index, heads).values
        for i in range(0, query.shape[1], step)
        for index in [key_index(positions[:, i : i + step], size, offsets, muted)]
    ]
    return torch.cat(parts, dim=1)


def as_memory(maps: Sequence[Tensor]) -> Tensor:
    """F maps ``[B, C, h, w]`` as one memory of rows ``[B, F, N, C]``."""
    return torch.stack([m.flatten(2).transpose(1, 2) for m in maps], 1)


def attend(query: Tensor, key: Tensor, value: Tensor, index: KeyIndex, heads: int) -> Attended:
    """Attention of queries to gathered keys, one joint softmax over all K (Eq. 6).

    Args:
        query: ``[B, Q, C]``, projected.
        key: ``[B, F, N, C]``, projected.
        value: as `key`.
        index: the K keys of each query. A query none of whose keys is valid reads zero.
        heads: H; must divide C.
    """
    chosen_key = _gather(key, index.places, heads)  # [B, Q, K, H, D]
    chosen_value = _gather(value, index.places, heads)
    scores = torch.einsum("bqhd,bqkhd->bhqk", query.unflatten(-1, (heads, -1)), chosen_key)
    scores = scores * (query.shape[-1] // heads) ** -0.5
    scores = scores.masked_fill(~index.valid[:, None], -torch.inf)
    weights = scores.softmax(-1).masked_fill(~index.valid.any(-1)[:, None, :, None], 0)
    return Attended(torch.einsum("bhqk,bqkhd->bqhd", weights, chosen_value).flatten(2), weights)


def _gather(memory: Tensor, places: Tensor, heads: int) -> Tensor:
    # index_select on rows, not expand + gather: it never materialises [B, Q, F * N, C].
    batch, frames, positions, channels = memory.shape
    first = torch.arange(batch, device=places.device)[:, None, None] * (frames * positions)
    rows = memory.reshape(-1, channels).index_select(0, (places + first).flatten())
    return rows.view(*places.shape, heads, channels // heads)
