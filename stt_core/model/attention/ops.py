"""Sparse temporal attention as the model calls it, and the choice of how it is computed.

Faster ways slot in here: a function of the same signature in a module beside this one, a name in
Backend, and the rule in :func:`sparse_attention` that "auto" follows.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from stt_core.model.attention.banded import banded_attention
from stt_core.model.attention.reference import attend, gather_attention
from stt_core.model.attention.windows import key_index, window_offsets

Backend = Literal["auto", "gather", "banded"]


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    *,
    size: tuple[int, int],
    radii: tuple[int, ...],
    heads: int,
    backend: Backend = "auto",
) -> Tensor:
    """Attend from every query to the windows around its own place in the key frames.

    Args:
        query: ``[B, Q, C]`` projected features of the selected positions.
        key: ``[B, F, N, C]`` projected features of the key frames, newest first.
        value: ``[B, F, N, C]``.
        positions: ``[B, Q]`` long, where the queries lie in the map.
        size: rows and columns of the map; their product is N.
        radii: half the window in each key frame; F of them, at least one.
        heads: H; must divide C.
        backend: how it is computed; the result is the same.

    Returns:
        ``[B, Q, C]``: softmax(QK^T / sqrt(C / H)) V over all windows jointly (Eq. 6), positions
        outside the map left out.
    """
    if len(radii) != key.shape[1] or not radii:
        raise ValueError(f"one radius a key frame, got {radii} for {key.shape[1]} frames")
    if key.shape[2] != size[0] * size[1] or key.shape != value.shape:
        raise ValueError(
            f"key and value must be [B, F, {size[0] * size[1]}, C], "
            f"got {tuple(key.shape)} and {tuple(value.shape)}"
        )
    compute = gather_attention if backend == "gather" else banded_attention
    return compute(query, key, value, positions, size=size, radii=radii, heads=heads)


def attention_weights(
    query: Tensor,
    key: Tensor,
    positions: Tensor,
    *,
    size: tuple[int, int],
    radii: tuple[int, ...],
    heads: int,
) -> Tensor:
    """The weights of a few queries, spread over the key frames' maps.

    Arguments as of :func:`sparse_attention`.

    Returns:
        ``[B, H, Q, F, rows, cols]``, summing to 1 over the last three.
    """
    keys = key_index(positions, size, window_offsets(radii, query.device))
    weights = attend(query, key, key, keys, heads).weights  # [B, H, Q, K]
    batch, _, queries, _ = weights.shape
    maps = weights.new_zeros(batch, heads, queries, key.shape[1] * key.shape[2])
    # add, not put: keys outside the map share a place with one inside, and weigh nothing
    maps.scatter_add_(-1, keys.places[:, None].expand_as(weights), weights)
    return maps.unflatten(-1, (key.shape[1], *size))
