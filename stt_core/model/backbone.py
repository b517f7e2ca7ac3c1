"""ResNets dilated to an output stride of 8, with semseg's names.

The three dilation schemes are those of the code bases whose checkpoints are imported; they are
tabled in docs/checkpoints.md.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.config import Backbone, PspNetConfig, Stem

_BLOCKS: dict[Backbone, tuple[int, int, int, int]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
_STEM_WIDTHS: dict[Stem, tuple[int, ...]] = {
    "conv7": (64,),
    "deep64": (32, 32, 64),
    "deep128": (64, 64, 128),
}
_MULTI_GRID = (4, 8, 16)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, second, second, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1, and a shortcut; the stride is the 3x3's."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        dilation = dilations[0]
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)) + shortcut, inplace=True)


def make_stem(stem: Stem) -> nn.Sequential:
    """Image to 64 or 128 channels at stride 4 (`layer0`)."""
    widths = _STEM_WIDTHS[stem]
    size = 7 if stem == "conv7" else 3
    layers: list[nn.Module] = []
    for inputs, width in zip((3, *widths), widths, strict=False):
        stride = 1 if layers else 2
        layers += [
            nn.Conv2d(inputs, width, size, stride, size // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1))


def make_stages(config: PspNetConfig) -> list[nn.Sequential]:
    """Stages 1 to 4 (`layer1` to `layer4`): 1 and 2 lead from stride 4 to 8, 3 and 4 stay."""
    block = BasicBlock if config.backbone == "resnet18" else Bottleneck
    inputs, stages = _STEM_WIDTHS[config.stem][-1], []
    for stage, (width, count) in enumerate(
        zip((64, 128, 256, 512), _BLOCKS[config.backbone], strict=True), start=1
    ):
        blocks = []
        for i in range(count):
            stride = 2 if stage == 2 and i == 0 else 1
            blocks.append(block(inputs, width, stride, _dilations(config, stage, i)))
            inputs = width * block.expansion
        stages.append(nn.Sequential(*blocks))
    return stages


def _dilations(config: PspNetConfig, stage: int, index: int) -> tuple[int, int]:
    """Of both 3x3 convolutions of a basic block; a bottleneck block has the one named here."""
    if stage < 3:
        return 1, 1
    of_stage = 2 if stage == 3 else 4
    return _SCHEMES[config.dilation](of_stage, index, config.backbone == "resnet18")


def _etc(of_stage: int, index: int, basic: bool) -> tuple[int, int]:
    # semseg dilates what is called conv2, whatever the block
    return (1, of_stage) if basic else (of_stage, of_stage)


def _tdnet(of_stage: int, index: int, basic: bool) -> tuple[int, int]:
    if of_stage == 4:
        return _MULTI_GRID[index], of_stage
    return (of_stage // 2 if index == 0 else of_stage), of_stage


def _mmseg(of_stage: int, index: int, basic: bool) -> tuple[int, int]:
    return (of_stage // 2 if index == 0 else of_stage), 1


_SCHEMES = {"etc": _etc, "tdnet": _tdnet, "mmseg": _mmseg}


def _shortcut(inputs: int, width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == width:
        return None
    return nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
