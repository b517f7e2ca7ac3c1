"""Other people's networks, written out: what an imported checkpoint must agree with.

Nothing of stt_core is used here. Each class has the parameter names of its code base, dilates the
way that code base does, and ends in logits at stride 8, before they are resized to the image. The
facts are tabled in docs/checkpoints.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BINS = (1, 2, 3, 6)


def randomise(network: nn.Module, seed: int) -> nn.Module:
    """Random weights and statistics, in eval mode, that keep activations near 1."""
    random = torch.Generator().manual_seed(seed)

    def fill(x: Tensor, low: float, high: float) -> None:
        x.data.uniform_(low, high, generator=random)

    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            spread = math.sqrt(6 / part.weight[0].numel())
            fill(part.weight, -spread, spread)
            if part.bias is not None:
                fill(part.bias, -0.3, 0.3)
        elif isinstance(part, nn.BatchNorm2d):
            # the last of a block is small, or a hundred of them would add up to overflow
            low = 0.1 if name.endswith(("bn3", "bn2")) else 0.6
            fill(part.weight, low, low + 0.5)
            fill(part.bias, -0.2, 0.2)
            assert part.running_mean is not None
            assert part.running_var is not None
            fill(part.running_mean, -0.2, 0.2)
            fill(part.running_var, 0.7, 1.4)
        elif isinstance(part, nn.LayerNorm):
            fill(part.weight, 0.5, 1.5)
            fill(part.bias, -0.5, 0.5)
    return network.eval()


# Residual networks


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, first: int, second: int) -> None:
        super().__init__()
        self.conv1 = _conv3(inputs, width, stride, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, 1, second)
        self.bn2 = nn.BatchNorm2d(width)
        if stride != 1 or inputs != width:
            self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


class Bottle(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, first: int, second: int) -> None:
        super().__init__()
        del second  # only basic blocks have a second 3x3 convolution
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, stride, first)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        if stride != 1 or inputs != width * 4:
            self.downsample = _shortcut(inputs, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


def _conv3(inputs: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)


def _shortcut(inputs: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def _stage(
    depth: int,
    stage: int,
    inputs: int,
    stride: int,
    dilations: Sequence[tuple[int, int]] | None = None,
) -> nn.Sequential:
    """Stage 1 to 4; `dilations` of both 3x3 convolutions of each block, 1 where None."""
    block = Basic if depth == 18 else Bottle
    width, count = 32 * 2**stage, BLOCKS[depth][stage - 1]
    blocks = []
    for i, (first, second) in enumerate(dilations or [(1, 1)] * count):
        blocks.append(block(inputs, width, stride if i == 0 else 1, first, second))
        inputs = width * block.expansion
    assert len(blocks) == count
    return nn.Sequential(*blocks)


def _add_stages(
    owner: nn.Module,
    depth: int,
    inputs: int,
    strides: Sequence[int],
    third: Sequence[tuple[int, int]] | None = None,
    fourth: Sequence[tuple[int, int]] | None = None,
) -> int:
    """Give `owner` layer1 to layer4; returns the channels of the last."""
    expansion = 1 if depth == 18 else 4
    for stage, dilations in ((1, None), (2, None), (3, third), (4, fourth)):
        made = _stage(depth, stage, inputs, strides[stage - 1], dilations)
        setattr(owner, f"layer{stage}", made)
        inputs = 32 * 2**stage * expansion
    return inputs


def _semseg_dilate(owner: nn.Module) -> None:
    """What semseg's and ETC's PSPNet do to an undilated ResNet, by the names of its parts."""
    for stage, dilation in (("layer3", 2), ("layer4", 4)):
        for name, part in getattr(owner, stage).named_modules():
            if not isinstance(part, nn.Conv2d):
                continue
            if name.endswith("conv2"):
                part.dilation, part.padding = (dilation, dilation), (dilation, dilation)
            part.stride = (1, 1)


def _tdnet_dilations(depth: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """PyTorch-Encoding's: (of the block, of the stage), with a multi-grid in stage 4."""
    third = [(1 if i == 0 else 2, 2) for i in range(BLOCKS[depth][2])]
    fourth = [((4, 8, 16)[i], 4) for i in range(BLOCKS[depth][3])]
    return third, fourth


def _mmseg_dilations(depth: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """`dilations=(1, 1, 2, 4)` with `contract_dilation`."""
    third = [(1 if i == 0 else 2, 1) for i in range(BLOCKS[depth][2])]
    fourth = [(2 if i == 0 else 4, 1) for i in range(BLOCKS[depth][3])]
    return third, fourth


def _deep_stem(widths: tuple[int, int, int]) -> list[nn.Module]:
    first, second, third = widths
    return [
        _conv3(3, first, 2),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        _conv3(first, second),
        nn.BatchNorm2d(second),
        nn.ReLU(),
        _conv3(second, third),
        nn.BatchNorm2d(third),
        nn.ReLU(),
    ]


def _big_stem() -> nn.Conv2d:
    return nn.Conv2d(3, 64, 7, 2, 3, bias=False)


class TorchvisionResNet(nn.Module):
    """torchvision's: undilated as trained, or dilated to stride 8 in one of the three ways."""

    def __init__(self, depth: int, dilation: str | None = None) -> None:
        super().__init__()
        self.conv1 = _big_stem()
        self.bn1 = nn.BatchNorm2d(64)
        if dilation in ("tdnet", "mmseg"):
            scheme = _tdnet_dilations if dilation == "tdnet" else _mmseg_dilations
            deep = _add_stages(self, depth, 64, (1, 2, 1, 1), *scheme(depth))
        else:
            deep = _add_stages(self, depth, 64, (1, 2, 2, 2))
            if dilation == "etc":
                _semseg_dilate(self)
        self.fc = nn.Linear(deep, 1000)

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of stages 3 and 4."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(x)[1].mean((2, 3)))


# semseg and ETC


class SemsegPpm(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        width = inputs // 4
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(inputs, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for bins in BINS
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(_up(branch(x), x, True) for branch in self.features)], 1)


class SemsegPspNet(nn.Module):
    """semseg's PSPNet50 and 101, and ETC's PSPNet18."""

    def __init__(self, depth: int, classes: int = 19, aux: bool = True) -> None:
        super().__init__()
        if depth == 18:
            stem: list[nn.Module] = [_big_stem(), nn.BatchNorm2d(64), nn.ReLU()]
        else:
            stem = _deep_stem((64, 64, 128))
        self.layer0 = nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1))
        deep = _add_stages(self, depth, 64 if depth == 18 else 128, (1, 2, 2, 2))
        _semseg_dilate(self)
        self.ppm = SemsegPpm(deep)
        self.cls = _fcn(deep * 2, 256 if depth == 18 else 512, classes)
        if aux:
            self.aux = _fcn(deep // 2, 256, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        return self.cls(self.ppm(x))

    def aux_logits(self, x: Tensor) -> Tensor:
        return self.aux(self.layer3(self.layer2(self.layer1(self.layer0(x)))))


def _fcn(inputs: int, width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        _conv3(inputs, width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout2d(0.1),
        nn.Conv2d(width, classes, 1),
    )


def _up(x: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=align_corners)


# TDNet


class EncodingResNet(nn.Module):
    """TDNet's backbone, after PyTorch-Encoding's."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth == 18:
            self.conv1: nn.Module = _big_stem()
            stem = 64
        else:
            self.conv1 = nn.Sequential(*_deep_stem((64, 64, 128))[:7])
            stem = 128
        self.bn1 = nn.BatchNorm2d(stem)
        self.deep = _add_stages(self, depth, stem, (1, 2, 1, 1), *_tdnet_dilations(depth))
        self.fc = nn.Linear(self.deep, 1000)

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


class EncodingPyramid(nn.Module):
    """All of a pyramid, or group 0 or 1 of each of its parts."""

    def __init__(self, inputs: int, group: int | None = None) -> None:
        super().__init__()
        self.group = group
        width = inputs // 4
        for j in range(4):
            branch = nn.Sequential(
                nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            setattr(self, f"conv{j + 1}", branch)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for j, bins in enumerate(BINS):
            branch = getattr(self, f"conv{j + 1}")
            parts.append(_up(branch(F.adaptive_avg_pool2d(x, bins)), x, True))
        if self.group is not None:
            parts = [self._kept(part) for part in parts]
        return torch.cat(parts, 1)

    def _kept(self, part: Tensor) -> Tensor:
        assert self.group is not None
        half = part.shape[1] // 2
        return part[:, self.group * half : (self.group + 1) * half]


class FcnHead(nn.Module):
    """`conv5` of an auxiliary layer or of a TD model's head."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv5 = _fcn(inputs, width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv5(x)


class EncodingPspNet(nn.Module):
    """psp18.pkl, and the same for ResNet-50 and 101."""

    def __init__(self, depth: int, classes: int = 19, aux: bool = False) -> None:
        super().__init__()
        self.pretrained = EncodingResNet(depth)
        deep = self.pretrained.deep
        self.head = nn.Module()
        self.head.conv5 = nn.Sequential(
            EncodingPyramid(deep), *_fcn(deep * 2, deep // 4, classes).children()
        )
        if aux:
            self.auxlayer = FcnHead(deep // 2, deep // 8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head.conv5(self.pretrained.stages(x)[1])

    def aux_logits(self, x: Tensor) -> Tensor:
        return self.auxlayer(self.pretrained.stages(x)[0])


class _ConvBn(nn.Module):
    """A convolution called `conv`, and where asked for a batch norm called `bn`."""

    def __init__(
        self, inputs: int, width: int, size: int = 1, *, bias: bool, norm: bool, slope: float = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, size, padding=size // 2, bias=bias)
        self.slope = slope
        if norm:
            self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.leaky_relu(self.bn(x), self.slope) if hasattr(self, "bn") else x


class Encoding(nn.Module):
    """Query, key and value of a feature group."""

    def __init__(self, inputs: int, width: int, value_width: int) -> None:
        super().__init__()
        for name in ("w_qs", "w_ks"):
            first = _ConvBn(inputs, width, bias=True, norm=True, slope=0.01)
            setattr(self, name, nn.Sequential(first, _ConvBn(width, width, bias=True, norm=False)))
        self.w_vs = nn.Sequential(_ConvBn(inputs, value_width, bias=True, norm=False))


class TdPsp(nn.Module):
    """TD4-PSP18 and TD2-PSP50, over a clip of the current frame and those before it.

    Args:
        depth: 18 or 50.
        paths: 4 or 2.
        classes: to tell apart.
        size: rows and columns of the spatial LayerNorm, (97, 193) in the released code.
        aux: with the auxiliary heads of training.
        stride: of the memory, 4 in the released test code.
    """

    def __init__(
        self,
        depth: int,
        paths: int,
        classes: int = 19,
        *,
        size: tuple[int, int] = (97, 193),
        aux: bool = False,
        stride: int = 4,
    ) -> None:
        super().__init__()
        self.paths, self.stride = paths, stride
        for p in range(1, paths + 1):
            backbone = EncodingResNet(depth)
            deep = backbone.deep
            values = deep if paths == 4 else deep // 4
            norm = nn.Module()
            norm.ln = nn.LayerNorm(size)
            setattr(self, f"pretrained{p}", backbone)
            setattr(self, f"psp{p}", EncodingPyramid(deep, group=(p - 1) % 2))
            setattr(self, f"enc{p}", Encoding(deep, 64, values))
            setattr(self, f"layer_norm{p}", norm)
            setattr(self, f"head{p}", FcnHead(values, values // (4 if paths == 4 else 2), classes))
            if aux:
                setattr(self, f"auxlayer{p}", FcnHead(deep // 2, deep // 8, classes))
            for q in range(1, paths + 1):
                if p != q:
                    attention = nn.Module()
                    attention.fc = nn.Sequential(_ConvBn(values, values, bias=True, norm=False))
                    setattr(self, self._attention(p, q), attention)

    def forward(self, clip: Tensor, path: int) -> Tensor:
        """Logits of the last frame of ``[T, 3, H, W]``, which belongs to `path` (from 1).

        With fewer than P frames there is no propagation, as in the first frames of a video.
        """
        order = [(path - 1 - lag) % self.paths + 1 for lag in reversed(range(len(clip)))]
        maps = [self._features(clip[i : i + 1], p) for i, p in enumerate(order)]
        now = getattr(self, f"enc{path}")
        own = now.w_vs(maps[-1])
        if len(clip) < self.paths:
            return self._classify(own, path)
        kept = []
        for z, p in zip(maps[:-1], order[:-1], strict=True):
            encoding = getattr(self, f"enc{p}")
            coarse = F.max_pool2d(z, 1, self.stride)
            query, key, value = (
                _rows(part(coarse)) for part in (encoding.w_qs, encoding.w_ks, encoding.w_vs)
            )
            kept.append((query, key, value, p))
        queries = [query for query, *_ in kept[1:]] + [_rows(now.w_qs(maps[-1]))]
        carried: Tensor | float = 0.0
        for (_, key, value, source), query in zip(kept, queries, strict=True):
            similarity = torch.bmm(query, key.transpose(1, 2)) / 8
            mixed = torch.bmm(similarity.softmax(2), value + carried)
            layer = getattr(self, self._attention(path, source)).fc
            carried = layer(mixed.transpose(1, 2).unsqueeze(3)).squeeze(3).transpose(1, 2)
        assert isinstance(carried, Tensor)
        return self._classify(own + carried.transpose(1, 2).reshape(own.shape), path)

    def aux_logits(self, x: Tensor, path: int) -> Tensor:
        third, _ = getattr(self, f"pretrained{path}").stages(x)
        return getattr(self, f"auxlayer{path}")(third)

    def _features(self, image: Tensor, path: int) -> Tensor:
        _, deep = getattr(self, f"pretrained{path}").stages(image)
        return getattr(self, f"psp{path}")(deep)

    def _classify(self, values: Tensor, path: int) -> Tensor:
        norm = getattr(self, f"layer_norm{path}").ln
        size = values.shape[2:]
        weight, bias = norm.weight, norm.bias
        if size != weight.shape:  # "resize the weights ... and manually reload it" (issue 55)
            weight, bias = (
                F.interpolate(x[None, None], size, mode="bilinear", align_corners=True)[0, 0]
                for x in (weight, bias)
            )
        mean = values.mean((2, 3), keepdim=True)
        spread = values.var((2, 3), unbiased=False, keepdim=True)
        values = (values - mean) / torch.sqrt(spread + norm.eps) * weight + bias
        return getattr(self, f"head{path}")(values)

    def _attention(self, current: int, source: int) -> str:
        return f"atn{current}_{source}" if self.paths == 4 else f"atn{current}"


def _rows(x: Tensor) -> Tensor:
    """``[B, C, h, w]`` to ``[B, h * w, C]``."""
    return x.flatten(2).transpose(1, 2)


# mmsegmentation


class MmsegPsp(nn.Module):
    """pspnet_r18-d8, r50-d8 and r101-d8 with `deep`, the r18b-d8 kind without."""

    def __init__(self, depth: int, classes: int = 19, *, deep: bool = True) -> None:
        super().__init__()
        backbone = nn.Module()
        if deep:
            backbone.stem = nn.Sequential(*_deep_stem((32, 32, 64)))
        else:
            backbone.conv1 = _big_stem()
            backbone.bn1 = nn.BatchNorm2d(64)
        last = _add_stages(backbone, depth, 64, (1, 2, 1, 1), *_mmseg_dilations(depth))
        self.backbone = backbone
        width, aux_width = last // 4, last // 8

        head = nn.Module()
        head.conv_seg = nn.Conv2d(width, classes, 1)
        head.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(n), _ConvBn(last, width, bias=False, norm=True))
            for n in BINS
        )
        head.bottleneck = _ConvBn(last + 4 * width, width, 3, bias=False, norm=True)
        self.decode_head = head

        auxiliary = nn.Module()
        auxiliary.conv_seg = nn.Conv2d(aux_width, classes, 1)
        auxiliary.convs = nn.Sequential(_ConvBn(last // 2, aux_width, 3, bias=False, norm=True))
        self.auxiliary_head = auxiliary

    def forward(self, x: Tensor) -> Tensor:
        head, deep = self.decode_head, self.stages(x)[1]
        parts = [deep, *(_up(branch(deep), deep, False) for branch in head.psp_modules)]
        return head.conv_seg(head.bottleneck(torch.cat(parts, 1)))

    def aux_logits(self, x: Tensor) -> Tensor:
        return self.auxiliary_head.conv_seg(self.auxiliary_head.convs(self.stages(x)[0]))

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor]:
        body = self.backbone
        x = body.stem(x) if hasattr(body, "stem") else F.relu(body.bn1(body.conv1(x)))
        third = body.layer3(body.layer2(body.layer1(F.max_pool2d(x, 3, 2, 1))))
        return third, body.layer4(third)
