from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stt_core.config import key_radii
from stt_core.model.selection import neighbouring_similarity, select_queries


def _by_definition(features: Tensor, radius: int, scale: float) -> Tensor:
    """Eq. 1-4 read aloud, position by position, for one image [C, h, w]."""
    _, rows, cols = features.shape
    need = torch.zeros(rows, cols, dtype=features.dtype)
    for v in range(rows):
        for u in range(cols):
            q = features[:, v, u]
            top, left = max(0, v - radius), max(0, u - radius)
            around = features[:, top : v + radius + 1, left : u + radius + 1].flatten(1).T
            p_sim = torch.softmax(scale * around @ q, 0)
            p_u = torch.full_like(p_sim, 1 / len(p_sim))
            kl = (p_u * (p_u / p_sim).log()).sum()
            cos = torch.nn.functional.cosine_similarity(around, q[None], dim=1)
            need[v, u] = kl + (1 - cos).mean()
    return need


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize(("size", "radius"), [((7, 9), 1), ((7, 9), 5), ((3, 12), 5), ((1, 4), 2)])
def test_nsm_equals_its_definition(size: tuple[int, int], radius: int, scale: float) -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, *size, generator=g)
    need = neighbouring_similarity(features, radius, scale=scale).unflatten(1, size)
    for image, got in zip(features.double(), need, strict=True):
        expected = _by_definition(image, radius, scale)
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@given(
    rows=st.integers(1, 8),
    cols=st.integers(1, 8),
    radius=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_nsm_is_never_negative(rows: int, cols: int, radius: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    features = 3 * torch.randn(1, 5, rows, cols, generator=g)
    assert neighbouring_similarity(features, radius).min() > -1e-4


@pytest.mark.parametrize("value", [0.0, 0.5, 4.0])
def test_a_constant_map_needs_nothing(value: float) -> None:
    need = neighbouring_similarity(torch.full((1, 8, 12, 15), value), 5)
    torch.testing.assert_close(need, torch.zeros_like(need), atol=2e-4, rtol=0)


def test_two_regions_the_boundary_band_is_selected() -> None:
    """With the positive KL; with the sign printed in the paper none of it would be."""
    g = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 16, generator=g)
    features = left[:, None, None].expand(-1, 24, 60).clone()
    features[:, :, 30:] = right[:, None, None]
    radius = 5
    need = neighbouring_similarity(features[None], radius)
    chosen = torch.zeros(24 * 60, dtype=torch.bool)
    chosen[select_queries(need, 0.5)[0]] = True
    band = torch.zeros(24, 60, dtype=torch.bool)
    band[:, 30 - radius : 30 + radius] = True  # windows that reach across
    assert band.sum() < 24 * 60 / 2
    assert chosen.view(24, 60)[band].all()


@given(count=st.integers(1, 300), ratio=st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_exactly_floor_ratio_n_queries(count: int, ratio: float) -> None:
    chosen = select_queries(torch.rand(2, count), ratio)
    assert chosen.shape == (2, math.floor(ratio * count + 1e-9))
    assert (chosen.diff(dim=1) > 0).all()


def test_of_equals_the_lower_index_is_selected() -> None:
    need = torch.tensor([[1.0, 2.0, 1.0, 1.0, 2.0, 1.0]])
    assert select_queries(need, 0.5).tolist() == [[0, 1, 4]]
    assert select_queries(torch.zeros(1, 7), 0.5).tolist() == [[0, 1, 2]]


def test_ratio_and_shape_are_checked() -> None:
    with pytest.raises(ValueError, match="ratio must be in"):
        select_queries(torch.zeros(1, 4), 0)
    with pytest.raises(ValueError, match=r"\[B, N\]"):
        select_queries(torch.zeros(4), 0.5)


def test_no_gradient_flows_through_selection() -> None:
    features = torch.randn(1, 4, 5, 5, requires_grad=True)
    assert not neighbouring_similarity(features, 2).requires_grad


def test_the_radii_of_the_supplement_make_407_keys() -> None:
    def keys(frames: int) -> int:
        return sum((2 * r + 1) ** 2 for r in key_radii(frames, start=1, end=4, step=1))

    assert key_radii(7, start=1, end=4, step=1) == (1, 2, 3, 4, 4, 4, 4)
    assert [keys(t) for t in range(1, 10)] == [9, 34, 83, 164, 245, 326, 407, 488, 569]
