"""Timing of acts that take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

Act = Callable[[], object]


def median_ms(acts: Sequence[Act], *, repeats: int, warm_up: int = 1) -> list[float]:
    """Median milliseconds of each act, over `repeats` rounds after `warm_up` that do not count.

    A round does each act once: where the machine slows down, it slows all of them, and what is
    compared stays fair.
    """
    taken = [[_milliseconds(act) for act in acts] for _ in range(warm_up + repeats)]
    return [float(median) for median in np.median(taken[warm_up:], 0)]


def _milliseconds(act: Act) -> float:
    begun = perf_counter()
    act()
    return 1000 * (perf_counter() - begun)
