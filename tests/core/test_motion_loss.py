"""ETC's motion-guided loss and its warp against loops over pixels, and against OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stt_core.training.losses import Space
from stt_core.training.motion import (
    arrives,
    consistent,
    motion_sums,
    resemblance,
    warp,
)

Floats = NDArray[np.float64]


def motion_loss(
    logits: Tensor,
    other_logits: Tensor,
    image: Tensor,
    other_image: Tensor,
    flow: Tensor,
    *,
    align_corners: bool,
    weight: float = 0.1,
    space: Space = "logits",
) -> Tensor:
    """The weighed mean of the sums, on one process."""
    frames = (logits, other_logits, image, other_image, flow)
    return weight * motion_sums(*frames, align_corners=align_corners, space=space).mean()


def _fetched(plane: Floats, x: float, y: float) -> float:
    """``[H, W]`` at a point between pixels, the border going on."""
    rows, cols = plane.shape
    x, y = min(max(x, 0.0), cols - 1.0), min(max(y, 0.0), rows - 1.0)
    left, top = int(x), int(y)
    right, low = min(left + 1, cols - 1), min(top + 1, rows - 1)
    above = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
    below = plane[low, left] * (1 - x + left) + plane[low, right] * (x - left)
    return float(above * (1 - y + top) + below * (y - top))


def _warped(maps: Floats, flow: Floats) -> Floats:
    """``[C, H, W]`` along ``[H, W, 2]``; unknown points stay where they are."""
    made = np.zeros(maps.shape)
    for c, y, x in np.ndindex(*maps.shape):
        u, v = flow[y, x] if np.isfinite(flow[y, x]).all() else (0.0, 0.0)
        made[c, y, x] = _fetched(maps[c], x + u, y + v)
    return made


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _flow(batch: int, rows: int, cols: int, seed: int = 9) -> Tensor:
    """Up to half the image and beyond its border, unknown here and there."""
    flow = 3 * _random(batch, rows, cols, 2, seed=seed)
    flow[:, 1, 2] = torch.nan
    flow[0, 3, 0, 1] = torch.nan
    return flow


@given(rows=st.integers(1, 6), cols=st.integers(1, 7), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_warp_fetches_between_pixels(rows: int, cols: int, seed: int) -> None:
    maps, flow = _random(1, 3, rows, cols, seed=seed), 3 * _random(1, rows, cols, 2, seed=seed + 1)
    expected = _warped(maps[0].numpy(), flow[0].numpy())
    torch.testing.assert_close(warp(maps, flow)[0], torch.from_numpy(expected))


def test_warp_is_opencvs_remap() -> None:
    """Which rounds to 32nds of a pixel: the flow consists of those."""
    maps = _random(2, 1, 40, 60).float()
    flow = (300 * _random(2, 40, 60, 2, seed=1)).round() / 32
    y, x = np.mgrid[:40, :60].astype(np.float32)
    for b in range(2):
        u, v = flow[b].float().numpy().transpose(2, 0, 1)
        expected = cv2.remap(
            maps[b, 0].numpy(), x + u, y + v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        got = warp(maps, flow.float())[b, 0].numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


def test_warp_by_whole_pixels_moves_them() -> None:
    maps = _random(1, 2, 5, 6)
    flow = torch.tensor([2.0, -1.0], dtype=torch.float64).expand(1, 5, 6, 2)
    torch.testing.assert_close(warp(maps, flow)[..., 1:, :4], maps[..., :4, 2:])


def test_warp_has_the_gradient_of_its_value() -> None:
    flow = _flow(2, 4, 5)
    assert torch.autograd.gradcheck(
        lambda maps: warp(maps, flow), _random(2, 2, 4, 5).requires_grad_()
    )


def test_warp_is_in_full_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert warp(_random(1, 2, 4, 5).bfloat16(), _flow(1, 4, 5)).dtype == torch.float32


def _mask(image: Floats, other: Floats, flow: Floats) -> Floats:
    seen = np.isfinite(flow).all(-1)
    return np.exp(-np.abs((image - _warped(other, flow)).sum(0))) * seen


def test_resemblance_takes_the_absolute_value_after_the_sum() -> None:
    image, other, flow = _random(2, 3, 5, 6), _random(2, 3, 5, 6, seed=1), _flow(2, 5, 6)
    got = resemblance(image, other, flow)
    for b in range(2):
        expected = _mask(image[b].numpy(), other[b].numpy(), flow[b].numpy())
        torch.testing.assert_close(got[b, 0], torch.from_numpy(expected))
    still = torch.zeros(1, 5, 6, 2, dtype=torch.float64)
    shifted = image[:1] + torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(
        resemblance(image[:1], shifted, still), torch.ones(1, 1, 5, 6).double()
    )


def _problem() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Logits, the other's, images and flow; 4 classes at 3 x 4, images of 6 x 7."""
    return (
        _random(2, 4, 3, 4).requires_grad_(),
        _random(2, 4, 3, 4, seed=1).requires_grad_(),
        0.3 * _random(2, 3, 6, 7, seed=2),
        0.3 * _random(2, 3, 6, 7, seed=3),
        _flow(2, 6, 7),
    )


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("space", ["logits", "probabilities"])
def test_the_motion_loss_is_its_definition(align_corners: bool, space: Space) -> None:
    logits, other_logits, image, other_image, flow = _problem()
    full = [
        functional.interpolate(z, (6, 7), mode="bilinear", align_corners=align_corners).detach()
        for z in (logits, other_logits)
    ]
    here, there = [(z.softmax(1) if space == "probabilities" else z).numpy() for z in full]
    terms = []
    for b in range(2):
        mask = _mask(image[b].numpy(), other_image[b].numpy(), flow[b].numpy())
        warped = _warped(there[b], flow[b].numpy())
        for c, y, x in np.ndindex(4, 6, 7):
            terms.append((mask[y, x] * here[b, c, y, x] - mask[y, x] * warped[c, y, x]) ** 2)
    value = motion_loss(
        logits, other_logits, image, other_image, flow, align_corners=align_corners, space=space
    )
    assert value.item() == pytest.approx(0.1 * math.fsum(terms) / len(terms), rel=1e-10)


@pytest.mark.parametrize("space", ["logits", "probabilities"])
def test_the_motion_loss_teaches_both_frames(space: Space) -> None:
    logits, other_logits, image, other_image, flow = _problem()

    def loss(logits: Tensor, other_logits: Tensor) -> Tensor:
        return motion_loss(
            logits, other_logits, image, other_image, flow, align_corners=True, space=space
        )

    assert torch.autograd.gradcheck(loss, (logits, other_logits))
    gradients = torch.autograd.grad(loss(logits, other_logits), (logits, other_logits))
    assert all(g.any() for g in gradients)


def test_a_steady_video_costs_nothing() -> None:
    """A scene that slides by two columns, with logits that slide along."""
    wide, picture = _random(1, 4, 8, 12), _random(1, 3, 8, 12, seed=1)
    flow = torch.full((1, 8, 10, 2), torch.nan, dtype=torch.float64)
    flow[:, :, 2:] = torch.tensor([-2.0, 0.0])
    value = motion_loss(
        wide[..., :10],
        wide[..., 2:],
        picture[..., :10],
        picture[..., 2:],
        flow,
        align_corners=False,
    )
    assert value.item() == pytest.approx(0, abs=1e-20)
    shaken = motion_loss(
        wide[..., :10],
        wide[..., 2:] + 1,
        picture[..., :10],
        picture[..., 2:],
        flow,
        align_corners=False,
    )
    assert shaken.item() == pytest.approx(0.1 * 8 / 10)  # M is 1 where the flow is known


def test_hidden_points_teach_nothing() -> None:
    logits, _, image, other_image, flow = _problem()
    flow[:] = torch.nan
    flow[0, :3] = 0.0
    full = functional.interpolate(logits, (6, 7), mode="bilinear", align_corners=True)
    full = full.detach().requires_grad_()
    motion_loss(full, full.detach() + 1, image, other_image, flow, align_corners=True).backward()
    assert full.grad is not None
    assert full.grad[0, :, :3].all()
    assert not full.grad[0, :, 3:].any()
    assert not full.grad[1].any()


def test_frames_without_any_flow_do_not_thin_the_mean() -> None:
    logits, other_logits, image, other_image, flow = _problem()
    first = motion_sums(
        *(x[:1] for x in (logits, other_logits, image, other_image, flow)), align_corners=True
    )
    flow[1] = torch.nan
    both = motion_sums(logits, other_logits, image, other_image, flow, align_corners=True)
    torch.testing.assert_close(both.mean(), first.mean())
    nobody = [x[:0] for x in (logits, other_logits, image, other_image, flow)]
    assert motion_loss(*nobody, align_corners=True).item() == 0
    flow[:] = torch.nan
    none = motion_loss(logits, other_logits, image, other_image, flow, align_corners=True)
    assert none.item() == 0


def test_full_size_logits_are_not_kept_for_the_gradient() -> None:
    kept: list[int] = []

    def note(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    logits, image = torch.randn(2, 50, 4, 4, requires_grad=True), torch.randn(2, 3, 32, 32)
    flow = torch.ones(2, 32, 32, 2)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        motion_loss(logits, logits.flip(3), image, image, flow, align_corners=True)
    assert max(kept, default=0) <= image.numel()


def test_a_point_arrives_where_it_is_inside_the_other_frame() -> None:
    flow = torch.zeros(3, 4, 2)
    flow[0, 0] = torch.tensor([3.0, 2.0])
    flow[0, 1] = torch.tensor([-1.01, 0.0])
    flow[1, 1] = torch.tensor([0.0, 1.01])
    flow[2, 2] = torch.tensor([0.0, torch.nan])
    flow[2, 3] = torch.tensor([0.01, 0.0])
    outside = {(0, 1), (1, 1), (2, 2), (2, 3)}
    got = arrives(flow)
    assert {(y, x) for y, x in np.ndindex(3, 4) if not got[y, x]} == outside


def test_flows_are_consistent_by_their_definition() -> None:
    flow = 1.5 * _random(1, 8, 9, 2)
    back = -_random(1, 8, 9, 2, seed=1) * 0.5
    flow[0, 2, 3] = torch.nan
    back[0, 6, 6] = torch.nan
    got = consistent(flow, back)[0]
    f, b = flow[0].numpy(), back[0].numpy()
    found = set()
    for y, x in np.ndindex(8, 9):
        u, v = f[y, x]
        if not (0 <= x + u <= 8 and 0 <= y + v <= 7):
            assert not got[y, x]
            continue
        there = np.array([_fetched(b[..., i], x + u, y + v) for i in range(2)])
        astray, length = ((f[y, x] + there) ** 2).sum(), (f[y, x] ** 2).sum() + (there**2).sum()
        expected = bool(astray <= 0.01 * length + 0.5)
        assert bool(got[y, x]) == expected
        found.add(expected)
    assert found == {True, False}


def test_a_thing_in_front_makes_flow_inconsistent_where_it_hides() -> None:
    """A square moves right over a still wall: what it comes to hide is lost."""
    flow, back = torch.zeros(1, 12, 16, 2), torch.zeros(1, 12, 16, 2)
    flow[:, 4:8, 2:6, 0] = 4.0
    back[:, 4:8, 6:10, 0] = -4.0
    lost = ~consistent(flow, back)[0]
    assert lost[4:8, 6:10].all()
    lost[4:8, 6:10] = False
    assert not lost.any()
