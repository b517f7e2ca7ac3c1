"""Sparse temporal attention as the model calls it, and the choice of how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stt_core.model.attention.reference import as_memory, attend, gather_attention
from stt_core.model.attention.tiled import tiled_attention
from stt_core.model.attention.windows import (
    WIDEST_FUSED,
    key_index,
    unpack_value,
    window_offsets,
)
from stt_core.model.backends import Backend, choose


@dataclass(frozen=True, slots=True)
class Ablation:
    """What attention is to do without."""

    heads: frozenset[int] = frozenset()
    """Heads whose result counts as zero."""
    frames: frozenset[int] = frozenset()
    """Key frames nobody reads, by lag: 0 is the newest."""
    keys: frozenset[tuple[int, int, int]] = frozenset()
    """Single keys nobody reads: lag, row, column."""


NOTHING_MUTED = Ablation()


def sparse_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
    ablation: Ablation = NOTHING_MUTED,
    backend: Backend = "auto",
) -> Tensor:
    """Attend from every query to the windows around its own place in the key frames.

    Args:
        query: ``[B, Q, C]`` projected features of the selected positions.
        keys: F maps ``[B, C, h, w]`` of projected features, newest first, however they lie in
            memory (:func:`pack_keys` says what is fastest).
        values: as `keys`; or as :func:`pack_values` left them.
        positions: ``[B, Q]`` long, ``row * w + column`` of the queries.
        radii: half the window in each key frame; F of them.
        heads: H; must divide C.
        ablation: what to leave out. Muted keys go the way of the reference, and are exact.
        backend: how it is computed; the result is the same.

    Returns:
        ``[B, Q, C]``: softmax(QK^T / sqrt(C / H)) V over all windows jointly (Eq. 6), positions
        outside the map left out. Zero for a query that is left without any key.

    Raises:
        ValueError: shapes that contradict each other, or a backend that cannot work here.
    """
    _check(query, keys, radii, heads)
    for key, value in zip(keys, values, strict=True):
        if value.numel() != key.numel() or value.shape[-2:] != key.shape[-2:]:
            raise ValueError(
                f"values must have the shapes of keys, got {tuple(value.shape)} "
                f"for {tuple(key.shape)}"
            )
    read = [f for f in range(len(keys)) if f not in ablation.frames]
    keys, values = [keys[f] for f in read], [values[f] for f in read]
    radii = tuple(radii[f] for f in read)
    if not keys or not query.shape[1]:
        return torch.zeros_like(query)
    muted = {(read.index(f), y, x) for f, y, x in ablation.keys if f in read}
    if muted:
        plain = [unpack_value(v) for v in values]
        out = gather_attention(
            query, keys, plain, positions, radii=radii, heads=heads, muted=frozenset(muted)
        )
    else:
        chosen = choose(backend, query, *keys, *values)
        if backend == "auto" and chosen == "triton" and query.shape[2] // heads > WIDEST_FUSED:
            chosen = "tiled"
        compute = _implementation(chosen)
        if chosen != "cpu":
            values = [unpack_value(v) for v in values]
        out = compute(query, keys, values, positions, radii=radii, heads=heads)
    if not ablation.heads:
        return out
    heard = torch.ones(heads, 1, dtype=out.dtype, device=out.device)
    heard[sorted(ablation.heads)] = 0
    return (out.unflatten(-1, (heads, -1)) * heard).flatten(-2)


def attention_weights(
    query: Tensor,
    keys: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
    ablation: Ablation = NOTHING_MUTED,
) -> Tensor:
    """The weights of a few queries, spread over the key frames' maps.

    Arguments as of :func:`sparse_attention`; the fast ways of computing are not involved.

    Returns:
        ``[B, H, Q, F, h, w]``, summing to 1 over the last three for each head that is not muted,
        to 0 for one that is.
    """
    _check(query, keys, radii, heads)
    rows, cols = keys[0].shape[2:]
    offsets = window_offsets(radii, query.device)
    index = key_index(positions, (rows, cols), offsets, ablation.keys)
    for frame in ablation.frames:
        index.valid[..., offsets.lag == frame] = False
    memory = as_memory(keys)
    weights = attend(query, memory, memory, index, heads).weights  # [B, H, Q, K]
    if ablation.heads:
        weights[:, sorted(ablation.heads)] = 0
    batch, _, queries, _ = weights.shape
    maps = weights.new_zeros(batch, heads, queries, len(keys) * rows * cols)
    # add, not put: keys outside the map share a place with one inside, and weigh nothing
    maps.scatter_add_(-1, index.places[:, None].expand_as(weights), weights)
    return maps.unflatten(-1, (len(keys), rows, cols))


def pack_keys(keys: Tensor) -> Tensor:
    """The same map ``[B, C, h, w]``, lying as the kernels of its device read it fastest."""
    if choose("auto", keys) != "cpu":
        return keys
    from stt_core.model.attention.cpu import pack_key

    return pack_key(keys)


def pack_values(values: Tensor) -> Tensor:
    """As :func:`pack_keys`, for values; for the CPU's kernels, not a map ``[B, C, h, w]`` any more.

    Returns:
        ``[B, C / 16, 16, h, w]`` where that is how they like it.
    """
    if choose("auto", values) != "cpu":
        return values
    from stt_core.model.attention.cpu import pack_value

    return pack_value(values)


def _implementation(backend: Backend) -> Callable[..., Tensor]:
    # compilers are loaded when they are first needed, and need not be there at all
    if backend == "cpu":
        from stt_core.model.attention.cpu import cpu_attention

        return cpu_attention
    if backend == "triton":
        from stt_core.model.attention.fused import fused_attention

        return fused_attention
    return gather_attention if backend == "reference" else tiled_attention


def _check(query: Tensor, keys: Sequence[Tensor], radii: tuple[int, ...], heads: int) -> None:
    if len(radii) != len(keys):
        raise ValueError(f"one radius a key frame, got {radii} for {len(keys)} frames")
    if query.shape[2] % heads:
        raise ValueError(f"heads must divide the channels, got {heads} for {query.shape[2]}")
    for key in keys:
        if key.shape[:2] != (query.shape[0], query.shape[2]) or key.shape != keys[0].shape:
            raise ValueError(
                f"keys must be maps [{query.shape[0]}, {query.shape[2]}, h, w] of one size, "
                f"got {tuple(key.shape)}"
            )
