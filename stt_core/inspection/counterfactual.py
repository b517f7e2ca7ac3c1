"""What would be predicted if something were muted, or another frame read."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Steps
from stt_core.inspection.answers import (
    Counterfactual,
    SingleAblation,
    SingleAblations,
    WholeFrame,
)
from stt_core.inspection.asking import ask, swap
from stt_core.inspection.change import NO_CHANGE, Change
from stt_core.inspection.decoding import decode_changed
from stt_core.inspection.places import Place, spread
from stt_core.inspection.probing import Probe


def counterfactual(
    engine: Engine, place: Place, change: Change, *, force: bool = False
) -> Steps[Counterfactual]:
    """The class probabilities at a query as they are, and as they were under `change`.

    The query alone reads otherwise; :func:`whole_frame` lets every one do so.

    Args:
        engine: what computes.
        place: the query.
        change: what to mute or swap.
        force: let the position attend even if it was not selected.

    Raises:
        IndexError: the place, or a frame to swap in, is not there.
        ValueError: the change names a head that is not there.
        CheckpointError: the model has no sparse temporal attention.
    """
    asked = yield from ask(engine, place, force=force)
    heads = engine.network.reach.heads
    change.check_heads(heads)
    memory = yield from swap(engine, asked.reading, change)
    if not asked.query.attends:
        nothing = np.zeros((heads, 0, *asked.grid), np.float32)
        same = asked.probabilities()
        return Counterfactual(asked.query, change, (), same, same, nothing)
    frames, window = asked.query.frames, asked.window
    whole, heard = NO_CHANGE.heard(window, heads)[None], change.heard(window, heads)[None]
    probe = asked.probe(engine.network)
    if change.swaps:
        before = probe.probabilities(whole)[0]
        yield
        probe = asked.probe(engine.network, memory)
        after = probe.probabilities(heard)[0]
    else:
        before, after = probe.probabilities(np.concatenate([whole, heard]))
    weights = spread(probe.weights(heard)[0], window, len(frames), asked.grid)
    return Counterfactual(asked.query, change, change.swapped(frames), before, after, weights)


def all_single_ablations(
    engine: Engine, place: Place, *, force: bool = False
) -> Steps[SingleAblations]:
    """Mute each head, each key frame, and for each head each key frame, one at a time.

    Raises:
        IndexError: the place is not there.
        CheckpointError: the model has no sparse temporal attention.
    """
    asked = yield from ask(engine, place, force=force)
    if not asked.query.attends:
        return SingleAblations(asked.query, asked.probabilities(), ())
    heads, lags = range(engine.network.reach.heads), range(len(asked.query.frames))
    muted: list[tuple[int | None, int | None]] = [
        *((head, None) for head in heads),
        *((None, lag) for lag in lags),
        *product(heads, lags),
    ]
    ways = [NO_CHANGE, *(_without(head, lag) for head, lag in muted)]
    heard = np.stack([way.heard(asked.window, len(heads)) for way in ways])
    found = yield from try_all(engine, asked.probe(engine.network), heard)
    before, winner = found[0], int(found[0].argmax())
    rows = [
        SingleAblation(head, lag, float(after[winner] - before[winner]), int(after.argmax()))
        for (head, lag), after in zip(muted, found[1:], strict=True)
    ]
    rows.sort(key=lambda row: row.change)
    return SingleAblations(asked.query, before, tuple(rows))


def whole_frame(engine: Engine, frame: int, change: Change) -> Steps[WholeFrame]:
    """The label map where every selected query of a frame reads as `change` says.

    Who is selected stays as it is. Without single keys or boxes it takes as long as decoding does;
    queries that reach one of those keys take longer.

    Raises:
        IndexError: the frame, or one to swap in, is not there.
        ValueError: the change names a head that is not there.
        CheckpointError: the model has no sparse temporal attention.
    """
    engine.network.examine(lambda model: None)
    change.check_heads(engine.network.reach.heads)
    reading = yield from engine.reading_steps(frame)
    memory = yield from swap(engine, reading, change)
    before = engine.network.finish(reading.decoded, reading.size).labels
    yield
    if not memory:
        return WholeFrame(frame, change, before, before, np.zeros(before.shape, np.bool_))
    queries = reading.decoded.queries
    decoded = yield from decode_changed(engine.network, reading.current, memory, queries, change)
    yield
    labels = engine.network.finish(decoded, reading.size).labels
    return WholeFrame(frame, change, before, labels, labels != before)


def try_all(engine: Engine, probe: Probe, heard: NDArray[np.bool_]) -> Steps[NDArray[np.float32]]:
    """Probabilities ``[A, C]`` under every one of `heard` ``[A, heads, K]``."""
    # behind the backbone each of them decodes the frame
    at_once = 64 if engine.network.examine(lambda m: m.config.insert == "bottleneck") else 1
    found = []
    for start in range(0, len(heard), at_once):
        found.append(probe.probabilities(heard[start : start + at_once]))
        yield
    return np.concatenate(found)


def _without(head: int | None, lag: int | None) -> Change:
    if head is not None and lag is not None:
        return Change(pairs=frozenset({(head, lag)}))
    heads = frozenset() if head is None else frozenset({head})
    return Change(heads=heads, frames=frozenset() if lag is None else frozenset({lag}))
