"""Which positions of the current frame ask: the share of greatest need."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def select_queries(need: Tensor, ratio: float, *, also: Tensor | None = None) -> Tensor:
    """The floor(ratio * N) positions of greatest need; of equals, the lower index.

    Args:
        need: ``[B, N]`` D_NSM.
        ratio: share to select, in (0, 1].
        also: ``[B, A]`` positions to take besides, where they are not among the others (B = 1).

    Returns:
        ``[B, Q]`` long, ascending.
    """
    if need.ndim != 2:
        raise ValueError(f"need must be [B, N], got {tuple(need.shape)}")
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must be in (0, 1], got {ratio}")
    count = math.floor(ratio * need.shape[1] + 1e-9)  # 0.3 * 10 is 2.999...
    order = need.argsort(dim=1, descending=True, stable=True)
    chosen = order[:, :count].sort(dim=1).values
    return chosen if also is None else torch.cat([chosen, also], 1).unique()[None]
