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
from stt_core.config import (
    ModelConfig,
    Preprocess,
    PspNetConfig,
    SttConfig,
    TrainConfig,
    per_frame,
    reach,
)
from stt_core.data.augment import augment
from stt_core.data.clips import ClipSource, LabelledClip
from stt_core.errors import TrainingError
from stt_core.files import make_folder, write_text, writing
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import VOID, LabelClass
from stt_core.metrics.segmentation import confusion, mean_iou
from stt_core.model.video import Encoded, Extracted, VideoModel, together
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
    learner = _Learner(checkpoint, config, torch.device(device), _balance(sources, config))
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
        self,
        checkpoint: Checkpoint,
        config: TrainConfig,
        device: torch.device,
        weights: Tensor | None,
    ) -> None:
        model = checkpoint.model
        self._preprocess = checkpoint.header.preprocess
        self.model: VideoModel = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._config = config
        self._device = device
        self._weights = None if weights is None else weights.to(device)
        self._steps = 0
        self._groups = _parameter_groups(self.model, config)
        self._optimizer = _make_optimizer(self._groups, config)
        self._reach = reach(model.config)
        self._learns = set(model.learning_parts())
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
            path = self._steps % self._reach.paths  # they take turns in learning too
            self._steps += 1
            memories = [self._remember(clip, path) for clip in batch]
            logits, aux = self._forward(images, memories, path)
        align = per_frame(self.model.config).align_corners
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
        self, images: Tensor, memories: list[list[Encoded]], path: int
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the targets, and auxiliary logits where the backbone learns."""
        model = self.model
        if self._config.freeze_encoder:
            extracted = self._extract_frozen(images, path)
        else:
            extracted = model.extract(images, path, aux=True)
        current, aux = model.project(extracted), extracted.aux
        # one by one: clips near a video's start have fewer key frames
        refined = [model.refine(current.one(i), m) for i, m in enumerate(memories)]
        return model.classify(together(refined)), aux

    def _remember(self, clip: LabelledClip, path: int) -> list[Encoded]:
        """The past of a clip, newest first, whose last frame belongs to `path`."""
        past = clip.past[: self._reach.key_frames]
        if not past:
            return []
        images, paths = self._to_device(past), self._reach.paths
        frozen = self._config.detach_keys or self._config.freeze_encoder
        extract = self._extract_frozen if frozen else self.model.extract
        if paths == 1:
            together = self.model.project(extract(images, 0))
            return [together.one(i) for i in range(len(past))]
        return [
            self.model.project(extract(images[i : i + 1], (path - 1 - i) % paths))
            for i in range(len(past))
        ]

    @torch.no_grad()
    def _extract_frozen(self, images: Tensor, path: int) -> Extracted:
        """Encoder features with the running statistics, as at inference."""
        self._encode_frozen(True)
        extracted = self.model.extract(images, path)
        self._encode_frozen(self._config.freeze_encoder)
        return extracted

    def _encode_frozen(self, frozen: bool) -> None:
        self.model.train()
        if frozen:
            self.model.eval()
            for part in self._learns:
                part.train()

    def _to_device(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        x = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float()
        return normalise(x, self._preprocess).contiguous(memory_format=torch.channels_last)

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
        preprocess=replace(
            init.header.preprocess if init else Preprocess(), short_side=config.short_side
        ),
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
    frame = per_frame(init.header.config) if init else PspNetConfig(num_classes=classes)
    if config.model == "pspnet":
        return frame
    if init is not None and reach(init.header.config).key_frames:
        return init.header.config
    return SttConfig(per_frame=frame)


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


def _parameter_groups(model: VideoModel, config: TrainConfig) -> list[dict[str, object]]:
    learning = {id(p) for part in model.learning_parts() for p in part.parameters()}
    groups: dict[bool, list[torch.nn.Parameter]] = {False: [], True: []}
    for name, p in model.named_parameters():
        if id(p) in learning or not config.freeze_encoder:
            groups[".trunk." in name and ".ppm." not in name].append(p)
    heads, backbone = groups[False], groups[True]
    made: list[dict[str, object]] = [{"params": heads, "factor": config.head_rate_factor}]
    if backbone:
        made.append({"params": backbone, "factor": 1.0})
    return made


def _make_optimizer(groups: list[dict[str, object]], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _save(out: Path, start: Checkpoint, model: VideoModel, step: int) -> None:
    header = replace(
        start.header,
        step=start.header.step + step,
        lineage=(*start.header.lineage, f"{out.name}: {step} steps"),
    )
    save_checkpoint(out / "last.safetensors", Checkpoint(header, model))
