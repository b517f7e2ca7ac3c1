"""The training loop, as a generator: it says what happened, and stops when nobody listens."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.checkpoint import Checkpoint, new_checkpoint, save_checkpoint
from stt_core.config import ModelConfig, Preprocess, PspNetConfig, SttConfig, TrainConfig
from stt_core.data.augment import augment
from stt_core.data.clips import ClipSource, LabelledClip
from stt_core.errors import TrainingError
from stt_core.files import make_folder, write_text, writing
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import VOID, LabelClass
from stt_core.metrics.segmentation import confusion, mean_iou
from stt_core.model.pspnet import Encoded, PspNet
from stt_core.model.stt import SttPspNet
from stt_core.pipeline import read_ahead
from stt_core.preprocess import normalise
from stt_core.training.losses import segmentation_loss

_READ_AHEAD = 4
_MOMENTUM_WINDOW = 0.05
"""Share of the newest batch in the running confusion that mean IoU is told from."""


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one step did."""

    step: int
    """1 for the first."""
    steps: int
    loss: float
    mean_iou: float
    """Of the recent training batches, before their steps."""
    learning_rate: float
    seconds: float
    """Since the step before."""


def train(
    sources: Sequence[ClipSource],
    config: TrainConfig,
    out: Path,
    *,
    init: Checkpoint | None = None,
    device: str = "cpu",
) -> Generator[TrainStep, None, Path]:
    """Train a model and return where it was saved.

    The run folder `out` gets config.json, log.jsonl (a line a step) and last.safetensors, written
    whole every `config.save_every` steps and at the end.

    Args:
        sources: clips are drawn from each in equal share; all must have the same classes.
        config: the recipe.
        out: the run folder.
        init: weights to start from; whatever fits is kept.
        device: cpu, cuda, cuda:N or mps.

    Raises:
        TrainingError: classes differ, or the loss is no longer finite.
        OutputError: the run folder cannot be written.
    """
    classes = _common_classes(sources)
    torch.manual_seed(config.seed)  # weights and dropout; data has generators of its own
    checkpoint = _start(classes, config, init, sources)
    make_folder(out)
    write_text(out / "config.json", json.dumps(asdict(config), indent=2) + "\n")
    learner = _Learner(checkpoint.model, config, torch.device(device), _balance(sources, config))
    batches = read_ahead(_batches(sources, config), _READ_AHEAD)
    recent = np.zeros((len(classes), len(classes)))
    try:
        with writing(out / "log.jsonl"), (out / "log.jsonl").open("w", encoding="utf-8") as log:
            for step in range(1, config.steps + 1):
                start = perf_counter()
                rate = learner.set_rate(step - 1)
                loss, counted = learner.learn(next(batches))
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss became {loss} at step {step}: lower the learning rate "
                        f"(it was {rate:.2g}); the checkpoint of an earlier step is kept in {out}"
                    )
                recent = recent * (1 - _MOMENTUM_WINDOW) + counted
                mean = mean_iou(recent.round().astype(np.int64))
                told = TrainStep(step, config.steps, loss, mean, rate, perf_counter() - start)
                log.write(_line(told))
                log.flush()
                if step % config.save_every == 0 or step == config.steps:
                    _save(out, checkpoint, learner.model, step)
                yield told
    finally:
        batches.close()
    return out / "last.safetensors"


class _Learner:
    """A model in training, with its optimizer."""

    def __init__(
        self, model: PspNet, config: TrainConfig, device: torch.device, weights: Tensor | None
    ) -> None:
        self.model: PspNet = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._config = config
        self._device = device
        self._weights = None if weights is None else weights.to(device)
        self._groups = _parameter_groups(self.model, config)
        self._optimizer = _make_optimizer(self._groups, config)
        self._encode_frozen(config.freeze_encoder)

    def set_rate(self, done: int) -> float:
        """Set and return the learning rate after `done` steps: warm-up, then poly."""
        config = self._config
        rate = config.learning_rate * (1 - done / config.steps) ** config.poly_power
        rate *= min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def learn(self, batch: list[LabelledClip]) -> tuple[float, NDArray[np.int64]]:
        """One step; its loss, and the confusion of its batch."""
        images = self._to_device([clip.image for clip in batch])
        target = torch.from_numpy(np.stack([c.labels for c in batch])).long().to(self._device)
        bf16 = self._config.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            memories = [self._remember(clip) for clip in batch]
            logits, aux = self._forward(images, memories)
        align = self.model.config.pspnet.align_corners
        loss = segmentation_loss(logits, target, align_corners=align, class_weights=self._weights)
        if aux is not None:
            loss = loss + self._config.aux_weight * segmentation_loss(
                aux, target, align_corners=align, class_weights=self._weights
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self._optimizer.step()
        return float(loss.detach()), self._count(logits.detach(), target)

    def _forward(
        self, images: Tensor, memories: list[list[Encoded]]
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the targets, and auxiliary logits where the backbone learns."""
        model = self.model
        if self._config.freeze_encoder:
            features, aux = self._features(images), None
        else:
            stages = model.stages(images)
            features, aux = model.bottleneck(stages), model.aux_logits(stages)
        if not any(memories):
            return model.decode(model.project(features), ()).logits, aux
        # one by one: clips near a video's start have fewer key frames
        current = model.project(features)
        parts = [model.decode(current.one(i), m).logits for i, m in enumerate(memories)]
        return torch.cat(parts), aux

    def _remember(self, clip: LabelledClip) -> list[Encoded]:
        if not clip.past or not isinstance(self.model, SttPspNet):
            return []
        images = self._to_device(clip.past)
        if self._config.detach_keys or self._config.freeze_encoder:
            features = self._features(images)
        else:
            features = self.model.bottleneck(self.model.stages(images))
        projected = self.model.project(features)
        return [projected.one(i) for i in range(len(clip.past))]

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        """Bottleneck features with the running statistics, as at inference."""
        self._encode_frozen(True)
        features = self.model.bottleneck(self.model.stages(images))
        self._encode_frozen(self._config.freeze_encoder)
        return features

    def _encode_frozen(self, frozen: bool) -> None:
        self.model.train()
        if frozen:
            for name, part in self.model.named_children():
                if name != "stt":
                    part.eval()

    def _to_device(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        x = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float()
        return normalise(x, Preprocess()).contiguous(memory_format=torch.channels_last)

    def _count(self, logits: Tensor, target: Tensor) -> NDArray[np.int64]:
        """Confusion at stride 8, where it costs nothing."""
        rows, cols = logits.shape[2:]
        step_y, step_x = target.shape[1] // rows, target.shape[2] // cols
        coarse = target[:, step_y // 2 :: step_y, step_x // 2 :: step_x][:, :rows, :cols]
        return confusion(
            logits.argmax(1).to(torch.uint8).cpu().numpy(),
            coarse.to(torch.uint8).cpu().numpy(),
            logits.shape[1],
        )


def _line(step: TrainStep) -> str:
    """Strict JSON: a mean over no labelled pixel is null."""
    facts = {k: None if v != v else v for k, v in asdict(step).items()}
    return json.dumps(facts) + "\n"


def _common_classes(sources: Sequence[ClipSource]) -> tuple[LabelClass, ...]:
    if not sources:
        raise TrainingError("there is no data to learn from: name some with --data KIND:PATH")
    names = [[c.name for c in source.classes] for source in sources]
    if any(other != names[0] for other in names):
        raise TrainingError(
            f"the data sets have different classes ({', '.join(names[0])} against "
            f"{', '.join(next(n for n in names if n != names[0]))}): train on one of them"
        )
    return sources[0].classes


def _start(
    classes: tuple[LabelClass, ...],
    config: TrainConfig,
    init: Checkpoint | None,
    sources: Sequence[ClipSource],
) -> Checkpoint:
    """The model to train, with what `init` can give it."""
    licences = [s.licence for s in sources if s.licence]
    if init is not None and init.header.licence:
        licences.insert(0, init.header.licence)
    header = ModelHeader(
        config=_model_config(len(classes), config, init),
        preprocess=Preprocess(short_side=config.short_side),
        classes=classes,
        step=init.header.step if init else 0,
        licence=" ".join(dict.fromkeys(licences)),
        lineage=init.header.lineage if init else (),
    )
    checkpoint = new_checkpoint(header)
    if init is not None:
        _check_same_classes(init, classes)
        checkpoint.model.load_state_dict(init.model.state_dict(), strict=False)
    return checkpoint


def _model_config(classes: int, config: TrainConfig, init: Checkpoint | None) -> ModelConfig:
    pspnet = init.header.config.pspnet if init else PspNetConfig(num_classes=classes)
    if config.model == "pspnet":
        return pspnet
    if init is not None and isinstance(init.header.config, SttConfig):
        return init.header.config
    return SttConfig(pspnet=pspnet)


def _check_same_classes(init: Checkpoint, classes: tuple[LabelClass, ...]) -> None:
    had, wants = [c.name for c in init.header.classes], [c.name for c in classes]
    if had != wants:
        raise TrainingError(
            f"the model to start from knows the classes {', '.join(had)}, but the labels have "
            f"{', '.join(wants)}: they must be the same, in the same order"
        )


def _balance(sources: Sequence[ClipSource], config: TrainConfig) -> Tensor | None:
    """Weight of each class, frequency to the power of -class_balance, mean 1 over pixels."""
    if not config.class_balance:
        return None
    rng = np.random.default_rng(config.seed)
    count = np.zeros(256)
    for source in sources:
        for i in rng.integers(len(source), size=min(40, len(source))):
            count += np.bincount(source[int(i)].labels.ravel(), minlength=256)
    share = (count[: len(sources[0].classes)] + 1) / count[:VOID].sum()
    weights = share**-config.class_balance
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def _batches(sources: Sequence[ClipSource], config: TrainConfig) -> Iterator[list[LabelledClip]]:
    rng = np.random.default_rng(config.seed)
    orders = [_shuffled(len(source), rng) for source in sources]
    drawn = 0
    while True:
        batch = []
        for _ in range(config.batch_size):
            which = drawn % len(sources)
            drawn += 1
            batch.append(augment(sources[which][next(orders[which])], config, rng))
        yield batch


def _shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def _parameter_groups(model: PspNet, config: TrainConfig) -> list[dict[str, object]]:
    named = [
        (name, p)
        for name, p in model.named_parameters()
        if not config.freeze_encoder or name.startswith(("stt.", "cls.4."))
    ]
    backbone = [p for name, p in named if name.startswith("layer")]
    heads = [p for name, p in named if not name.startswith("layer")]
    groups: list[dict[str, object]] = [{"params": heads, "factor": config.head_rate_factor}]
    if backbone:
        groups.append({"params": backbone, "factor": 1.0})
    return groups


def _make_optimizer(groups: list[dict[str, object]], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _save(out: Path, start: Checkpoint, model: PspNet, step: int) -> None:
    header = replace(
        start.header,
        step=start.header.step + step,
        lineage=(*start.header.lineage, f"{out.name}: {step} steps"),
    )
    save_checkpoint(out / "last.safetensors", Checkpoint(header, model))
