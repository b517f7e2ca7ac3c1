"""What can be configured, as frozen dataclasses. Nothing here reads a file or imports torch.

Every hyper-parameter of a model stands in one of these and travels in its model file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

MAX_KEY_FRAMES = 9
"""More is not drawn by the paper's Fig. 1, and the key strip has room for nine tiles."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PspNetConfig:
    """PSPNet on a dilated ResNet-18 of output stride 8 (Zhao et al. 2017, ETC's variant)."""

    kind: Literal["pspnet"] = "pspnet"
    num_classes: int
    backbone: Literal["resnet18"] = "resnet18"
    dilation: Literal["etc"] = "etc"
    """Dilations of stages 3 and 4: (1,2)(1,2) and (1,4)(1,4). Weights cannot tell it."""
    width: int = 256
    """Channels d after the bottleneck: what is classified, and what STT attends over."""
    aux_width: int = 256
    bins: tuple[int, ...] = (1, 2, 3, 6)
    align_corners: bool = True
    """Of every bilinear resize inside the network and of the logits."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= 254:
            raise ValueError(f"num_classes must be in 1..254, got {self.num_classes}")
        if self.width < 1 or self.aux_width < 1:
            raise ValueError(f"widths must be positive, got {self.width=} {self.aux_width=}")

    @property
    def pspnet(self) -> PspNetConfig:
        """Itself: every model has a per-frame network, and this one is nothing else."""
        return self

    @property
    def key_frames(self) -> int:
        """A per-frame network reads no other frame."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SttConfig:
    """The sparse temporal transformer on a per-frame network (Li et al. 2021).

    The supplement gives r, s, e, the expansion and seven key frames; width, heads and FFN are
    our choice where the paper is silent.
    """

    kind: Literal["stt"] = "stt"
    pspnet: PspNetConfig
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
    ffn_factor: int = 4
    dropout: float = 0.1
    bypass_norm: bool = True
    """Whether unselected positions pass through the block's last LayerNorm."""

    def __post_init__(self) -> None:
        if self.pspnet.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads=} {self.pspnet.width=}")
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
        return self.pspnet.num_classes

    @property
    def radii(self) -> tuple[int, ...]:
        """Half the key window of each key frame, newest first (method: min(s + lag*eps, e))."""
        return key_radii(
            self.key_frames, start=self.start_radius, end=self.end_radius, step=self.expansion
        )


ModelConfig = PspNetConfig | SttConfig


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
class TrainConfig:
    """One training run, as a recipe file (TOML) spells it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: Literal["pspnet", "stt"] = "stt"
    steps: int = 200
    batch_size: int = 4
    crop: tuple[int, int] = (240, 320)
    """Height and width of a training crop, in network pixels: multiples of 8."""
    scale: tuple[float, float] = (0.5, 2.0)
    learning_rate: float = 0.01
    head_rate_factor: float = 1.0
    """Factor on the rate of everything behind the backbone."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    warmup_steps: int = 0
    poly_power: float = 0.9
    aux_weight: float = 0.4
    class_balance: float = 0.0
    """Exponent on inverse class frequency: 0 weighs every pixel alike, as the paper does."""
    short_side: int = 360
    """Length of the image's shorter side the model is made for."""
    key_frames: int = 7
    detach_keys: bool = True
    """Whether key frames are encoded without gradients (an eighth of the memory)."""
    freeze_encoder: bool = False
    """Train only the temporal block and the classifier."""
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    save_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "short_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "learning_rate",
            "head_rate_factor",
            "momentum",
            "weight_decay",
            "warmup_steps",
            "poly_power",
            "aux_weight",
            "class_balance",
            "seed",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.key_frames <= MAX_KEY_FRAMES:
            raise ValueError(f"key_frames must be in 0..{MAX_KEY_FRAMES}, got {self.key_frames}")
        if self.batch_size == 1 and not self.freeze_encoder:
            raise ValueError(
                "batch_size must be at least 2 where the encoder learns: its batch norms cannot "
                "tell a spread from one value"
            )
        if any(side < 8 or side % 8 for side in self.crop):
            raise ValueError(f"crop sides must be multiples of 8, got {self.crop}")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale must be a rising positive pair, got {self.scale}")
