"""Which positions of the current frame ask: query selection by neighbouring similarity.

Dimensions: B batch, C channels, h rows, w columns, N = h * w, r neighbour radius.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6
"""Below any real feature norm; makes two zero vectors similar instead of undefined."""


@torch.no_grad()
def neighbouring_similarity(features: Tensor, radius: int, *, scale: float = 1.0) -> Tensor:
    """D_NSM of every position: how unlike its neighbours it is (paper, Eq. 1-4).

    D_KL is taken as the positive KL(uniform || softmax), in its closed form
    ``logsumexp(z) - mean(z) - log n``: the paper prints the ratio inverted, which would select
    the simple regions. Only neighbours inside the map count, so borders are not "complex".

    Args:
        features: ``[B, C, h, w]``.
        radius: r; a neighbourhood has (2r+1)^2 positions, its centre included.
        scale: factor on the dot products; 1 as printed.

    Returns:
        ``[B, N]`` float32, at least 0 up to rounding. No gradient flows.
    """
    x = features.permute(0, 2, 3, 1).float().contiguous()  # [B, h, w, C]
    with torch.autocast(x.device.type, enabled=False):  # ranks are decided in float32
        products, inside = _neighbour_products(x, radius)  # [B, h, w, n], [h, w, n]
    norms = (x.square().sum(-1) + _EPS**2).sqrt()
    around, _ = _neighbours_of(norms, radius)
    cosine = (products + _EPS**2) / (norms[..., None] * around.clamp_min(_EPS))
    count = inside.sum(-1)
    z = products * scale
    kl = z.masked_fill(~inside, -torch.inf).logsumexp(-1)
    kl = kl - z.masked_fill(~inside, 0).sum(-1) / count - count.log()
    distance = (1 - cosine).masked_fill(~inside, 0).sum(-1) / count
    return (kl + distance).flatten(1)


def select_queries(need: Tensor, ratio: float) -> Tensor:
    """The floor(ratio * N) positions of greatest need; of equals, the lower index.

    Args:
        need: ``[B, N]`` D_NSM.
        ratio: share to select, in (0, 1].

    Returns:
        ``[B, Q]`` long, ascending.
    """
    if need.ndim != 2:
        raise ValueError(f"need must be [B, N], got {tuple(need.shape)}")
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must be in (0, 1], got {ratio}")
    count = math.floor(ratio * need.shape[1] + 1e-9)  # 0.3 * 10 is 2.999...
    order = need.argsort(dim=1, descending=True, stable=True)
    return order[:, :count].sort(dim=1).values


def _neighbour_products(x: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Dot products with all neighbours ``[B, h, w, n]``, and which are inside ``[h, w, n]``.

    A row times a neighbouring row is one matrix product, whose band of 2r+1 diagonals is kept.
    """
    batch, rows, cols, _ = x.shape
    side = 2 * radius + 1
    padded = F.pad(x, (0, 0, radius, radius)).transpose(2, 3)  # [B, h, C, w + 2r]
    products = x.new_zeros(batch, rows, cols, side, side)
    for down in range(max(-radius, 1 - rows), min(radius, rows - 1) + 1):
        mine = slice(max(0, -down), rows - max(0, down))
        theirs = slice(max(0, down), rows - max(0, -down))
        full = torch.matmul(x[:, mine], padded[:, theirs])  # [B, h', w, w + 2r]
        products[:, mine, :, down + radius] = _band(full, side)
    ones = x.new_ones(1, rows, cols)
    inside = _neighbours_of(ones, radius)[0][0] > 0
    return products.flatten(3), inside


def _band(full: Tensor, side: int) -> Tensor:
    """``[B, h, w, w + side - 1]`` to ``[B, h, w, side]``: element (i, i + j) becomes (i, j)."""
    batch, rows, cols, wide = full.shape
    strides = (rows * cols * wide, cols * wide, wide + 1, 1)
    return full.contiguous().as_strided((batch, rows, cols, side), strides)


def _neighbours_of(values: Tensor, radius: int) -> tuple[Tensor, int]:
    """``[B, h, w]`` to ``[B, h, w, n]`` with 0 outside, and n."""
    side = 2 * radius + 1
    spread = F.unfold(values[:, None], side, padding=radius)  # [B, n, N]
    return spread.transpose(1, 2).unflatten(1, values.shape[1:]), side * side
