"""Teachers: what they say of a video, how they follow a student, what neighbours add."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stt_core.config import ModelConfig, reach
from stt_core.model.video import VideoModel
from stt_core.training.motion import consistent, warp
from stt_core.training.teacher import EmaTeacher, Teacher, smooth_along_flow
from tests.core.models import checkpoint, lite_config, pspnet_config, stt_config, tdnet_config

KINDS: dict[str, ModelConfig] = {
    "stt": stt_config(key_frames=3),
    "td4": tdnet_config(),
    "per frame": pspnet_config(),
}


@pytest.fixture(params=KINDS)
def student(request: pytest.FixtureRequest) -> VideoModel:
    return checkpoint(KINDS[request.param]).model.train()


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _shake(model: nn.Module, seed: int = 0) -> None:
    g = torch.Generator().manual_seed(seed)
    for x in (*model.parameters(), *model.buffers()):
        if x.is_floating_point():
            x += 0.1 * torch.rand(x.shape, generator=g)


def test_a_teacher_says_what_the_model_says_of_the_video(student: VideoModel) -> None:
    """Of frames with all of their past, more than that, some and none."""
    teacher = Teacher(student)
    reached = reach(student.config)
    clips = [_random(1 + n, 3, 48, 64, seed=n) for n in (reached.key_frames, 5, 1, 0)]
    path = 2 % reached.paths
    images = torch.stack([clip[-1] for clip in clips])
    got = teacher.logits(images, [clip[:-1].flip(0) for clip in clips], path)
    student.eval()
    for logits, clip in zip(got, clips, strict=True):
        with torch.no_grad():
            expected = student(clip[-1 - reached.key_frames :], path).logits[0]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_every_image_needs_a_past(student: VideoModel) -> None:
    with pytest.raises(ValueError, match="past"):
        Teacher(student).logits(_random(2, 3, 48, 64), [_random(1, 3, 48, 64)])


def test_a_teacher_is_a_copy_that_does_not_learn(student: VideoModel) -> None:
    teacher = Teacher(student)
    before = {name: x.clone() for name, x in teacher.state_dict().items()}
    _shake(student)
    teacher.train()
    image = _random(2, 3, 48, 64).requires_grad_()
    logits = teacher.logits(image, [image[:0], image[:0]])
    assert not logits.requires_grad
    assert all(torch.equal(x, before[name]) for name, x in teacher.state_dict().items())
    assert not any(part.training for part in teacher.modules())
    assert student.training
    assert all(p.requires_grad for p in student.parameters())


def test_an_average_forgets_by_its_decay() -> None:
    student = checkpoint(lite_config()).model
    teacher = EmaTeacher(student, 0.9)
    history = [{name: p.detach().clone() for name, p in student.named_parameters()}]
    for n in range(4):
        _shake(student, n)
        teacher.update(student)
        history.append({name: p.detach().clone() for name, p in student.named_parameters()})
    weights = [0.9**4, *(0.1 * 0.9 ** (3 - n) for n in range(4))]
    assert sum(weights) == pytest.approx(1)
    for name, got in teacher.model.named_parameters():
        expected = sum(w * state[name].double() for w, state in zip(weights, history, strict=True))
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)
    for got, buffer in zip(teacher.model.buffers(), student.buffers(), strict=True):
        assert torch.equal(got, buffer)


def test_a_decay_of_one_keeps_the_copy() -> None:
    student = checkpoint(lite_config()).model
    teacher = EmaTeacher(student, 1.0)
    before = {name: x.clone() for name, x in teacher.model.state_dict().items()}
    _shake(student)
    teacher.update(student)
    assert all(torch.equal(x, before[name]) for name, x in teacher.model.state_dict().items())


def test_a_ramp_forgets_the_start_sooner() -> None:
    student = checkpoint(lite_config()).model
    teacher = EmaTeacher(student, 0.2, ramp=True)
    expected = {name: p.detach().clone() for name, p in student.named_parameters()}
    for n, keep in enumerate((1 / 10, 2 / 11, 0.2, 0.2)):
        _shake(student, n)
        teacher.update(student)
        for name, p in student.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * p.detach()
    for name, got in teacher.model.named_parameters():
        torch.testing.assert_close(got, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ramp", [False, True])
def test_an_average_is_taken_up_where_it_was_left(ramp: bool) -> None:
    student = checkpoint(lite_config()).model
    whole, first = (EmaTeacher(student, 0.9, ramp=ramp) for _ in range(2))
    for n in range(4):
        _shake(student, n)
        whole.update(student)
        if n < 2:
            first.update(student)
        if n == 1:
            saved = {name: x.clone() for name, x in first.state_dict().items()}
            second = EmaTeacher(checkpoint(lite_config(), seed=5).model, 0.9, ramp=ramp)
            second.load_state_dict(saved)
        if n >= 2:
            second.update(student)
    for name, x in whole.state_dict().items():
        assert torch.equal(x, second.state_dict()[name])


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_another_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        EmaTeacher(checkpoint(lite_config()).model, decay)


def _probabilities(seed: int, size: tuple[int, int] = (7, 9)) -> Tensor:
    return (2 * _random(4, *size, seed=seed)).softmax(0)


def test_neighbours_are_averaged_along_the_flow_where_they_see_the_point() -> None:
    own, neighbours = _probabilities(0), [_probabilities(i) for i in (1, 2)]
    flows = [2 * _random(7, 9, 2, seed=i) for i in (3, 4)]
    back = [2 * _random(7, 9, 2, seed=i) for i in (5, 6)]
    back[0] = -flows[0].mean((0, 1)).expand(7, 9, 2)
    flows[1][2:4] = torch.nan
    got = smooth_along_flow(own, neighbours, flows, back)
    counts = set()
    for y, x in np.ndindex(7, 9):
        words = [own[:, y, x]]
        for p, f, b in zip(neighbours, flows, back, strict=True):
            if consistent(f[None], b[None])[0, y, x]:
                words.append(warp(p[None], f[None])[0, :, y, x])
        counts.add(len(words))
        torch.testing.assert_close(got[:, y, x], torch.stack(words).mean(0))
    assert counts >= {1, 2}


def test_exact_flow_says_itself_what_is_hidden() -> None:
    own, neighbour = _probabilities(0), _probabilities(1)
    flow = torch.zeros(7, 9, 2)
    flow[0] = torch.nan
    flow[1, :, 0] = -20.0
    got = smooth_along_flow(own, [neighbour], [flow])
    torch.testing.assert_close(got[:, :2], own[:, :2])
    torch.testing.assert_close(got[:, 2:], (own + neighbour)[:, 2:] / 2)


@given(seed=st.integers(0, 100), count=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_what_is_smoothed_stays_a_probability(seed: int, count: int) -> None:
    neighbours = [_probabilities(seed + i) for i in range(count)]
    flows = [3 * _random(7, 9, 2, seed=seed + i) for i in range(count)]
    got = smooth_along_flow(_probabilities(seed + 9), neighbours, flows)
    assert got.min() >= 0
    torch.testing.assert_close(got.sum(0), torch.ones(7, 9))


def test_a_flicker_is_outvoted_by_steady_neighbours() -> None:
    """The scene slides right by one column a frame; one frame mistakes a thing in it."""
    scene = torch.zeros(2, 6, 16)
    scene[0], scene[0, 2:4, 6:9], scene[1, 2:4, 6:9] = 1.0, 0.0, 1.0
    before, now, after = (scene[..., 4 - t : 14 - t].clone() for t in range(3))
    truth = now.clone()
    now[:, 2, 5] = torch.tensor([1.0, 0.0])
    flows = [torch.tensor([u, 0.0]).expand(6, 10, 2) for u in (-1.0, 1.0)]
    got = smooth_along_flow(now, [before, after], flows, [-f for f in flows])
    assert torch.equal(got.argmax(0), truth.argmax(0))
    assert not torch.equal(now.argmax(0), truth.argmax(0))
