"""What a batch is worth: every loss of the recipe, on one model.

Dimensions: B clips, T past frames, H x W crop, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint
from stt_core.config import Preprocess, per_frame, reach
from stt_core.errors import TrainingError
from stt_core.labels import IGNORED, VOID
from stt_core.model.tdnet import Tdnet
from stt_core.model.video import PerFrame, VideoModel
from stt_core.preprocess import normalise
from stt_core.training.batches import Batch
from stt_core.training.config import DistillConfig, TrainConfig
from stt_core.training.distillation import (
    FrameOutputs,
    MultiFrameDependency,
    divergence_loss,
    pair_loss,
    run_frame,
    self_affinity_loss,
)
from stt_core.training.forward import Modes, Seen, look, set_modes
from stt_core.training.grouped import GroupedLogits, GroupedTeacher, grouped_loss
from stt_core.training.losses import cross_entropy_sums, mean_over_processes, ohem_sums
from stt_core.training.motion import known as known_flow
from stt_core.training.motion import motion_sums

PARTS = ("labels", "aux", "pseudo", "motion", "distill", "alone")
"""What the loss is made of, as it is told; "alone" is a TDNet path without its past."""


class Masses(NamedTuple):
    """What means over a whole batch divide by, of all processes."""

    labelled: float
    """Labelled pixels, or the weights of their classes."""
    pseudo: float
    """The same of clips that a teacher labelled."""
    moving: float
    """Clips whose flow is known somewhere."""


class Whole(NamedTuple):
    """The batch of this process that some clips are from."""

    labelled: int
    unlabelled: int


class Worth(NamedTuple):
    """The loss of some clips, to go backward from, and what it is made of."""

    loss: Tensor  # times the number of processes, over which gradients are averaged
    parts: Tensor  # [PARTS], this process's share of each, already weighed
    logits: Tensor  # [B, C, h, w] of the targets


class Objective(nn.Module):
    """A model with the losses of a recipe.

    Args:
        model: learns.
        config: the recipe.
        preprocess: of the model's input.
        class_weights: ``[C]`` or None.
        teacher: a per-frame network that distillation learns from; it is not changed.
        processes: that train together.
        count_over: adds up over them.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        model: VideoModel,
        config: TrainConfig,
        preprocess: Preprocess,
        *,
        class_weights: Tensor | None = None,
        teacher: Checkpoint | None = None,
        processes: int = 1,
        count_over: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._config = config
        self._preprocess = preprocess
        self._processes = processes
        self._count_over = count_over
        self._align = per_frame(model.config).align_corners
        self._modes = Modes(config.detach_keys, config.freeze_encoder, config.freeze_norms)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.teacher: nn.Module | None = None
        self._teacher_preprocess = preprocess
        self.memory: MultiFrameDependency | None = None
        if teacher is not None:
            self._teacher_preprocess = teacher.header.preprocess
        if config.distill is not None:
            self.teacher = _frame_of(teacher, "distill").requires_grad_(False).eval()
            self.memory = MultiFrameDependency().requires_grad_(False)
        elif config.grouped is not None and teacher is not None:
            frame = _frame_of(teacher, "grouped").frame
            self.teacher = GroupedTeacher(frame, reach(model.config).paths)
        elif teacher is not None:
            raise TrainingError("this recipe learns from no teacher: leave --teacher out")

    def masses(self, batch: Batch) -> Masses:
        """What this process adds to the masses of a batch."""
        known = self._targets(batch.labels)
        each = (known != IGNORED).float()
        if self.class_weights is not None:
            each = each * self.class_weights[known.where(known != IGNORED, 0)]
        labelled, rest = each[: batch.labelled].sum(), each[batch.labelled :].sum()
        moving = known_flow(batch.flow).flatten(1).any(1).sum()
        return Masses(float(labelled), float(rest), float(moving))

    def forward(self, batch: Batch, masses: Masses, whole: Whole, path: int) -> Worth:
        """The loss of some clips of a batch.

        Args:
            batch: the clips.
            masses: of the whole batch, over all processes.
            whole: what this process has of it.
            path: of the targets.
        """
        share = len(batch.names) / sum(whole)
        images = self.input(batch.images)
        past = self.input(batch.past)
        targets = self._targets(batch.labels)
        config = self._config
        if config.distill is not None:
            seen, distilled = self._look_and_distil(batch, images, past, config.distill)
        else:
            live = 2 if config.motion is not None else 1
            lengths = batch.lengths.tolist()
            seen = look(self.model, images, past, lengths, path=path, live=live, modes=self._modes)
            distilled = images.new_zeros(())
        parts = dict.fromkeys(PARTS, images.new_zeros(()))
        parts["distill"] = distilled * share
        if config.grouped is not None:
            self._add_grouped(parts, seen, batch.images, targets, share, path)
        else:
            self._add_labels(parts, seen, batch.labelled, targets, masses, whole)
        if config.motion is not None:
            sums = motion_sums(
                seen.logits[0],
                seen.logits[1],
                images,
                past[:, 0],
                batch.flow,
                align_corners=self._align,
                space=config.motion.space,
            )
            terms = seen.logits[0].shape[1] * targets[0].numel()
            mass = max(masses.moving * terms, 1.0)
            parts["motion"] = config.motion.weight * sums.total * self._processes / mass
        stacked = torch.stack([parts[name] for name in PARTS])
        return Worth(stacked.sum(), stacked.detach() / self._processes, seen.logits[0].detach())

    def _add_labels(
        self,
        parts: dict[str, Tensor],
        seen: Seen,
        labelled: int,
        targets: Tensor,
        masses: Masses,
        whole: Whole,
    ) -> None:
        """Cross-entropy of targets with labels and with pseudo-labels."""
        config = self._config
        pseudo_weight = config.pseudo.weight if config.pseudo else 0.0
        groups = (
            ("labels", slice(0, labelled), 1.0, masses.labelled, whole.labelled),
            ("pseudo", slice(labelled, None), pseudo_weight, masses.pseudo, whole.unlabelled),
        )
        for name, which, weight, mass, clips in groups:
            if not mass:  # of all processes: each must come to the same sums
                continue
            share = len(targets[which]) / max(clips, 1)
            heads = ((seen.logits[0], 1.0, name), (seen.aux, config.aux_weight, "aux"))
            for logits, factor, to in heads:
                if logits is not None and factor:
                    value = self._cross_entropy(logits[which], targets[which], mass, share)
                    parts[to] = parts[to] + weight * factor * value

    def _cross_entropy(self, logits: Tensor, targets: Tensor, mass: float, share: float) -> Tensor:
        """The mean over the whole batch, as far as it comes from these clips.

        Hard pixels are chosen among these clips; `share` says what part of their kind they are.
        """
        if self._config.ohem:
            sums = ohem_sums(
                logits, targets, align_corners=self._align, count_over=self._count_over
            )
            return share * mean_over_processes(sums, self._count_over)
        sums = cross_entropy_sums(
            logits, targets, align_corners=self._align, class_weights=self.class_weights
        )
        return sums.total * self._processes / mass

    def _add_grouped(
        self,
        parts: dict[str, Tensor],
        seen: Seen,
        images: Tensor,
        targets: Tensor,
        share: float,
        path: int,
    ) -> None:
        config = self._config.grouped
        assert config is not None
        assert isinstance(self.model, Tdnet)
        assert seen.current is not None
        alone = self.model.sub_logits(seen.current)
        teacher = None
        if self.teacher is not None:
            teacher = self.teacher(self.input(images, self._teacher_preprocess), path)
        found = grouped_loss(
            GroupedLogits(seen.logits[0], alone),
            seen.aux,
            targets,
            teacher,
            align_corners=self._align,
            sub_weight=config.sub_weight,
            aux_weight=self._config.aux_weight,
            distil_weight=config.distil_weight,
            count_over=self._count_over,
        )
        parts["labels"] = found.full * share
        parts["alone"] = found.alone * share
        parts["aux"] = found.aux * share
        parts["distill"] = found.distilled * share

    def _look_and_distil(
        self, batch: Batch, images: Tensor, past: Tensor, config: DistillConfig
    ) -> tuple[Seen, Tensor]:
        """The target and up to two frames before it, by student and teacher."""
        assert isinstance(self.model, PerFrame)
        assert isinstance(self.teacher, PerFrame)
        count = min(3 if config.multi else 2, 1 + past.shape[1])
        frames = torch.cat([images, *(past[:, t] for t in range(count - 1))])
        raw = torch.cat([batch.images, *(batch.past[:, t] for t in range(count - 1))])
        set_modes(self.model, self._modes)
        found = run_frame(self.model.frame, frames, aux=True)
        with torch.no_grad():
            taught = run_frame(self.teacher.frame, self.input(raw, self._teacher_preprocess))
        students = _split(found, count)
        teachers = _split(taught, count)
        total = images.new_zeros(())
        if config.kl:
            total = total + config.kl * divergence_loss(
                [s.logits for s in students],
                [t.logits for t in teachers],
                align_corners=self._align,
            )
        if config.affinity:
            total = total + config.affinity * self_affinity_loss(
                [s.context for s in students], [t.context for t in teachers]
            )
        if config.pair and count > 1:
            total = total + config.pair * pair_loss(
                students[0].logits, students[1].logits, teachers[0].logits, teachers[1].logits
            )
        if config.multi and self.memory is not None and count > 1:
            found_multi = self.memory(
                [s.context for s in reversed(students)], [t.context for t in reversed(teachers)]
            )
            total = total + config.multi * found_multi
        return Seen(tuple(s.logits for s in students), students[0].aux, None), total

    def input(self, images: Tensor, preprocess: Preprocess | None = None) -> Tensor:
        """``[..., H, W, 3]`` uint8 to ``[..., 3, H, W]``, normalised as the model is used to."""
        x = normalise(images.movedim(-1, -3).float(), preprocess or self._preprocess)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    @staticmethod
    def _targets(labels: Tensor) -> Tensor:
        """``[B, H, W]`` long; void and unlabelled alike are ignored."""
        return labels.long().where(labels < VOID, IGNORED)


def _split(outputs: FrameOutputs, frames: int) -> list[FrameOutputs]:
    aux = (None,) * frames if outputs.aux is None else outputs.aux.chunk(frames)
    return [
        FrameOutputs(c, z, a)
        for c, z, a in zip(
            outputs.context.chunk(frames), outputs.logits.chunk(frames), aux, strict=True
        )
    ]


def _frame_of(teacher: Checkpoint | None, which: str) -> PerFrame:
    if teacher is None or not isinstance(teacher.model, PerFrame):
        raise TrainingError(
            f"{which} needs a per-frame network to learn from: name one with --teacher"
        )
    return copy.deepcopy(teacher.model)
