"""Small models and clips for tests: random weights, the real architecture."""

from __future__ import annotations

import pathlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stt_core.checkpoint import Checkpoint, new_checkpoint
from stt_core.config import (
    FrameConfig,
    LiteNetConfig,
    ModelConfig,
    Preprocess,
    PspNetConfig,
    SttConfig,
    TdnetConfig,
)
from stt_core.data.sources import camvid_classes
from stt_core.formats.model_file import ModelHeader
from stt_core.media.writer import VideoWriter
from stt_core.model.backbone import Bottleneck
from stt_core.model.frame import Head
from stt_core.model.stt import SttBlock
from stt_core.model.tdnet import Path, SpatialNorm


def pspnet_config(**changes: object) -> PspNetConfig:
    return PspNetConfig(**{"num_classes": 11, "width": 32, "aux_width": 16, **changes})  # type: ignore[arg-type]


def lite_config(**changes: object) -> LiteNetConfig:
    return LiteNetConfig(**{"num_classes": 11, "width": 32, "aux_width": 16, **changes})  # type: ignore[arg-type]


def stt_config(per_frame: FrameConfig | None = None, **changes: object) -> SttConfig:
    return SttConfig(per_frame=per_frame or pspnet_config(), **{"heads": 4, **changes})  # type: ignore[arg-type]


def tdnet_config(per_frame: FrameConfig | None = None, **changes: object) -> TdnetConfig:
    """With norms of a size that no test image has, as it goes with real ones."""
    small = {"key_width": 8, "value_width": 24, "norm_size": (5, 9)}
    return TdnetConfig(per_frame=per_frame or pspnet_config(), **{**small, **changes})  # type: ignore[arg-type]


def checkpoint(config: ModelConfig | None = None, seed: int = 0) -> Checkpoint:
    """A model whose batch norms, spatial norms and classifiers have something to say."""
    torch.manual_seed(seed)
    header = ModelHeader(
        config=config or stt_config(), preprocess=Preprocess(), classes=camvid_classes()
    )
    made = new_checkpoint(header)
    for name, part in made.model.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(part, Head) and not name.endswith("aux"):
            nn.init.normal_(part[4].weight, std=0.3)  # type: ignore[arg-type]
        elif isinstance(part, Bottleneck):
            nn.init.constant_(part.bn3.weight, 0.4)  # or 16 sums of fresh branches explode
        elif isinstance(part, Path):
            for encoding in (part.to_query, part.to_key):
                nn.init.normal_(encoding[3].weight, std=0.02)  # type: ignore[arg-type]
        elif isinstance(part, SpatialNorm):
            nn.init.normal_(part.weight, 1.0, 0.3)
            nn.init.normal_(part.bias, 0.0, 0.3)
        elif isinstance(part, SttBlock):
            # untrained features are large: likeness of them would be a maximum, not a softmax
            for projection in (part.q_proj, part.k_proj):
                nn.init.normal_(projection.weight, std=0.03)
    return made


def images(count: int, size: tuple[int, int] = (64, 96), seed: int = 0) -> list[NDArray[np.uint8]]:
    """Blobs that drift to the right over noise, [H, W, 3]."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    made = []
    for t in range(count):
        image = rng.integers(90, 110, (height, width, 3))
        for k in range(3):
            near = (y - height * (k + 1) / 4) ** 2 + (x - 12 - 25 * k - 2 * t) ** 2 < 90
            image[near, k] += 120
        made.append(image.clip(0, 255).astype(np.uint8))
    return made


def write_clip(
    path: pathlib.Path, frames: list[NDArray[np.uint8]], fps: float = 10
) -> pathlib.Path:
    size = (frames[0].shape[1], frames[0].shape[0])
    with VideoWriter(path, size, fps) as video:
        for image in frames:
            video.write(image)
    return path
