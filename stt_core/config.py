"""What can be configured, as frozen dataclasses. Nothing here reads a file or imports torch.

Every hyper-parameter of a model stands in one of these and travels in its model file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

MAX_KEY_FRAMES = 9
"""More is not drawn by the paper's Fig. 1, and the key strip has room for nine tiles."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]


Backbone = Literal["resnet18", "resnet50", "resnet101"]
Stem = Literal["conv7", "deep64", "deep128"]
Dilation = Literal["etc", "tdnet", "mmseg"]
Insert = Literal["bottleneck", "backbone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PspNetConfig:
    """PSPNet on a dilated ResNet of output stride 8 (Zhao et al. 2017). ETC's network is one."""

    kind: Literal["pspnet"] = "pspnet"
    num_classes: int
    backbone: Backbone = "resnet18"
    stem: Stem = "conv7"
    """One 7x7 convolution, or three 3x3 of 32, 32, 64 or of 64, 64, 128 channels."""
    dilation: Dilation = "etc"
    """Whose dilations stages 3 and 4 have (docs/checkpoints.md). Weights cannot tell it."""
    width: int = 256
    """Channels d after the bottleneck: what is classified, and what STT attends over."""
    aux_width: int = 256
    bins: tuple[int, ...] = (1, 2, 3, 6)
    align_corners: bool = True
    """Of every bilinear resize inside the network and of the logits."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check_head(self.num_classes, self.width, self.aux_width)
        _check_bins(self.bins, self.deep_width)

    @property
    def deep_width(self) -> int:
        """Channels of the backbone's last map."""
        return 512 if self.backbone == "resnet18" else 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteNetConfig:
    """The light network: EfficientNet-Lite0 at stride 16, pyramid pooling, fused at stride 8."""

    kind: Literal["lite0"] = "lite0"
    num_classes: int
    width: int = 128
    """Channels d after the fusion: what is classified, and what STT attends over."""
    aux_width: int = 64
    bins: tuple[int, ...] = (1, 2, 3, 6)
    align_corners: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check_head(self.num_classes, self.width, self.aux_width)
        _check_bins(self.bins, self.deep_width)

    @property
    def deep_width(self) -> int:
        """Channels of the backbone's last map."""
        return 320


FrameConfig = PspNetConfig | LiteNetConfig
"""Networks that segment each frame on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SttConfig:
    """The sparse temporal transformer on a per-frame network (Li et al. 2021).

    The supplement gives r, s, e, the expansion and seven key frames; width, heads and FFN are
    our choice where the paper is silent.
    """

    kind: Literal["stt"] = "stt"
    per_frame: Annotated[FrameConfig, Field(discriminator="kind")]
    insert: Insert = "bottleneck"
    """What the block refines: the bottleneck's features, or the backbone's."""
    key_frames: int = 7
    key_spacing: int = 1
    """Frames between one key frame and the next."""
    neighbour_radius: int = 5
    """r of the neighbouring similarity matrix: (2r+1)^2 neighbours."""
    start_radius: int = 1
    """s: half the key window in the newest key frame, in feature positions."""
    end_radius: int = 4
    """e: half the key window in the oldest key frames."""
    expansion: int = 1
    """Growth of that half window per frame of lag."""
    query_ratio: float = 0.5
    """Share of positions selected as queries, in (0, 1]."""
    nsm_scale: float = 1.0
    """Factor on the dot products of the similarity matrix; 1 is as printed."""
    heads: int = 8
    attention: Literal["dot", "distance"] = "dot"
    """How queries and keys are compared: by their scaled dot product, as the paper does; or by the
    distance between them, sharpened by a factor that each head learns, which large keys do not win
    by size alone. Of a head's channels the last is not compared then."""
    norm: Literal["layer", "gate"] = "layer"
    """What keeps the block's sums in scale: two LayerNorms, as in the paper; or none, where what
    was read replaces a learnt share of the features, and unselected positions stay as they are."""
    ffn_factor: int = 4
    dropout: float = 0.1
    bypass_norm: bool = True
    """Whether unselected positions pass through the block's last LayerNorm, where it has one."""

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads=} {self.width=}")
        if self.ffn_factor < 1 or self.expansion < 0:
            raise ValueError(
                f"ffn_factor must be at least 1 and expansion at least 0, "
                f"got {self.ffn_factor=} {self.expansion=}"
            )
        if not 0 < self.nsm_scale < math.inf:
            raise ValueError(f"nsm_scale must be positive, got {self.nsm_scale}")
        if not 0 <= self.key_frames <= MAX_KEY_FRAMES:
            raise ValueError(f"key_frames must be in 0..{MAX_KEY_FRAMES}, got {self.key_frames}")
        if self.key_spacing < 1 or self.neighbour_radius < 1:
            raise ValueError(
                f"key_spacing and neighbour_radius must be at least 1, "
                f"got {self.key_spacing=} {self.neighbour_radius=}"
            )
        if not 0 <= self.start_radius <= self.end_radius:
            raise ValueError(
                f"start_radius must be in 0..end_radius, "
                f"got {self.start_radius=} {self.end_radius=}"
            )
        if not 0 < self.query_ratio <= 1:
            raise ValueError(f"query_ratio must be in (0, 1], got {self.query_ratio}")

    @property
    def num_classes(self) -> int:
        return self.per_frame.num_classes

    @property
    def width(self) -> int:
        """Channels d of the block."""
        return self.per_frame.width

    @property
    def changes_bypass(self) -> bool:
        """Whether unselected positions leave the block other than they came: on another scale."""
        return self.norm == "layer" and self.bypass_norm

    @property
    def radii(self) -> tuple[int, ...]:
        """Half the key window of each key frame, newest first (method: min(s + lag*eps, e))."""
        return key_radii(
            self.key_frames, start=self.start_radius, end=self.end_radius, step=self.expansion
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdnetConfig:
    """Networks that take turns and hand on their features by attention (TDNet, Hu et al. 2020).

    TD4-PSP18 and TD2-PSP50 are this on a PSPNet18 in four paths and a PSPNet50 in two.
    """

    kind: Literal["tdnet"] = "tdnet"
    per_frame: Annotated[FrameConfig, Field(discriminator="kind")]
    """Each path's own network, of which it takes half the features."""
    paths: Literal[2, 4] = 4
    key_width: int = 64
    value_width: int = 512
    memory_stride: int = 4
    """Of the past feature maps that are kept, as the released test code has it."""
    training_stride: int = 3
    """The same in training."""
    norm_size: tuple[int, int] = (97, 193)
    """Rows and columns of the learnt maps of the spatial LayerNorm; resized to the input's."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("key_width", "value_width", "memory_stride", "training_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.norm_size) < 1:
            raise ValueError(f"norm_size must be positive, got {self.norm_size}")

    @property
    def num_classes(self) -> int:
        return self.per_frame.num_classes


ModelConfig = PspNetConfig | LiteNetConfig | SttConfig | TdnetConfig


@dataclass(frozen=True, slots=True)
class Reach:
    """What a model reads of the past, so that nobody need ask which model it is."""

    key_frames: int = 0
    """Frames read besides the current one; 0 for a per-frame network."""
    key_spacing: int = 1
    paths: int = 1
    """Networks that take turns: frame n belongs to path n mod `paths`."""
    heads: int = 0
    """Attention heads that can be looked into; 0 where there are none."""
    radii: tuple[int, ...] = ()
    """Half the key window of each key frame, newest first, where there are heads."""
    adjustable: bool = False
    """Whether another number of key frames can be had from the same weights."""


def reach(config: ModelConfig) -> Reach:
    """What a model of this config reads of the past."""
    if isinstance(config, SttConfig):
        return Reach(
            config.key_frames,
            config.key_spacing,
            heads=config.heads,
            radii=config.radii,
            adjustable=True,
        )
    if isinstance(config, TdnetConfig):
        return Reach(config.paths - 1, paths=config.paths)
    return Reach()


def per_frame(config: ModelConfig) -> FrameConfig:
    """The network that a model runs on every frame."""
    return config.per_frame if isinstance(config, SttConfig | TdnetConfig) else config


def with_key_frames(config: ModelConfig, key_frames: int) -> ModelConfig:
    """The same model with another number of key frames.

    Raises:
        ValueError: the model's number is fixed, or the new one is out of range.
    """
    if isinstance(config, SttConfig):
        return replace(config, key_frames=key_frames)
    fixed = reach(config).key_frames
    if key_frames != fixed:
        always = f"always reads {fixed} past frames" if fixed else "reads no key frames"
        raise ValueError(f"this model {always}: {key_frames} cannot be had of it")
    return config


def key_radii(frames: int, *, start: int, end: int, step: int) -> tuple[int, ...]:
    """Half the key window in each of `frames` past frames, newest first."""
    return tuple(min(start + step * lag, end) for lag in range(frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How an image becomes network input. Travels in the model file with the weights."""

    short_side: int | None = None
    """Length the shorter image side is resized to; None keeps the image's own size."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the network's input: multiples of 8, at least 8."""
        scale = 1.0 if self.short_side is None else self.short_side / min(height, width)
        return (max(8, round(height * scale / 8) * 8), max(8, round(width * scale / 8) * 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How a clip is varied while it is learnt (:mod:`stt_core.data.augment`).

    View and light are those of the whole clip: key windows have fixed centres. Only
    `frame_change` lets its frames differ.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    crop: tuple[int, int] = (240, 320)
    """Height and width of what is learnt at once, in network pixels: multiples of 8."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Least and greatest size of the image, relative to `short_side`; drawn evenly in its log."""
    short_side: int | None = None
    """Length of the image's shorter side at scale 1, which becomes that of the model's input; None
    keeps what a model to start from has, and 360 in a fresh one."""
    flip: bool = True
    """Whether every other clip is mirrored left to right."""
    rotate: float = 0.0
    """Greatest turn either way, degrees."""
    light: float = 1.0
    """Strength of brightness, contrast, gamma and tint; 0 leaves the colours alone."""
    blur: float = 0.0
    """Share of clips that pass a 5 x 5 Gaussian, as in ETC's recipe."""
    frame_change: float = 0.0
    """Strength of what differs from frame to frame of one clip: exposure, noise, sharpness, JPEG
    traces, and for past frames the camera's place. 1 is a bad camera, 0 a perfect one."""

    def __post_init__(self) -> None:
        if any(side < 8 or side % 8 for side in self.crop):
            raise ValueError(f"crop sides must be multiples of 8, got {self.crop}")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale must be a rising positive pair, got {self.scale}")
        if self.short_side is not None and self.short_side < 1:
            raise ValueError(f"short_side must be at least 1, got {self.short_side}")
        for name, most in (("rotate", 180.0), ("light", 10.0), ("blur", 1.0), ("frame_change", 10)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 0..{most:g}, got {getattr(self, name)}")


def _check_bins(bins: tuple[int, ...], deep_width: int) -> None:
    if not bins or min(bins) < 1 or deep_width % len(bins):
        raise ValueError(
            f"bins must be positive, and their number must divide the backbone's {deep_width} "
            f"channels, got {bins}"
        )


def _check_head(num_classes: int, width: int, aux_width: int) -> None:
    if not 1 <= num_classes <= 254:
        raise ValueError(f"num_classes must be in 1..254, got {num_classes}")
    if width < 1 or aux_width < 1:
        raise ValueError(f"widths must be positive, got {width=} {aux_width=}")
