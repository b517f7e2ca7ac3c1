"""From image pixels to network input, and from logits to label maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stt_core.config import Preprocess


class Segmentation(NamedTuple):
    """The winning class of each image pixel, and how sure it is."""

    labels: NDArray[np.uint8]  # [H, W]
    confidence: NDArray[np.uint8]  # [H, W] highest probability, 255 for 1
    entropy: float | None = None  # nats, mean over the pixels; None where nobody asked


def to_network(image: NDArray[np.uint8], preprocess: Preprocess, device: torch.device) -> Tensor:
    """``[H, W, 3]`` RGB in [0, 255] to normalised ``[1, 3, h, w]`` float32 on `device`."""
    # a copy: frames are read-only, and torch has no read-only tensors
    x = torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float()
    size = preprocess.network_size(image.shape[0], image.shape[1])
    if size != image.shape[:2]:
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    return normalise(x, preprocess)


def normalise(images: Tensor, preprocess: Preprocess) -> Tensor:
    """``[..., 3, h, w]`` float RGB in [0, 255] to the network's mean and spread."""
    mean = torch.tensor(preprocess.mean, device=images.device)[:, None, None] * 255
    std = torch.tensor(preprocess.std, device=images.device)[:, None, None] * 255
    return (images - mean) / std


def to_segmentation(
    logits: Tensor, size: tuple[int, int], *, align_corners: bool, entropy: bool = False
) -> Segmentation:
    """Resize ``[1, classes, h, w]`` logits to the image, then take the winner of each pixel."""
    full = F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners)[0]
    best, labels = full.max(0)
    total = full.logsumexp(0)
    probability = (best - total).exp()  # of the winner, without a whole softmax
    confidence = (probability * 255).round().clamp(0, 255)
    mean = None
    if entropy:
        expected = (full - total).exp_().mul_(full).sum(0)
        mean = max(0.0, float((total - expected).mean(dtype=torch.float64)))
    return Segmentation(
        labels.to(torch.uint8).cpu().numpy(), confidence.to(torch.uint8).cpu().numpy(), mean
    )
