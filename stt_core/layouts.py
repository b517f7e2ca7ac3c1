"""Whose network a table of weights is, and how its parts are called there.

The tables of docs/checkpoints.md as data. Weights themselves are not looked at, only their names
and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from stt_core.config import Backbone, Dilation, PspNetConfig, Stem, TdnetConfig
from stt_core.errors import CheckpointError

_PREFIXES = ("module.", "student.", "model.")
_LEFT_OUT = ("flow", "teacher", "criterion", "loss_fn")
_SHOWN = 3

_DEPTHS: dict[tuple[str, tuple[int, ...]], Backbone] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
}
_STEMS: dict[tuple[int, ...], Stem] = {
    (64, 3, 7, 7): "conv7",
    (32, 3, 3, 3): "deep64",
    (64, 3, 3, 3): "deep128",
}
_DEEP_STEM = (0, 1, 3, 4, 6, 7)
"""Places of convolutions and batch norms in a deep stem; a stem of one 7x7 has the first two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """How a code base names the parts of one network.

    ``{p}`` is its path from 1, ``{j}`` a branch of the pyramid from 0, ``{k}`` the same from 1.
    Pairs are a convolution and its batch norm; a head is that pair and the classifier.
    """

    code: str
    dilation: Dilation | None
    """None where the weights were trained without."""
    align_corners: bool = True
    trunk: str
    big_stem: tuple[str, ...] = ("conv1", "bn1")
    deep_stem: tuple[str, ...] = ("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1")
    branch: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    aux: tuple[str, ...] = ()


Family = Literal["torchvision", "semseg", "tdnet", "td", "mmseg"]

_STYLES: dict[Family, _Style] = {
    "torchvision": _Style(code="torchvision", dilation=None, trunk=""),
    "semseg": _Style(
        code="semseg",
        dilation="etc",
        trunk="",
        big_stem=("layer0.0", "layer0.1"),
        deep_stem=tuple(f"layer0.{n}" for n in _DEEP_STEM),
        branch=("ppm.features.{j}.1", "ppm.features.{j}.2"),
        head=("cls.0", "cls.1", "cls.4"),
        aux=("aux.0", "aux.1", "aux.4"),
    ),
    "tdnet": _Style(
        code="TDNet",
        dilation="tdnet",
        trunk="pretrained.",
        branch=("head.conv5.0.conv{k}.0", "head.conv5.0.conv{k}.1"),
        head=("head.conv5.1", "head.conv5.2", "head.conv5.5"),
        aux=("auxlayer.conv5.0", "auxlayer.conv5.1", "auxlayer.conv5.4"),
    ),
    "td": _Style(
        code="TDNet",
        dilation="tdnet",
        trunk="pretrained{p}.",
        branch=("psp{p}.conv{k}.0", "psp{p}.conv{k}.1"),
        head=("head{p}.conv5.0", "head{p}.conv5.1", "head{p}.conv5.4"),
        aux=("auxlayer{p}.conv5.0", "auxlayer{p}.conv5.1", "auxlayer{p}.conv5.4"),
    ),
    "mmseg": _Style(
        code="mmsegmentation",
        dilation="mmseg",
        align_corners=False,
        trunk="backbone.",
        deep_stem=tuple(f"stem.{n}" for n in _DEEP_STEM),
        branch=("decode_head.psp_modules.{j}.1.conv", "decode_head.psp_modules.{j}.1.bn"),
        head=("decode_head.bottleneck.conv", "decode_head.bottleneck.bn", "decode_head.conv_seg"),
        aux=(
            "auxiliary_head.convs.0.conv",
            "auxiliary_head.convs.0.bn",
            "auxiliary_head.conv_seg",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Whose network it is, as far as keys and shapes tell."""

    family: Family
    backbone: Backbone
    stem: Stem
    paths: int = 1

    @property
    def name(self) -> str:
        """As "TDNet TD4-PSP18"."""
        depth = self.backbone.removeprefix("resnet")
        if self.family == "torchvision":
            return f"torchvision ResNet-{depth}"
        if self.family == "td":
            return f"TDNet TD{self.paths}-PSP{depth}"
        code = "ETC" if (self.family, depth) == ("semseg", "18") else self._style.code
        return f"{code} PSPNet{depth}"

    @property
    def dilation(self) -> Dilation | None:
        """The scheme its weights were trained with; None for an undilated backbone."""
        return self._style.dilation

    def modules(self) -> dict[str, str]:
        """Our parts and theirs, by name; parts of ours that they lack are absent."""
        if self.family != "td":
            return dict(self._one(1, "frame.", "frame.cls"))
        named: dict[str, str] = {}
        for p in range(1, self.paths + 1):
            ours = f"paths.{p - 1}."
            named.update(self._one(p, ours, f"{ours}head"))
            named[f"{ours}norm"] = f"layer_norm{p}.ln"
            named[f"{ours}to_value"] = f"enc{p}.w_vs.0.conv"
            for mine, its in (("to_query", "w_qs"), ("to_key", "w_ks")):
                for n, part in ((0, "0.conv"), (1, "0.bn"), (3, "1.conv")):
                    named[f"{ours}{mine}.{n}"] = f"enc{p}.{its}.{part}"
            for q in set(range(1, self.paths + 1)) - {p}:
                its = f"atn{p}_{q}" if self.paths == 4 else f"atn{p}"
                named[f"propagate.{p - 1}_{q - 1}"] = f"{its}.fc.0.conv"
        return named

    def leaves_out(self, key: str) -> bool:
        """Whether a key of theirs is known to be of no use: the classifier of ImageNet."""
        if self.family in ("semseg", "mmseg"):
            return False
        trunks = (self._style.trunk.format(p=p) for p in range(1, self.paths + 1))
        return key.startswith(tuple(f"{trunk}fc." for trunk in trunks))

    def class_count(self, weights: Mapping[str, Tensor]) -> int | None:
        """How many classes the classifier tells apart; None where there is no classifier."""
        if not self._style.head:
            return None
        return _shape(weights, f"{self._style.head[2].format(p=1)}.weight")[0]

    def config(
        self, weights: Mapping[str, Tensor], dilation: Dilation, num_classes: int
    ) -> PspNetConfig | TdnetConfig:
        """Our config of it, with widths read from shapes.

        Raises:
            CheckpointError: what shows a width is missing.
            ValueError: a width or number that no model of ours can have.
        """
        style, deep = self._style, self.backbone != "resnet18"
        head, aux = (parts[0].format(p=1) if parts else "" for parts in (style.head, style.aux))
        usual = 256 if deep or self.family in ("torchvision", "semseg") else 64
        has_aux = f"{aux}.weight" in weights
        frame = PspNetConfig(
            num_classes=num_classes,
            backbone=self.backbone,
            stem=self.stem,
            dilation=dilation,
            width=_shape(weights, f"{head}.weight")[0] if head else (512 if deep else 256),
            aux_width=_shape(weights, f"{aux}.weight")[0] if has_aux else usual,
            align_corners=style.align_corners,
        )
        if self.family != "td":
            return frame
        rows, columns = _shape(weights, "layer_norm1.ln.weight", dims=2)
        return TdnetConfig(
            per_frame=frame,
            paths=4 if self.paths == 4 else 2,
            key_width=_shape(weights, "enc1.w_qs.0.conv.weight")[0],
            value_width=_shape(weights, "enc1.w_vs.0.conv.weight")[0],
            norm_size=(rows, columns),
        )

    @property
    def _style(self) -> _Style:
        return _STYLES[self.family]

    def _one(self, p: int, ours: str, head: str) -> Iterator[tuple[str, str]]:
        """The parts of one network: ours, theirs."""
        style = self._style
        trunk = style.trunk.format(p=p)
        stem = style.big_stem if self.stem == "conv7" else style.deep_stem
        for n, part in zip(_DEEP_STEM, stem, strict=False):
            yield f"{ours}trunk.layer0.{n}", f"{trunk}{part}"
        for stage in (1, 2, 3, 4):
            yield f"{ours}trunk.layer{stage}", f"{trunk}layer{stage}"
        for j in range(4):
            for n, part in enumerate(style.branch, start=1):
                yield f"{ours}trunk.ppm.features.{j}.{n}", part.format(p=p, j=j, k=j + 1)
        for mine, parts in ((head, style.head), (f"{ours}aux", style.aux)):
            for n, part in zip((0, 1, 4), parts, strict=False):
                yield f"{mine}.{n}", part.format(p=p)


def recognise(weights: Mapping[str, Tensor]) -> Layout:
    """Tell by its keys whose network this is; :mod:`stt_core.importers` checks the rest.

    Args:
        weights: a state dict; DataParallel's prefix and the like do not matter.

    Raises:
        CheckpointError: no layout that is known.
    """
    weights, _ = bare(weights)
    paths = 1
    family: Family
    if any(key.startswith("pretrained2.") for key in weights):
        family = "td"
        paths = 4 if any(key.startswith("pretrained4.") for key in weights) else 2
    elif any(key.startswith("pretrained.") for key in weights):
        family = "tdnet"
    elif any(key.startswith("decode_head.") for key in weights):
        family = "mmseg"
    elif "layer0.0.weight" in weights:
        family = "semseg"
    elif {"conv1.weight", "layer4.0.conv1.weight"} <= set(weights):
        family = "torchvision"
    elif any(key.startswith(("frame.", "paths.")) for key in weights):
        raise CheckpointError("it is a model of STT Studio already; use it as it is")
    else:
        raise CheckpointError(
            f"it is of no layout that STT Studio knows ({len(weights)} tensors: "
            f"{some(list(weights))}); docs/checkpoints.md lists those it does"
        )
    trunk = _STYLES[family].trunk.format(p=1)
    return Layout(family, _backbone(weights, trunk), _stem(weights, family, trunk), paths)


def bare(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights without the prefixes all keys share, and the keys of other networks beside them."""
    left_out = {
        key: None for key in weights if any(part.startswith(_LEFT_OUT) for part in key.split("."))
    }
    kept = {key: w for key, w in weights.items() if key not in left_out}
    while prefix := next((p for p in _PREFIXES if kept and all(k.startswith(p) for k in kept)), ""):
        kept = {key.removeprefix(prefix): w for key, w in kept.items()}
    return kept, tuple(left_out)


def some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _backbone(weights: Mapping[str, Tensor], trunk: str) -> Backbone:
    keys = [key.removeprefix(trunk).split(".") for key in weights if key.startswith(trunk)]
    counts = tuple(
        len({key[1] for key in keys if key[0] == f"layer{i}" and len(key) > 2})
        for i in (1, 2, 3, 4)
    )
    block = "bottleneck" if any(key[2:3] == ["conv3"] for key in keys) else "basic"
    if (block, counts) not in _DEPTHS:
        raise CheckpointError(
            f"its backbone has {counts} {block} blocks in its four stages; ResNet-18, 50 and 101 "
            f"can be imported, which have {', '.join(str(c) for _, c in _DEPTHS)}"
        )
    return _DEPTHS[block, counts]


def _stem(weights: Mapping[str, Tensor], family: Family, trunk: str) -> Stem:
    style = _STYLES[family]
    firsts = [f"{trunk}{parts[0]}.weight" for parts in (style.big_stem, style.deep_stem)]
    shape = next((tuple(weights[key].shape) for key in firsts if key in weights), None)
    if shape not in _STEMS:
        raise CheckpointError(
            f"its first convolution has the shape {shape}; {', '.join(map(str, _STEMS))} are known"
            if shape
            else f"it lacks its first convolution, {' or '.join(dict.fromkeys(firsts))}"
        )
    return _STEMS[shape]


def _shape(weights: Mapping[str, Tensor], key: str, dims: int = 4) -> tuple[int, ...]:
    if key not in weights:
        raise CheckpointError(f"it lacks {key}")
    if weights[key].dim() != dims:
        raise CheckpointError(f"{key} has {weights[key].dim()} dimensions where {dims} belong")
    return tuple(weights[key].shape)
