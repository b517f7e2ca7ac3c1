"""How each head looks: how far, how sharply, and at what."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Reading, Steps
from stt_core.inspection.answers import HeadCard, HeadCards
from stt_core.inspection.asking import class_maps, weights_of
from stt_core.inspection.places import key_offsets

DEFAULT_QUERIES = 64


def head_cards(
    engine: Engine,
    frames: Iterable[int],
    *,
    queries: int = DEFAULT_QUERIES,
    seed: int = 0,
) -> Steps[HeadCards]:
    """Measure every head over a sample of selected queries.

    Args:
        engine: what computes.
        frames: whose queries.
        queries: drawn from each frame without repetition, or all if they are fewer; by a seed that
            `seed` and the frame's index alone determine.
        seed: at least 0.

    Raises:
        IndexError: a frame is not in the medium.
        ValueError: `queries` is below 1, or `seed` below 0.
        CheckpointError: the model has no sparse temporal attention.
    """
    if queries < 1 or seed < 0:
        raise ValueError(f"queries must be at least 1, seed 0, got {queries=} {seed=}")
    engine.network.examine(lambda model: None)
    wanted = tuple(sorted(set(frames)))
    parts = []
    for frame in wanted:
        reading = yield from engine.reading_steps(frame)
        selected = reading.decoded.queries[0].cpu().numpy().astype(np.intp)
        if not len(selected):
            continue
        rng = np.random.default_rng([seed, frame])
        chosen = rng.choice(selected, min(queries, len(selected)), replace=False)
        weights = yield from weights_of(engine, reading, chosen)
        classes = yield from class_maps(engine, (*reading.frames, frame))
        parts.append(_measure(engine, reading, chosen, weights, classes))
    heads = engine.network.reach.heads
    found = np.concatenate(parts, 1) if parts else np.zeros((5, 0, heads))
    means = found.mean(1) if found.shape[1] else np.full((5, heads), math.nan)
    cards = tuple(HeadCard(head, *means[:, head].tolist()) for head in range(heads))
    return HeadCards(wanted, found.shape[1], seed, cards)


def _measure(
    engine: Engine,
    reading: Reading,
    positions: NDArray[np.intp],
    weights: NDArray[np.float32],
    classes: dict[int, NDArray[np.uint8]],
) -> NDArray[np.float64]:
    """``[5, Q, heads]`` of the values of a card, of queries with `weights` ``[Q, heads, K]``."""
    grid, size = reading.current.size, reading.size
    lag, down, right = key_offsets(engine.network.reach.radii[: len(reading.frames)]).T
    ages = np.array([reading.frame.index - frame for frame in reading.frames])[lag]
    far = np.hypot(down * size[0] / grid[0], right * size[1] / grid[1])
    y, x = np.divmod(positions, grid[1])
    rows, cols = y[:, None] + down, x[:, None] + right  # [Q, K]
    inside = (rows >= 0) & (rows < grid[0]) & (cols >= 0) & (cols < grid[1])
    maps = np.stack([classes[frame] for frame in reading.frames])
    theirs = maps[lag, rows.clip(0, grid[0] - 1), cols.clip(0, grid[1] - 1)]
    own = classes[reading.frame.index][y, x]
    alike = (theirs == own[:, None]) & inside
    w = weights.astype(np.float64)
    entropy = -(w * np.log(np.where(w > 0, w, 1))).sum(2)
    even = np.log(inside.sum(1))[:, None]
    share = np.where(even > 0, entropy / np.where(even > 0, even, 1), 1.0)  # a single key is even
    same = np.einsum("qhk,qk->qh", w, alike)
    return np.stack([w @ ages, w @ far, entropy, share, same])
