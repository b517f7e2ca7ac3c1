"""Whether attention explains: what the keys of greatest weight are worth, against any others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Steps
from stt_core.inspection.answers import Drops, Faithfulness
from stt_core.inspection.asking import ask
from stt_core.inspection.change import NO_CHANGE
from stt_core.inspection.counterfactual import try_all
from stt_core.inspection.places import Place

DEFAULT_KS = (1, 5, 20, 50)
DEFAULT_DRAWS = 10


def faithfulness(
    engine: Engine,
    place: Place,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    class_id: int | None = None,
    force: bool = False,
) -> Steps[Faithfulness]:
    """What a query's class loses without its k strongest keys, and without k random ones.

    Strength is the weight's mean over heads; of equals the newer frame's, then the upper left one
    comes first. Keys are muted for all heads. Random ones are drawn from all keys inside the map,
    the strongest included, by a seed that `seed` and k alone determine.

    Args:
        engine: what computes.
        place: the query.
        ks: how many keys to mute, each at least 1.
        draws: of random keys for each k, at least 1.
        seed: at least 0.
        class_id: whose probability counts; None: the class that wins with all keys.
        force: let the position attend even if it was not selected.

    Raises:
        IndexError: the place is not there.
        ValueError: a k, the draws, the seed or the class is out of range.
        CheckpointError: the model has no sparse temporal attention.
    """
    classes = len(engine.network.header.classes)
    if min(ks, default=1) < 1 or draws < 1 or seed < 0:
        raise ValueError(f"ks and draws must be at least 1, seed 0, got {ks=} {draws=} {seed=}")
    if class_id is not None and not 0 <= class_id < classes:
        raise ValueError(f"there are {classes} classes, 0 to {classes - 1}, got {class_id=}")
    asked = yield from ask(engine, place, force=force)
    if not asked.query.attends:
        before = asked.probabilities()
        target = int(before.argmax()) if class_id is None else class_id
        return Faithfulness(asked.query, target, float(before[target]), 0, seed, ())
    probe = asked.probe(engine.network)
    whole = NO_CHANGE.heard(asked.window, engine.network.reach.heads)
    strength = probe.weights(whole[None])[0].mean(0)  # [K]
    there = np.flatnonzero(asked.window.inside)
    ranked = there[np.argsort(-strength[there], kind="stable")]
    taken = [ranked[:k] for k in ks]
    for k in ks:
        rng = np.random.default_rng([seed, k])
        taken += [rng.choice(there, min(k, len(there)), replace=False) for _ in range(draws)]
    heard = np.stack([whole, *(_without(whole, keys) for keys in taken)])
    found = yield from try_all(engine, probe, heard)
    target = int(found[0].argmax()) if class_id is None else class_id
    lost = found[0, target] - found[1:, target]
    drops = tuple(
        Drops(
            k=k,
            muted=len(taken[i]),
            share=float(strength[taken[i]].sum()),
            top=float(lost[i]),
            random=tuple(lost[len(ks) + i * draws : len(ks) + (i + 1) * draws].tolist()),
        )
        for i, k in enumerate(ks)
    )
    before_it = float(found[0, target])
    return Faithfulness(asked.query, target, before_it, len(there), seed, drops)


def _without(heard: NDArray[np.bool_], keys: NDArray[np.intp]) -> NDArray[np.bool_]:
    left = heard.copy()
    left[:, keys] = False
    return left
