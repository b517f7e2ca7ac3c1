"""Which frame of a medium a label map made elsewhere belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stt_core.errors import ProjectError
from stt_core.formats.exchange import ReadFrame, number_in, plain_name
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project
from stt_core.workflow.opening import image_stems


@dataclass(frozen=True, slots=True)
class MatchedFrame:
    theirs: ReadFrame
    frame: int
    found_by: Literal["name", "number"]


@dataclass(frozen=True, slots=True)
class FrameMatch:
    """What of a set of label maps belongs to a medium."""

    frames: tuple[MatchedFrame, ...]
    """Rising."""
    unmatched: tuple[str, ...]
    """Names of maps that belong to no frame."""

    def by(self, found_by: Literal["name", "number"]) -> int:
        return sum(each.found_by == found_by for each in self.frames)


def match_frames(project: Project, entry: MediaEntry, theirs: Sequence[ReadFrame]) -> FrameMatch:
    """Match by the names of images, else by number.

    Where maps of several videos lie together, as :mod:`stt_core.workflow.exporting` writes them,
    those that are named after this one count alone.

    Raises:
        ProjectError: two maps belong to one frame, or none to any.
    """
    finder = _Finder(project, entry)
    own = [each for each in theirs if finder.is_named_after(each)]
    found, unmatched = [], []
    for each in theirs:
        match = finder.find(each) if not own or each in own else None
        if match is None:
            unmatched.append(each.name)
        else:
            found.append(match)
    twice = [frame for frame, count in Counter(m.frame for m in found).items() if count > 1]
    if twice:
        names = ", ".join(m.theirs.name for m in found if m.frame == twice[0])
        raise ProjectError(
            f"several maps belong to frame {twice[0]} of {entry.name}: {names}. Leave one of them."
        )
    if not found:
        raise ProjectError(
            f"none of the {len(theirs)} maps belongs to a frame of {entry.name}: they are called "
            f"{', '.join(unmatched[:3])}. Name them by frame number or, for images, by image."
        )
    return FrameMatch(tuple(sorted(found, key=lambda m: m.frame)), tuple(unmatched))


class _Finder:
    def __init__(self, project: Project, entry: MediaEntry) -> None:
        self._count = entry.frames
        self._prefix = f"{plain_name(Path(entry.name).stem)}_".casefold()
        self._video = entry.kind == "video"
        stems = image_stems(project, entry)
        self._by_name = _unique([stem.casefold() for stem in stems])
        self._by_number = _unique([number_in(stem) for stem in stems])

    def is_named_after(self, theirs: ReadFrame) -> bool:
        name = theirs.name.casefold()
        return self._video and name.startswith(self._prefix) and number_in(name) is not None

    def find(self, theirs: ReadFrame) -> MatchedFrame | None:
        place = self._by_name.get(theirs.name.casefold())
        if place is not None:
            return MatchedFrame(theirs, place, "name")
        number = theirs.index if theirs.index is not None else number_in(theirs.name)
        if number is not None and not self._video and self._by_number:
            number = self._by_number.get(number)
        if number is None or not 0 <= number < self._count:
            return None
        return MatchedFrame(theirs, number, "number")


def _unique(keys: Sequence[str] | Sequence[int | None]) -> dict[str | int | None, int]:
    """Place of each key that is there once; None is no key."""
    often = Counter(keys)
    return {key: i for i, key in enumerate(keys) if often[key] == 1 and key is not None}
