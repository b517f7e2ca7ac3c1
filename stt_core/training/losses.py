"""What training pushes down."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stt_core.labels import IGNORED


def segmentation_loss(
    logits: Tensor, target: Tensor, *, align_corners: bool, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over the labelled pixels; 0 where there are none.

    Args:
        logits: ``[B, classes, h, w]`` at stride 8; resized to the target.
        target: ``[B, H, W]`` long, 255 where nothing is said.
        align_corners: of the resize.
        class_weights: ``[classes]``.
    """
    full = F.interpolate(
        logits.float(), target.shape[1:], mode="bilinear", align_corners=align_corners
    )
    total = F.cross_entropy(
        full, target, weight=class_weights, ignore_index=IGNORED, reduction="sum"
    )
    labelled = target[target != IGNORED]
    mass = labelled.numel() if class_weights is None else class_weights[labelled].sum()
    return total / max(float(mass), 1e-6)
