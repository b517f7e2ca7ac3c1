"""PSPNet18: a dilated ResNet-18, pyramid pooling, a bottleneck and a classifier.

Parameter names are those of ETC's and semseg's PSPNet18 checkpoints. Dimensions: B batch, H x W
input, h x w = H/8 x W/8, d = config.width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.config import ModelConfig, PspNetConfig
from stt_core.model.backbone import STAGE_WIDTHS, Stages, make_stage, make_stem


class Encoded(NamedTuple):
    """What is kept of a frame: enough to decode it, and to be a key frame of later ones."""

    features: Tensor  # [B, d, h, w]
    key: Tensor | None = None  # [B, N, d] projected, where the model reads key frames
    value: Tensor | None = None  # [B, N, d]

    def one(self, index: int) -> Encoded:
        """One image of the batch, B = 1."""
        here = slice(index, index + 1)
        return Encoded(
            self.features[here],
            None if self.key is None else self.key[here],
            None if self.value is None else self.value[here],
        )

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self if t is not None)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self.features.shape[2], self.features.shape[3]


class Decoded(NamedTuple):
    """Logits of a frame, and who asked the past for them."""

    logits: Tensor  # [B, classes, h, w]
    queries: Tensor  # [B, Q] long, positions that attended; Q = 0 without key frames
    need: Tensor  # [B, N] D_NSM; zeros where selection did not run

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self)


class PyramidPooling(nn.Module):
    """Averages of the map over 1, 4, 9 and 36 regions, beside the map (Zhao et al. 2017)."""

    def __init__(self, channels: int, bins: tuple[int, ...], align_corners: bool) -> None:
        super().__init__()
        width = channels // len(bins)
        self.align_corners = align_corners
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(n),
                nn.Conv2d(channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for n in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            F.interpolate(pool(x), x.shape[2:], mode="bilinear", align_corners=self.align_corners)
            for pool in self.features
        ]
        return torch.cat([x, *parts], 1)


class PspNet(nn.Module):
    """Segments each frame on its own."""

    def __init__(self, config: PspNetConfig) -> None:
        super().__init__()
        self.config: ModelConfig = config
        self.layer0 = make_stem()
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            make_stage(i, config.dilation) for i in (1, 2, 3, 4)
        )
        self.ppm = PyramidPooling(STAGE_WIDTHS[3], config.bins, config.align_corners)
        self.cls = _make_head(2 * STAGE_WIDTHS[3], config.width, config)
        self.aux = _make_head(STAGE_WIDTHS[2], config.aux_width, config)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        for head in (self.cls, self.aux):  # start undecided, not confidently wrong
            classifier = head[-1]
            assert isinstance(classifier, nn.Conv2d)
            assert classifier.bias is not None
            nn.init.normal_(classifier.weight, std=0.01)
            nn.init.zeros_(classifier.bias)

    def encode(self, image: Tensor) -> Encoded:
        """``[B, 3, H, W]`` to what decoding this frame and later ones needs."""
        return self.project(self.bottleneck(self.stages(image)))

    def decode(self, current: Encoded, memory: Sequence[Encoded]) -> Decoded:
        """Logits of a frame; this network reads no `memory`."""
        logits = self.classify(current.features)
        batch, _, rows, cols = logits.shape
        return Decoded(
            logits,
            torch.zeros(batch, 0, dtype=torch.long, device=logits.device),
            torch.zeros(batch, rows * cols, device=logits.device),
        )

    def forward(self, clip: Tensor) -> Decoded:
        """Clip at once: ``[T, 3, H, W]``, oldest first, to the logits of its last frame."""
        encoded = self.encode(clip)
        frames = [encoded.one(i) for i in range(clip.shape[0])]
        return self.decode(frames[-1], frames[-2::-1])

    def stages(self, image: Tensor) -> Stages:
        """Backbone only."""
        third = self.layer3(self.layer2(self.layer1(self.layer0(image))))
        return Stages(third, self.layer4(third))

    def bottleneck(self, stages: Stages) -> Tensor:
        """Pyramid pooling and the 3x3 bottleneck: ``[B, d, h, w]``."""
        return self.cls[:3](self.ppm(stages.fourth))

    def project(self, features: Tensor) -> Encoded:
        """What is kept of a frame's bottleneck features."""
        return Encoded(features)

    def classify(self, features: Tensor) -> Tensor:
        """``[B, d, h, w]`` to logits ``[B, classes, h, w]``."""
        return self.cls[3:](features)

    def aux_logits(self, stages: Stages) -> Tensor:
        """Auxiliary logits ``[B, classes, h, w]`` from stage 3, for training."""
        return self.aux(stages.third)


def _make_head(inputs: int, width: int, config: PspNetConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout2d(config.dropout),
        nn.Conv2d(width, config.num_classes, 1),
    )
