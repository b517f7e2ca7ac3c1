"""How worth labelling a frame or a region is, by six ways.

- even: where the longest stretches without a label are, in equal parts.
- uncertain, flicker, disagree: the highest of that column.
- rare: a row's shares of all pixels of each class, summed; each class counts the less, the more of
  it lies in labelled and suggested rows.
- diverse: greedy k-centre (Gonzalez 1985; for labels Sener and Savarese 2018): always the row
  farthest from all that are labelled or suggested; where there are none, first the most typical.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stt_core.labelling.change import LabellingError
from stt_core.labelling.facts import Column, Facts

By = Literal["even", "uncertain", "flicker", "rare", "diverse", "disagree"]
WAYS: tuple[By, ...] = get_args(By)

_COLUMNS = {"uncertain": "uncertainty", "flicker": "flicker", "disagree": "disagreement"}
_MISSING = {
    "uncertain": ("how sure the model is of each frame", ""),
    "flicker": ("how much each frame flickers", ""),
    "rare": ("which classes are on which frame", ""),
    "diverse": ("what the frames look like to the model", "with its features kept "),
    "disagree": ("where two models disagree", "with a second model "),
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """How worthy the rows are, given what is labelled and suggested already."""

    worth: Callable[[list[int]], Column]
    """From the rows suggested so far to ``[n]``; NaN where it is not known."""
    why: Callable[[int, list[int]], str]
    """From a row and those suggested before it."""


def rank(facts: Facts, by: By, count: int, done: NDArray[np.int64], names: Sequence[str]) -> Ranked:
    """How worthy the rows of a table are.

    Args:
        facts: of one row at least.
        by: the way to choose.
        count: how many will be chosen.
        done: rising frames that are labelled.
        names: of the classes.

    Raises:
        LabellingError: what `by` needs is not in the table.
    """
    if by == "even":
        return _evenly(facts, count, done)
    if by == "rare":
        return _rarest(facts, done, names)
    if by == "diverse":
        return _farthest(facts, done)
    values = _needed(getattr(facts, _COLUMNS[by]), by)
    return Ranked(lambda _: values, lambda row, _: _sentence(by, facts, float(values[row])))


def distance(frames: NDArray[np.int64], done: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[n]`` frames from each to the nearest that is done; infinite where none is."""
    if not done.size:
        return np.full(len(frames), np.inf)
    at = done.searchsorted(frames)
    before = np.abs(frames - done[(at - 1).clip(0)])
    after = np.abs(frames - done[at.clip(max=len(done) - 1)])
    return np.minimum(before, after).astype(np.float64)


def _needed(column: NDArray[np.generic] | None, by: By) -> Column:
    if column is None:
        what, how = _MISSING[by]
        raise LabellingError(f"It is not known {what}. Predict the video {how}first.")
    return column.astype(np.float64)


def _sentence(by: By, facts: Facts, value: float) -> str:
    what = "region" if facts.boxes is not None else "frame"
    if np.isnan(value):
        return f"Nothing is known of this {what}, but nothing else is left."
    if by == "flicker":
        return f"{value:.1%} of it changes class without having moved."
    if by == "disagree":
        return f"The two models disagree on {value:.1%} of it."
    if facts.boxes is not None:
        return f"The model is as unsure here as if it knew nothing of {value:.0f} pixels."
    return f"The model is unsure here: {value:.2f} in the mean, where 1 is a mere guess."


def _evenly(facts: Facts, count: int, done: NDArray[np.int64]) -> Ranked:
    """Aim at equally spaced frames, in the longest stretches between labels first."""
    first, last = int(facts.frames.min()), int(facts.frames.max())
    aims = _even_frames(first, last, done, count)

    def worth(chosen: list[int]) -> Column:
        # where the aims are used up, whatever is farthest from all there is
        if len(chosen) < len(aims):
            return -np.abs(facts.frames - aims[len(chosen)])
        return distance(facts.frames, np.sort([*done, *facts.frames[chosen]]).astype(np.int64))

    def why(row: int, chosen: list[int]) -> str:
        near = np.sort([*done, *facts.frames[chosen]]).astype(np.int64)
        away = distance(facts.frames[[row]], near)[0]
        if np.isinf(away):
            return "No frame is labelled yet."
        return f"The nearest that is labelled or suggested is {_frames(int(away))} away."

    return Ranked(worth, why)


def _even_frames(first: int, last: int, done: NDArray[np.int64], count: int) -> list[float]:
    """Frames that cut the stretches between labels into parts, the longest part being shortest.

    A stretch at an end of the video is open there: of its last part only half is left.
    """
    inner = done[(done >= first) & (done <= last)].astype(np.float64)
    # A stretch as its length and, of each end, whether a label stands there.
    edges = [first - 0.5, *inner, last + 0.5]
    points = [0] * (len(edges) - 1)
    closed = [(i > 0) + (i < len(points) - 1) for i in range(len(points))]
    length = np.diff(edges)
    for _ in range(count):
        # m points and c labelled ends make m + c/2 parts, an open end being half a part
        parts = [n + c / 2 for n, c in zip(points, closed, strict=True)]
        longest = [size / p if p else np.inf for size, p in zip(length, parts, strict=True)]
        points[int(np.argmax(longest))] += 1
    found = []
    for i, n in enumerate(points):
        part = length[i] / max(n + closed[i] / 2, 0.5)
        start = edges[i] + (part if i > 0 else part / 2)
        found += [start + part * k for k in range(n)]
    return sorted(found)


def _rarest(facts: Facts, done: NDArray[np.int64], names: Sequence[str]) -> Ranked:
    pixels = _needed(facts.class_pixels, "rare")
    shares = pixels / np.maximum(pixels.sum(0), 1)
    known = np.isin(facts.frames, done)

    def parts(chosen: list[int]) -> Column:
        covered = shares[known].sum(0) + shares[chosen].sum(0)
        weighted: Column = shares / (1 + len(facts) * covered)
        return weighted

    def why(row: int, chosen: list[int]) -> str:
        if not pixels[row].any():
            return "No class is seen here, but nothing else is left."
        best = int(parts(chosen)[row].argmax())
        name = names[best] if best < len(names) else f"class {best}"
        return f"{shares[row, best]:.1%} of all pixels of {name} are here."

    return Ranked(lambda chosen: parts(chosen).sum(1), why)


def _farthest(facts: Facts, done: NDArray[np.int64]) -> Ranked:
    features = _needed(facts.features, "diverse")
    typical = -((features - features.mean(0)) ** 2).sum(1)
    nearest = np.full(len(facts), np.inf)
    for row in np.flatnonzero(np.isin(facts.frames, done)):
        nearest = np.minimum(nearest, ((features - features[row]) ** 2).sum(1))
    seen = 0

    def worth(chosen: list[int]) -> Column:
        nonlocal nearest, seen
        for row in chosen[seen:]:
            nearest = np.minimum(nearest, ((features - features[row]) ** 2).sum(1))
        seen = len(chosen)
        return typical if np.isinf(nearest).all() else nearest

    def why(row: int, chosen: list[int]) -> str:
        if np.isinf(nearest).all():
            return "It is the most typical of all."
        return "It looks least like what is labelled or suggested already."

    return Ranked(worth, why)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
