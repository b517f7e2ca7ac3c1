"""What to label next, and why: frames, or regions in them.

Suggestions come in the order of their worth. None is nearer than a gap to a labelled frame or to
another suggestion, unless nothing else is left. The same table gives the same suggestions, in
whatever order its rows are: of equals the earlier frame, then the upper and the left region, wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.checks import Box
from stt_core.labelling.facts import Column, Facts
from stt_core.labelling.ranking import WAYS, By, distance, rank


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A frame, or a region of one, to label next."""

    frame: int
    box: Box | None
    """Of the region; None for the whole frame."""
    why: str
    """A short sentence for the person."""
    row: int
    """Of the table."""


def suggest(
    facts: Facts,
    by: By,
    count: int,
    labelled: Collection[int] = (),
    *,
    gap: int = 5,
    class_names: Sequence[str] = (),
) -> tuple[Suggestion, ...]:
    """Choose what to label next.

    Args:
        facts: what is known; the frames of the table are what can be suggested.
        by: which way to choose; see :mod:`stt_core.labelling.ranking`.
        count: how many suggestions; fewer where there are no more rows.
        labelled: frames that are labelled already: never suggested, nor any region of theirs.
        gap: frames. Suggestions are that far apart and from the labelled frames; regions of near
            frames may both be suggested where their boxes do not meet. 0 and 1 ask for nothing.
        class_names: for the sentences; a class without one is called by its number.

    Returns:
        The most worthy first; of `rare` and `diverse`, each given those before it.

    Raises:
        LabellingError: what `by` needs is not in the table.
        ValueError: another `by`, or a count or gap below 0.
    """
    if by not in WAYS:
        raise ValueError(f"the ways to choose are {', '.join(WAYS)}, got {by=}")
    if count < 0 or gap < 0:
        raise ValueError(f"count and gap must be 0 or more, got {count=} {gap=}")
    if not len(facts):
        return ()
    order = _order(facts)
    table = _rows(facts, order)
    done = np.array(sorted(set(labelled)), np.int64)
    ranked = rank(table, by, count, done, class_names)
    chosen: list[int] = []
    found = []
    for row in _choices(table, done, gap, ranked.worth, chosen):
        if len(chosen) >= count:
            break
        box = None if table.boxes is None else _box(table.boxes[row])
        why = ranked.why(row, chosen)
        found.append(Suggestion(int(table.frames[row]), box, why, int(order[row])))
        chosen.append(row)
    return tuple(found)


def _order(facts: Facts) -> NDArray[np.int64]:
    """Rows by frame, then by box."""
    keys = [facts.frames] if facts.boxes is None else [*facts.boxes.T[::-1], facts.frames]
    return np.lexsort(keys).astype(np.int64)


def _rows(facts: Facts, order: NDArray[np.int64]) -> Facts:
    """The table with its rows in that order."""
    columns: dict[str, Any] = {}
    for field in fields(facts):
        column = getattr(facts, field.name)
        columns[field.name] = None if column is None else column[order]
    return Facts(**columns)


def _choices(
    facts: Facts,
    done: NDArray[np.int64],
    gap: int,
    worth: Callable[[list[int]], Column],
    chosen: list[int],
) -> Iterator[int]:
    """One row after the other; the caller adds to `chosen` those it takes."""
    left = ~np.isin(facts.frames, done)
    free = left & (distance(facts.frames, done) >= gap)
    while left.any():
        candidates = np.flatnonzero(free if free.any() else left)
        values = np.nan_to_num(worth(chosen)[candidates], nan=-np.inf, posinf=np.inf)
        row = int(candidates[values.argmax()])
        yield row
        left[row] = False
        free &= left & ~_near(facts, row, gap)


def _near(facts: Facts, row: int, gap: int) -> NDArray[np.bool_]:
    """Which rows are too near to this one for both to be suggested."""
    near = np.abs(facts.frames - facts.frames[row]) < gap
    if facts.boxes is not None:
        y0, x0, y1, x1 = facts.boxes.T
        top, left, bottom, right = facts.boxes[row]
        near &= (y0 < bottom) & (top < y1) & (x0 < right) & (left < x1)
    return near


def _box(row: NDArray[np.int64]) -> Box:
    y0, x0, y1, x1 = (int(value) for value in row)
    return y0, x0, y1, x1
