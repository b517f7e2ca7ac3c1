"""The Triton kernels against plain float64, interpreted on a CPU or compiled on a CUDA device.

One process does one or the other, for Triton decides when it is first imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stt_core.model.attention.reference import gather_attention
from stt_core.model.similarity.reference import reference_similarity
from tests.core.dense import LIKE_FLOAT64, Problem, dense_attention, problem

with pytest.MonkeyPatch.context() as _patch:
    if not torch.cuda.is_available():
        _patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="needs Triton")
    fused: Any = importlib.import_module("stt_core.model.attention.fused")
    fused_similarity: Any = importlib.import_module(
        "stt_core.model.similarity.fused"
    ).fused_similarity


@pytest.fixture(
    scope="module", params=[pytest.param("cpu"), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if request.param == "cuda" and not fused.COMPILED:
        pytest.skip("Triton was imported to interpret")
    if request.param == "cpu" and fused.COMPILED:
        pytest.skip("Triton was imported to compile; TRITON_INTERPRET=1 would run this on the CPU")
    with pytest.MonkeyPatch.context() as patch:
        if not fused.COMPILED:
            patch.setenv("TRITON_INTERPRET", "1")  # asked for at run time too
        yield request.param


def _attend(p: Problem) -> Tensor:
    attended: Tensor = fused.fused_attention(*p[:4], radii=p.radii, heads=p.heads)
    return attended


def _dense(p: Problem) -> Tensor:
    """On the CPU, whence gradients find their way back."""
    query, positions = p.query.cpu(), p.positions.cpu()
    keys, values = ([m.cpu() for m in maps] for maps in (p.keys, p.values))
    dense = dense_attention(query, keys, values, positions, radii=p.radii, heads=p.heads)
    return dense.values.to(p.query.device)


def _inputs(p: Problem) -> list[Tensor]:
    return [p.query, *p.keys, *p.values]


def _problem(device: str, **changes: Any) -> Problem:
    """All inputs want gradients."""
    p = problem(**changes)

    def grown(x: Tensor) -> Tensor:
        return x.to(device).requires_grad_()

    return p._replace(
        query=grown(p.query),
        keys=[grown(k) for k in p.keys],
        values=[grown(v) for v in p.values],
        positions=p.positions.to(device),
    )


def _check(p: Problem, wanted: Sequence[Tensor] | None = None) -> None:
    """Values and gradients like those of the dense form."""
    wanted = _inputs(p) if wanted is None else wanted
    tolerance = LIKE_FLOAT64[p.query.dtype]
    expected, got = _dense(p), _attend(p)
    assert (got.shape, got.dtype, got.device) == (p.query.shape, p.query.dtype, p.query.device)
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
    back = torch.randn_like(got)
    of_expected = torch.autograd.grad(expected, wanted, back.double())
    for one, other in zip(torch.autograd.grad(got, wanted, back), of_expected, strict=True):
        most = other.double().abs().max().clamp_min(1).item()
        torch.testing.assert_close(
            one.double(), other.double(), rtol=10 * tolerance, atol=tolerance * most
        )


@pytest.mark.parametrize(
    ("size", "radii"),
    [
        ((9, 11), (1, 4)),  # tiles and rectangles that end inside and outside the map
        ((17, 3), (4,)),
        ((3, 30), (0, 9)),  # a rectangle more than one block wide
        ((3, 4), (1, 2, 3, 4, 4, 4, 4)),
        ((2, 3), (1, 2, 3, 4, 4, 4, 4, 4, 4)),
        ((1, 1), (0,)),
    ],
)
def test_it_matches_masked_dense_attention(
    size: tuple[int, int], radii: tuple[int, ...], device: str
) -> None:
    _check(_problem(device, size=size, radii=radii))


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    radii=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    split=st.sampled_from([(1, 16), (2, 5), (3, 8), (16, 1)]),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12, deadline=None)
def test_it_matches_for_any_shape(
    device: str,
    rows: int,
    cols: int,
    radii: list[int],
    split: tuple[int, int],
    share: float,
    seed: int,
) -> None:
    p = _problem(
        device,
        size=(rows, cols),
        radii=tuple(radii),
        heads=split[0],
        width=split[1],
        batch=1,
        queries=max(1, round(share * rows * cols)),
        seed=seed,
    )
    _check(p)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 24, 40, 72, 136, 256])
def test_heads_of_any_width(width: int, dtype: torch.dtype, device: str) -> None:
    _check(_problem(device, size=(4, 5), heads=1, width=width, batch=1, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype, device: str) -> None:
    _check(_problem(device, dtype=dtype))


def _channels_last(maps: list[Tensor]) -> list[Tensor]:
    return [m.contiguous(memory_format=torch.channels_last) for m in maps]


def _turned(maps: list[Tensor]) -> list[Tensor]:
    return [m.mT.contiguous().mT for m in maps]


def _middles(maps: list[Tensor]) -> list[Tensor]:
    """Every other channel of maps that lie amid what must not be read."""
    return [_amid_nan(m)[:, ::2, 3:-1, 2:-4] for m in maps]


def _amid_nan(one: Tensor) -> Tensor:
    batch, channels, rows, cols = one.shape
    wide = one.new_full((batch, 2 * channels, rows + 4, cols + 6), torch.nan)
    wide[:, ::2, 3:-1, 2:-4] = one.detach()
    return wide.requires_grad_()


def _one_for_all_images(maps: list[Tensor]) -> list[Tensor]:
    return [m[:1].expand_as(m) for m in maps]


def _frames_of_a_stack(maps: list[Tensor]) -> list[Tensor]:
    return list(torch.stack(maps, 1).unbind(1))


def _each_its_own(maps: list[Tensor]) -> list[Tensor]:
    return [*maps[:1], *_channels_last(maps[1:])]


@pytest.mark.parametrize(
    "lay",
    [
        _channels_last,
        _turned,
        _middles,
        _one_for_all_images,
        _frames_of_a_stack,
        _each_its_own,
    ],
)
def test_maps_may_lie_anyhow(lay: Any, device: str) -> None:
    p = _problem(device)
    p = p._replace(keys=lay(p.keys), values=lay(p.values))
    _check(p)


def test_a_query_may_lie_anyhow(device: str) -> None:
    p = _problem(device)
    apart = p.query.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    _check(p._replace(query=apart))


def test_a_map_may_be_several_key_frames(device: str) -> None:
    p = _problem(device, radii=(1, 1))
    one = p.keys[0]
    p = p._replace(keys=[one, one], values=[one, one])
    _check(p, [p.query, one])


def test_no_query_gives_nothing(device: str) -> None:
    out = _attend(_problem(device, queries=0))
    assert out.shape == (2, 0, 10)


def test_only_gradients_that_are_wanted(device: str) -> None:
    p = _problem(device, size=(4, 5), radii=(1, 2))
    _check(p._replace(keys=[k.detach() for k in p.keys]), [p.query, *p.values])
    _check(p._replace(query=p.query.detach()), [p.keys[1]])
    still = p._replace(keys=[k.detach() for k in p.keys], values=[v.detach() for v in p.values])
    _check(still, [p.query])
    with torch.no_grad():
        assert not _attend(p).requires_grad


def test_gradients_repeat_bit_for_bit(device: str) -> None:
    p = _problem(device, size=(4, 5))
    one, other = (torch.autograd.grad(_attend(p).sum(), _inputs(p)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_scores_far_apart_stay_finite(device: str) -> None:
    p = _problem(device, size=(4, 5))
    p = p._replace(query=(p.query.detach() * 300).requires_grad_())
    out = _attend(p)
    torch.testing.assert_close(out.double(), _dense(p), rtol=1e-3, atol=1e-3)
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), _inputs(p)))


def test_a_position_asked_for_twice_is_not_answered_with_rubbish(device: str) -> None:
    p = _problem(device, queries=4)
    p.positions[:, 2] = p.positions[:, 0]
    out = _attend(p)
    assert out[:, [1, 3]].isfinite().all()
    assert (out[:, [0, 2]].isnan().all(2).sum(1) == 1).all()


def test_what_does_not_fit_is_refused(device: str) -> None:
    p = _problem(device)
    with pytest.raises(ValueError, match="one key, value and radius a key frame"):
        _attend(p._replace(radii=(1,)))
    with pytest.raises(ValueError, match="one key, value and radius a key frame"):
        _attend(p._replace(values=p.values[:1]))
    with pytest.raises(ValueError, match="of the query's dtype"):
        _attend(p._replace(query=p.query.half()))
    with pytest.raises(ValueError, match="do not fit together"):
        _attend(p._replace(positions=p.positions[:, :3]))
    with pytest.raises(ValueError, match="do not fit together"):
        _attend(p._replace(query=p.query[:1], positions=p.positions[:1]))
    with pytest.raises(ValueError, match="must divide"):
        _attend(p._replace(heads=3))


@pytest.mark.gpu
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_size_of_a_frame(dtype: torch.dtype, last: bool, device: str) -> None:
    """32 x 64 positions, 256 channels, seven key frames, against the gathering form."""
    if not fused.COMPILED:
        pytest.skip("takes a CUDA device")
    radii = (1, 2, 3, 4, 4, 4, 4)
    p = _problem(device, size=(32, 64), radii=radii, heads=8, width=32, dtype=dtype)
    if last:
        p = p._replace(keys=_channels_last(p.keys), values=_channels_last(p.values))
    keys, values = ([m.double() for m in maps] for maps in (p.keys, p.values))
    expected = gather_attention(p.query.double(), keys, values, p.positions, radii=radii, heads=8)
    tolerance = LIKE_FLOAT64[dtype]
    got = _attend(p)
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
    back = torch.randn_like(got)
    of_expected = torch.autograd.grad(expected, _inputs(p), back.double())
    for one, other in zip(torch.autograd.grad(got, _inputs(p), back), of_expected, strict=True):
        torch.testing.assert_close(
            one.double(), other.double(), rtol=10 * tolerance, atol=4 * tolerance
        )


def _need(features: Tensor, radius: int, scale: float) -> Tensor:
    """Eq. 1-4 for one image ``[C, h, w]``, position by position: ``[N]``."""
    _, rows, cols = features.shape
    need = []
    for y in range(rows):
        for x in range(cols):
            own = features[:, y, x]
            top, left = max(0, y - radius), max(0, x - radius)
            around = features[:, top : y + radius + 1, left : x + radius + 1].flatten(1)
            log_p = (scale * own @ around).log_softmax(0)
            kl = -(log_p + torch.tensor(len(log_p)).log()).mean()
            cosine = torch.nn.functional.cosine_similarity(around, own[:, None], dim=0)
            need.append(kl + (1 - cosine).mean())
    return torch.stack(need)


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 20),
    channels=st.sampled_from([1, 6, 40]),
    radius=st.integers(0, 6),
    scale=st.sampled_from([1.0, 0.25]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_similarity_equals_its_definition(
    device: str, rows: int, cols: int, channels: int, radius: int, scale: float, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(1, channels, rows, cols, generator=g)
    got = fused_similarity(features.to(device), radius, scale=scale).cpu()
    expected = _need(features[0].double(), radius, scale)[None]
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("radius", [1, 5])
def test_similarity_is_that_of_the_model(radius: int, dtype: torch.dtype, device: str) -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.randn(2, 40, 5, 19, generator=g).to(device, dtype)
    expected = reference_similarity(features, radius)
    for laid in (features, _channels_last([features])[0], _turned([features])[0]):
        got = fused_similarity(laid, radius)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.5, 4.0])
def test_a_constant_map_needs_nothing(value: float, device: str) -> None:
    need = fused_similarity(torch.full((1, 8, 12, 15), value, device=device), 5)
    torch.testing.assert_close(need, torch.zeros_like(need), atol=1e-5, rtol=0)


def test_similarity_has_no_gradient(device: str) -> None:
    features = torch.randn(1, 4, 5, 5, device=device, requires_grad=True)
    assert not fused_similarity(features, 2).requires_grad
