"""Sparse attention in all its forms against masked dense attention written out in plain torch."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from stt_core.model.attention import reference
from stt_core.model.attention.ops import Backend, attention_weights, sparse_attention
from stt_core.model.attention.windows import window_offsets

SIZE = (5, 6)
HEADS = 3
BACKENDS: tuple[Backend, ...] = ("gather", "banded", "auto")


class Problem(NamedTuple):
    query: Tensor  # [B, Q, C]
    key: Tensor  # [B, F, N, C]
    value: Tensor
    positions: Tensor  # [B, Q]
    radii: tuple[int, ...]


def _problem(radii: tuple[int, ...]) -> Problem:
    """Queries at corners, edges and inside, so that windows leave the map."""
    g = torch.Generator().manual_seed(0)
    n = SIZE[0] * SIZE[1]
    query = torch.randn(2, 4, 24, generator=g, dtype=torch.float64)
    key = torch.randn(2, len(radii), n, 24, generator=g, dtype=torch.float64)
    value = torch.randn(2, len(radii), n, 24, generator=g, dtype=torch.float64)
    return Problem(query, key, value, torch.tensor([[0, 5, 14, 29], [3, 8, 20, 24]]), radii)


def _dense(p: Problem) -> tuple[Tensor, Tensor]:
    """Values [B, Q, C] and weights [B, H, Q, F * N], one query and one head at a time."""
    rows, cols = SIZE
    batch, queries, channels = p.query.shape
    width = channels // HEADS
    values = torch.zeros_like(p.query)
    weights = p.query.new_zeros(batch, HEADS, queries, len(p.radii) * rows * cols)
    for b in range(batch):
        for q in range(queries):
            row, col = divmod(int(p.positions[b, q]), cols)
            allowed = torch.tensor(
                [
                    max(abs(y - row), abs(x - col)) <= radius
                    for radius in p.radii
                    for y in range(rows)
                    for x in range(cols)
                ]
            )
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                k = p.key[b, :, :, part].flatten(0, 1)
                score = k @ p.query[b, q, part] / width**0.5
                w = score.masked_fill(~allowed, -torch.inf).softmax(0)
                weights[b, h, q] = w
                values[b, q, part] = w @ p.value[b, :, :, part].flatten(0, 1)
    return values, weights


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("radii", [(0,), (1,), (1, 2, 4), (1, 2, 3, 4, 4, 4, 4)])
def test_sparse_attention_matches_masked_dense(radii: tuple[int, ...], backend: Backend) -> None:
    p = _problem(radii)
    sparse = sparse_attention(*p[:4], size=SIZE, radii=radii, heads=HEADS, backend=backend)
    torch.testing.assert_close(sparse, _dense(p)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_match_masked_dense(backend: Backend) -> None:
    p = _problem((1, 2))
    inputs = [t.requires_grad_() for t in p[:3]]
    sparse = sparse_attention(
        *inputs, p.positions, size=SIZE, radii=p.radii, heads=HEADS, backend=backend
    )
    expected = torch.autograd.grad(_dense(p)[0].square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(sparse.square().sum(), inputs), expected)


@pytest.mark.parametrize("budget", [1, 5_000, 1 << 30])
def test_the_chunk_does_not_matter(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    p = _problem((1, 2, 4))
    monkeypatch.setattr(reference, "CHUNK_BYTES", budget)
    got = sparse_attention(*p[:4], size=SIZE, radii=p.radii, heads=HEADS, backend="gather")
    torch.testing.assert_close(got, _dense(p)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_unsorted_positions_keep_their_places(backend: Backend) -> None:
    p = _problem((1, 2))
    order = torch.tensor([2, 0, 3, 1])
    options = {"size": SIZE, "radii": p.radii, "heads": HEADS, "backend": backend}
    sorted_out = sparse_attention(*p[:4], **options)  # type: ignore[arg-type]
    mixed = sparse_attention(p.query[:, order], p.key, p.value, p.positions[:, order], **options)  # type: ignore[arg-type]
    torch.testing.assert_close(mixed, sorted_out[:, order])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lies_outside_the_map_is_never_read(backend: Backend) -> None:
    """A map padded with noise gives the same answer where the windows stay in its middle."""
    p = _problem((1, 2))
    rows, cols, pad = *SIZE, 4
    wide = (rows + 2 * pad, cols + 2 * pad)

    def padded(memory: Tensor) -> Tensor:
        noise = torch.randn(2, 2, *wide, 24, dtype=torch.float64) * 100
        noise[:, :, pad : pad + rows, pad : pad + cols] = memory.unflatten(2, SIZE)
        return noise.flatten(2, 3)

    inner = torch.tensor([[14, 15, 14, 15], [15, 14, 15, 14]])  # two rows and columns from any edge
    moved = (inner // cols + pad) * wide[1] + inner % cols + pad
    bare = sparse_attention(
        p.query, p.key, p.value, inner, size=SIZE, radii=p.radii, heads=HEADS, backend=backend
    )
    within = sparse_attention(
        p.query,
        padded(p.key),
        padded(p.value),
        moved,
        size=wide,
        radii=p.radii,
        heads=HEADS,
        backend=backend,
    )
    torch.testing.assert_close(within, bare)


def test_weights_are_those_that_made_the_values() -> None:
    p = _problem((1, 2, 4))
    maps = attention_weights(p.query, p.key, p.positions, size=SIZE, radii=p.radii, heads=HEADS)
    assert maps.shape == (2, HEADS, 4, 3, *SIZE)
    torch.testing.assert_close(maps.flatten(3), _dense(p)[1])
    torch.testing.assert_close(maps.sum((3, 4, 5)), torch.ones(2, HEADS, 4, dtype=torch.float64))


def test_the_supplement_has_407_keys() -> None:
    offsets = window_offsets((1, 2, 3, 4, 4, 4, 4))
    assert len(offsets.lag) == 407
    assert len(window_offsets(()).lag) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_query_gives_nothing(backend: Backend) -> None:
    p = _problem((1,))
    none = torch.zeros(2, 0, dtype=torch.long)
    out = sparse_attention(
        p.query[:, :0], p.key, p.value, none, size=SIZE, radii=(1,), heads=HEADS, backend=backend
    )
    assert out.shape == (2, 0, 24)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bf16_stays_near_float64(backend: Backend) -> None:
    p = _problem((1, 2, 4))
    low = [t.bfloat16() for t in p[:3]]
    out = sparse_attention(
        *low, p.positions, size=SIZE, radii=p.radii, heads=HEADS, backend=backend
    )
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), _dense(p)[0], rtol=0.05, atol=0.05)


def test_a_wrong_memory_is_refused() -> None:
    p = _problem((1, 2))
    with pytest.raises(ValueError, match="one radius a key frame"):
        sparse_attention(*p[:4], size=SIZE, radii=(1,), heads=HEADS)
    with pytest.raises(ValueError, match="key and value must be"):
        sparse_attention(*p[:4], size=(5, 5), radii=(1, 2), heads=HEADS)
