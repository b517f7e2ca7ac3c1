"""The same in plain torch, one neighbour at a time: for devices without kernels of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from stt_core.model.similarity.reference import EPS


def tiled_similarity(features: Tensor, radius: int, *, scale: float = 1.0) -> Tensor:
    """See :func:`stt_core.model.similarity.ops.neighbouring_similarity`.

    A running logsumexp over the neighbours; each product serves both of its ends.
    """
    x = features.float()
    rows, cols = x.shape[2:]
    own = x.square().sum(1)  # [B, h, w]
    norm = (own + EPS**2).sqrt()
    high, weight = own * scale, torch.ones_like(own)  # the largest z so far, sum of e^(z - high)
    z_sum, cosine, count = own * scale, (own + EPS**2) / norm**2, torch.ones_like(own)
    for down in range(min(radius, rows - 1) + 1):
        for right in range(-min(radius, cols - 1), min(radius, cols - 1) + 1):
            if (down, right) <= (0, 0):
                continue  # the other end of another product
            here = (..., slice(0, rows - down), slice(max(0, -right), cols - max(0, right)))
            there = (..., slice(down, rows), slice(max(0, right), cols - max(0, -right)))
            product = (x[here] * x[there]).sum(1)
            alike = (product + EPS**2) / (norm[here] * norm[there])
            z = product * scale
            for end in (here, there):
                top = torch.maximum(high[end], z)
                weight[end] = weight[end] * (high[end] - top).exp() + (z - top).exp()
                high[end] = top
                z_sum[end] += z
                cosine[end] += alike
                count[end] += 1
    kl = high + weight.log() - z_sum / count - count.log()
    return (kl + 1 - cosine / count).flatten(1)
