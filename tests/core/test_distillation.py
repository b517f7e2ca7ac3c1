"""ETC's distillation against its definitions, pair by pair and cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stt_core.model.video import PerFrame
from stt_core.training.distillation import (
    ConvLstm,
    MultiFrameDependency,
    divergence_loss,
    pair_loss,
    run_frame,
    self_affinity_loss,
)
from tests.core.models import checkpoint, lite_config, pspnet_config

Floats = NDArray[np.float64]


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _cosines(a: Floats, b: Floats) -> list[list[float]]:
    """Of every position of ``[C, h, w]`` with every one of another."""
    rows_a, rows_b = a.reshape(len(a), -1).T, b.reshape(len(b), -1).T
    return [
        [float(x @ y) / (math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))) for y in rows_b]
        for x in rows_a
    ]


def _pooled(x: Tensor, side: int) -> Floats:
    """Means of side x side blocks of ``[C, h, w]``; what does not fill one is left out."""
    rows, cols = x.shape[1] // side, x.shape[2] // side
    made = np.zeros((x.shape[0], rows, cols))
    for c, y, z in np.ndindex(*made.shape):
        made[c, y, z] = float(
            x[c, y * side : (y + 1) * side, z * side : (z + 1) * side].detach().mean()
        )
    return made


def _mse(a: list[list[float]], b: list[list[float]]) -> float:
    return float(((np.array(a) - np.array(b)) ** 2).mean())


@pytest.mark.parametrize("pool", [1, 2])
def test_the_pair_loss_compares_true_cosines_of_all_pairs(pool: int) -> None:
    """The two frames differ: the released code's transposed norms would show."""
    student, other = _random(2, 4, 5, 6), 3 * _random(2, 4, 5, 6, seed=1)
    teacher, teacher_other = _random(2, 7, 5, 6, seed=2), _random(2, 7, 5, 6, seed=3)
    each = [
        _mse(
            _cosines(_pooled(student[b], pool), _pooled(other[b], pool)),
            _cosines(_pooled(teacher[b], pool), _pooled(teacher_other[b], pool)),
        )
        for b in range(2)
    ]
    value = pair_loss(student, other, teacher, teacher_other, pool=pool)
    assert value.item() == pytest.approx(sum(each) / 2, rel=1e-12)


def test_the_pair_loss_of_a_large_map_is_that_of_its_pieces() -> None:
    """More pairs than are held at once, forward and backward."""
    student, teacher = _random(1, 3, 70, 71).float(), _random(1, 5, 70, 71, seed=1).float()
    student.requires_grad_()

    def straight(x: Tensor, y: Tensor) -> Tensor:
        a, b = (functional.normalize(z.flatten(2), dim=1)[0] for z in (x, y))
        return a.T @ b

    expected = functional.mse_loss(
        straight(student, student.flip(3)), straight(teacher, teacher.flip(3))
    )
    value = pair_loss(student, student.flip(3), teacher, teacher.flip(3))
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    found, wanted = (torch.autograd.grad(v, student)[0] for v in (value, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_affinity_does_not_depend_on_scale(scale: float, seed: int) -> None:
    x, y = _random(1, 3, 4, 4, seed=seed), _random(1, 3, 4, 4, seed=seed + 1)
    assert pair_loss(scale * x, y, x, y / scale).item() == pytest.approx(0, abs=1e-20)
    assert self_affinity_loss([scale * x], [x]).item() == pytest.approx(0, abs=1e-20)


def test_affinity_is_not_rounded_under_autocast() -> None:
    x, y = _random(1, 30, 6, 6).float(), _random(1, 30, 6, 6, seed=1).float()
    exact = pair_loss(x, y, y, x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pair_loss(x, y, y, x), exact, rtol=1e-6, atol=0)


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same size"):
        self_affinity_loss([torch.ones(1, 2, 4, 4)], [torch.ones(1, 2, 4, 6)])


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_self_affinity_weighs_neighbours_less(frames: int) -> None:
    students = [_random(2, 3, 5, 6, seed=i) for i in range(frames)]
    teachers = [_random(2, 6, 5, 6, seed=10 + i) for i in range(frames)]
    expected = 0.0
    for weight, s, t in zip((1, 0.4, 0.4), students, teachers, strict=False):
        for b in range(2):
            p, q = _pooled(s[b], 2), _pooled(t[b], 2)
            expected += weight * _mse(_cosines(p, p), _cosines(q, q)) / 2
    assert self_affinity_loss(students, teachers).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("students", "teachers"), [(0, 0), (4, 4), (2, 3)])
def test_another_number_of_frames_is_refused(students: int, teachers: int) -> None:
    maps = [torch.ones(1, 2, 4, 4)] * 4
    with pytest.raises(ValueError, match="frames"):
        self_affinity_loss(maps[:students], maps[:teachers])


def test_the_divergence_is_a_mean_over_classes_too() -> None:
    students = [2 * _random(2, 3, 4, 5, seed=i) for i in range(3)]
    teachers = [2 * _random(2, 3, 4, 5, seed=10 + i) for i in range(3)]
    teachers[1][:, 0] = 1000.0  # certain: a probability of 0 weighs 0
    expected = 0.0
    for weight, s, t in zip((1, 0.4, 0.4), students, teachers, strict=True):
        p, log_q = t.softmax(1).numpy(), s.log_softmax(1).numpy()
        terms = [
            p[i] * (math.log(p[i]) - log_q[i]) if p[i] > 0 else 0.0 for i in np.ndindex(*p.shape)
        ]
        expected += weight * math.fsum(terms) / len(terms)
    value = divergence_loss(students, teachers, align_corners=True)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_a_finer_teacher_has_the_student_resized() -> None:
    student, teacher = _random(1, 3, 4, 5), _random(1, 3, 7, 9, seed=1)
    fine = functional.interpolate(student, (7, 9), mode="bilinear", align_corners=True)
    value = divergence_loss([student], [teacher], align_corners=True)
    torch.testing.assert_close(value, divergence_loss([fine], [teacher], align_corners=True))


def _lstm_by_hand(lstm: ConvLstm, inputs: list[Floats]) -> tuple[Floats, Floats]:
    """Hidden and cell ``[hidden, h, w]`` after ``[inputs, h, w]`` each, one position at a time."""
    weight = lstm.gates.weight.detach().numpy()
    bias = lstm.gates.bias.detach().numpy()  # type: ignore[union-attr]
    rows, cols = inputs[0].shape[1:]
    hidden, cell = (np.zeros((lstm.hidden, rows, cols)) for _ in range(2))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    for x in inputs:
        seen = np.pad(np.concatenate([x, hidden]), ((0, 0), (1, 1), (1, 1)))
        new_hidden, new_cell = hidden.copy(), cell.copy()
        for c, v, u in np.ndindex(lstm.hidden, rows, cols):
            take, keep, show, new = (
                float((weight[k * lstm.hidden + c] * seen[:, v : v + 3, u : u + 3]).sum())
                + float(bias[k * lstm.hidden + c])
                for k in range(4)
            )
            new_cell[c, v, u] = sigmoid(keep) * cell[c, v, u] + sigmoid(take) * math.tanh(new)
            new_hidden[c, v, u] = sigmoid(show) * math.tanh(new_cell[c, v, u])
        hidden, cell = new_hidden, new_cell
    return hidden, cell


def _lstm(inputs: int = 1, hidden: int = 4) -> ConvLstm:
    torch.manual_seed(0)
    return ConvLstm(inputs, hidden).double()


def test_the_lstm_is_its_equations() -> None:
    lstm = _lstm(inputs=2, hidden=3)
    inputs = [_random(1, 2, 4, 5, seed=i) for i in range(3)]
    state = None
    for x in inputs:
        state = lstm(x, state)
    assert state is not None
    expected = _lstm_by_hand(lstm, [x[0].numpy() for x in inputs])
    for got, wanted in zip(state, expected, strict=True):
        torch.testing.assert_close(got[0], torch.from_numpy(wanted))


def test_the_lstm_has_the_gradient_of_its_value() -> None:
    lstm = _lstm(hidden=2)
    first, second = (_random(2, 1, 3, 4, seed=i).requires_grad_() for i in range(2))
    assert torch.autograd.gradcheck(lambda a, b: lstm(b, lstm(a)), (first, second))


@pytest.mark.parametrize("size", [(32, 50), (10, 33)])
def test_the_multi_frame_loss_compares_what_the_lstm_remembers(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    dependency = MultiFrameDependency().double()
    students = [_random(2, 3, *size, seed=i) for i in range(3)]
    teachers = [_random(2, 5, *size, seed=10 + i) for i in range(3)]
    tall, wide = min(16, size[0]), min(16, size[1])
    states: list[list[tuple[Floats, Floats]]] = []
    for frames in (students, teachers):
        states.append([])
        for b in range(2):
            maps = []
            for x in frames:
                cells = [
                    x[b, :, y : y + tall, z : z + wide].mean((1, 2))
                    for y in range(0, size[0] - tall + 1, tall)
                    for z in range(0, size[1] - wide + 1, wide)
                ]
                coarse = torch.stack(cells, 1)[..., None].numpy()
                maps.append(np.array(_cosines(coarse, coarse))[None])
            states[-1].append(_lstm_by_hand(dependency.lstm, maps))
    expected = sum(
        np.mean([((s[i] - t[i]) ** 2).mean() for s, t in zip(*states, strict=True)]) for i in (0, 1)
    )
    got = dependency(students, teachers)
    assert got.item() == pytest.approx(float(expected), rel=1e-10)


def test_the_dependency_teaches_the_student_and_never_the_teacher() -> None:
    torch.manual_seed(0)
    dependency = MultiFrameDependency()
    student, teacher = (_random(1, 3, 32, 32, seed=i).float().requires_grad_() for i in range(2))
    got = dependency([student], [teacher])
    got.backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert all(p.grad is not None and p.grad.any() for p in dependency.parameters())


def test_students_learn_by_the_gradient_of_the_loss_and_teachers_never() -> None:
    student, other = (_random(2, 3, 4, 6, seed=i).requires_grad_() for i in range(2))
    teacher, teacher_other = (_random(2, 3, 4, 6, seed=i).requires_grad_() for i in (2, 3))
    torch.manual_seed(0)
    dependency = MultiFrameDependency(hidden=2).double()
    for loss in (
        lambda s, o: pair_loss(s, o, teacher, teacher_other),
        lambda s, o: self_affinity_loss([s, o], [teacher, teacher_other]),
        lambda s, o: divergence_loss([s, o], [teacher, teacher_other], align_corners=False),
    ):
        assert torch.autograd.gradcheck(loss, (student, other))
        loss(student, other).backward()
    big, big_other = (functional.interpolate(x.detach(), (17, 32)) for x in (student, other))
    assert torch.autograd.gradcheck(
        lambda scale: dependency([big * scale, big_other], [big_other, big]),
        _random(1, 3, 1, 1).requires_grad_(),
    )
    assert teacher.grad is None
    assert teacher_other.grad is None


@pytest.mark.parametrize("config", [pspnet_config(), lite_config()])
def test_one_run_gives_all_that_is_compared(config: object) -> None:
    model = checkpoint(config).model.eval()  # type: ignore[arg-type]
    assert isinstance(model, PerFrame)
    image = _random(2, 3, 64, 72).float()
    outputs = run_frame(model.frame, image, aux=True)
    torch.testing.assert_close(outputs.logits, model.decode(model.encode(image), []).logits)
    torch.testing.assert_close(outputs.aux, model.extract(image, aux=True).aux)
    torch.testing.assert_close(
        outputs.context, model.frame.trunk.context(model.frame.trunk.stages(image))
    )
    assert run_frame(model.frame, image).aux is None
