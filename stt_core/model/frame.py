"""What a per-frame network is made of: a trunk, pyramid pooling, a head.

Dimensions: B batch, H x W input, h x w = H/8 x W/8 the map that is classified, d channels of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.config import FrameConfig


class Stages(NamedTuple):
    """What a backbone hands on."""

    deep: Tensor  # [B, config.deep_width, rows, cols]: its last map, at stride 8 or 16
    middle: Tensor  # what the auxiliary head reads
    shallow: Tensor | None = None  # [B, _, h, w], where the last map is coarser than stride 8


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
                nn.ReLU(inplace=True),
            )
            for n in bins
        )

    def forward(self, x: Tensor, half: int | None = None) -> Tensor:
        """``[B, C, h, w]`` to ``[B, 2C, h, w]``; or half of each part of it, ``[B, C, h, w]``.

        Args:
            x: the backbone's last map.
            half: None for all channels; 0 or 1 for TDNet's groups.
        """
        parts = [_half(x, half)]
        parts += [
            F.interpolate(
                _half(pool(x), half),
                x.shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
            )
            for pool in self.features
        ]
        return torch.cat(parts, 1)


class Trunk(nn.Module, ABC):
    """A backbone and its pyramid pooling."""

    @abstractmethod
    def stages(self, image: Tensor) -> Stages:
        """Backbone only, of ``[B, 3, H, W]``."""

    @abstractmethod
    def context(self, stages: Stages, half: int | None = None) -> Tensor:
        """``[B, context_width, h, w]``: what the bottleneck reads, or one half of its pyramid."""

    @abstractmethod
    def context_width(self, *, halved: bool = False) -> int:
        """Channels of :meth:`context`."""

    middle_width: int
    """Channels of what the auxiliary head reads."""


class FrameNet(nn.Module):
    """Segments one frame: a trunk, a bottleneck, a classifier, an auxiliary head."""

    def __init__(self, config: FrameConfig, trunk: Trunk) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.cls = Head(trunk.context_width(), config.width, config)
        self.aux = Head(trunk.middle_width, config.aux_width, config)

    def bottleneck(self, stages: Stages) -> Tensor:
        """Pyramid pooling and the 3x3 bottleneck: ``[B, d, h, w]``."""
        return self.cls.refine(self.trunk.context(stages))

    def classify(self, features: Tensor) -> Tensor:
        """``[B, d, h, w]`` to logits ``[B, classes, h, w]``."""
        return self.cls.classify(features)

    @property
    def classifier(self) -> nn.Module:
        """The last convolution."""
        return self.cls[4]

    def aux_logits(self, stages: Stages) -> Tensor:
        """Auxiliary logits ``[B, classes, ...]`` from inside the backbone, for training."""
        return self.aux(stages.middle)


class Head(nn.Sequential):
    """A 3x3 convolution to `width` channels and a classifier that starts undecided."""

    def __init__(self, inputs: int, width: int, config: FrameConfig) -> None:
        classifier = nn.Conv2d(width, config.num_classes, 1)
        super().__init__(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout2d(config.dropout),
            classifier,
        )
        start_weights(self)
        nn.init.normal_(classifier.weight, std=0.01)

    def refine(self, context: Tensor) -> Tensor:
        """``[B, inputs, h, w]`` to what is classified, ``[B, width, h, w]``."""
        for part in list(self)[:3]:
            context = part(context)
        return context

    @torch.no_grad()
    def expected_scale(self) -> tuple[float, float]:
        """Mean and spread over the channels of what :meth:`refine` gives a position.

        Taken from the batch norm alone: behind it, channel c is about normal with mean beta and
        spread gamma, so its mean and its mean square behind the ReLU are known.
        """
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm2d)
        spread, mean = norm.weight.double().abs(), norm.bias.double()
        ratio = mean / spread.clamp_min(1e-9)
        above = 0.5 * (1 + torch.erf(ratio / 2**0.5))
        bell = torch.exp(-(ratio**2) / 2) / (2 * torch.pi) ** 0.5
        first = mean * above + spread * bell
        second = (mean**2 + spread**2) * above + mean * spread * bell
        centre = first.mean()
        return float(centre), float((second.mean() - centre**2).clamp_min(0).sqrt())

    def classify(self, features: Tensor) -> Tensor:
        """``[B, width, h, w]`` to logits ``[B, classes, h, w]``."""
        return self[4](self[3](features))


def start_weights(model: nn.Module) -> None:
    """Fresh convolutions as He et al. have them, without bias."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def half_channels(config: FrameConfig, width: int, half: int) -> list[int]:
    """Which channels of the whole context the context of one half has, in its order.

    Args:
        config: of the per-frame network.
        width: channels of the whole context.
        half: 0 or 1.
    """
    deep = config.deep_width
    pooled = deep // len(config.bins)
    parts = [
        range(deep),
        *(range(deep + i * pooled, deep + (i + 1) * pooled) for i in range(len(config.bins))),
    ]
    halves = [part[half * len(part) // 2 : (half + 1) * len(part) // 2] for part in parts]
    return [channel for part in (*halves, range(2 * deep, width)) for channel in part]


def _half(x: Tensor, half: int | None) -> Tensor:
    return x if half is None else x.chunk(2, 1)[half]
