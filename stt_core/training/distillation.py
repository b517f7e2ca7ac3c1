"""What a heavy per-frame network teaches a light one of several frames (ETC; method, 5.3).

Every loss is a mean over all images and positions, and no gradient reaches a teacher's tensors.
Dimensions: B images, C classes or channels (which may differ between teacher and student), h x w a
map of theirs, N = h * w.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stt_core.model.frame import FrameNet
from stt_core.training.losses import enlarge, precise

FRAME_WEIGHTS = (1.0, 0.4, 0.4)
"""Of the frame in the centre and of its neighbours."""

_PAIRS = 1 << 24
"""Similarities that are held at once."""
_COARSE = 16
"""Positions of a side that the multi-frame dependency makes one."""

State = tuple[Tensor, Tensor]  # hidden, cell


class FrameOutputs(NamedTuple):
    """All of a per-frame network that distillation compares."""

    context: Tensor  # [B, C, h, w], pyramid pooling beside the backbone's map
    logits: Tensor  # [B, classes, h, w]
    aux: Tensor | None = None


def run_frame(net: FrameNet, image: Tensor, *, aux: bool = False) -> FrameOutputs:
    """``[B, 3, H, W]`` through a network once; `aux` asks for auxiliary logits."""
    stages = net.trunk.stages(image)
    context = net.trunk.context(stages)
    logits = net.classify(net.cls.refine(context))
    return FrameOutputs(context, logits, net.aux_logits(stages) if aux else None)


def pair_loss(
    student: Tensor, student_other: Tensor, teacher: Tensor, teacher_other: Tensor, *, pool: int = 1
) -> Tensor:
    """PF: how alike any position of a frame is to any of another, against the teacher's view.

    The mean squared difference of the true cosines of all N * N pairs; the released code divides by
    the norms of the wrong frames. The similarities of a 96 x 96 map take 340 MB: they are made some
    rows at a time, and made again going backward.

    Args:
        student: ``[B, C, h, w]`` logits of a frame.
        student_other: of the other frame.
        teacher: of the same frames by the teacher.
        teacher_other: the same.
        pool: side of the squares that are averaged before; 1 is the paper, 2 takes a sixteenth of
            the time.
    """
    maps = (student, student_other, teacher.detach(), teacher_other.detach())
    return _affinity_loss(*(F.avg_pool2d(precise(x), pool) for x in maps))


def self_affinity_loss(students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
    """SF: the same within each frame, of features averaged over 2 x 2, weighed `FRAME_WEIGHTS`.

    Args:
        students: ``[B, C, h, w]`` features (:attr:`FrameOutputs.context`) of up to three frames,
            the one in the centre, or the target, first.
        teachers: of the same frames by the teacher.
    """

    def of_frame(student: Tensor, teacher: Tensor) -> Tensor:
        s, t = (F.avg_pool2d(precise(x), 2) for x in (student, teacher.detach()))
        return _affinity_loss(s, s, t, t)

    return _over_frames(of_frame, students, teachers)


def divergence_loss(
    students: Sequence[Tensor], teachers: Sequence[Tensor], *, align_corners: bool
) -> Tensor:
    """KL of the class probabilities from the teacher's, weighed `FRAME_WEIGHTS`.

    The mean is over classes too, as in the released code.

    Args:
        students: ``[B, C, h, w]`` logits of up to three frames, the centre or target first; resized
            to the teacher's.
        teachers: of the same frames by the teacher.
        align_corners: of the resize.
    """

    def of_frame(student: Tensor, teacher: Tensor) -> Tensor:
        resized = enlarge(student, teacher.shape[2:], align_corners=align_corners)
        target = precise(teacher.detach()).softmax(1)
        return F.kl_div(resized.log_softmax(1), target, reduction="none").mean()

    return _over_frames(of_frame, students, teachers)


class ConvLstm(nn.Module):
    """A convolutional LSTM without peepholes (Shi et al. 2015).

    Args:
        inputs: channels that come in.
        hidden: channels of both states.
        kernel: odd side of the convolution.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """One step of ``[B, inputs, h, w]``; states are ``[B, hidden, h, w]``, None at first."""
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.hidden, *x.shape[2:])
            state = (zeros, zeros)
        hidden, cell = state
        take, keep, show, new = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh(), cell


class MultiFrameDependency(nn.Module):
    """MF: how self affinity develops over frames, remembered by one LSTM for both networks."""

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.lstm = ConvLstm(1, hidden)

    def forward(self, students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
        """Compare the states after the last frame: of the cell and the hidden one, MSE each.

        Args:
            students: ``[B, C, h, w]`` features (:attr:`FrameOutputs.context`) of some frames in
                order of time; averaged over 16 x 16 positions, or a whole side that is shorter.
            teachers: of the same frames by the teacher.
        """
        with torch.autocast(students[0].device.type, enabled=False):
            hidden, cell = self._remember(students)
            true_hidden, true_cell = self._remember([t.detach() for t in teachers])
            return F.mse_loss(cell, true_cell) + F.mse_loss(hidden, true_hidden)

    def _remember(self, frames: Sequence[Tensor]) -> State:
        state: State | None = None
        for features in frames:
            sides = (min(_COARSE, features.shape[2]), min(_COARSE, features.shape[3]))
            rows = _unit_rows(F.avg_pool2d(precise(features), sides))  # [B, N, C]
            state = self.lstm((rows @ rows.mT)[:, None], state)
        if state is None:
            raise ValueError("a dependency over frames needs frames, got none")
        return state


def _over_frames(
    loss: Callable[[Tensor, Tensor], Tensor], students: Sequence[Tensor], teachers: Sequence[Tensor]
) -> Tensor:
    if not 1 <= len(students) == len(teachers) <= len(FRAME_WEIGHTS):
        raise ValueError(
            f"teacher and student must show the same one to {len(FRAME_WEIGHTS)} frames, "
            f"got {len(students)=} {len(teachers)=}"
        )
    each = [w * loss(*pair) for w, *pair in zip(FRAME_WEIGHTS, students, teachers, strict=False)]
    return torch.stack(each).sum()


def _affinity_loss(
    student: Tensor, student_other: Tensor, teacher: Tensor, teacher_other: Tensor
) -> Tensor:
    """Mean squared difference of the cosines of all pairs of positions, of frame and other."""
    if student.shape[2:] != teacher.shape[2:] or student_other.shape[2:] != teacher_other.shape[2:]:
        raise ValueError(
            f"the maps of teacher and student must have the same size, got "
            f"{[tuple(x.shape) for x in (student, student_other, teacher, teacher_other)]}"
        )
    maps = [_unit_rows(x) for x in (student, student_other, teacher, teacher_other)]
    batch, own, other = maps[0].shape[0], maps[0].shape[1], maps[1].shape[1]
    step = max(1, _PAIRS // other)
    total = student.new_zeros(())
    for s, s_other, t, t_other in zip(*maps, strict=True):
        for s_rows, t_rows in zip(s.split(step), t.split(step), strict=True):
            total = total + checkpoint(
                _squared_gap,
                s_rows,
                s_other,
                t_rows,
                t_other,
                use_reentrant=False,
                preserve_rng_state=False,
            )
    return total / (batch * own * other)


def _squared_gap(student: Tensor, student_other: Tensor, teacher: Tensor, other: Tensor) -> Tensor:
    with torch.autocast(student.device.type, enabled=False):  # bfloat16 is as coarse as the gap
        return (student @ student_other.mT - teacher @ other.mT).square().sum()


def _unit_rows(features: Tensor) -> Tensor:
    """``[B, C, h, w]`` to ``[B, N, C]``, each of length 1; a row of zeros stays one."""
    return F.normalize(features.flatten(2).mT, dim=2, eps=1e-6)
