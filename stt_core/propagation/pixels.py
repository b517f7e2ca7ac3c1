"""Labels as shares of the feature grid's cells, and shares back to pixels.

L: the labels there are. C: classes of the model. h x w: the feature grid. H x W: the image.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FLOW_WEIGHT = 15.0
"""How much more that label counts which a sure flow brings."""
_DOUBT = 0.1
"""What every class has of the model's evidence: a correction is made where the model is wrong."""
_TINY = 1e-9


class Refined(NamedTuple):
    """The likeliest label of each pixel."""

    labels: NDArray[np.uint8]  # [H, W]
    share: NDArray[np.float32]  # [H, W] of it, in [0, 1]


def cell_shares(
    labels: NDArray[np.uint8], ids: NDArray[np.uint8], grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Which share of each cell has which label.

    Args:
        labels: ``[H, W]``, each of `ids`.
        ids: ``[L]``, all different.
        grid: h, w.

    Returns:
        ``[L, h, w]``, summing to 1 over the labels.
    """
    size = (grid[1], grid[0])
    masks = ((labels == i).astype(np.float32) for i in ids)
    return np.stack([cv2.resize(m, size, interpolation=cv2.INTER_AREA) for m in masks])


def to_pixels(
    shares: Tensor,
    ids: NDArray[np.uint8],
    logits: Tensor,
    moved: NDArray[np.uint8],
    trust: NDArray[np.float32],
    *,
    align_corners: bool,
) -> Refined:
    """Find the borders between labels within the cells.

    The shares, enlarged bilinearly, are multiplied by two things that know pixels better. Among
    the labels that are the model's classes, by the model's own probabilities, which take nothing
    from labels it does not know. And the label that the flow brings, by up to 1 +
    :data:`FLOW_WEIGHT`. A label without a share stays out.

    Args:
        shares: ``[L, h, w]``.
        ids: ``[L]``; those below C are the model's classes.
        logits: ``[C, h', w']`` of the frame.
        moved: ``[H, W]`` ids, as the flow brings them.
        trust: ``[H, W]`` in [0, 1], of the flow.
        align_corners: how the model enlarges its logits.
    """
    size = (moved.shape[0], moved.shape[1])
    found = _enlarge(shares, size, align_corners=False)
    own = torch.from_numpy(ids < len(logits)).to(found.device)
    if own.any():
        evidence = _enlarge(logits, size, align_corners=align_corners).softmax(0)
        which = torch.from_numpy(ids.astype(np.int64)).to(found.device)[own]
        told = found[own]
        weighed = told * (evidence[which] + _DOUBT)
        found[own] = weighed * (told.sum(0) / weighed.sum(0).clamp_min(_TINY))
    weight = torch.from_numpy(FLOW_WEIGHT * trust).to(found.device)
    place = torch.from_numpy(moved).to(found.device)
    for share, label in zip(found, ids.tolist(), strict=True):
        share *= 1 + weight * (place == label)
    best, winner = (found / found.sum(0).clamp_min(_TINY)).max(0)
    return Refined(ids[winner.cpu().numpy()], best.clamp(0, 1).cpu().numpy())


def _enlarge(maps: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """``[n, *, *]`` to ``[n, *size]`` float32."""
    return F.interpolate(maps[None].float(), size, mode="bilinear", align_corners=align_corners)[0]
