"""The neighbouring similarity measure in one Triton kernel, products with neighbours not kept.

A program takes one tile of the map and walks over the rectangle that the neighbourhoods of its
positions cover, multiplying tiles and masking out what lies too far. Of each position it keeps
four numbers: the largest product and the sum of exponentials below it, and the sums of products
and of cosines.

Dimensions: B batch, C channels, h rows, w columns, N = h * w.

What was run: everything, on a CPU through Triton's interpreter (tests/core/test_fused.py). What
was not: the compiled kernel, for want of a GPU. It was compiled ahead of time to machine code for
compute capabilities 8.0, 8.6, 9.0, 10.0 and 12.0, by Triton 3.7.1 and 3.9.0.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from stt_core.model.attention.fused import product_type
from stt_core.model.similarity.reference import EPS


@torch.no_grad()
def fused_similarity(features: Tensor, radius: int, *, scale: float = 1.0) -> Tensor:
    """See :func:`stt_core.model.similarity.ops.neighbouring_similarity`.

    Any strides, any floating dtype; float64 is read as float32.
    """
    batch, channels, rows, cols = features.shape
    half = features.element_size() == 2
    norms = _norms(features)
    need = torch.empty_like(norms)
    tile, reach = (4, 16), (2, 32)  # radius 5 needs 26 columns around 16, 30 of 32 around 20
    grid = (triton.cdiv(rows, tile[0]) * triton.cdiv(cols, tile[1]), batch)
    with torch.cuda.device_of(features):
        _need_kernel[grid](
            features,
            norms,
            need,
            rows,
            cols,
            radius,
            *features.stride(),
            SCALE=scale,
            EPS=EPS,
            CHANNELS=channels,
            BLOCK=32 if half else 16,
            TILE_Y=tile[0],
            TILE_X=tile[1],
            REACH_Y=reach[0],
            REACH_X=reach[1],
            DOT=product_type(features.dtype) if half else tl.float32,
            num_warps=4 if half else 8,
            enable_fp_fusion=True,  # said aloud, for its default is about to change
        )
    return need


def _norms(features: Tensor) -> Tensor:
    """``[B, N]`` float32, none below EPS."""
    if features.dtype == torch.float64:
        features = features.float()
    norms = torch.linalg.vector_norm(features, dim=1, dtype=torch.float32).flatten(1)
    return (norms.square() + EPS**2).sqrt()


@triton.jit(do_not_specialize=["rows", "cols", "radius"])
def _need_kernel(
    features: tl.tensor,
    norms: tl.tensor,
    need: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    radius: tl.tensor,
    batch_step: tl.tensor,
    channel_step: tl.tensor,
    row_step: tl.tensor,
    col_step: tl.tensor,
    SCALE: tl.constexpr,
    EPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE_Y: tl.constexpr,
    TILE_X: tl.constexpr,
    REACH_Y: tl.constexpr,
    REACH_X: tl.constexpr,
    DOT: tl.constexpr,
) -> None:
    tile = tl.program_id(0)
    tiles_across = tl.cdiv(cols, TILE_X)
    top = tile // tiles_across * TILE_Y
    left = tile % tiles_across * TILE_X
    batch = tl.program_id(1).to(tl.int64)
    features += batch * batch_step
    norms += batch * rows * cols
    channel = tl.arange(0, BLOCK)[None, :]

    mine = tl.arange(0, TILE_Y * TILE_X)
    my_y = top + mine // TILE_X
    my_x = left + mine % TILE_X
    exists = (my_y < rows) & (my_x < cols)
    my_place = (my_y.to(tl.int64) * row_step + my_x.to(tl.int64) * col_step)[:, None]
    my_norm = tl.load(norms + my_y * cols + my_x, mask=exists, other=1.0)
    own = my_norm * my_norm  # taken off every product, so that like neighbours sum to little

    most = tl.full([TILE_Y * TILE_X], -1e30, tl.float32)  # finite: a block may hold no neighbour
    total = tl.zeros([TILE_Y * TILE_X], tl.float32)
    products = tl.zeros([TILE_Y * TILE_X], tl.float32)
    cosines = tl.zeros([TILE_Y * TILE_X], tl.float32)
    first_y = tl.maximum(top - radius, 0)
    first_x = tl.maximum(left - radius, 0)
    across = tl.cdiv(tl.minimum(left + TILE_X + radius, cols) - first_x, REACH_X)
    down = tl.cdiv(tl.minimum(top + TILE_Y + radius, rows) - first_y, REACH_Y)
    theirs = tl.arange(0, REACH_Y * REACH_X)
    for block in range(across * down):
        y = first_y + block // across * REACH_Y + theirs // REACH_X
        x = first_x + block % across * REACH_X + theirs % REACH_X
        inside = (y < rows) & (x < cols)
        place = (y.to(tl.int64) * row_step + x.to(tl.int64) * col_step)[:, None]
        z = tl.zeros([TILE_Y * TILE_X, REACH_Y * REACH_X], tl.float32)
        for begin in range(0, CHANNELS, BLOCK):
            real = begin + channel < CHANNELS
            step = (begin + channel).to(tl.int64) * channel_step
            a = tl.load(features + my_place + step, mask=exists[:, None] & real, other=0.0)
            b = tl.load(features + place + step, mask=inside[:, None] & real, other=0.0)
            z = tl.dot(a.to(DOT), tl.trans(b.to(DOT)), z, input_precision="ieee")
        norm = tl.load(norms + y * cols + x, mask=inside, other=1.0)
        sees = (tl.abs(my_y[:, None] - y[None, :]) <= radius) & inside[None, :]
        sees = (tl.abs(my_x[:, None] - x[None, :]) <= radius) & sees
        cosine = (z + EPS * EPS) / (my_norm[:, None] * norm[None, :])
        cosines += tl.sum(tl.where(sees, cosine, 0.0), 1)
        z = (z - own[:, None]) * SCALE
        products += tl.sum(tl.where(sees, z, 0.0), 1)
        z = tl.where(sees, z, float("-inf"))
        higher = tl.maximum(most, tl.max(z, 1))
        total = total * tl.exp(most - higher) + tl.sum(tl.exp(z - higher[:, None]), 1)
        most = higher

    count = tl.minimum(my_y + radius, rows - 1) - tl.maximum(my_y - radius, 0) + 1
    count *= tl.minimum(my_x + radius, cols - 1) - tl.maximum(my_x - radius, 0) + 1
    count = tl.where(exists, count, 1).to(tl.float32)
    total = tl.where(exists, total, 1.0)
    kl = most + tl.log(total) - products / count - tl.log(count)
    result = need + batch * rows * cols + my_y * cols + my_x
    tl.store(result, kl + 1 - cosines / count, mask=exists)
