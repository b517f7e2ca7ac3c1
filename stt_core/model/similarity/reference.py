"""The definition, with all products held: 121 values a position, for tests and small maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6
"""Below any real feature norm; makes two zero vectors similar instead of undefined."""


def reference_similarity(features: Tensor, radius: int, *, scale: float = 1.0) -> Tensor:
    """See :func:`stt_core.model.similarity.ops.neighbouring_similarity`; in float64."""
    x = features.double()
    side = 2 * radius + 1
    around = F.unfold(x, side, padding=radius).unflatten(1, (x.shape[1], -1))  # [B, C, n, N]
    ones = torch.ones_like(x[:1, :1])
    inside = F.unfold(ones, side, padding=radius)[0] > 0  # [n, N]
    own = x.flatten(2)[:, :, None]  # [B, C, 1, N]
    z = (around * own).sum(1)  # [B, n, N]
    norms = [(v.square().sum(1) + EPS**2).sqrt() for v in (around, own)]
    cosine = (z + EPS**2) / (norms[0] * norms[1])
    count = inside.sum(0)
    z = z * scale
    kl = z.masked_fill(~inside, -torch.inf).logsumexp(1)
    kl = kl - z.masked_fill(~inside, 0).sum(1) / count - count.log()
    return (kl + (1 - cosine).masked_fill(~inside, 0).sum(1) / count).float()
