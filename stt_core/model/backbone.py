"""ResNet-18 dilated to an output stride of 8, with ETC's names and ETC's dilations."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

STAGE_WIDTHS = (64, 128, 256, 512)

_DILATIONS = {"etc": ((1, 2), (1, 2), (1, 4), (1, 4))}
"""Dilation of the two convolutions of each block of stages 3 and 4, by scheme."""


class Stages(NamedTuple):
    """What the head reads, both at stride 8."""

    third: Tensor  # [B, 256, h, w]
    fourth: Tensor  # [B, 512, h, w]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, second, second, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride != 1 or inputs != width
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


def make_stem() -> nn.Sequential:
    """Image to 64 channels at stride 4 (`layer0`)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )


def make_stage(stage: int, dilation: str) -> nn.Sequential:
    """Stage 1 to 4 (`layer1` to `layer4`) of two blocks each.

    Args:
        stage: 1 to 4; 1 and 2 lead from stride 4 to 8, 3 and 4 stay at 8.
        dilation: a scheme; weights cannot tell it, so the config does.
    """
    inputs, width = (64, *STAGE_WIDTHS)[stage - 1], STAGE_WIDTHS[stage - 1]
    stride = 2 if stage == 2 else 1
    first, second = ((1, 1), (1, 1)) if stage < 3 else _DILATIONS[dilation][2 * stage - 6 :][:2]
    return nn.Sequential(
        BasicBlock(inputs, width, stride, first), BasicBlock(width, width, 1, second)
    )
