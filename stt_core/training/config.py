"""One training run, as a recipe file (TOML) spells it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from stt_core.config import MAX_KEY_FRAMES, AugmentConfig

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoConfig:
    """The second phase: what a teacher says of frames without labels is learnt as well."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    start: float = 0.5
    """Share of the steps after which it begins; the teacher is the student of that moment."""
    share: float = 0.5
    """Of each batch that has no labels, from then on."""
    threshold: float = 0.9
    """Least probability of what is believed."""
    class_thresholds: dict[str, float] = field(default_factory=dict)
    """The same for single classes, by name."""
    decay: float = 1.0
    """1 keeps the teacher as it was; below, it follows the student as a moving average."""
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_shares(self, "start", "threshold", "decay")
        _check_positive(self, "weight")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share}")
        for name, value in self.class_thresholds.items():
            if not 0 <= value <= 1:
                raise ValueError(f"the threshold of {name} must be in 0..1, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionConfig:
    """ETC's motion-guided loss: along the flow, logits stay what they were (method, 5.2)."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    weight: float = 0.1
    space: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        _check_positive(self, "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """ETC's distillation from a per-frame teacher (method, 5.3). 0 leaves a term out."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    pair: float = 0.1
    """Pair-wise dependency between the target and the frame before."""
    affinity: float = 0.1
    """Self affinity inside each of them."""
    multi: float = 0.1
    """Dependency over three frames, through a ConvLSTM."""
    kl: float = 0.1
    """Of the class probabilities."""

    def __post_init__(self) -> None:
        _check_positive(self, "pair", "affinity", "multi", "kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedConfig:
    """TDNet's loss: each path also alone, and both taught by a grouped teacher (method, 4.4)."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    sub_weight: float = 0.5
    """Of what a path says alone, against 1 for what it says with its past."""
    distil_weight: float = 1.0
    """Of the teacher's word, where there is a teacher."""

    def __post_init__(self) -> None:
        _check_positive(self, "sub_weight", "distil_weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    # The model. One to start from (--init) brings its own per-frame network, and, where it is of
    # the kind asked for, all of itself.
    model: Literal["frame", "stt", "tdnet"] = "stt"
    per_frame: Literal["pspnet18", "pspnet50", "pspnet101", "lite0"] = "pspnet18"
    stt: dict[str, int | float | bool | str] = field(default_factory=dict)
    """What differs from the paper's block, by the names of `SttConfig`."""
    paths: Literal[2, 4] | None = None
    """Of a TDNet: four in a fresh one."""

    # The data, KIND:PATH each; what the command line names goes before.
    data: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()

    key_frames: int | None = None
    """That an STT reads, in place of its own number; seven in a fresh one."""
    past: Literal["auto", "real", "motion", "still"] = "auto"
    """Where a clip's past comes from; auto moves the camera over stills that have none."""
    jitter_gap: bool = False
    """Whether each past frame is one or two frames before the next, as in TDNet's recipe."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    steps: int = 200
    batch_size: int = 4
    micro_batch: int = 0
    """Clips a process learns at once, gradients being summed up to the batch; 0: all."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    head_rate_factor: float = 1.0
    """Factor on the rate of everything behind the backbone."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_norms: bool = True
    """Whether weight decay also reaches biases and norms."""
    warmup_steps: int = 0
    poly_power: float = 0.9
    clip_norm: float = 10.0
    average: float = 0.0
    """Decay of a moving average of the weights, which is what is saved as the model; 0: none."""

    aux_weight: float = 0.4
    class_balance: float = 0.0
    """Exponent on inverse class frequency: 0 weighs every pixel alike, as the paper does."""
    ohem: bool = False
    """Whether only the harder pixels count (method, 4.4)."""
    pseudo: PseudoConfig | None = None
    motion: MotionConfig | None = None
    distill: DistillConfig | None = None
    grouped: GroupedConfig | None = None

    detach_keys: bool = True
    """Whether key frames are encoded without gradients (an eighth of the memory)."""
    freeze_encoder: bool = False
    """Train only the temporal block and the classifier."""
    freeze_block: bool = False
    """Train all of an STT but its temporal block, which stays as it starts."""
    freeze_norms: bool = False
    """Whether batch norms keep their statistics, so that targets and key frames see the same."""
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    workers: int = 0
    """Processes that load clips; 0: one thread."""
    save_every: int = 200
    validate_every: int = 0
    """Steps between two looks at the validation data; 0: only at the end."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        _check_positive(
            self,
            "micro_batch",
            "learning_rate",
            "head_rate_factor",
            "momentum",
            "weight_decay",
            "warmup_steps",
            "poly_power",
            "aux_weight",
            "class_balance",
            "seed",
            "workers",
            "validate_every",
        )
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {self.clip_norm}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be at least 0 and below 1, got {self.average}")
        if not 0 <= (self.key_frames or 0) <= MAX_KEY_FRAMES:
            raise ValueError(f"key_frames must be in 0..{MAX_KEY_FRAMES}, got {self.key_frames}")
        if self.seed >= 1 << 31:
            raise ValueError(f"seed must be below 2^31, got {self.seed}")
        if self.least_clips > min(self.batch_size, self.micro_batch or self.batch_size):
            raise ValueError(
                "batch_size and micro_batch must be at least 2 where batch norms learn: they "
                "cannot tell a spread from one value"
            )
        self._check_losses()

    @property
    def least_clips(self) -> int:
        """How many clips must be learnt at once."""
        return 1 if self.freeze_encoder or self.freeze_norms else 2

    def _check_losses(self) -> None:
        if self.freeze_block and self.model != "stt":
            raise ValueError(f"freeze_block is for the model stt, got {self.model=}")
        for loss, model in (("grouped", "tdnet"), ("distill", "frame")):
            if getattr(self, loss) is not None and self.model != model:
                raise ValueError(f"{loss} is a loss of the model {model}, got {self.model=}")
        together = (
            (self.grouped is not None, "grouped", self.ohem, "ohem: hard pixels are its own"),
            (self.grouped is not None, "grouped", self.pseudo is not None, "pseudo"),
            (self.grouped is not None, "grouped", self.class_balance > 0, "class_balance"),
            (self.ohem, "ohem", self.class_balance > 0, "class_balance"),
            (self.distill is not None, "distill", self.freeze_encoder, "freeze_encoder"),
            (self.pseudo is not None, "pseudo", self.batch_size == 1, "a batch_size of 1"),
        )
        for one, name, other, what in together:
            if one and other:
                raise ValueError(f"{name} cannot go with {what}")


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be 0 or more, got {getattr(config, name)}")


def _check_shares(config: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be in 0..1, got {getattr(config, name)}")
