"""The losses of pixels against their definitions, pixel by pixel, on one process and on two."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional

from stt_core.training.losses import (
    Sums,
    cross_entropy_sums,
    mean_over_processes,
    ohem_loss,
    ohem_sums,
    pseudo_targets,
)

Floats = NDArray[np.float64]


def segmentation_loss(
    logits: Tensor, target: Tensor, *, align_corners: bool, class_weights: Tensor | None = None
) -> Tensor:
    """The mean of the sums, on one process."""
    return cross_entropy_sums(
        logits, target, align_corners=align_corners, class_weights=class_weights
    ).mean()


def _resized(plane: Floats, size: tuple[int, int], align_corners: bool) -> Floats:
    """``[h, w]`` to `size`, one pixel at a time."""

    def source(out: int, outs: int, ins: int) -> float:
        if align_corners:
            return out * (ins - 1) / max(outs - 1, 1)
        return max((out + 0.5) * ins / outs - 0.5, 0.0)

    made = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v, u = source(y, size[0], plane.shape[0]), source(x, size[1], plane.shape[1])
            top, left = int(v), int(u)
            low, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            above = plane[top, left] * (1 - u + left) + plane[top, right] * (u - left)
            below = plane[low, left] * (1 - u + left) + plane[low, right] * (u - left)
            made[y, x] = above * (1 - v + top) + below * (v - top)
    return made


def _probabilities(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Floats:
    """``[B, C, *size]`` of logits ``[B, C, h, w]``."""
    planes = logits.detach().double().numpy()
    full = np.stack([[_resized(p, size, align_corners) for p in image] for image in planes])
    powers = np.exp(full - full.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _losses(logits: Tensor, target: Tensor, align_corners: bool) -> list[tuple[int, float]]:
    """Class and cross-entropy of every labelled pixel."""
    size = (target.shape[1], target.shape[2])
    probabilities = _probabilities(logits, size, align_corners)
    return [
        (c, -math.log(probabilities[b, c, y, x]))
        for (b, y, x), c in np.ndenumerate(target.numpy())
        if c != 255
    ]


def _problem(batch: int = 2, seed: int = 0, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits of 5 classes at 3 x 4 and labels at 9 x 14, a fifth of them missing."""
    g = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(batch, 5, 3, 4, generator=g, dtype=torch.float64)
    target = torch.randint(0, 5, (batch, 9, 14), generator=g)
    target[torch.rand(target.shape, generator=g) < 0.2] = 255
    return logits.requires_grad_(), target


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 2.0, 0.0, 3.0]])
def test_cross_entropy_is_its_definition(align_corners: bool, weights: list[float] | None) -> None:
    logits, target = _problem()
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    sums = cross_entropy_sums(logits, target, align_corners=align_corners, class_weights=tensor)
    each = weights or [1.0] * 5
    losses = _losses(logits, target, align_corners)
    assert sums.total.item() == pytest.approx(sum(each[c] * loss for c, loss in losses), rel=1e-12)
    assert sums.mass.item() == pytest.approx(sum(each[c] for c, _ in losses), rel=1e-12)
    mean = segmentation_loss(logits, target, align_corners=align_corners, class_weights=tensor)
    assert mean.item() == pytest.approx(sums.total.item() / sums.mass.item(), rel=1e-12)


@pytest.mark.parametrize("align_corners", [True, False])
def test_cross_entropy_has_the_gradient_of_its_value(align_corners: bool) -> None:
    logits, target = _problem()
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0], dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return segmentation_loss(logits, target, align_corners=align_corners, class_weights=weights)

    assert torch.autograd.gradcheck(loss, (logits,))


def test_sums_of_parts_add_up() -> None:
    logits, target = _problem(batch=3)
    whole = cross_entropy_sums(logits, target, align_corners=False)
    parts = [
        cross_entropy_sums(logits[rows], target[rows], align_corners=False)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    assert whole.mass == parts[0].mass + parts[1].mass


@pytest.mark.parametrize("loss", [segmentation_loss, ohem_loss])
def test_where_nothing_is_labelled_there_is_no_loss(loss: object) -> None:
    logits, target = _problem()
    value = loss(logits, torch.full_like(target, 255), align_corners=False)  # type: ignore[operator]
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", [segmentation_loss, ohem_loss])
def test_no_images_are_no_loss(loss: object) -> None:
    """A process whose part of a batch is empty takes part all the same."""
    logits, target = _problem()
    value = loss(logits[:0], target[:0], align_corners=False)  # type: ignore[operator]
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    made = pseudo_targets(logits[:0].detach(), (9, 14), threshold=0.5, align_corners=False)
    assert made.shape == (0, 9, 14)


@pytest.mark.parametrize("loss", [segmentation_loss, ohem_loss])
def test_full_size_logits_are_not_kept_for_the_gradient(loss: object) -> None:
    kept: list[int] = []

    def note(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    logits = torch.randn(2, 50, 4, 4, requires_grad=True)
    target = torch.randint(0, 50, (2, 32, 32))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        value = loss(logits, target, align_corners=True)  # type: ignore[operator]
    assert max(kept, default=0) <= target.numel()
    value.backward()
    assert logits.grad is not None
    assert logits.grad.any()


@pytest.mark.parametrize("loss", [segmentation_loss, ohem_loss])
def test_losses_of_half_precision_are_computed_in_full(loss: object) -> None:
    logits, target = _problem()
    rough = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(rough, target, align_corners=False)  # type: ignore[operator]
    assert value.dtype == torch.float32
    exact = loss(rough.double(), target, align_corners=False)  # type: ignore[operator]
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)


def _ohem(losses: list[float], pixels: int) -> float:
    """As method.md, 4.4, spells it; `losses` of the labelled pixels alone."""
    ranked = sorted(losses, reverse=True)
    least = pixels // 16
    if ranked[least - 1] > -math.log(0.7):
        ranked = [loss for loss in ranked if loss > -math.log(0.7)]
    else:
        ranked = ranked[:least]
    return sum(ranked) / len(ranked)


def _nearly_right(logits: Tensor, target: Tensor, wrong: float, seed: int) -> Tensor:
    """Labels that the logits get right but for a share of them."""
    best = functional.interpolate(logits.detach(), target.shape[1:], mode="bilinear").argmax(1)
    g = torch.Generator().manual_seed(seed)
    mistaken = torch.rand(target.shape, generator=g) < wrong
    return ((best + mistaken) % 5).where(target != 255, 255)


@given(
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.1, 3.0, 6.0, 20.0]),
    wrong=st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.5]),
)
@settings(max_examples=60, deadline=None)
def test_ohem_is_its_definition(seed: int, spread: float, wrong: float) -> None:
    logits, target = _problem(seed=seed, spread=spread)
    target = _nearly_right(logits, target, wrong, seed)
    losses = [loss for _, loss in _losses(logits, target, False)]
    value = ohem_loss(logits, target, align_corners=False)
    assert value.item() == pytest.approx(_ohem(losses, target.numel()), rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "enough"), [(0.0, False), (0.02, False), (0.06, True), (0.3, True)]
)
def test_ohem_keeps_all_that_is_hard_and_a_sixteenth_at_least(wrong: float, enough: bool) -> None:
    """Of 252 pixels 15; what is wrong is hard, and a few others."""
    logits, target = _problem(seed=2, spread=12.0)
    target = _nearly_right(logits, target, wrong, seed=0)
    hard = sum(loss > -math.log(0.7) for _, loss in _losses(logits, target, False))
    assert (hard > 15) == enough
    sums = ohem_sums(logits, target, align_corners=False)
    assert sums.mass.item() == pytest.approx(max(hard, 15))


@pytest.mark.parametrize("spread", [0.5, 20.0])
def test_ohem_has_the_gradient_of_the_pixels_it_keeps(spread: float) -> None:
    logits, target = _problem(seed=3, spread=spread)
    target = _nearly_right(logits, target, 0.0, seed=0)  # so that hardly any is hard
    assert torch.autograd.gradcheck(lambda x: ohem_loss(x, target, align_corners=False), (logits,))


def test_ohem_shares_the_last_places_among_ties() -> None:
    """An undecided network has one loss everywhere: no corner of the image is preferred."""
    logits = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    logits[:, 0] = 9.0  # easy
    logits.requires_grad_()
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    sums = ohem_sums(logits, target, align_corners=False, one_in=5)
    assert sums.mass.item() == pytest.approx(3)
    sums.mean().backward()
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad, logits.grad.mean((2, 3), keepdim=True).expand(1, 4, 4, 4)
    )
    assert logits.grad.any()


def test_ohem_of_few_labels_is_their_mean() -> None:
    logits, target = _problem()
    target[:] = 255
    target[0, 2, 3] = 1
    target[1, 5, 6:8] = 2
    losses = [loss for _, loss in _losses(logits, target, False)]
    assert len(losses) < target.numel() // 16
    value = ohem_loss(logits, target, align_corners=False)
    hard = [loss for loss in losses if loss > -math.log(0.7)] if min(losses) > 0.36 else losses
    assert value.item() == pytest.approx(sum(hard) / len(hard), rel=1e-6)


def test_ohem_does_not_hide_what_is_not_a_number() -> None:
    logits, target = _problem()
    with torch.no_grad():
        logits[0, 0, 1, 1] = torch.nan
    assert ohem_loss(logits, target, align_corners=False).isnan()


# Four images; the second half is easy, and hardly labelled in the second case, so that each process
# alone would choose otherwise than both.
SPLITS = [((0, 2, 4), 16), ((0, 2, 4), 3), ((0, 1, 4), 16), ((0, 0, 4), 16)]


def _shared_problem(case: int) -> tuple[Tensor, Tensor]:
    logits, target = _problem(batch=4, seed=case, spread=3.0)
    with torch.no_grad():
        logits[2:] *= 3
    easy = _nearly_right(logits, target, 0.0, seed=0)
    target[2:] = easy[2:]
    if case == 0:
        target[:2] = easy[:2]  # the few hard ones are not enough
    if case == 1:
        target[3] = 255
    return logits.detach(), target


def _losses_of_case(logits: Tensor, target: Tensor, one_in: int) -> dict[str, Tensor]:
    """Values and gradients, on as many processes as there are."""
    found = {}
    for name in ("ohem", "plain"):
        x = logits.clone().requires_grad_()
        if name == "ohem":
            value = ohem_loss(x, target, align_corners=False, one_in=one_in)
        else:
            value = mean_over_processes(cross_entropy_sums(x, target, align_corners=False))
        (found[name + " gradient"],) = torch.autograd.grad(value, x)
        found[name] = value.detach()
    return found


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=Path(folder, "meeting").as_uri(), rank=rank, world_size=2
    )
    for case, (split, one_in) in enumerate(SPLITS):
        mine = slice(split[rank], split[rank + 1])
        logits, target = _shared_problem(case)
        found = _losses_of_case(logits[mine], target[mine], one_in)
        np.savez(Path(folder, f"{case}_{rank}.npz"), **{k: v.numpy() for k, v in found.items()})
    distributed.barrier()
    os._exit(0)  # gloo's threads may outlive the interpreter, and then abort it


def test_two_processes_lose_and_learn_what_one_does(tmp_path: Path) -> None:
    """By the mean over processes, as DistributedDataParallel takes it."""
    multiprocessing.spawn(_one_of_two, (str(tmp_path),), nprocs=2)
    for case, (_, one_in) in enumerate(SPLITS):
        whole = _losses_of_case(*_shared_problem(case), one_in)
        parts = [np.load(tmp_path / f"{case}_{rank}.npz") for rank in range(2)]
        for name in ("ohem", "plain"):
            value = sum(float(part[name]) for part in parts) / 2
            assert value == pytest.approx(float(whole[name]), rel=1e-12)
            gradient = np.concatenate([part[name + " gradient"] for part in parts]) / 2
            np.testing.assert_allclose(
                gradient, whole[name + " gradient"].numpy(), rtol=1e-9, atol=1e-12
            )


def test_a_mean_over_processes_divides_by_the_mass_of_all() -> None:
    """With a stand-in for three processes, the others of which have mass 5 together."""
    sums = Sums(torch.tensor(6.0), torch.tensor(1.0))
    mean = mean_over_processes(sums, lambda counts: counts + torch.tensor([5.0, 2.0]))
    assert float(mean) == pytest.approx(6 * 3 / 6)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("per_class", [None, {1: 0.3, 4: 0.95}, [0.2, 0.4, 0.6, 0.8, 0.9]])
def test_pseudo_targets_are_the_sure_winners(
    align_corners: bool, per_class: dict[int, float] | list[float] | None
) -> None:
    logits, _ = _problem()
    given = torch.tensor(per_class) if isinstance(per_class, list) else per_class
    made = pseudo_targets(
        logits, (9, 14), threshold=0.6, per_class=given, align_corners=align_corners
    )
    least = [0.6] * 5
    if isinstance(per_class, dict):
        least = [per_class.get(c, 0.6) for c in range(5)]
    elif per_class is not None:
        least = per_class
    probabilities = _probabilities(logits, (9, 14), align_corners)
    for b, y, x in np.ndindex(2, 9, 14):
        winner = int(probabilities[b, :, y, x].argmax())
        sure = probabilities[b, winner, y, x] >= least[winner]
        assert int(made[b, y, x]) == (winner if sure else 255)
    assert made.dtype == torch.long


def test_pseudo_targets_of_probabilities_need_no_softmax() -> None:
    probabilities = torch.tensor([[0.9, 0.8999, 0.1], [0.1, 0.1001, 0.9]])[None, :, None]
    made = pseudo_targets(
        probabilities, (1, 3), threshold=0.9, align_corners=True, space="probabilities"
    )
    assert made.tolist() == [[[0, 255, 1]]]


def test_pseudo_targets_of_what_is_not_a_number_are_none() -> None:
    logits = torch.full((1, 3, 2, 2), torch.nan)
    made = pseudo_targets(logits, (4, 4), threshold=0.0, align_corners=False)
    assert (made == 255).all()
