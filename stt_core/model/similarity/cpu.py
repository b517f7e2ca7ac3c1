"""Neighbouring similarity on the CPU, compiled by numba.

Features lie as rows x channels x columns, so that 16 neighbouring positions are one load. First
every product of two positions is computed once, for the half of the neighbours that lie to the
right or below: 61 numbers a position for r = 5, a quarter of a 256-channel map. Then each position
goes over its neighbours, finding the other half where they were computed.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from stt_core.model.simd import (
    LANES,
    add,
    exp,
    fma,
    load,
    maximum,
    multiply,
    splat,
    store,
    torch_threads,
)
from stt_core.model.similarity.reference import EPS

_ZERO, _OUTSIDE, _EPS2 = np.float32(0), np.float32(-1e30), np.float32(EPS**2)


def cpu_similarity(features: Tensor, radius: int, *, scale: float = 1.0) -> Tensor:
    """See :func:`stt_core.model.similarity.ops.neighbouring_similarity`."""
    with torch_threads():
        return torch.stack([_one(image.float(), radius, scale) for image in features])


def _one(image: Tensor, radius: int, scale: float) -> Tensor:
    """``[C, h, w]`` to ``[N]``."""
    channels, rows, cols = image.shape
    # room for neighbours beside the map, and for vectors that begin at its last column
    room = cols + 2 * radius + 2 * LANES
    inside = slice(radius, radius + cols)
    packed = torch.zeros(rows, channels, room)
    packed[..., inside] = image.transpose(0, 1)
    products = torch.zeros(rows, radius + 1, 2 * radius + 1, room)
    _multiply(packed.data_ptr(), products.data_ptr(), rows, cols, channels, radius, room)
    inverse = torch.zeros(rows, room)  # of the norms
    inverse[:, inside] = (products[:, 0, radius, inside] + EPS**2).rsqrt()
    within = torch.zeros(room)
    within[inside] = 1
    outside = (1 - within) * float(_OUTSIDE)
    sums = torch.empty(4, rows, room)
    _compare(
        products.data_ptr(),
        inverse.data_ptr(),
        outside.data_ptr(),
        within.data_ptr(),
        sums.data_ptr(),
        rows,
        cols,
        radius,
        room,
        np.float32(scale),
    )
    high, weight, z_sum, cosine = sums[..., :cols]
    count = _span(rows, radius)[:, None] * _span(cols, radius)
    kl = high + weight.log() - z_sum * scale / count - count.log()
    return (kl + 1 - cosine * inverse[:, inside] / count).flatten()


def _span(length: int, radius: int) -> Tensor:
    """``[length]``: how many places along one side lie within the radius of each."""
    place = torch.arange(length)
    first, last = (place - radius).clamp_min(0), (place + radius).clamp_max(length - 1)
    return (last - first + 1).float()


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _multiply(x, products, rows, cols, channels, radius, room):  # type: ignore[no-untyped-def]
    """Products of every position with itself and its neighbours to the right and below.

    They lie as rows x (down) x (right + radius) x columns.
    """
    for y in prange(rows):
        for down in range(min(radius, rows - 1 - y) + 1):
            for right in range(0 if down == 0 else -radius, radius + 1, 4):
                into = ((y * (radius + 1) + down) * (2 * radius + 1) + right + radius) * room
                for at in range(radius, radius + cols, LANES):
                    a, b, c, d = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
                    own = y * channels * room + at
                    other = (y + down) * channels * room + at + right
                    for _ in range(channels):
                        mine = load(_ZERO, x, own)
                        a = fma(mine, load(_ZERO, x, other), a)
                        b = fma(mine, load(_ZERO, x, other + 1), b)
                        c = fma(mine, load(_ZERO, x, other + 2), c)
                        d = fma(mine, load(_ZERO, x, other + 3), d)
                        own += room
                        other += room
                    store(products, into + at, a)
                    if right + 1 <= radius:
                        store(products, into + room + at, b)
                    if right + 2 <= radius:
                        store(products, into + 2 * room + at, c)
                    if right + 3 <= radius:
                        store(products, into + 3 * room + at, d)


@numba.njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def _compare(products, inverse, outside, within, sums, rows, cols, radius, room, scale):  # type: ignore[no-untyped-def]
    """For each position: the largest z, the sum of e^(z - largest), of products, of cosines.

    The largest and the products are told relative to the position's product with itself: in a
    simple region they all but cancel, and should do so before they are rounded.
    """
    for y in prange(rows):
        above, below = -min(radius, y), min(radius, rows - 1 - y)
        for at in range(radius, radius + cols, LANES):
            high = splat(_OUTSIDE)
            for down in range(above, below + 1):
                for right in range(-radius, radius + 1):
                    z = load(_ZERO, products, _place(y, at, down, right, radius, room))
                    z = fma(z, splat(scale), load(_ZERO, outside, at + right))
                    high = maximum(high, z)
            low = multiply(high, splat(np.float32(-1)))
            own = load(_ZERO, products, _place(y, at, 0, 0, radius, room))
            minus_own = multiply(own, splat(np.float32(-1)))
            weight, total, alike = splat(_ZERO), splat(_ZERO), splat(_ZERO)
            for down in range(above, below + 1):
                for right in range(-radius, radius + 1):
                    z = load(_ZERO, products, _place(y, at, down, right, radius, room))
                    far = add(load(_ZERO, outside, at + right), low)
                    weight = add(weight, exp(fma(z, splat(scale), far)))
                    total = fma(add(z, minus_own), load(_ZERO, within, at + right), total)
                    norm = load(_ZERO, inverse, (y + down) * room + at + right)
                    alike = fma(add(z, splat(_EPS2)), norm, alike)
            into = y * room + at - radius
            store(sums, into, fma(minus_own, splat(scale), high))
            store(sums, rows * room + into, weight)
            store(sums, 2 * rows * room + into, total)
            store(sums, 3 * rows * room + into, alike)


@numba.njit(inline="always")
def _place(y, at, down, right, radius, room):  # type: ignore[no-untyped-def]
    """Where the product of a position with a neighbour stands: with whichever lies before."""
    if down < 0 or (down == 0 and right < 0):
        y, at, down, right = y + down, at + right, -down, -right
    return ((y * (radius + 1) + down) * (2 * radius + 1) + right + radius) * room + at
