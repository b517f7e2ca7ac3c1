"""TDNet's grouped distillation: each path learns the part of a teacher it stands for (method, 4.4).

Dimensions: B images, C classes, P paths, d channels of the teacher's bottleneck, h x w = stride 8,
H x W the labels'.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.model.frame import FrameNet
from stt_core.training.losses import CountOver, ohem_loss, precise

_ORDER = {2: (0, 1), 4: (0, 2, 1, 3)}
"""The group each path learns: with four, quarters 1, 3, 2, 4, so that path p, which reads half
p mod 2 of its own pyramid, learns a quarter of that half."""


class GroupedLogits(NamedTuple):
    """What is said with the help of other paths, and by one path alone."""

    full: Tensor  # [B, C, h, w]
    group: Tensor  # [B, C, h, w]


class GroupedLoss(NamedTuple):
    """The loss of a path in training, and its parts as they are weighed."""

    total: Tensor
    full: Tensor
    alone: Tensor
    aux: Tensor
    distilled: Tensor


class GroupedTeacher(nn.Module):
    """A per-frame network, frozen, that can also say what a group of its channels says.

    A group holds the same slice of the backbone's map and of each pooled map. The light network's
    stride-8 map is whole in every path of a TDNet, so it is whole in every group, but by 1 / P:
    the groups' responses before the norm always add up to the full one.

    Args:
        net: becomes the teacher's own: frozen, and in eval mode for good.
        paths: P of the student, 2 or 4.
    """

    def __init__(self, net: FrameNet, paths: int) -> None:
        super().__init__()
        if paths not in _ORDER:
            raise ValueError(f"paths must be one of {list(_ORDER)}, got {paths}")
        deep, bins = net.config.deep_width, len(net.config.bins)
        self._widths = (deep, *[deep // bins] * bins)
        if any(width % paths for width in self._widths):
            raise ValueError(f"{paths} groups must share widths evenly, got {self._widths}")
        self.net = net.requires_grad_(False)
        self.paths = paths
        self.train(False)

    def train(self, mode: bool = True) -> GroupedTeacher:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor, path: int) -> GroupedLogits:
        """Logits of ``[B, 3, H, W]``, whole and of the group that `path` learns.

        With four paths a group speaks four times as loud, as if all were like it; with two it
        speaks as it is. Both as released.
        """
        responses = self.responses(self.net.trunk.context(self.net.trunk.stages(image)))
        group = responses[_ORDER[self.paths][path]]
        loud = 4 if self.paths == 4 else 1
        full = torch.stack(responses).sum(0)
        return GroupedLogits(self._classify(full), self._classify(loud * group))

    def responses(self, context: Tensor) -> list[Tensor]:
        """Each group's part of the bottleneck convolution, ``[B, d, h, w]``, in channel order."""
        weight = cast(nn.Conv2d, self.net.cls[0]).weight
        shared = sum(self._widths)
        made = [
            F.conv2d(self._group(context, g), self._group(weight, g), padding=1)
            for g in range(self.paths)
        ]
        if context.shape[1] > shared:
            common = F.conv2d(context[:, shared:], weight[:, shared:], padding=1) / self.paths
            made = [response + common for response in made]
        return made

    def _group(self, x: Tensor, index: int) -> Tensor:
        """A group's channels of ``[_, context, ...]``."""
        parts = x[:, : sum(self._widths)].split(self._widths, 1)
        return torch.cat([part.chunk(self.paths, 1)[index] for part in parts], 1)

    def _classify(self, response: Tensor) -> Tensor:
        for part in list(self.net.cls)[1:3]:
            response = part(response)
        return self.net.classify(response)


def grouped_loss(
    student: GroupedLogits,
    aux: Tensor | None,
    target: Tensor,
    teacher: GroupedLogits | None,
    *,
    align_corners: bool,
    sub_weight: float = 0.5,
    aux_weight: float = 0.1,
    distil_weight: float = 1.0,
    count_over: CountOver | None = None,
) -> GroupedLoss:
    """OHEM of what a path says with the past, alone and from inside, and what its teacher adds.

    Args:
        student: with what past paths hand on, and of the same head without it.
        aux: ``[B, C, ...]``; None where the backbone does not learn.
        target: ``[B, H, W]`` long, 255 where nothing is said.
        teacher: None to learn from labels alone.
        align_corners: of the resize of logits to the target.
        sub_weight: of what is said alone, before labels and teacher alike.
        aux_weight: of the auxiliary logits.
        distil_weight: of the teacher's word.
        count_over: as of :func:`ohem_loss`; the mean over processes is the loss of all of them.
    """
    nothing = torch.zeros((), device=target.device)
    full, alone, inside = (
        nothing
        if logits is None
        else ohem_loss(logits, target, align_corners=align_corners, count_over=count_over)
        for logits in (student.full, student.group, aux)
    )
    distilled = nothing
    if teacher is not None:
        distilled = group_divergence(student.full, teacher.full)
        distilled = distilled + sub_weight * group_divergence(student.group, teacher.group)
    parts = (full, sub_weight * alone, aux_weight * inside, distil_weight * distilled)
    return GroupedLoss(torch.stack(parts).sum(), *parts)


def group_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of the student's classes from the teacher's, ``[B, C, h, w]`` logits both.

    Summed over classes, mean over images and positions, with 1e-8 added to each probability.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"logits of teacher and student must be of one shape, "
            f"got {tuple(teacher.shape)} and {tuple(student.shape)}"
        )
    p, q = (precise(x).softmax(1) + 1e-8 for x in (teacher.detach(), student))
    return (p * (p / q).log()).sum(1).mean()
