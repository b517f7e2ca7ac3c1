"""TDNet's grouped teacher and loss against their definitions (method.md, 4.4)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stt_core.config import FrameConfig
from stt_core.model.frame import FrameNet
from stt_core.model.tdnet import Tdnet
from stt_core.model.video import PerFrame
from stt_core.training.grouped import (
    GroupedLogits,
    GroupedTeacher,
    group_divergence,
    grouped_loss,
)
from stt_core.training.losses import ohem_loss
from tests.core.models import checkpoint, lite_config, pspnet_config, tdnet_config

KINDS: dict[str, tuple[FrameConfig, int]] = {
    "psp18 in 4": (pspnet_config(), 4),
    "psp18 in 2": (pspnet_config(), 2),
    "psp50 in 4": (pspnet_config(backbone="resnet50"), 4),
    "lite in 4": (lite_config(), 4),
    "lite in 2": (lite_config(), 2),
}
IMAGE = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))


def _net(config: FrameConfig) -> FrameNet:
    model = checkpoint(config).model
    assert isinstance(model, PerFrame)
    return model.frame.eval()


@pytest.fixture(scope="module", params=KINDS)
def teacher(request: pytest.FixtureRequest) -> GroupedTeacher:
    config, paths = KINDS[request.param]
    return GroupedTeacher(_net(config), paths)


def _channels(teacher: GroupedTeacher, group: int) -> list[int]:
    """Of the context: a slice of the backbone's map, and that slice of each of four pooled ones."""
    deep = teacher.net.config.deep_width
    found: list[int] = []
    start = 0
    for width in (deep, deep // 4, deep // 4, deep // 4, deep // 4):
        share = width // teacher.paths
        found += range(start + share * group, start + share * (group + 1))
        start += width
    return found


def _response(teacher: GroupedTeacher, context: Tensor, group: int) -> Tensor:
    """The whole convolution of a context in which only this group, and a share of what is common to
    all, is not zero.
    """
    alone = torch.zeros_like(context)
    channels = _channels(teacher, group)
    alone[:, channels] = context[:, channels]
    common = 2 * teacher.net.config.deep_width
    alone[:, common:] = context[:, common:] / teacher.paths
    return teacher.net.cls[0](alone)


def _context(teacher: GroupedTeacher) -> Tensor:
    return teacher.net.trunk.context(teacher.net.trunk.stages(IMAGE))


def _check(got: Tensor, expected: Tensor) -> None:
    """Like to what single precision can tell of sums of thousands."""
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_groups_hold_the_same_slice_of_every_map(teacher: GroupedTeacher) -> None:
    context = _context(teacher)
    responses = teacher.responses(context)
    assert len(responses) == teacher.paths
    for group, got in enumerate(responses):
        _check(got, _response(teacher, context, group))


@torch.no_grad()
def test_groups_add_up_to_the_whole_convolution(teacher: GroupedTeacher) -> None:
    context = _context(teacher)
    _check(torch.stack(teacher.responses(context)).sum(0), teacher.net.cls[0](context))


@torch.no_grad()
def test_each_path_learns_its_group_and_the_whole(teacher: GroupedTeacher) -> None:
    order, loud = ((0, 2, 1, 3), 4) if teacher.paths == 4 else ((0, 1), 1)
    net, context = teacher.net, _context(teacher)
    for path, group in enumerate(order):
        got = teacher(IMAGE, path)
        _check(got.full, net.classify(net.cls.refine(context)))
        response = loud * _response(teacher, context, group)
        _check(got.group, net.cls[4](functional.relu(net.cls[1](response))))


def test_a_path_reads_the_half_its_group_is_of(teacher: GroupedTeacher) -> None:
    """As `Trunk.context` gives halves to a student's paths."""
    trunk, stages = teacher.net.trunk, teacher.net.trunk.stages(IMAGE[:1])
    whole = trunk.context(stages)[0]
    order = (0, 2, 1, 3) if teacher.paths == 4 else (0, 1)
    for path, group in enumerate(order):
        half = trunk.context(stages, path % 2)[0]
        own = whole[_channels(teacher, group)]
        nearest = (own[:, None] - half[None]).abs().amax((2, 3)).amin(1)
        assert float(nearest.detach().max()) < 1e-4


def test_a_teacher_is_frozen_for_good(teacher: GroupedTeacher) -> None:
    teacher.train()
    assert not any(part.training for part in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    before = {name: x.clone() for name, x in teacher.state_dict().items()}
    logits = teacher(IMAGE, 1)
    assert not logits.full.requires_grad
    assert all(torch.equal(x, before[name]) for name, x in teacher.state_dict().items())


def test_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="paths"):
        GroupedTeacher(_net(pspnet_config()), 3)
    with pytest.raises(ValueError, match="evenly"):
        GroupedTeacher(_net(pspnet_config(bins=tuple(range(1, 257)))), 4)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_is_summed_over_classes() -> None:
    student, teacher = 3 * _random(2, 4, 3, 5, seed=0), 3 * _random(2, 4, 3, 5, seed=1)
    teacher[0, 0] = 1000.0
    p, q = teacher.softmax(1).numpy() + 1e-8, student.softmax(1).numpy() + 1e-8
    terms = [p[i] * math.log(p[i] / q[i]) for i in np.ndindex(*p.shape)]
    value = group_divergence(student, teacher)
    assert value.item() == pytest.approx(math.fsum(terms) / (2 * 3 * 5), rel=1e-10)
    assert group_divergence(teacher, teacher).item() == pytest.approx(0, abs=1e-12)


def test_the_divergence_teaches_students_alone() -> None:
    student, teacher = (_random(1, 3, 2, 2, seed=i).requires_grad_() for i in range(2))
    assert torch.autograd.gradcheck(lambda x: group_divergence(x, teacher), (student,))
    group_divergence(student, teacher).backward()
    assert teacher.grad is None
    with pytest.raises(ValueError, match="one shape"):
        group_divergence(student, teacher[:, :2])


def test_the_loss_is_the_sum_of_its_parts() -> None:
    full, alone, inside, taught, taught_alone = (_random(2, 5, 3, 4, seed=i) for i in range(5))
    target = torch.randint(0, 5, (2, 24, 32), generator=torch.Generator().manual_seed(0))
    target[0, :9] = 255
    found = grouped_loss(
        GroupedLogits(full, alone),
        inside,
        target,
        GroupedLogits(taught, taught_alone),
        align_corners=True,
    )
    hard = [ohem_loss(x, target, align_corners=True).item() for x in (full, alone, inside)]
    distilled = group_divergence(full, taught) + 0.5 * group_divergence(alone, taught_alone)
    assert found.full.item() == pytest.approx(hard[0])
    assert found.alone.item() == pytest.approx(0.5 * hard[1])
    assert found.aux.item() == pytest.approx(0.1 * hard[2])
    assert found.distilled.item() == pytest.approx(distilled.item())
    assert found.total.item() == pytest.approx(sum(x.item() for x in found[1:]))


def test_without_a_teacher_labels_teach() -> None:
    logits = GroupedLogits(_random(1, 5, 3, 4, seed=0), _random(1, 5, 3, 4, seed=1))
    target = torch.zeros(1, 24, 32, dtype=torch.long)
    found = grouped_loss(
        logits, logits.full, target, None, align_corners=True, sub_weight=2.0, aux_weight=3.0
    )
    assert found.distilled.item() == 0
    hard = [ohem_loss(x, target, align_corners=True).item() for x in logits]
    assert found.total.item() == pytest.approx(4 * hard[0] + 2 * hard[1])
    frozen = grouped_loss(logits, None, target, None, align_corners=True)
    assert frozen.aux.item() == 0
    assert frozen.total.item() == pytest.approx(hard[0] + 0.5 * hard[1])


@torch.no_grad()
def test_a_path_alone_has_no_past() -> None:
    model = checkpoint(tdnet_config(dropout=0.0)).model
    assert isinstance(model, Tdnet)
    frames = [model.encode(IMAGE, path) for path in range(4)]
    current, past = frames[3], frames[2::-1]
    alone = model.sub_logits(current)
    here = model.paths[3]
    torch.testing.assert_close(alone, here.head(here.norm(current.features)))  # type: ignore[operator]
    torch.testing.assert_close(alone, model.decode(current, []).logits)
    assert not torch.allclose(alone, model.decode(current, past).logits, atol=1e-3)
