"""Attention that is to do without something, against dense attention that really lacks it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stt_core.config import FrameConfig
from stt_core.model.attention.ops import (
    NOTHING_MUTED,
    Ablation,
    attention_weights,
    sparse_attention,
)
from stt_core.model.backends import Backend
from stt_core.model.stt import Stt
from stt_core.model.video import Encoded
from tests.core.dense import Attended, Problem, dense_attention, problem
from tests.core.models import checkpoint, lite_config, pspnet_config, stt_config

BACKENDS: tuple[Backend, ...] = ("reference", "tiled", "cpu", "auto")
SIZE = (5, 9)
RADII = (1, 0, 3)
HEADS = 4


def _problem(seed: int = 0) -> Problem:
    return problem(size=SIZE, radii=RADII, heads=HEADS, width=6, queries=45, seed=seed)


def _attend(p: Problem, ablation: Ablation, backend: Backend = "auto") -> Tensor:
    return sparse_attention(
        *p[:4], radii=p.radii, heads=p.heads, ablation=ablation, backend=backend
    )


def _weights(p: Problem, ablation: Ablation) -> Tensor:
    return attention_weights(
        p.query, p.keys, p.positions, radii=p.radii, heads=p.heads, ablation=ablation
    )


def _dense(p: Problem, ablation: Ablation) -> Attended:
    """Columns of muted keys masked, channels of muted heads zeroed."""
    rows, cols = p.keys[0].shape[2:]
    columns = set(ablation.keys) | {
        (f, y, x) for f in ablation.frames for y in range(rows) for x in range(cols)
    }
    values, weights = dense_attention(*p[:4], radii=p.radii, heads=p.heads, muted=columns)
    width = values.shape[2] // p.heads
    for head in ablation.heads:
        values[..., head * width : (head + 1) * width] = 0
        weights[:, head] = 0
    return Attended(values, weights)


def _check(p: Problem, ablation: Ablation, backend: Backend = "auto") -> None:
    values, weights = _dense(p, ablation)
    got = _attend(p, ablation, backend)
    torch.testing.assert_close(got.double(), values, rtol=1e-5, atol=1e-5)
    maps = _weights(p, ablation)
    torch.testing.assert_close(maps.double(), weights, rtol=1e-5, atol=1e-5)
    stacked = torch.stack(p.values, 2).unflatten(1, (p.heads, -1))  # [B, H, D, F, h, w]
    mixed = torch.einsum("bhqfyx,bhdfyx->bqhd", maps, stacked).flatten(2)
    torch.testing.assert_close(got, mixed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "ablation",
    [
        Ablation(heads=frozenset({2})),
        Ablation(heads=frozenset({0, 1, 3})),
        Ablation(frames=frozenset({0})),
        Ablation(frames=frozenset({1})),
        Ablation(frames=frozenset({0, 2})),
        Ablation(keys=frozenset({(0, 0, 0)})),
        Ablation(keys=frozenset({(2, 4, 8), (2, 0, 8), (1, 2, 3)})),
        Ablation(frozenset({1}), frozenset({2}), frozenset({(0, 3, 3), (2, 1, 1)})),
        Ablation(frozenset({0}), frozenset({0}), frozenset({(1, 3, 3), (2, 2, 2)})),
    ],
    ids=repr,
)
def test_what_is_muted_is_not_there(ablation: Ablation, backend: Backend) -> None:
    _check(_problem(), ablation, backend)


@given(
    heads=st.frozensets(st.integers(0, HEADS - 1)),
    frames=st.frozensets(st.integers(0, 2)),
    keys=st.frozensets(
        st.tuples(st.integers(0, 2), st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1)),
        max_size=60,
    ),
    seed=st.integers(0, 100),
)
@settings(max_examples=20, deadline=None)
def test_whatever_is_muted_is_not_there(
    heads: frozenset[int],
    frames: frozenset[int],
    keys: frozenset[tuple[int, int, int]],
    seed: int,
) -> None:
    _check(_problem(seed), Ablation(heads, frames, keys))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "ablation",
    [
        Ablation(heads=frozenset(range(HEADS))),
        Ablation(frames=frozenset(range(3))),
        Ablation(
            keys=frozenset(
                (f, y, x) for f in range(3) for y in range(SIZE[0]) for x in range(SIZE[1])
            )
        ),
        Ablation(
            frames=frozenset({0, 2}),
            keys=frozenset((1, y, x) for y in range(SIZE[0]) for x in range(SIZE[1])),
        ),
    ],
    ids=["heads", "frames", "keys", "frames and keys"],
)
def test_with_everything_muted_the_context_is_zero(ablation: Ablation, backend: Backend) -> None:
    p = _problem()
    assert torch.equal(_attend(p, ablation, backend), torch.zeros_like(p.query))
    assert not _weights(p, ablation).any()


def test_a_query_that_loses_its_whole_window_reads_zero_and_the_others_read_on() -> None:
    p = problem(size=SIZE, radii=(1,), heads=2, batch=1, queries=45)
    window = frozenset((0, y, x) for y in (1, 2, 3) for x in (3, 4, 5))
    ablation = Ablation(keys=window)
    _check(p, ablation)
    lost = p.positions[0] == 2 * SIZE[1] + 4
    out = _attend(p, ablation)[0]
    assert not out[lost].any()
    assert out[~lost].any(1).all()


def test_what_is_not_there_cannot_be_muted() -> None:
    """Frames that are not in the memory yet, places beyond the map."""
    p = _problem()
    beyond = frozenset({(0, 0, SIZE[1]), (0, SIZE[0], 0), (1, 2, -1), (3, 0, 0), (8, 2, 2)})
    ablation = Ablation(frames=frozenset({3, 8}), keys=beyond)
    everything = _attend(p, NOTHING_MUTED, "reference")
    assert torch.equal(_attend(p, ablation, "reference"), everything)
    assert torch.equal(_weights(p, ablation), _weights(p, NOTHING_MUTED))


# of the whole model

GRID = (6, 8)  # of the map the block works on, whatever the model


def _model(frame: FrameConfig, **changes: object) -> Stt:
    made = checkpoint(stt_config(frame, key_frames=3, **changes)).model
    assert isinstance(made, Stt)
    if made.config.insert == "backbone":  # it starts without effect
        torch.nn.init.normal_(made.expand.weight, std=0.3)
    return made.double()


MODELS = [
    (pspnet_config(), "bottleneck"),
    (pspnet_config(), "backbone"),
    (lite_config(), "bottleneck"),
    (lite_config(), "backbone"),
]


@pytest.fixture(scope="module", params=MODELS, ids=lambda p: f"{p[0].kind}-{p[1]}")
def scene(request: pytest.FixtureRequest) -> tuple[Stt, Encoded, list[Encoded]]:
    """A model, a frame and its key frames."""
    frame, insert = request.param
    model = _model(frame, insert=insert)
    stride = 16 if frame.kind == "lite0" and insert == "backbone" else 8
    size = (GRID[0] * stride, GRID[1] * stride)
    clip = torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        encoded = model.encode(clip)
    return model, encoded.one(3), [encoded.one(i) for i in (2, 1, 0)]


ABLATIONS = [
    NOTHING_MUTED,
    Ablation(heads=frozenset({1})),
    Ablation(frames=frozenset({0})),
    Ablation(keys=frozenset({(0, 2, 2), (1, 3, 3), (2, 0, 0), (2, 5, 7)})),
    Ablation(frozenset({0, 3}), frozenset({1}), frozenset({(0, 2, 2)})),
    Ablation(frames=frozenset({0, 1, 2})),
]


def _by_hand(
    model: Stt, current: Encoded, memory: list[Encoded], asking: Tensor, ablation: Ablation
) -> Tensor:
    """Logits: all positions through the block, and of these the `asking` ones taken."""
    block, head, features = model.stt, model.frame.cls, current.features
    if model.config.insert == "backbone":
        features = model.reduce(features)
    rows = features.flatten(2).mT
    p = Problem(
        block.q_proj(rows),
        [m.key for m in memory if m.key is not None],
        [m.value for m in memory if m.value is not None],
        torch.arange(GRID[0] * GRID[1])[None],
        model.config.radii,
        model.config.heads,
    )
    y = block.norm1(rows + block.o_proj(_dense(p, ablation).values))
    refined = block.norm2(rows)
    refined[:, asking] = block.norm2(y + block.ffn(y))[:, asking]
    refined = refined.mT.unflatten(2, GRID)
    if model.config.insert == "backbone":
        deep = current.features + model.expand(refined)
        pyramid = model.frame.trunk.ppm(deep)  # type: ignore[operator]
        if current.shallow is not None:
            size = current.shallow.shape[2:]
            pyramid = torch.nn.functional.interpolate(pyramid, size, mode="bilinear")
            pyramid = torch.cat([pyramid, current.shallow], 1)
        refined = head[2](head[1](head[0](pyramid)))
    return head[4](refined)


@pytest.mark.parametrize("ablation", ABLATIONS, ids=repr)
@torch.no_grad()
def test_a_frame_without_it_is_as_if_it_were_not_there(
    scene: tuple[Stt, Encoded, list[Encoded]], ablation: Ablation
) -> None:
    model, current, memory = scene
    decoded = model.decode_without(current, memory, ablation)
    assert torch.equal(decoded.queries, model.decode(current, memory).queries)
    expected = _by_hand(model, current, memory, decoded.queries[0], ablation)
    torch.testing.assert_close(decoded.logits, expected)


@torch.no_grad()
def test_without_anything_muted_it_is_the_frame_itself(
    scene: tuple[Stt, Encoded, list[Encoded]],
) -> None:
    model, current, memory = scene
    whole = model.decode(current, memory)
    assert torch.equal(model.decode_without(current, memory, NOTHING_MUTED).logits, whole.logits)
    less = model.decode_without(current, memory, Ablation(frames=frozenset({0})))
    assert not torch.equal(less.logits, whole.logits)
    assert torch.equal(less.need, whole.need)


@pytest.mark.parametrize("ablation", ABLATIONS, ids=repr)
@torch.no_grad()
def test_focus_is_that_place_of_the_frame_without_it(
    scene: tuple[Stt, Encoded, list[Encoded]], ablation: Ablation
) -> None:
    model, current, memory = scene
    decoded = model.decode_without(current, memory, ablation)
    finer = decoded.logits.shape[2] // GRID[0]
    for position in decoded.queries[0, [0, 11, -1]].tolist():
        focus = model.focus(current, memory, position, ablation)
        row, col = divmod(position, GRID[1])
        expected = decoded.logits[0, :, row * finer, col * finer]
        torch.testing.assert_close(focus.logits, expected)
        assert focus.weights.shape == (4, 3, *GRID)
        heard = torch.ones(4).double()
        if len(ablation.frames) == 3:
            heard[:] = 0
        heard[sorted(ablation.heads)] = 0
        torch.testing.assert_close(focus.weights.sum((1, 2, 3)), heard)
        for lag in ablation.frames:
            assert not focus.weights[:, lag].any()
        for lag, y, x in ablation.keys:
            assert not focus.weights[:, lag, y, x].any()


@pytest.mark.parametrize("ablation", [NOTHING_MUTED, Ablation(frames=frozenset({0}))], ids=repr)
@torch.no_grad()
def test_focus_answers_for_a_position_that_was_not_selected(
    scene: tuple[Stt, Encoded, list[Encoded]], ablation: Ablation
) -> None:
    """As if it had been, besides the others."""
    model, current, memory = scene
    queries = model.decode(current, memory).queries[0]
    position = min(set(range(GRID[0] * GRID[1])) - set(queries.tolist()))
    focus = model.focus(current, memory, position, ablation)
    torch.testing.assert_close(focus.weights.sum((1, 2, 3)), torch.ones(4).double())
    asking = torch.cat([queries, torch.tensor([position])])
    whole = _by_hand(model, current, memory, asking, ablation)
    finer = whole.shape[2] // GRID[0]
    row, col = divmod(position, GRID[1])
    torch.testing.assert_close(focus.logits, whole[0, :, row * finer, col * finer])
