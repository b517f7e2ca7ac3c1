"""Sparse attention in all its forms against masked dense attention (tests/core/dense.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stt_core.model.attention import reference
from stt_core.model.attention.ops import (
    attention_weights,
    pack_keys,
    pack_values,
    sparse_attention,
)
from stt_core.model.attention.windows import unpack_value, window_offsets
from stt_core.model.backends import Backend
from stt_core.model.video import Encoded
from tests.core.dense import LIKE_FLOAT64, Problem, dense_attention, problem

BACKENDS: tuple[Backend, ...] = ("reference", "tiled", "cpu")
LEARNING: tuple[Backend, ...] = ("reference", "tiled")
PAPER = (1, 2, 3, 4, 4, 4, 4)


def _attend(p: Problem, backend: Backend = "auto") -> Tensor:
    return sparse_attention(*p[:4], radii=p.radii, heads=p.heads, backend=backend)


def _dense(p: Problem) -> Tensor:
    return dense_attention(*p[:4], radii=p.radii, heads=p.heads).values


def _check(p: Problem, backend: Backend, expected: Tensor | None = None) -> None:
    got = _attend(p, backend)
    assert (got.shape, got.dtype) == (p.query.shape, p.query.dtype)
    tolerance = LIKE_FLOAT64[p.query.dtype]
    expected = _dense(p) if expected is None else expected
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets numba's number of threads, for this test."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("size", "radii"),
    [
        ((9, 11), PAPER),  # windows that end at every side, and some that do not
        ((3, 4), PAPER),  # a map smaller than the window
        ((1, 1), PAPER),
        ((1, 30), (1, 4)),
        ((30, 1), (1, 4)),
        ((5, 6), (0,)),
        ((2, 3), (1, 2, 3, 4, 4, 4, 4, 4, 4)),
        ((17, 23), (7, 0)),
        ((17, 40), (8, 2)),  # 17 columns, one more than a vector has lanes
        ((20, 40), (12,)),
        ((6, 45), (20, 1)),  # 41 columns: three vectors
        ((9, 150), (2, 1)),  # more columns than a thread takes at a time
        ((4, 4), (4, 3, 2, 1)),  # nothing says that windows grow
    ],
)
def test_it_matches_masked_dense_attention(
    size: tuple[int, int], radii: tuple[int, ...], backend: Backend
) -> None:
    queries = min(size[0] * size[1], 200)
    _check(problem(size=size, radii=radii, queries=queries, batch=1), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    rows=st.integers(1, 10),
    cols=st.integers(1, 22),
    radii=st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 12]), max_size=9),
    heads=st.integers(1, 16),
    width=st.sampled_from([1, 2, 5, 8, 16, 17, 32]),
    batch=st.integers(1, 2),
    queries=st.integers(0, 24),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_it_matches_for_any_shape(
    backend: Backend,
    rows: int,
    cols: int,
    radii: list[int],
    heads: int,
    width: int,
    batch: int,
    queries: int,
    seed: int,
) -> None:
    p = problem(
        size=(rows, cols),
        radii=tuple(radii),
        heads=heads,
        width=width,
        batch=batch,
        queries=min(queries, rows * cols),
        seed=seed,
    )
    _check(p, backend, None if radii else torch.zeros_like(p.query, dtype=torch.float64))


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("reference", torch.bfloat16),
        ("tiled", torch.bfloat16),
        ("cpu", torch.bfloat16),
        ("cpu", torch.float16),
        ("reference", torch.float64),
        ("tiled", torch.float64),
    ],
)
@pytest.mark.parametrize(("heads", "width"), [(1, 64), (4, 16), (3, 7)])
def test_other_precisions(heads: int, width: int, dtype: torch.dtype, backend: Backend) -> None:
    _check(problem(size=(8, 19), radii=PAPER, heads=heads, width=width, dtype=dtype), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("single", [0, 1])
def test_key_frames_may_differ_in_precision(single: int, backend: Backend) -> None:
    """As they do for a while where the precision was changed in mid-stream."""
    p = problem(size=(6, 10), heads=2, width=16)
    keys, values = (
        [m if f == single else m.bfloat16() for f, m in enumerate(maps)]
        for maps in (p.keys, p.values)
    )
    _check(p._replace(keys=keys, values=values), backend)
    packed = p._replace(keys=[pack_keys(k) for k in keys], values=[pack_values(v) for v in values])
    _check(packed, backend, _dense(p._replace(keys=keys, values=values)))


def _noise_around(m: Tensor) -> Tensor:
    """The same map, cut out of a larger one."""
    batch, channels, rows, cols = m.shape
    larger = torch.full((batch, channels, rows + 6, cols + 6), torch.nan, dtype=m.dtype)
    larger[:, :, 3:-3, 3:-3] = m
    return larger[:, :, 3:-3, 3:-3]


def _noise_beside(pack: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same map, packed, with something else wherever the packing leaves room."""

    def lay(m: Tensor) -> Tensor:
        packed = pack(m)
        everything = torch.empty(0, dtype=m.dtype).set_(packed.untyped_storage())
        everything.fill_(torch.nan)
        return packed.copy_(m.reshape(packed.shape))

    return lay


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "channels last": (lambda m: m.contiguous(memory_format=torch.channels_last),) * 2,
    "transposed": (lambda m: m.mT.contiguous().mT,) * 2,
    "every second": (lambda m: m.repeat_interleave(2, 3)[..., ::2],) * 2,
    "one value for all": (lambda m: m[:, :, :1, :1].expand_as(m),) * 2,
    "inside noise": (_noise_around, _noise_around),
    "packed": (pack_keys, pack_values),
    "packed among noise": (_noise_beside(pack_keys), _noise_beside(pack_values)),
    "values packed as keys": (lambda m: m, pack_keys),
    "rows of packed": (
        lambda m: pack_keys(torch.cat([m, m], 2))[..., : m.shape[2], :],
        lambda m: pack_values(torch.cat([m, m], 2))[..., m.shape[2] :, :],
    ),
    "columns of packed": (
        lambda m: pack_keys(torch.cat([m, m], 3))[..., m.shape[3] :],
        lambda m: pack_values(torch.cat([m, m], 3))[..., : m.shape[3]],
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(7, 12), (1, 4), (6, 1)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_may_lie_in_memory_as_they_like(
    layout: str, size: tuple[int, int], dtype: torch.dtype, backend: Backend
) -> None:
    """And whatever lies around a map is never read into a result: it is NaN here."""
    lay_key, lay_value = LAYOUTS[layout]
    p = problem(size=size, heads=2, width=16, dtype=dtype)
    if layout == "one value for all":
        p = p._replace(keys=[m[:, :, :1, :1].expand_as(m) for m in p.keys])
        p = p._replace(values=[m[:, :, :1, :1].expand_as(m) for m in p.values])
    laid = p._replace(keys=[lay_key(k) for k in p.keys], values=[lay_value(v) for v in p.values])
    _check(laid, backend, _dense(p))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_image_of_an_encoded_batch(backend: Backend) -> None:
    p = problem(size=(6, 10), heads=2, width=16, batch=3)
    expected = _dense(p)
    frames = [
        Encoded(k, pack_keys(k), pack_values(v)) for k, v in zip(p.keys, p.values, strict=True)
    ]
    for b in range(3):
        ones = [f.one(b) for f in frames]
        keys = [f.key for f in ones if f.key is not None]
        values = [f.value for f in ones if f.value is not None]
        one = Problem(p.query[b : b + 1], keys, values, p.positions[b : b + 1], p.radii, p.heads)
        _check(one, backend, expected[b : b + 1])


def test_packing_changes_no_value() -> None:
    for shape in ((2, 3, 5, 7), (1, 32, 4, 17), (1, 1, 1, 1)):
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            m = torch.randn(shape).to(dtype)
            for pack in (pack_keys, pack_values):
                packed = pack(m)
                assert torch.equal(unpack_value(packed), m)
                assert packed.dtype == dtype


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_border_is_as_if_noise_behind_it_were_masked(backend: Backend) -> None:
    """Widen the map by noise and mask it key by key: the same, at every border position."""
    p = problem(size=(6, 7), radii=(1, 4), batch=1, queries=42)
    rows, cols, pad = 6, 7, 5
    g = torch.Generator().manual_seed(1)

    def widened(m: Tensor) -> Tensor:
        wide = 100 * torch.randn(1, m.shape[1], rows + 2 * pad, cols + 2 * pad, generator=g)
        wide[:, :, pad:-pad, pad:-pad] = m
        return wide

    wide_cols = cols + 2 * pad
    outside = [
        (f, y, x)
        for f in range(2)
        for y in range(rows + 2 * pad)
        for x in range(wide_cols)
        if not (pad <= y < pad + rows and pad <= x < pad + cols)
    ]
    within = dense_attention(
        p.query,
        [widened(k) for k in p.keys],
        [widened(v) for v in p.values],
        (p.positions // cols + pad) * wide_cols + p.positions % cols + pad,
        radii=p.radii,
        heads=p.heads,
        muted=outside,
    )
    _check(p, backend, within.values)


@pytest.mark.parametrize("backend", BACKENDS)
def test_queries_come_in_any_order_and_more_than_once(backend: Backend) -> None:
    p = problem(size=(9, 12), queries=108)
    order = torch.randperm(108, generator=torch.Generator().manual_seed(2)).repeat(2)[:150]
    mixed = p._replace(query=p.query[:, order], positions=p.positions[:, order])
    _check(mixed, backend, _dense(p)[:, order])


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_scores_neither_overflow_nor_vanish(backend: Backend) -> None:
    """Whole numbers, whose products are exact: scores from -7000 to 7000."""
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randint(-60, 61, shape, generator=g).float()

    size, radii = (7, 9), (2, 3)
    p = problem(size=size, radii=radii, heads=2, width=4, batch=1)
    p = p._replace(
        query=draw(*p.query.shape), keys=[draw(1, 8, *size), draw(1, 8, *size).div(8).round()]
    )
    _check(p, backend)
    _check(p._replace(query=torch.zeros_like(p.query)), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_to_ask_or_to_read_gives_zeros(backend: Backend) -> None:
    none = problem(queries=0)
    assert _attend(none, backend).shape == (2, 0, 10)
    alone = problem(radii=())
    assert torch.equal(_attend(alone, backend), torch.zeros_like(alone.query))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cpu_kernel_repeats_bit_for_bit(
    dtype: torch.dtype, threads: Callable[[int], None]
) -> None:
    p = problem(size=(17, 19), radii=(1, 2, 4), heads=3, width=24, dtype=dtype)
    first = _attend(p, "cpu")
    for count in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        threads(count)
        for _ in range(2):
            assert torch.equal(_attend(p, "cpu"), first)


def test_on_the_cpu_a_query_does_not_depend_on_the_others() -> None:
    p = problem(size=(13, 17), radii=(1, 2, 9), width=16, batch=1, queries=221)
    together = _attend(p, "cpu")
    for some in (torch.arange(0, 221, 7), torch.tensor([5]), torch.arange(220, -1, -1)):
        fewer = p._replace(query=p.query[:, some], positions=p.positions[:, some])
        assert torch.equal(_attend(fewer, "cpu"), together[:, some])


def test_the_cpu_kernel_is_chosen_where_nothing_learns() -> None:
    p = problem(size=(8, 9), width=16)
    assert torch.equal(_attend(p), _attend(p, "cpu"))
    learning = p._replace(query=p.query.clone().requires_grad_())
    assert torch.equal(_attend(learning), _attend(p, "tiled"))
    with torch.no_grad():
        assert torch.equal(_attend(learning), _attend(p, "cpu"))
    double = problem(size=(8, 9), width=16, dtype=torch.float64)
    _check(double, "auto")


def test_compilers_are_loaded_when_they_are_needed_and_leave_torch_alone() -> None:
    """Learning must do without them; and numba would have torch take every core."""
    code = (
        "import sys, torch\n"
        "from stt_core.model.attention.ops import sparse_attention\n"
        "q, m = torch.randn(1, 3, 8, requires_grad=True), torch.randn(1, 8, 2, 3)\n"
        "def go(): sparse_attention(q, [m], [m], torch.arange(3)[None], radii=(1,), heads=2)\n"
        "go()\n"
        "assert 'numba' not in sys.modules and 'triton' not in sys.modules\n"
        "q = q.detach()\n"
        "go()\n"
        "assert 'numba' in sys.modules\n"
        "assert torch.get_num_threads() == 1, torch.get_num_threads()\n"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=env)


def _grown(p: Problem) -> list[Tensor]:
    """All inputs of a problem, wanting gradients."""
    return [t.requires_grad_() for t in (p.query, *p.keys, *p.values)]


@pytest.mark.parametrize("backend", LEARNING)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("size", "radii", "heads", "width"),
    [
        ((9, 11), (1, 2, 4), 2, 5),
        ((3, 4), PAPER, 3, 8),
        ((1, 1), (0,), 1, 4),
        ((9, 18), (8, 0), 1, 3),
    ],
)
def test_gradients_match_those_of_masked_dense_attention(
    size: tuple[int, int],
    radii: tuple[int, ...],
    heads: int,
    width: int,
    dtype: torch.dtype,
    backend: Backend,
) -> None:
    p = problem(size=size, radii=radii, heads=heads, width=width, dtype=dtype)
    inputs = _grown(p)
    back = torch.randn(p.query.shape, generator=torch.Generator().manual_seed(9)).to(dtype)
    expected = torch.autograd.grad(_dense(p), inputs, back.double())
    got = torch.autograd.grad(_attend(p, backend), inputs, back)
    tolerance = 10 * LIKE_FLOAT64[dtype]
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other.double(), rtol=tolerance, atol=tolerance)


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 19),
    radii=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    heads=st.integers(1, 4),
    width=st.integers(1, 6),
    queries=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_gradients_match_for_any_shape(
    rows: int,
    cols: int,
    radii: list[int],
    heads: int,
    width: int,
    queries: int,
    seed: int,
) -> None:
    p = problem(
        size=(rows, cols),
        radii=tuple(radii),
        heads=heads,
        width=width,
        batch=1,
        queries=min(queries, rows * cols),
        dtype=torch.float64,
        seed=seed,
    )
    inputs = _grown(p)
    expected = torch.autograd.grad(_dense(p).square().sum(), inputs)
    got = torch.autograd.grad(_attend(p, "tiled").square().sum(), inputs)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", LEARNING)
def test_gradients_match_finite_differences(backend: Backend) -> None:
    p = problem(size=(1, 9), radii=(1, 0), width=1, batch=1, queries=5, dtype=torch.float64)
    inputs = _grown(p)

    def attend(query: Tensor, *maps: Tensor) -> Tensor:
        moved = p._replace(query=query, keys=list(maps[:2]), values=list(maps[2:]))
        return _attend(moved, backend)

    assert torch.autograd.gradcheck(attend, inputs)


def test_queries_learn_from_key_frames_that_were_packed_without_gradients() -> None:
    p = problem(size=(6, 10), heads=2, width=16)
    packed = p._replace(
        query=p.query.requires_grad_(),
        keys=[pack_keys(k) for k in p.keys],
        values=[pack_values(v) for v in p.values],
    )
    got = torch.autograd.grad(_attend(packed).square().sum(), p.query)
    expected = torch.autograd.grad(_dense(p).square().sum(), p.query)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("budget", [1, 5_000, 1 << 30])
def test_the_chunk_of_the_reference_does_not_matter(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "CHUNK_BYTES", budget)
    _check(problem(), "reference")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_those_that_make_the_values(dtype: torch.dtype) -> None:
    p = problem(size=(6, 8), radii=(1, 2, 4), dtype=dtype)
    maps = attention_weights(p.query, p.keys, p.positions, radii=p.radii, heads=p.heads)
    assert maps.shape == (2, 2, 24, 3, 6, 8)
    expected = dense_attention(*p[:4], radii=p.radii, heads=p.heads).weights
    tolerance = LIKE_FLOAT64[dtype]
    torch.testing.assert_close(maps.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(maps.sum((3, 4, 5)), torch.ones(2, 2, 24, dtype=dtype))
    values = torch.stack(p.values, 2).unflatten(1, (2, -1))  # [B, H, D, F, h, w]
    mixed = torch.einsum("bhqfyx,bhdfyx->bqhd", maps, values).flatten(2)
    for backend in BACKENDS:
        torch.testing.assert_close(_attend(p, backend), mixed, rtol=1e-5, atol=1e-5)


def test_the_supplement_has_407_keys() -> None:
    assert len(window_offsets(PAPER).lag) == 407
    assert len(window_offsets(()).lag) == 0


def test_what_contradicts_itself_is_refused() -> None:
    p = problem()
    query, keys, values, positions = p[:4]
    with pytest.raises(ValueError, match="one radius a key frame"):
        sparse_attention(query, keys, values, positions, radii=(1,), heads=2)
    with pytest.raises(ValueError, match="heads must divide"):
        sparse_attention(query, keys, values, positions, radii=(1, 3), heads=3)
    with pytest.raises(ValueError, match="keys must be maps"):
        sparse_attention(
            query, [keys[0], keys[1][..., 1:]], values, positions, radii=(1, 3), heads=2
        )
    with pytest.raises(ValueError, match="keys must be maps"):
        sparse_attention(query[:1], keys, values, positions[:1], radii=(1, 3), heads=2)
    with pytest.raises(ValueError, match="values must have the shapes of keys"):
        sparse_attention(
            query, keys, [v[..., 1:] for v in values], positions, radii=(1, 3), heads=2
        )
    with pytest.raises(ValueError):  # noqa: PT011
        sparse_attention(query, keys, values[:1], positions, radii=(1, 3), heads=2)
    with pytest.raises(ValueError, match="without gradients"):
        _attend(p._replace(query=query.requires_grad_()), "cpu")
