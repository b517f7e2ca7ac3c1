"""A model in training: one step at a time, with all that has to be kept from step to step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stt_core.checkpoint import Checkpoint
from stt_core.config import per_frame, reach
from stt_core.errors import TrainingError
from stt_core.labels import UNLABELLED
from stt_core.metrics.segmentation import confusion
from stt_core.model.stt import Stt
from stt_core.model.tdnet import SpatialNorm
from stt_core.model.video import VideoModel
from stt_core.training.batches import Batch, first_pseudo_step
from stt_core.training.config import TrainConfig
from stt_core.training.losses import pseudo_targets
from stt_core.training.objective import PARTS, Masses, Objective, Whole
from stt_core.training.teacher import EmaTeacher
from stt_core.training.team import Team


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one step did."""

    loss: float
    parts: Mapping[str, float]
    """The loss by what it is made of, weighed; only what is not zero."""
    confusion: NDArray[np.int64]
    """``[C, C]`` of this process's labelled targets at stride 8, before the step."""
    gradient: float
    """Norm, before it was clipped."""


class Learner:
    """A model, its losses, its optimizer.

    Args:
        checkpoint: its model is trained in place.
        config: the recipe.
        team: the processes that train together.
        class_weights: ``[C]`` or None.
        teacher: that distillation learns from; it is not changed.

    Raises:
        TrainingError: a loss of the recipe cannot be had of this model, teacher or batch.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: TrainConfig,
        team: Team,
        *,
        class_weights: Tensor | None = None,
        teacher: Checkpoint | None = None,
    ) -> None:
        self.model: VideoModel = checkpoint.model.to(team.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.freeze_block:
            assert isinstance(self.model, Stt)  # the recipe was checked
            self.model.stt.requires_grad_(False)
        self._config = config
        self._team = team
        self._classes = checkpoint.header.classes
        self._objective = Objective(
            self.model,
            config,
            checkpoint.header.preprocess,
            class_weights=class_weights,
            teacher=teacher,
            processes=team.share.size,
            count_over=team.sum,
        ).to(team.device)
        self._joined = team.join(self._objective)
        self._optimizer = _make_optimizer(self.model, config)
        self._average = (
            EmaTeacher(self.model, config.average, ramp=True) if config.average else None
        )
        self._pseudo: EmaTeacher | None = None
        self._clips = config.batch_size // team.share.size
        if self._clips < config.least_clips:
            raise TrainingError(
                f"{team.share.size} processes would learn {self._clips} clip each, of which batch "
                f"norms cannot tell a spread: choose a larger batch_size"
            )
        self._pieces = self._split(math.ceil(self._clips / (config.micro_batch or self._clips)))
        self._class_thresholds = self._find_thresholds()
        self.notes: list[str] = []
        """What a person should know of the last step, one sentence each."""

    @property
    def result(self) -> VideoModel:
        """What the run is for: the model, or the moving average of its weights."""
        return self.model if self._average is None else self._average.model

    def set_rate(self, done: int) -> float:
        """Set and return the learning rate after `done` steps: warm-up, then poly."""
        config = self._config
        rate = config.learning_rate * (1 - done / config.steps) ** config.poly_power
        rate *= min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def learn(self, batch: Batch, step: int) -> Learnt:
        """Take step number `step`, 0 the first.

        Raises:
            TrainingError: the loss or its gradient is not finite, or a single clip is too much for
                the GPU's memory. The model is of no use then; what was saved before is.
        """
        self.notes = []
        config, team = self._config, self._team
        # what is random in a step follows from its number, so that a run can be taken up anywhere
        torch.manual_seed((config.seed * 1_000_003 + step) * 4_099 + team.share.rank)
        batch = batch.to(team.device)
        if config.pseudo is not None and step >= first_pseudo_step(config):
            batch = self._with_pseudo_labels(batch, step)
        path = step % reach(self.model.config).paths  # they take turns in learning too
        parts, counted = self._gather(batch, path)
        each = {name: float(value) for name, value in zip(PARTS, team.sum(parts), strict=True)}
        loss = sum(each.values())
        params = [p for g in self._optimizer.param_groups for p in g["params"]]
        norm = float(nn.utils.clip_grad_norm_(params, config.clip_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(self._not_finite(loss, batch, step))
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self.model)
        if self._pseudo is not None:
            self._pseudo.update(self.model)
        told = {name: value for name, value in each.items() if value}
        return Learnt(loss, told, counted, norm)

    def state(self) -> dict[str, Any]:
        """All that has to be kept of it to go on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "pseudo": None if self._pseudo is None else self._pseudo.state_dict(),
            "pieces": self._pieces,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if state["pseudo"] is not None:
            self._pseudo = self._make_pseudo()
            self._pseudo.load_state_dict(state["pseudo"])
        self._pieces = state["pieces"]

    def _split(self, pieces: int) -> int:
        """As many pieces as can be, of none of which batch norms learn from a single clip."""
        return max(1, min(pieces, self._clips // self._config.least_clips))

    def _gather(self, batch: Batch, path: int) -> tuple[Tensor, NDArray[np.int64]]:
        """Gradients of a batch, in as many pieces as the memory asks for."""
        while True:
            try:
                return self._gather_in(self._pieces, batch, path)
            except torch.OutOfMemoryError as error:
                at_once = math.ceil(self._clips / self._pieces)
                pieces = self._split(self._pieces * 2)
                if self._team.share.size > 1 or pieces == self._pieces:
                    raise TrainingError(
                        f"the GPU's memory is full with {at_once} clips at once: choose a smaller "
                        f"crop, or a smaller micro_batch or batch_size"
                    ) from error
                self._pieces = pieces
                torch.cuda.empty_cache()
                self.notes.append(
                    f"the GPU's memory is full: clips are learnt {math.ceil(self._clips / pieces)} "
                    f"at a time now, and their gradients summed up"
                )

    def _gather_in(self, pieces: int, batch: Batch, path: int) -> tuple[Tensor, NDArray[np.int64]]:
        self._optimizer.zero_grad(set_to_none=True)
        mass = self._objective.masses(batch)
        summed = self._team.sum(torch.tensor(list(mass), device=self._team.device))
        masses = Masses(*summed.tolist())
        whole = Whole(batch.labelled, len(batch.names) - batch.labelled)
        bf16 = self._config.precision == "bf16"
        total = torch.zeros(len(PARTS), device=self._team.device)
        counted = np.zeros((len(self._classes),) * 2, np.int64)
        for i in range(pieces):
            piece = batch.pick(range(i, len(batch.names), pieces))
            with nullcontext() if i == pieces - 1 else self._team.apart(self._joined):
                with torch.autocast(self._team.device.type, torch.bfloat16, enabled=bf16):
                    worth = self._joined(piece, masses, whole, path)
                if worth.loss.requires_grad:
                    worth.loss.backward()
            total += worth.parts
            known = piece.labelled
            counted += _count(worth.logits[:known], piece.labels[:known])
        return total, counted

    def _find_thresholds(self) -> dict[int, float]:
        wanted = {} if self._config.pseudo is None else self._config.pseudo.class_thresholds
        names = [c.name for c in self._classes]
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            raise TrainingError(
                f"pseudo.class_thresholds names the class '{unknown[0]}', which there is not: "
                f"there are {', '.join(names)}"
            )
        return {names.index(name): value for name, value in wanted.items()}

    def _with_pseudo_labels(self, batch: Batch, step: int) -> Batch:
        """The batch, its clips without labels labelled by the teacher."""
        config = self._config.pseudo
        assert config is not None
        if self._pseudo is None:
            self._pseudo = self._make_pseudo()
            if step == first_pseudo_step(self._config):
                self.notes.append("from here on, clips without labels are learnt from too")
        rest = slice(batch.labelled, None)
        if batch.labelled == len(batch.names):
            return batch
        images, past = (
            self._objective.input(batch.images[rest]),
            self._objective.input(batch.past[rest]),
        )
        lengths = batch.lengths[rest].tolist()
        bf16 = self._config.precision == "bf16"
        path = step % reach(self.model.config).paths
        with torch.autocast(self._team.device.type, torch.bfloat16, enabled=bf16):
            pasts = [frames[:n] for frames, n in zip(past, lengths, strict=True)]
            logits = self._pseudo.logits(images, pasts, path)
        found = pseudo_targets(
            logits,
            (batch.labels.shape[1], batch.labels.shape[2]),
            threshold=config.threshold,
            per_class=self._class_thresholds,
            align_corners=per_frame(self.model.config).align_corners,
        )
        labels = batch.labels.clone()
        inside = labels[rest] == UNLABELLED  # and not beyond the image's border
        labels[rest] = found.to(torch.uint8).where(inside, labels[rest])
        return batch._replace(labels=labels)

    def _make_pseudo(self) -> EmaTeacher:
        assert self._config.pseudo is not None
        return EmaTeacher(self.result, self._config.pseudo.decay)

    def _not_finite(self, loss: float, batch: Batch, step: int) -> str:
        rate = self.set_rate(step)
        what = (
            f"the loss became {loss}" if not math.isfinite(loss) else "the gradient is not finite"
        )
        return (
            f"{what} at step {step + 1}, on the clips {', '.join(batch.names)}: look at these, or "
            f"lower the learning rate (it was {rate:.2g}). What the run saved last is kept"
        )


def _count(logits: Tensor, target: Tensor) -> NDArray[np.int64]:
    """Confusion at stride 8, where it costs nothing."""
    rows, cols = logits.shape[2:]
    step_y, step_x = target.shape[1] // rows, target.shape[2] // cols
    coarse = target[:, step_y // 2 :: step_y, step_x // 2 :: step_x][:, :rows, :cols]
    winner = logits.argmax(1).to(torch.uint8)
    return confusion(winner.cpu().numpy(), coarse.cpu().numpy(), logits.shape[1])


def _make_optimizer(model: VideoModel, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW; the backbone, the rest, and what is not decayed are groups of their own."""
    learning = {id(p) for part in model.learning_parts() for p in part.parameters()}
    norms = {
        id(p)
        for part in model.modules()
        if isinstance(part, _BatchNorm | nn.LayerNorm | SpatialNorm)
        for p in part.parameters()
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad and (id(p) in learning or not config.freeze_encoder):
            backbone = ".trunk." in name and ".ppm." not in name
            decays = config.decay_norms or not (id(p) in norms or name.endswith("bias"))
            groups.setdefault((backbone, decays), []).append(p)
    made = [
        {
            "params": params,
            "factor": 1.0 if backbone else config.head_rate_factor,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (backbone, decays), params in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(made, config.learning_rate)
    return torch.optim.SGD(made, config.learning_rate, momentum=config.momentum)
