"""The neighbouring similarity measure against the paper's Eq. 1-4, read aloud."""

from __future__ import annotations

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stt_core.model.backends import Backend
from stt_core.model.selection import select_queries
from stt_core.model.similarity.ops import neighbouring_similarity

BACKENDS: tuple[Backend, ...] = ("reference", "tiled", "cpu")


def _by_definition(features: Tensor, radius: int, scale: float = 1.0) -> Tensor:
    """``[B, C, h, w]`` to ``[B, N]``, position by position; the KL the right way up."""
    batch, _, rows, cols = features.shape
    x = features.double()
    need = torch.zeros(batch, rows, cols, dtype=torch.float64)
    for b in range(batch):
        for v in range(rows):
            for u in range(cols):
                q = x[b, :, v, u]
                top, left = max(0, v - radius), max(0, u - radius)
                around = x[b, :, top : v + radius + 1, left : u + radius + 1].flatten(1).T
                log_sim = torch.log_softmax(scale * around @ q, 0)  # of p_sim, which underflows
                p_u = torch.full_like(log_sim, 1 / len(log_sim))
                kl = (p_u * (p_u.log() - log_sim)).sum()
                cos = (around @ q) / (around.norm(dim=1) * q.norm())
                need[b, v, u] = kl + (1 - cos).mean()
    return need.flatten(1)


def _check(features: Tensor, radius: int, backend: Backend, scale: float = 1.0) -> Tensor:
    """As near as single precision can tell products of this size."""
    need = neighbouring_similarity(features, radius, scale=scale, backend=backend)
    assert need.dtype == torch.float32
    largest = scale * float(features.double().square().sum(1).max())
    atol = 1e-5 * max(1.0, largest)
    expected = _by_definition(features, radius, scale)
    torch.testing.assert_close(need.double(), expected, rtol=1e-5, atol=atol)
    return need


def _features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("size", "radius"),
    [
        ((7, 9), 1),
        ((7, 9), 5),
        ((3, 12), 5),
        ((1, 14), 2),
        ((14, 1), 2),
        ((1, 1), 5),
        ((4, 33), 3),
        ((9, 8), 7),
        ((2, 20), 9),
    ],
)
def test_it_equals_its_definition(size: tuple[int, int], radius: int, backend: Backend) -> None:
    _check(_features(1, 6, *size), radius, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    rows=st.integers(1, 6),
    cols=st.integers(1, 19),
    channels=st.sampled_from([1, 2, 5, 16, 40]),
    radius=st.integers(1, 7),
    scale=st.sampled_from([1.0, 0.25, 2.5, 32**-0.5]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_it_equals_its_definition_for_any_shape(
    backend: Backend,
    rows: int,
    cols: int,
    channels: int,
    radius: int,
    scale: float,
    seed: int,
) -> None:
    _check(_features(1, channels, rows, cols, seed=seed), radius, backend, scale)


@pytest.mark.parametrize("backend", ["tiled", "cpu"])
@given(
    rows=st.integers(1, 20),
    cols=st.integers(1, 40),
    radius=st.integers(1, 7),
    size=st.sampled_from([0.05, 1.0, 4.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_the_fast_ways_agree_with_the_reference(
    backend: Backend, rows: int, cols: int, radius: int, size: float, seed: int
) -> None:
    features = size * _features(2, 8, rows, cols, seed=seed)
    expected = neighbouring_similarity(features, radius, backend="reference")
    largest = float(features.square().sum(1).max())
    got = neighbouring_similarity(features, radius, backend=backend)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * max(1.0, largest))


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_image_of_a_batch_by_itself(backend: Backend) -> None:
    features = _features(3, 6, 5, 7)
    together = _check(features, 2, backend)
    for image, expected in zip(features, together, strict=True):
        alone = neighbouring_similarity(image[None], 2, backend=backend)[0]
        torch.testing.assert_close(alone, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "lay",
    [
        lambda m: m.contiguous(memory_format=torch.channels_last),
        lambda m: m.mT.contiguous().mT,
        lambda m: m.repeat_interleave(2, 3)[..., ::2],
        lambda m: torch.nn.functional.pad(m, (3, 3, 3, 3), value=torch.nan)[..., 3:-3, 3:-3],
    ],
    ids=["channels last", "transposed", "every second", "inside noise"],
)
def test_features_may_lie_in_memory_as_they_like(lay, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    _check(lay(_features(2, 6, 5, 18)), 3, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_features_of_any_precision_are_compared_in_single(
    dtype: torch.dtype, backend: Backend
) -> None:
    _check(_features(1, 16, 5, 18).to(dtype), 3, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    rows=st.integers(1, 8),
    cols=st.integers(1, 20),
    radius=st.integers(1, 7),
    size=st.sampled_from([0.0, 0.01, 1.0, 3.0]),
    alike=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_it_is_never_negative(
    backend: Backend, rows: int, cols: int, radius: int, size: float, alike: bool, seed: int
) -> None:
    features = size * _features(1, 5, rows, cols, seed=seed)
    if alike:
        features = features[..., :1, :1].expand_as(features)
    need = neighbouring_similarity(features, radius, backend=backend)
    largest = float(features.square().sum(1).max())
    assert float(need.min()) >= -1e-6 * max(1.0, largest)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("radius", [1, 5, 7])
@pytest.mark.parametrize("value", [0.0, 0.5, 4.0])
def test_a_constant_map_needs_nothing(value: float, radius: int, backend: Backend) -> None:
    need = neighbouring_similarity(torch.full((1, 8, 12, 15), value), radius, backend=backend)
    torch.testing.assert_close(need, torch.zeros_like(need), atol=2e-4, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("radius", range(1, 8))
@pytest.mark.parametrize("upright", [True, False])
def test_the_whole_boundary_band_is_in_the_upper_half(
    upright: bool, radius: int, backend: Backend
) -> None:
    """With the positive KL; with the sign printed in the paper none of it would be."""
    g = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 16, generator=g)
    features = left[:, None, None].expand(-1, 24, 60).clone()
    features[:, :, 30:] = right[:, None, None]
    band = torch.zeros(24, 60, dtype=torch.bool)
    band[:, 30 - radius : 30 + radius] = True  # whose neighbours are of both
    if not upright:
        features, band = features.mT, band.T
    assert band.sum() < band.numel() / 2
    need = neighbouring_similarity(features[None], radius, backend=backend)
    chosen = torch.zeros(24 * 60, dtype=torch.bool)
    chosen[select_queries(need, 0.5)[0]] = True
    assert chosen.view(band.shape)[band].all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_borders_are_not_complex(backend: Backend) -> None:
    """Only neighbours inside the map count: a constant row is as simple at its ends."""
    features = torch.zeros(1, 4, 12, 30)
    features[:, 0] = 3
    features[:, :, 5:7, 14:16] = torch.tensor([0.0, 3, 0, 0])[:, None, None]
    need = neighbouring_similarity(features, 2, backend=backend).view(12, 30)
    assert need[:, :12].max() < 1e-4
    assert need[5:7, 14:16].min() > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_products_neither_overflow_nor_vanish(backend: Backend) -> None:
    """Whole numbers, whose products are exact: from -14400 to 14400."""
    g = torch.Generator().manual_seed(0)
    features = torch.randint(-60, 61, (1, 4, 6, 9), generator=g).float()
    need = neighbouring_similarity(features, 2, backend=backend)
    expected = _by_definition(features, 2)
    torch.testing.assert_close(need.double(), expected, rtol=1e-5, atol=1e-2)


def test_the_cpu_kernel_repeats_bit_for_bit() -> None:
    features = _features(2, 24, 19, 37)
    first = neighbouring_similarity(features, 5, backend="cpu")
    before = numba.get_num_threads()
    try:
        for count in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(count)
            assert torch.equal(neighbouring_similarity(features, 5, backend="cpu"), first)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_no_gradient_flows(backend: Backend) -> None:
    features = _features(1, 4, 5, 5).requires_grad_()
    assert not neighbouring_similarity(features, 2, backend=backend).requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_autocast_ranks_are_still_single_precision(backend: Backend) -> None:
    features = _features(1, 16, 6, 9)
    expected = neighbouring_similarity(features, 2, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(neighbouring_similarity(features, 2, backend=backend), expected)
