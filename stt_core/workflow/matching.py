"""Which frame of a medium a label map made elsewhere belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stt_core.errors import ProjectError
from stt_core.formats.exchange import ReadFrame, ReadMedium, ReadSet, number_in, plain_name
from stt_core.formats.frame_names import MapName, Rule, find_frames
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
    """Names of maps that belong to no frame of it."""
    notes: tuple[str, ...] = ()
    """Sentences on what was assumed."""
    images: tuple[str, ...] = ()
    """Names of a folder's images, by frame."""

    def by(self, found_by: Literal["name", "number"]) -> int:
        return sum(each.found_by == found_by for each in self.frames)

    @property
    def examples(self) -> tuple[str, ...]:
        """The first maps with what they belong to, to be looked at."""
        return tuple(
            f"{m.theirs.name} -> {self.images[m.frame] if self.images else f'frame {m.frame}'}"
            for m in self.frames[:2]
        )


def match_frames(
    project: Project, entry: MediaEntry, found: ReadSet, rule: Rule | None = None
) -> FrameMatch:
    """Match by the names of images, else by number; see :func:`find_frames`.

    Where maps of several media lie together, those that are of this one count alone: by its
    content, else by its name, as the files tell it or as their names begin.

    Raises:
        LabelError: it is not clear which frames the maps belong to.
        ProjectError: two maps belong to one frame, or none to any, or they are of other media.
    """
    stems = image_stems(project, entry)
    own = _of_medium(found, entry, stems)
    maps = [MapName(each.name, _told_index(each)) for each, _ in own]
    matched = find_frames(maps, stems, entry.frames, rule)
    frames = [
        MatchedFrame(own[i][1], frame, "name" if i in matched.by_name else "number")
        for i, frame in matched.frames.items()
    ]
    kept = {id(own[i][1]) for i in matched.frames}
    unmatched = tuple(each.name for each in found.frames if id(each) not in kept)
    twice = [frame for frame, count in Counter(m.frame for m in frames).items() if count > 1]
    if twice:
        names = ", ".join(m.theirs.name for m in frames if m.frame == twice[0])
        raise ProjectError(
            f"several maps belong to frame {twice[0]} of {entry.name}: {names}. Leave one of them."
        )
    if not frames:
        raise ProjectError(
            f"none of the {len(found.frames)} maps belongs to a frame of {entry.name}: they are "
            f"called {', '.join(unmatched[:3])}. Name them by frame number or, for images, by "
            "image."
        )
    frames.sort(key=lambda m: m.frame)
    return FrameMatch(tuple(frames), unmatched, matched.notes, tuple(stems))


_Own = list[tuple[ReadFrame, ReadFrame]]
"""Maps as this medium calls its frames, and as they were read."""


def _of_medium(found: ReadSet, entry: MediaEntry, stems: Sequence[str]) -> _Own:
    if len(found.media) > 1 and any(each.medium for each in found.frames):
        own = _own_medium(found.media, entry)
        return [(each, each) for each in found.frames if each.medium == own.name]
    prefix = f"{plain_name(Path(entry.name).stem)}_"
    words = {stem.casefold() for stem in stems}
    called: _Own = []
    for each in found.frames:
        rest = each.name[len(prefix) :]
        known = rest.casefold() in words if stems else number_in(rest) is not None
        if each.name.casefold().startswith(prefix.casefold()) and known:
            called.append((replace(each, name=rest), each))
    # images may be called like their folder, with nothing else beside them
    whole = {each.name.casefold() for each in found.frames} & words
    return called if called and not whole else [(each, each) for each in found.frames]


def _own_medium(media: Sequence[ReadMedium], entry: MediaEntry) -> ReadMedium:
    stem = plain_name(Path(entry.name).stem).casefold()
    tests = (
        lambda each: bool(each.hash) and each.hash == entry.hash,
        lambda each: each.file == entry.name,
        lambda each: stem in (each.name.casefold(), Path(each.file).stem.casefold()),
    )
    for test in tests:
        same = [each for each in media if test(each)]
        if len(same) == 1:
            return same[0]
        if same:
            raise ProjectError(
                f"the maps are of several media that could be {entry.name}: "
                f"{', '.join(each.name for each in same)}. Import those of one alone."
            )
    raise ProjectError(
        f"none of the maps is of {entry.name}: they are of "
        f"{', '.join(each.file or each.name for each in media)}. Choose one of these with --media, "
        "or import the maps of one alone."
    )


def _told_index(frame: ReadFrame) -> int | None:
    """The number of the frame, where it does not come from its name."""
    return None if frame.index == number_in(frame.name) else frame.index
