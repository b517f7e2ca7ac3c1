"""Frames named SEQ_FRAME: which of them follow each other, and which are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from stt_core.data.files import FrameFiles
from stt_core.data.spec import Spec
from stt_core.errors import Problem

_NAME = re.compile(r"(.+)_f?(\d+)", re.ASCII)
_SELECTION = re.compile(r"([^:]+)(?::(\d+)-(\d+))?", re.ASCII)
_SHORTER = 15
"""A step may be shorter than usual by one part in this: CamVid has one of 29 among its 30s."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A frame with its place in a drive."""

    drive: str
    number: int
    files: FrameFiles


@dataclass(frozen=True, slots=True)
class Drive:
    """Frames of one drive at a steady step."""

    frames: tuple[Numbered, ...]
    step: int
    """Between frame numbers; that of video, 1, where there is only one frame."""

    @property
    def first(self) -> int:
        return self.frames[0].number

    @property
    def last(self) -> int:
        return self.frames[-1].number

    @property
    def name(self) -> str:
        """As a selection names it: SEQ:FIRST-LAST."""
        return f"{self.frames[0].drive}:{self.first}-{self.last}"

    @property
    def files(self) -> tuple[FrameFiles, ...]:
        return tuple(frame.files for frame in self.frames)


@dataclass(frozen=True, slots=True)
class Selection:
    """Frames of one drive; all of them where there are no bounds."""

    drive: str
    first: int | None = None
    last: int | None = None

    def __contains__(self, frame: Numbered) -> bool:
        if frame.drive != self.drive:
            return False
        return self.first is None or self.last is None or self.first <= frame.number <= self.last

    def __str__(self) -> str:
        return self.drive if self.first is None else f"{self.drive}:{self.first}-{self.last}"


def numbered(frames: Iterable[FrameFiles]) -> tuple[list[Numbered], list[Problem]]:
    """Frames by drive and number, and those whose name does not tell."""
    found: dict[tuple[str, int], Numbered] = {}
    problems = []
    for files in frames:
        match = _NAME.fullmatch(files.name)
        if not match:
            what = "is not named SEQ_FRAME, so that nobody can tell what it follows"
            problems.append(Problem(files.image, what))
            continue
        place = (match[1], int(match[2]))
        if place in found:
            what = f"is the same frame as {found[place].files.image}: take one of them out"
            problems.append(Problem(files.image, what))
        found[place] = Numbered(*place, files)
    return [found[place] for place in sorted(found)], problems


def cut_into_runs(frames: Sequence[Numbered]) -> list[Drive]:
    """Cut drives wherever the step is not the usual one, which the next three steps tell.

    Args:
        frames: by drive and number, rising.
    """
    runs: list[Drive] = []
    start = 0
    while start < len(frames):
        same = [f for f in frames[start : start + 4] if f.drive == frames[start].drive]
        steps = [b.number - a.number for a, b in pairwise(same)]
        usual = median_low(steps) if steps else 1
        end = start + 1
        while end < len(frames) and _continues(frames[end - 1], frames[end], usual):
            end += 1
        runs.append(Drive(tuple(frames[start:end]), usual if end > start + 1 else 1))
        start = end
    return runs


def parse_selection(spec: Spec, key: str) -> tuple[Selection, ...]:
    """The option `key`: SEQ or SEQ:FIRST-LAST, several joined by +; empty if it is not given.

    Raises:
        DataError: it says something else.
    """
    selections = []
    for part in spec.options[key].split("+") if key in spec.options else ():
        match = _SELECTION.fullmatch(part)
        if not match or (match[2] and int(match[2]) > int(match[3])):
            raise spec.error(f"{key} must be SEQ or SEQ:FIRST-LAST, joined by +, got '{part}'")
        first, last = (int(n) if n else None for n in match.groups()[1:])
        selections.append(Selection(match[1], first, last))
    return tuple(selections)


def _continues(before: Numbered, frame: Numbered, usual: int) -> bool:
    step = frame.number - before.number
    return before.drive == frame.drive and usual - usual // _SHORTER <= step <= usual
