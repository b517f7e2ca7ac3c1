"""Carrying the labels of one frame forwards and backwards, until something is in the way."""

from __future__ import annotations

from collections.abc import Container, Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.labels import UNLABELLED
from stt_core.media.shots import is_cut, thumbnail
from stt_core.media.source import MediaSource
from stt_core.propagation.carrying import Method

LEAST = 0.5
"""Confidence below which a pixel stays without a label, unless the caller says otherwise."""

Stop = Literal["count", "end", "edited", "cut", "faded"]
"""Why it went no further: as many as were asked for; the video's first or last frame; a frame that
is not to be changed; another shot; nothing left that is sure enough."""


@dataclass(frozen=True, slots=True)
class Propagated:
    """A frame has got labels from a neighbour's."""

    frame: int
    labels: NDArray[np.uint8]
    """``[H, W]`` class ids, 254 where void was carried, 255 where nothing is sure enough."""
    confidence: NDArray[np.uint8]
    """``[H, W]`` of the likeliest label, 255 for 1, where it was left out too; 0 where there is
    none."""
    done: int
    total: int
    """How many frames there would be at the most."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How far one direction went."""

    last: int
    """The last frame that got labels; the labelled one where none did."""
    why: Stop


@dataclass(frozen=True, slots=True)
class Endings:
    """How far it went; None for a direction that was not asked for."""

    forwards: Ending | None
    backwards: Ending | None


def propagate(
    media: MediaSource,
    frame: int,
    labels: NDArray[np.uint8],
    method: Method,
    *,
    forwards: int = 0,
    backwards: int = 0,
    edited: Container[int] = frozenset(),
    least: float = LEAST,
) -> Generator[Propagated, None, Endings]:
    """Carry the labels of a frame to its neighbours, a frame at a time, forwards first.

    Each direction starts anew from the labelled frame and ends before the first frame that is
    edited, lies in another shot or would get no label at all. What is carried on is what the
    method found, not what `least` leaves of it. Nothing is kept when the generator is closed.

    Args:
        media: the video; not closed here.
        frame: the labelled one.
        labels: ``[H, W]`` ids, 254 void, 255 not labelled, of the video's size.
        method: how.
        forwards: at most so many frames after it.
        backwards: at most so many frames before it.
        edited: frames that are not to be changed, nor passed.
        least: confidence in [0, 1] below which a pixel gets 255.

    Raises:
        ValueError: no such frame, labels that are no label map, or numbers out of range.
        LabelError: the labels are of another size than the video, or say nothing.
        MediaError: a frame cannot be read.
        SttError: whatever else the method meets.
    """
    _check(media, frame, labels, forwards, backwards, least)
    own = labels.copy()  # the caller may paint on while this goes on
    after, before = min(forwards, len(media) - 1 - frame), min(backwards, frame)
    course = _Course(media, frame, own, method, edited, least, after + before)
    ahead = (yield from course.go(1, after, forwards)) if forwards else None
    behind = (yield from course.go(-1, before, backwards)) if backwards else None
    return Endings(ahead, behind)


@dataclass(slots=True)
class _Course:
    media: MediaSource
    frame: int
    labels: NDArray[np.uint8]
    method: Method
    edited: Container[int]
    least: float
    total: int
    done: int = 0

    def go(self, way: int, count: int, asked: int) -> Generator[Propagated, None, Ending]:
        """`count` frames there are of those `asked` for, in one direction: 1 or -1."""
        carrier = self.method.start(self.media, self.frame, self.labels)
        here = thumbnail(self.media[self.frame].image)
        last = self.frame
        for _ in range(count):
            frame = last + way
            if frame in self.edited:
                return Ending(last, "edited")
            there = thumbnail(self.media[frame].image)
            if is_cut(*((here, there) if way > 0 else (there, here))):
                return Ending(last, "cut")
            found = carrier.carry(frame)
            unsure = found.confidence < 255 * self.least
            kept = np.where(unsure, np.uint8(UNLABELLED), found.labels)
            if (kept == UNLABELLED).all():
                return Ending(last, "faded")
            self.done += 1
            yield Propagated(frame, kept, found.confidence, self.done, self.total)
            here, last = there, frame
        return Ending(last, "count" if count == asked else "end")


def _check(
    media: MediaSource,
    frame: int,
    labels: NDArray[np.uint8],
    forwards: int,
    backwards: int,
    least: float,
) -> None:
    if not 0 <= frame < len(media):
        raise ValueError(f"there are {len(media)} frames, got {frame=}")
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"labels must be [H, W] uint8, got {labels.shape} {labels.dtype}")
    if forwards < 0 or backwards < 0:
        raise ValueError(f"numbers of frames cannot be negative, got {forwards=} {backwards=}")
    if not 0 <= least <= 1:
        raise ValueError(f"least must be in [0, 1], got {least=}")
    height, width = labels.shape
    if (width, height) != (media.width, media.height):
        raise LabelError(
            f"the labels of frame {frame} are {width} x {height} pixels, but {media.path} is "
            f"{media.width} x {media.height}. Paint them on this video."
        )
    if (labels == UNLABELLED).all():
        raise LabelError(
            f"nothing is labelled on frame {frame}, so there is nothing to propagate. "
            f"Paint something on it first."
        )
