"""Sparse temporal attention in one Triton kernel a direction: nothing is gathered or stacked.

A program takes one tile of the map and one head. It walks over the rectangle that the windows of
its positions cover in each key frame, as flash attention walks over a sequence: products of tiles
on the matrix units, a running softmax, and what a query may not read masked out. Of a rectangle a
third counts (8 x 8 positions at radius 4 cover 16 x 16), but each key is read once a tile instead
of once a query. Tiles without a query end at once, so the cost follows the share of the map asking.

The backward pass recomputes the weights from the log-sum of each softmax, the only thing kept
besides inputs and output. Gradients of keys and values have a program for each tile of each key
frame, which walks over the queries that can see it: p sees x exactly when x sees p. So nothing is
added atomically, and results repeat bit for bit.

Dimensions: B batch, H heads, Q queries, F key frames, h rows, w columns, N = h * w,
C = H * D channels.

What was run: everything, on a CPU through Triton's interpreter (tests/core/test_fused.py). What
was not: the compiled kernels, for want of a GPU. They were compiled ahead of time to machine code
for compute capabilities 8.0, 8.6, 8.9, 9.0, 10.0 and 12.0, within the shared memory of each, by
Triton 3.7.1 and 3.9.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from stt_core.model.attention.windows import WIDEST_FUSED

SLOTS = 9
"""Key frames a compiled kernel has room for; fewer leave slots unused, more compile another."""


def fused_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    positions: Tensor,
    *,
    radii: tuple[int, ...],
    heads: int,
) -> Tensor:
    """See :func:`stt_core.model.attention.ops.sparse_attention`.

    Args:
        query: ``[B, Q, C]`` float16, bfloat16, float32 or float64.
        keys: F maps ``[B, C, h, w]`` of the same dtype, read where they lie if all keys and
            values share their strides; else those not contiguous are copied.
        values: as `keys`.
        positions: ``[B, Q]`` long, none twice in an image: of two queries at one position one
            would come back as NaN.
        radii: F of them, at least one.
        heads: H; must divide C, into heads of at most WIDEST_FUSED channels.

    Returns:
        ``[B, Q, C]``, differentiable once: in query, keys and values.
    """
    if not len(keys) == len(values) == len(radii) > 0:
        raise ValueError(f"one key, value and radius a key frame, got {radii} for {len(keys)}")
    maps = [*keys, *values]
    _check(query, maps, positions, heads)
    if not query.numel():
        return torch.zeros_like(query)
    if len({_strides(m) for m in maps}) > 1:
        maps = [m.contiguous() for m in maps]
    out: Tensor = _FusedAttention.apply(query.contiguous(), positions, radii, heads, *maps)
    return out


def _check(query: Tensor, maps: list[Tensor], positions: Tensor, heads: int) -> None:
    if any(m.shape != maps[0].shape or m.dtype != query.dtype for m in maps):
        raise ValueError("keys and values must be of one shape, and of the query's dtype")
    if query.shape[:2] != positions.shape or query.shape[::2] != maps[0].shape[:2]:
        raise ValueError(
            f"query {tuple(query.shape)}, positions {tuple(positions.shape)} and maps "
            f"{tuple(maps[0].shape)} do not fit together"
        )
    if query.shape[2] % heads or query.shape[2] // heads > WIDEST_FUSED:
        raise ValueError(f"{heads} heads must divide {query.shape[2]}, into {WIDEST_FUSED} at most")


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Without those that no index reaches, which torch sets as it likes."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return tuple(stride if size > 1 else 0 for size, stride in pairs)


class _FusedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        positions: Tensor,
        radii: tuple[int, ...],
        heads: int,
        *maps: Tensor,
    ) -> Tensor:
        batch, queries, _ = query.shape
        index = _index(positions, maps[0].shape)
        out = torch.full_like(query, torch.nan)
        lse = query.new_empty(batch, heads, queries, dtype=_accumulator(query.dtype))
        options = _options(query, maps, radii, heads)
        with torch.cuda.device_of(query):
            _forward_kernel[(options.tiles, heads, batch)](
                query, *_slots(maps), index, options.radii, out, lse, **options.arguments
            )
        ctx.save_for_backward(query, out, lse, index, *maps)
        ctx.radii, ctx.heads = radii, heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, out, lse, index, *maps = ctx.saved_tensors
        grad = grad.contiguous()
        frames = len(ctx.radii)
        options = _options(query, maps, ctx.radii, ctx.heads)
        share = grad.to(lse.dtype) * out.to(lse.dtype)
        share = share.unflatten(-1, (ctx.heads, -1)).sum(-1).transpose(1, 2).contiguous()
        grad_query, grad_maps = None, [None] * (2 * frames)
        common = (query, *_slots(maps), index, options.radii, lse, grad, share)
        with torch.cuda.device_of(query):
            if ctx.needs_input_grad[0]:
                grad_query = torch.zeros_like(query)
                _query_kernel[(options.tiles, ctx.heads, len(query))](
                    *common, grad_query, **options.arguments
                )
            if any(ctx.needs_input_grad[4:]):
                grads = _maps_like(maps[0], 2 * frames)
                _maps_kernel[(options.tiles, ctx.heads, len(query) * frames)](
                    *common, grads, *grads.stride(), **options.arguments
                )
                grad_maps = list(grads)
        return grad_query, None, None, None, *grad_maps


class _Options(NamedTuple):
    tiles: int
    radii: Tensor  # [F] int32
    arguments: dict[str, Any]


def _options(query: Tensor, maps: Sequence[Tensor], radii: tuple[int, ...], heads: int) -> _Options:
    """What all three kernels are called with: sizes, strides and the blocks they work in."""
    _, channels, rows, cols = maps[0].shape
    width = channels // heads
    block = max(16, triton.next_power_of_2(width))  # 16: the least tl.dot takes
    tile, reach, warps = _blocks(block, query.element_size())
    batch_step, channel_step, row_step, col_step = _strides(maps[0])
    arguments = {
        "rows": rows,
        "cols": cols,
        "queries": query.shape[1],
        "frames": len(radii),
        "batch_step": batch_step,
        "channel_step": channel_step,
        "row_step": row_step,
        "col_step": col_step,
        "SLOTS": max(SLOTS, len(radii)),
        "HEADS": heads,
        "WIDTH": width,
        "BLOCK": block,
        "SCALE": width**-0.5,
        "TILE_Y": tile[0],
        "TILE_X": tile[1],
        "REACH_Y": reach[0],
        "REACH_X": reach[1],
        "DOT": product_type(query.dtype),
        "SUM": product_type(_accumulator(query.dtype)),
        "num_warps": warps,
        "enable_fp_fusion": True,  # said aloud, for its default is about to change
    }
    tiles = triton.cdiv(rows, tile[0]) * triton.cdiv(cols, tile[1])
    return _Options(tiles, _radii(radii, query.device), arguments)


def _blocks(width: int, item_bytes: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Rows and columns of a program's tile and of the block it reads at a time, and warps.

    The tile is square, for the least rectangle around it, and the block 16 wide, since 8 + 2 * 4
    is. Not measured: of a few that were tried, those whose code hardly spills registers, and
    stays within 99 KiB of shared memory, the least that a card has.
    """
    sizes: tuple[tuple[int, tuple[int, int], int], ...]  # up to this width: tile, rows read
    if item_bytes == 2:
        sizes, warps = ((64, (8, 8), 4), (128, (8, 8), 2), (256, (4, 8), 1)), 4
    else:
        sizes, warps = ((32, (8, 8), 2), (64, (4, 8), 2), (128, (4, 8), 1), (256, (4, 4), 1)), 8
    _, tile, high = next(size for size in sizes if width <= size[0])
    return tile, (high, 16), warps


@lru_cache(maxsize=64)
def _radii(radii: tuple[int, ...], device: torch.device) -> Tensor:
    # kept, since each copy to the device would wait for it
    return torch.tensor(radii, dtype=torch.int32, device=device)


def _index(positions: Tensor, shape: torch.Size) -> Tensor:
    """``[B, N]`` int32: which query asks from each position of the map, -1 for none."""
    batch, queries = positions.shape
    index = torch.full((batch, shape[2] * shape[3]), -1, dtype=torch.int32, device=positions.device)
    numbers = torch.arange(queries, dtype=torch.int32, device=positions.device)
    return index.scatter_(1, positions, numbers.expand(batch, -1))


def _slots(maps: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Keys and values, filled up with one of them to the length that is compiled."""
    frames = len(maps) // 2
    spare = (maps[0],) * (SLOTS - frames)
    return (*maps[:frames], *spare), (*maps[frames:], *spare)


def _maps_like(one: Tensor, count: int) -> Tensor:
    """``[count, B, C, h, w]``, channels last if `one` has its channels last."""
    batch, channels, rows, cols = one.shape
    if one.stride(1) == 1:
        return one.new_empty(count, batch, rows, cols, channels).permute(0, 1, 4, 2, 3)
    return one.new_empty(count, *one.shape)


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def product_type(dtype: torch.dtype) -> Any:
    """What tl.dot multiplies for tensors of `dtype`."""
    if dtype == torch.bfloat16 and not COMPILED:
        return tl.float32  # numpy, which the interpreter computes with, has no bfloat16
    return _TYPES[dtype]


_TYPES = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}

_SIZES = ["rows", "cols", "queries", "frames"]
"""Arguments that no kernel is compiled anew for."""

_LOG2_E = tl.constexpr(1.4426950408889634)
_NOWHERE = tl.constexpr(-(1 << 20))
"""The row of what is not to be seen: cheaper than one more mask of queries by keys."""


@triton.jit
def _pick(maps: tl.tuple, frame: tl.tensor, SLOTS: tl.constexpr) -> tl.tensor:
    """The pointer of one map, by a number known only at run time."""
    chosen = maps[0]
    for slot in tl.static_range(1, SLOTS):
        chosen = tl.where(frame == slot, maps[slot], chosen)
    return chosen


@triton.jit
def _product(
    a: tl.tensor, b: tl.tensor, start: tl.tensor, DOT: tl.constexpr, SUM: tl.constexpr
) -> tl.tensor:
    """Of two tiles, added to `start`; not in TF32, which would cost float32 its digits."""
    return tl.dot(a.to(DOT), b.to(DOT), start, input_precision="ieee", out_dtype=SUM)


@triton.jit
def _tile(cols: tl.tensor, TILE_Y: tl.constexpr, TILE_X: tl.constexpr) -> tl.tuple:
    """First row and column of this program's tile, and all its positions."""
    tile = tl.program_id(0)
    across = tl.cdiv(cols, TILE_X)
    top = tile // across * TILE_Y
    left = tile % across * TILE_X
    place = tl.arange(0, TILE_Y * TILE_X)
    return top, left, top + place // TILE_X, left + place % TILE_X


@triton.jit
def _rectangle(
    top: tl.tensor,
    left: tl.tensor,
    radius: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
) -> tl.tuple:
    """What a tile reaches inside the map: its first row and column, blocks across and in all."""
    first_y = tl.maximum(top - radius, 0)
    first_x = tl.maximum(left - radius, 0)
    across = tl.cdiv(tl.minimum(left + TILE_X + radius, cols) - first_x, REACH_X)
    down = tl.cdiv(tl.minimum(top + TILE_Y + radius, rows) - first_y, REACH_Y)
    return first_y, first_x, across, across * down


@triton.jit
def _block(
    first_y: tl.tensor,
    first_x: tl.tensor,
    across: tl.tensor,
    number: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
) -> tl.tuple:
    """Rows and columns of the positions of one block of a rectangle, and which the map has."""
    place = tl.arange(0, REACH_Y * REACH_X)
    y = first_y + number // across * REACH_Y + place // REACH_X
    x = first_x + number % across * REACH_X + place % REACH_X
    return y, x, (y < rows) & (x < cols)


@triton.jit
def _offset(y: tl.tensor, x: tl.tensor, row_step: tl.tensor, col_step: tl.tensor) -> tl.tensor:
    return y.to(tl.int64) * row_step + x.to(tl.int64) * col_step


@triton.jit
def _sees(
    a_y: tl.tensor, a_x: tl.tensor, b_y: tl.tensor, b_x: tl.tensor, radius: tl.tensor
) -> tl.tensor:
    """[A, 1] and [1, B] rows and columns to [A, B]: is the Chebyshev distance in reach?"""
    return (tl.abs(a_y - b_y) <= radius) & (tl.abs(a_x - b_x) <= radius)


@triton.jit(do_not_specialize=_SIZES)
def _forward_kernel(
    query: tl.tensor,
    keys: tl.tuple,
    values: tl.tuple,
    index: tl.tensor,
    radii: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    queries: tl.tensor,
    frames: tl.tensor,
    batch_step: tl.tensor,
    channel_step: tl.tensor,
    row_step: tl.tensor,
    col_step: tl.tensor,
    SLOTS: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    SCALE: tl.constexpr,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
    DOT: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """Values, and the log2-sum of the weights before they are normed, of a tile's queries."""
    top, left, my_y, my_x = _tile(cols, TILE_Y, TILE_X)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    mine = (my_y < rows) & (my_x < cols)
    asks = tl.load(index + batch * rows * cols + my_y * cols + my_x, mask=mine, other=-1)
    if tl.max(asks, 0) < 0:
        return
    asking = asks >= 0
    channel = tl.arange(0, BLOCK)
    real = (channel < WIDTH)[None, :]
    row = (batch * queries + asks)[:, None] * (HEADS * WIDTH) + head * WIDTH + channel[None, :]
    q = tl.load(query + row, mask=asking[:, None] & real, other=0.0)
    start = batch * batch_step + head * WIDTH * channel_step
    part = channel.to(tl.int64)[None, :] * channel_step
    most = tl.full([TILE_Y * TILE_X], -1e30, SUM)  # finite: a block may hold no key of a query
    total = tl.zeros([TILE_Y * TILE_X], SUM)
    attended = tl.zeros([TILE_Y * TILE_X, BLOCK], SUM)
    for frame in range(frames):
        radius = tl.load(radii + frame)
        key = _pick(keys, frame, SLOTS) + start
        value = _pick(values, frame, SLOTS) + start
        first_y, first_x, across, blocks = _rectangle(
            top, left, radius, rows, cols, TILE_Y, TILE_X, REACH_Y, REACH_X
        )
        for number in range(blocks):
            y, x, inside = _block(first_y, first_x, across, number, rows, cols, REACH_Y, REACH_X)
            place = _offset(y, x, row_step, col_step)[:, None] + part
            k = tl.load(key + place, mask=inside[:, None] & real, other=0.0)
            v = tl.load(value + place, mask=inside[:, None] & real, other=0.0)
            score = _product(q, tl.trans(k), None, DOT, SUM) * (SCALE * _LOG2_E)
            y = tl.where(inside, y, _NOWHERE)
            sees = _sees(my_y[:, None], my_x[:, None], y[None, :], x[None, :], radius)
            score = tl.where(sees, score, float("-inf"))
            higher = tl.maximum(most, tl.max(score, 1))
            weight = tl.exp2(score - higher[:, None])
            fade = tl.exp2(most - higher)
            total = total * fade + tl.sum(weight, 1)
            attended = _product(weight.to(v.dtype), v, attended * fade[:, None], DOT, SUM)
            most = higher
    total = tl.where(asking, total, 1.0)
    tl.store(out + row, (attended / total[:, None]).to(q.dtype), mask=asking[:, None] & real)
    tl.store(lse + (batch * HEADS + head) * queries + asks, most + tl.log2(total), mask=asking)


@triton.jit(do_not_specialize=_SIZES)
def _query_kernel(
    query: tl.tensor,
    keys: tl.tuple,
    values: tl.tuple,
    index: tl.tensor,
    radii: tl.tensor,
    lse: tl.tensor,
    grad: tl.tensor,
    share: tl.tensor,
    grad_query: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    queries: tl.tensor,
    frames: tl.tensor,
    batch_step: tl.tensor,
    channel_step: tl.tensor,
    row_step: tl.tensor,
    col_step: tl.tensor,
    SLOTS: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    SCALE: tl.constexpr,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
    DOT: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """Gradient of a tile's queries; `share` is the sum of each one's output times its gradient."""
    top, left, my_y, my_x = _tile(cols, TILE_Y, TILE_X)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    mine = (my_y < rows) & (my_x < cols)
    asks = tl.load(index + batch * rows * cols + my_y * cols + my_x, mask=mine, other=-1)
    if tl.max(asks, 0) < 0:
        return
    asking = asks >= 0
    channel = tl.arange(0, BLOCK)
    real = (channel < WIDTH)[None, :]
    row = (batch * queries + asks)[:, None] * (HEADS * WIDTH) + head * WIDTH + channel[None, :]
    q = tl.load(query + row, mask=asking[:, None] & real, other=0.0)
    g = tl.load(grad + row, mask=asking[:, None] & real, other=0.0)
    number_of = (batch * HEADS + head) * queries + asks
    log_sum = tl.load(lse + number_of, mask=asking, other=0.0)[:, None]
    mean = tl.load(share + number_of, mask=asking, other=0.0)[:, None]
    my_y = tl.where(asking, my_y, -_NOWHERE)
    start = batch * batch_step + head * WIDTH * channel_step
    part = channel.to(tl.int64)[None, :] * channel_step
    change = tl.zeros([TILE_Y * TILE_X, BLOCK], SUM)
    for frame in range(frames):
        radius = tl.load(radii + frame)
        key = _pick(keys, frame, SLOTS) + start
        value = _pick(values, frame, SLOTS) + start
        first_y, first_x, across, blocks = _rectangle(
            top, left, radius, rows, cols, TILE_Y, TILE_X, REACH_Y, REACH_X
        )
        for number in range(blocks):
            y, x, inside = _block(first_y, first_x, across, number, rows, cols, REACH_Y, REACH_X)
            place = _offset(y, x, row_step, col_step)[:, None] + part
            k = tl.load(key + place, mask=inside[:, None] & real, other=0.0)
            v = tl.load(value + place, mask=inside[:, None] & real, other=0.0)
            score = _product(q, tl.trans(k), None, DOT, SUM) * (SCALE * _LOG2_E)
            y = tl.where(inside, y, _NOWHERE)
            sees = _sees(my_y[:, None], my_x[:, None], y[None, :], x[None, :], radius)
            weight = tl.exp2(tl.where(sees, score - log_sum, float("-inf")))
            slope = weight * (_product(g, tl.trans(v), None, DOT, SUM) - mean)
            change = _product(slope.to(k.dtype), k, change, DOT, SUM)
    tl.store(grad_query + row, (change * SCALE).to(q.dtype), mask=asking[:, None] & real)


@triton.jit(do_not_specialize=_SIZES)
def _maps_kernel(
    query: tl.tensor,
    keys: tl.tuple,
    values: tl.tuple,
    index: tl.tensor,
    radii: tl.tensor,
    lse: tl.tensor,
    grad: tl.tensor,
    share: tl.tensor,
    grads: tl.tensor,
    grads_step: tl.tensor,
    grads_batch_step: tl.tensor,
    grads_channel_step: tl.tensor,
    grads_row_step: tl.tensor,
    grads_col_step: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    queries: tl.tensor,
    frames: tl.tensor,
    batch_step: tl.tensor,
    channel_step: tl.tensor,
    row_step: tl.tensor,
    col_step: tl.tensor,
    SLOTS: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    SCALE: tl.constexpr,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
    DOT: tl.constexpr,
    SUM: tl.constexpr,
) -> None:
    """Gradients of a tile of one key frame's keys and values, from the queries that see them."""
    top, left, my_y, my_x = _tile(cols, TILE_Y, TILE_X)
    head = tl.program_id(1).to(tl.int64)
    frame = tl.program_id(2) % frames
    batch = (tl.program_id(2) // frames).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    real = (channel < WIDTH)[None, :]
    mine = ((my_y < rows) & (my_x < cols))[:, None] & real
    start = batch * batch_step + head * WIDTH * channel_step
    place = _offset(my_y, my_x, row_step, col_step)[:, None]
    place += channel.to(tl.int64)[None, :] * channel_step
    k = tl.load(_pick(keys, frame, SLOTS) + start + place, mask=mine, other=0.0)
    v = tl.load(_pick(values, frame, SLOTS) + start + place, mask=mine, other=0.0)
    radius = tl.load(radii + frame)
    change_k = tl.zeros([TILE_Y * TILE_X, BLOCK], SUM)
    change_v = tl.zeros([TILE_Y * TILE_X, BLOCK], SUM)
    first_y, first_x, across, blocks = _rectangle(
        top, left, radius, rows, cols, TILE_Y, TILE_X, REACH_Y, REACH_X
    )
    for number in range(blocks):
        y, x, inside = _block(first_y, first_x, across, number, rows, cols, REACH_Y, REACH_X)
        asks = tl.load(index + batch * rows * cols + y * cols + x, mask=inside, other=-1)
        asking = asks >= 0
        row = (batch * queries + asks)[:, None] * (HEADS * WIDTH) + head * WIDTH + channel[None, :]
        q = tl.load(query + row, mask=asking[:, None] & real, other=0.0)
        g = tl.load(grad + row, mask=asking[:, None] & real, other=0.0)
        number_of = (batch * HEADS + head) * queries + asks
        log_sum = tl.load(lse + number_of, mask=asking, other=0.0)[None, :]
        mean = tl.load(share + number_of, mask=asking, other=0.0)[None, :]
        # keys down, queries across: what is multiplied next needs no transposing
        score = _product(k, tl.trans(q), None, DOT, SUM) * (SCALE * _LOG2_E)
        y = tl.where(asking, y, _NOWHERE)
        sees = _sees(my_y[:, None], my_x[:, None], y[None, :], x[None, :], radius)
        weight = tl.exp2(tl.where(sees, score - log_sum, float("-inf")))
        change_v = _product(weight.to(g.dtype), g, change_v, DOT, SUM)
        slope = weight * (_product(v, tl.trans(g), None, DOT, SUM) - mean)
        change_k = _product(slope.to(q.dtype), q, change_k, DOT, SUM)
    result = grads + frame.to(tl.int64) * grads_step + batch * grads_batch_step
    result += head * WIDTH * grads_channel_step
    result += _offset(my_y, my_x, grads_row_step, grads_col_step)[:, None]
    result += channel.to(tl.int64)[None, :] * grads_channel_step
    tl.store(result, (change_k * SCALE).to(k.dtype), mask=mine)
    result += frames.to(tl.int64) * grads_step  # those of the values come after
    tl.store(result, change_v.to(v.dtype), mask=mine)


COMPILED = isinstance(_forward_kernel, triton.JITFunction)
"""Or run by the interpreter, for tests on machines without a GPU."""
