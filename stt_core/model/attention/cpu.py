"""Sparse temporal attention on the CPU, compiled by numba: forward only.

Keys lie as rows x channels x columns, so that 16 neighbouring keys are one load: the scores of a
window's row are sums of such vectors, with nothing to add up across a vector. Values lie as
rows x blocks of 16 channels x columns x 16, and such a block of a result grows in one register.
The maps of all key frames are read where they lie; nothing is gathered. Each query is computed by
itself, whatever the number of threads: results repeat bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch
import torch.nn.functional as F
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from stt_core.model.attention.windows import unpack_value
from stt_core.model.simd import (
    LANES,
    add,
    blend,
    exp,
    fma,
    highest,
    load,
    maximum,
    multiply,
    splat,
    spread,
    store,
    torch_threads,
    total,
)

_TILE = (8, 128)
"""Most rows and columns of the queries a thread takes at a time: tall, so that the rows around
them are fetched for many; not so large that what one head reads of them leaves the second cache."""
_DEPTH = 32
"""Channels a score is summed over at a time, so that their keys stay in the first cache."""
_ROW_PAD = 13 * LANES
_ZERO, _LEAST = np.float32(0), np.float32(-1e30)


def pack_key(key: Tensor) -> Tensor:
    """The same map ``[B, C, h, w]`` as the kernel likes it to lie: each channel of a row together.

    There is room for a vector to begin at the last column.
    """
    batch, channels, rows, cols = key.shape
    wide = _odd(cols + LANES - 1)
    buffer = key.new_zeros(batch, rows, channels * wide + _ROW_PAD)
    packed = buffer[..., :-_ROW_PAD].unflatten(-1, (channels, wide))[..., :cols].transpose(1, 2)
    return packed.copy_(key)


def pack_value(value: Tensor) -> Tensor:
    """The same map as the kernel likes it to lie: 16 channels of all columns of a row together.

    Returns:
        ``[B, C / 16, 16, h, w]``; the map as it is where C is no multiple of 16.
    """
    batch, channels, rows, cols = value.shape
    if channels % LANES:
        return value
    buffer = value.new_empty(batch, rows, channels * cols + _ROW_PAD)
    packed = buffer[..., :-_ROW_PAD].unflatten(-1, (channels // LANES, cols, LANES))
    packed = packed.permute(0, 2, 4, 1, 3)
    return packed.copy_(value.unflatten(1, (-1, LANES)))


def cpu_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
) -> Tensor:
    """See :func:`stt_core.model.attention.ops.sparse_attention`."""
    depth = query.shape[2] // heads
    scaled = query.float() * depth**-0.5
    missing = -depth % LANES
    if missing:  # heads are whole vectors; zeros change no product
        scaled = F.pad(scaled.unflatten(2, (heads, depth)), (0, missing)).flatten(2)
        keys, values = (
            [_widened(unpack_value(m), heads, missing) for m in maps] for maps in (keys, values)
        )
    scaled = scaled.contiguous()
    keys = [k if _is_packed_key(k) else pack_key(k) for k in _supported(keys)]
    values = [v if _is_packed_value(v) else pack_value(unpack_value(v)) for v in _supported(values)]
    out = torch.empty_like(scaled)
    key_kind, value_kind = _kind(keys[0]), _kind(values[0])
    rows, cols = keys[0].shape[2:]
    strides = (keys[0].stride(1), keys[0].stride(2), values[0].stride(3))
    with torch_threads():
        for b in range(query.shape[0]):
            order, tiles = _by_tiles(positions[b].numpy(), rows, cols)
            _attend(
                scaled[b].data_ptr(),
                key_kind,
                np.array([k[b].data_ptr() for k in keys]),
                value_kind,
                np.array([v[b].data_ptr() for v in values]),
                out[b].data_ptr(),
                positions[b].numpy(),
                order,
                tiles,
                np.array(radii),
                (rows, cols, heads, depth + missing),
                strides,
            )
    out = out.unflatten(2, (heads, -1))[..., :depth].flatten(2)
    return out.to(query.dtype)


def _by_tiles(
    positions: NDArray[np.int64], rows: int, cols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Queries in the order of their tiles, and where in it each tile begins and the last ends."""
    across = -(-cols // _TILE[1])
    enough = 2 * numba.get_num_threads()  # tiles, for all threads to have work to the end
    tall = max(1, min(_TILE[0], rows * across // enough))
    y, x = np.divmod(positions, cols)
    tile = y // tall * across + x // _TILE[1]
    order = np.argsort(tile, kind="stable")
    begins = np.flatnonzero(np.diff(tile[order], prepend=-1))
    return order, np.append(begins, len(order))


def _odd(length: int) -> int:
    """The least odd multiple of 16: even ones put what is read together into few cache sets."""
    return (-(-length // LANES) | 1) * LANES


def _is_packed_key(key: Tensor) -> bool:
    wide = key.stride(1)
    return (
        key.stride(3) == 1
        and wide == _odd(key.shape[3] + LANES - 1)
        and key.stride(2) == key.shape[1] * wide + _ROW_PAD
    )


def _is_packed_value(value: Tensor) -> bool:
    if value.ndim != 5:
        return False
    cols = value.shape[4]
    row = value.shape[1] * LANES * cols + _ROW_PAD
    return value.stride()[1:] == (cols * LANES, 1, row, LANES)


def _widened(x: Tensor, heads: int, missing: int) -> Tensor:
    """``[B, C, h, w]`` with `missing` channels of zeros behind those of each head."""
    return F.pad(x.unflatten(1, (heads, -1)), (0, 0, 0, 0, 0, missing)).flatten(1, 2)


def _supported(maps: Sequence[Tensor]) -> Sequence[Tensor]:
    """All in one dtype that the kernel reads."""
    same = {m.dtype for m in maps}
    return maps if same in ({torch.float32}, {torch.bfloat16}) else [m.float() for m in maps]


def _kind(x: Tensor) -> np.uint16 | np.float32:
    return np.uint16(0) if x.dtype == torch.bfloat16 else np.float32(0)


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _attend(  # type: ignore[no-untyped-def]
    q, key_kind, keys, value_kind, values, out, positions, order, tiles, radii, shape, strides
):
    for t in prange(tiles.shape[0] - 1):
        chosen = order[tiles[t] : tiles[t + 1]]
        _attend_tile(
            chosen, q, key_kind, keys, value_kind, values, out, positions, radii, shape, strides
        )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _attend_tile(  # type: ignore[no-untyped-def]
    chosen, q, key_kind, keys, value_kind, values, out, positions, radii, shape, strides
):
    rows, cols, heads, depth = shape
    count, frames = chosen.shape[0], radii.shape[0]
    room = LANES
    for f in range(frames):
        room += (2 * radii[f] + 1) ** 2
    buffer = np.empty(count * room + LANES, np.float32)
    weights = buffer.ctypes.data
    ends = np.empty(count, np.int64)
    y, x = positions[chosen] // cols, positions[chosen] % cols
    at = chosen * heads * depth  # where the queries and their results lie
    # head by head and frame by frame, so that what a tile reads stays in the first cache; and each
    # step for all its queries, so that the processor finds work that need not wait
    for h in range(heads):
        first = h * depth
        for i in range(count):
            ends[i] = i * room
        for f in range(frames):
            for c in range(0, depth, _DEPTH):
                for i in range(count):
                    window = _window(y[i], x[i], rows, cols, radii[f])
                    _score(
                        q,
                        at[i] + first + c,
                        min(_DEPTH, depth - c),
                        key_kind,
                        keys[f],
                        window,
                        strides[0],
                        strides[1],
                        first + c,
                        weights,
                        ends[i],
                        c > 0,
                    )
            for i in range(count):
                y0, y1, x0, x1 = _window(y[i], x[i], rows, cols, radii[f])
                ends[i] += (y1 - y0) * (x1 - x0)
        for i in range(count):
            _soften(weights, i * room, ends[i])
            ends[i] = i * room
            for c in range(0, depth, LANES):
                store(out, at[i] + first + c, splat(_ZERO))
        for f in range(frames):
            for i in range(count):
                window = _window(y[i], x[i], rows, cols, radii[f])
                _mix(
                    value_kind,
                    values[f],
                    window,
                    cols,
                    strides[2],
                    first,
                    depth,
                    weights,
                    ends[i],
                    out,
                    at[i] + first,
                )
                y0, y1, x0, x1 = window
                ends[i] += (y1 - y0) * (x1 - x0)
    return buffer[0]  # used to the end, or it would be freed when its address is taken


@numba.njit(inline="always")
def _window(y, x, rows, cols, radius):  # type: ignore[no-untyped-def]
    """First row, row behind the last, first column, column behind the last."""
    return (
        max(0, y - radius),
        min(rows, y + radius + 1),
        max(0, x - radius),
        min(cols, x + radius + 1),
    )


@numba.njit(inline="always")
def _score(q, at_q, depth, kind, key, window, step, down, channel, scores, into, more):  # type: ignore[no-untyped-def]
    """Products of a query with the keys of a window, row by row; added to those there if `more`.

    A vector reaches beyond its row: what it writes there the next one writes over. Hence the last
    piece of the rows comes first where rows are taken together: it reaches into their first.
    """
    y0, y1, x0, x1 = window
    width = x1 - x0
    pieces = (width + LANES - 1) // LANES
    y = y0
    for _ in range((y1 - y0) // 9):
        for piece in range(pieces - 1, -1, -1):
            x = x0 + piece * LANES
            a0, a1, a2, a3, a4 = (
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
            )
            a5, a6, a7, a8 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
            k = y * down + channel * step + x
            for d in range(depth):
                part = spread(q, at_q + d)
                a0 = fma(part, load(kind, key, k + 0 * down), a0)
                a1 = fma(part, load(kind, key, k + 1 * down), a1)
                a2 = fma(part, load(kind, key, k + 2 * down), a2)
                a3 = fma(part, load(kind, key, k + 3 * down), a3)
                a4 = fma(part, load(kind, key, k + 4 * down), a4)
                a5 = fma(part, load(kind, key, k + 5 * down), a5)
                a6 = fma(part, load(kind, key, k + 6 * down), a6)
                a7 = fma(part, load(kind, key, k + 7 * down), a7)
                a8 = fma(part, load(kind, key, k + 8 * down), a8)
                k += step
            at = into + x - x0
            _put(scores, at + 0 * width, a0, x1 - x, more)
            _put(scores, at + 1 * width, a1, x1 - x, more)
            _put(scores, at + 2 * width, a2, x1 - x, more)
            _put(scores, at + 3 * width, a3, x1 - x, more)
            _put(scores, at + 4 * width, a4, x1 - x, more)
            _put(scores, at + 5 * width, a5, x1 - x, more)
            _put(scores, at + 6 * width, a6, x1 - x, more)
            _put(scores, at + 7 * width, a7, x1 - x, more)
            _put(scores, at + 8 * width, a8, x1 - x, more)
        into += 9 * width
        y += 9
    for _ in range((y1 - y) // 3):
        for piece in range(pieces - 1, -1, -1):
            x = x0 + piece * LANES
            a, b, c = splat(_ZERO), splat(_ZERO), splat(_ZERO)
            k = y * down + channel * step + x
            for d in range(depth):
                part = spread(q, at_q + d)
                a = fma(part, load(kind, key, k), a)
                b = fma(part, load(kind, key, k + down), b)
                c = fma(part, load(kind, key, k + 2 * down), c)
                k += step
            _put(scores, into + x - x0, a, x1 - x, more)
            _put(scores, into + width + x - x0, b, x1 - x, more)
            _put(scores, into + 2 * width + x - x0, c, x1 - x, more)
        into += 3 * width
        y += 3
    for _ in range(y1 - y):
        for piece in range(pieces):
            x = x0 + piece * LANES
            a = splat(_ZERO)
            k = y * down + channel * step + x
            for d in range(depth):
                a = fma(spread(q, at_q + d), load(kind, key, k), a)
                k += step
            _put(scores, into + x - x0, a, x1 - x, more)
        into += width
        y += 1


@numba.njit(inline="always")
def _put(scores, into, vector, count, more):  # type: ignore[no-untyped-def]
    if more:
        old = load(_ZERO, scores, into)
        vector = blend(add(old, vector), old, count)
    store(scores, into, vector)


@numba.njit(inline="always")
def _soften(weights, start, end):  # type: ignore[no-untyped-def]
    """Softmax of scores, in place."""
    store(weights, end, splat(_LEAST))
    high = load(_ZERO, weights, start)
    for j in range(start + LANES, end, LANES):
        high = maximum(high, load(_ZERO, weights, j))
    shift = splat(-highest(high))
    sums = splat(_ZERO)
    for j in range(start, end, LANES):
        e = exp(add(load(_ZERO, weights, j), shift))
        store(weights, j, e)
        sums = add(sums, e)
    scale = splat(np.float32(1) / total(sums))
    for j in range(start, end, LANES):
        store(weights, j, multiply(load(_ZERO, weights, j), scale))


@numba.njit(inline="always")
def _mix(kind, value, window, cols, down, channel, depth, weights, at, sums, into):  # type: ignore[no-untyped-def]
    """Adds the weighted values of a window, 16 channels at a time."""
    y0, y1, x0, x1 = window
    width = x1 - x0
    for c in range(0, depth, LANES):
        a, b, d = load(_ZERO, sums, into + c), splat(_ZERO), splat(_ZERO)
        y = y0
        for _ in range((y1 - y0) // 9):
            a0, a1, a2, a3, a4 = (
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
                splat(_ZERO),
            )
            a5, a6, a7, a8 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
            v = y * down + (channel + c) * cols + x0 * LANES
            w = at + (y - y0) * width
            for _ in range(width):
                a0 = fma(spread(weights, w + 0 * width), load(kind, value, v + 0 * down), a0)
                a1 = fma(spread(weights, w + 1 * width), load(kind, value, v + 1 * down), a1)
                a2 = fma(spread(weights, w + 2 * width), load(kind, value, v + 2 * down), a2)
                a3 = fma(spread(weights, w + 3 * width), load(kind, value, v + 3 * down), a3)
                a4 = fma(spread(weights, w + 4 * width), load(kind, value, v + 4 * down), a4)
                a5 = fma(spread(weights, w + 5 * width), load(kind, value, v + 5 * down), a5)
                a6 = fma(spread(weights, w + 6 * width), load(kind, value, v + 6 * down), a6)
                a7 = fma(spread(weights, w + 7 * width), load(kind, value, v + 7 * down), a7)
                a8 = fma(spread(weights, w + 8 * width), load(kind, value, v + 8 * down), a8)
                v += LANES
                w += 1
            a = add(a, add(add(a0, a1), add(a2, a3)))
            b = add(b, add(add(a4, a5), add(a6, add(a7, a8))))
            y += 9
        for _ in range((y1 - y) // 3):
            v = y * down + (channel + c) * cols + x0 * LANES
            w = at + (y - y0) * width
            for _ in range(width):
                a = fma(spread(weights, w), load(kind, value, v), a)
                b = fma(spread(weights, w + width), load(kind, value, v + down), b)
                d = fma(spread(weights, w + 2 * width), load(kind, value, v + 2 * down), d)
                v += LANES
                w += 1
            y += 3
        for _ in range(y1 - y):
            v = y * down + (channel + c) * cols + x0 * LANES
            w = at + (y - y0) * width
            for _ in range(width):
                a = fma(spread(weights, w), load(kind, value, v), a)
                v += LANES
                w += 1
            y += 1
        store(sums, into + c, add(a, add(b, d)))
