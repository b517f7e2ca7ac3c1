"""Small models and clips for tests: random weights, the real architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stt_core.checkpoint import Checkpoint, new_checkpoint
from stt_core.config import Preprocess, PspNetConfig, SttConfig
from stt_core.data.sources import camvid_classes
from stt_core.formats.model_file import ModelHeader
from stt_core.media.writer import VideoWriter
from stt_core.model.stt import SttPspNet


def pspnet_config() -> PspNetConfig:
    return PspNetConfig(num_classes=11, width=32, aux_width=16)


def stt_config(**changes: object) -> SttConfig:
    return SttConfig(pspnet=pspnet_config(), heads=4, **changes)  # type: ignore[arg-type]


def checkpoint(config: PspNetConfig | SttConfig | None = None, seed: int = 0) -> Checkpoint:
    """A model whose batch norms and classifier have something to say."""
    torch.manual_seed(seed)
    header = ModelHeader(
        config=config or stt_config(), preprocess=Preprocess(), classes=camvid_classes()
    )
    made = new_checkpoint(header)
    for part in made.model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    if isinstance(made.model, SttPspNet):
        # untrained features are large: likeness of them would be a maximum, not a softmax
        for projection in (made.model.stt.q_proj, made.model.stt.k_proj):
            torch.nn.init.normal_(projection.weight, std=0.1)
    torch.nn.init.normal_(made.model.cls[4].weight, std=0.3)  # type: ignore[arg-type]
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


def write_clip(path: Path, frames: list[NDArray[np.uint8]], fps: float = 10) -> Path:
    size = (frames[0].shape[1], frames[0].shape[0])
    with VideoWriter(path, size, fps) as video:
        for image in frames:
            video.write(image)
    return path
