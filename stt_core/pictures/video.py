"""Videos to show: an overlay, or several models side by side under titles (supplement, Sec. 6).

The suffix of the file chooses: H.264 for .mp4, .mov, .mkv and .avi, or an animated GIF or WebP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.drawing import blend
from stt_core.errors import LabelError, OutputError
from stt_core.labels import LabelClass, palette_rgba
from stt_core.media.frame import Frame
from stt_core.media.source import MediaSource
from stt_core.media.writer import VideoWriter
from stt_core.pictures.animation import (
    ANIMATED_SUFFIXES,
    MAX_SIDE,
    choose_palette,
    find_pace,
    sample_places,
    save_animation,
    with_palette,
)
from stt_core.pictures.legend import GROUND, LETTERS, LegendPlace
from stt_core.pictures.mosaic import Mosaic, MosaicPlan

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi")
_VIDEO_MAX_SIDE = 3840

Labels = Callable[[int], NDArray[np.uint8]]
"""``[H, W]`` class ids of a frame; ids without a class show the image."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the pictures that are shown together."""

    title: str = ""
    labels: Labels | None = None
    """None shows the image as it is."""
    opacity: float = 0.5
    """Of the labels over the image, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity lies in 0..1, got {self.opacity}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLook:
    """What stands around the panels, and how fast and how large it all is."""

    columns: int | None = None
    """None puts up to three panels side by side, and four two by two."""
    legend: LegendPlace = "none"
    shown: tuple[int, ...] | None = None
    """Class ids for the legend; None looks through all label maps first, and lists what occurs."""
    number: bool = False
    """Whether the frame's number stands in the lower right corner."""
    time: bool = False
    """Whether its presentation time does."""
    fps: float | None = None
    """Frames a second; None for the medium's own speed."""
    max_side: int | None = None
    """Most pixels of either side; None for 3840, in GIF and WebP 640."""

    def __post_init__(self) -> None:
        wrong = [x for x in (self.columns, self.fps, self.max_side) if x is not None and not x > 0]
        if wrong:
            raise ValueError(f"columns, fps and max_side must be above 0, got {wrong[0]}")


@dataclass(frozen=True, slots=True)
class VideoStep:
    """A frame is looked at or drawn, or the file is about to be written."""

    doing: Literal["survey", "draw", "save"]
    done: int
    total: int
    """Of steps of all kinds."""


@dataclass(frozen=True, slots=True)
class WrittenVideo:
    """What was written."""

    path: Path
    size: tuple[int, int]
    """Width and height of the pictures, pixels."""
    pictures: int
    seconds: float
    shown: tuple[int, ...]
    """Class ids in the legend."""


def write_video(
    path: Path,
    media: MediaSource,
    panels: Sequence[Panel],
    classes: tuple[LabelClass, ...],
    frames: range,
    look: VideoLook | None = None,
) -> Generator[VideoStep, None, WrittenVideo]:
    """Write panels of the same frames as one video.

    One panel without a title and nothing around it is an overlay video of the medium's own size.
    The file appears whole or not at all; closing the generator leaves no trace. GIF and WebP show
    at most 300 pictures: of more frames every nth, for n times as long.

    Args:
        path: the target; its suffix chooses the kind.
        media: where frames come from.
        panels: row by row.
        classes: the colours of the labels.
        frames: 0-based, in presentation order; with a step of n every nth, at the same speed.
        look: what it looks like.

    Raises:
        MediaError: a frame cannot be read.
        LabelError: a label map has another size than its frame.
        OutputError: it cannot be written, or the suffix names no format; what stood there before
            is untouched.
    """
    look = look or VideoLook()
    if any(not 0 <= i < len(classes) for i in look.shown or ()):
        raise ValueError(f"the legend lists classes of {len(classes)}, got {look.shown=}")
    animated = _is_animated(path)
    if not frames:
        raise OutputError(f"{path} was not written: there was no frame to put into it.")
    artist = _Artist(media, panels, classes, look)
    surveyed = len(frames) if look.legend != "none" and look.shown is None else 0
    shown = look.shown or ()
    if surveyed:
        shown = yield from _survey(artist, frames, 2 * surveyed + animated)
    default = MAX_SIDE if animated else _VIDEO_MAX_SIDE
    artist.plan(frames, shown, default if look.max_side is None else look.max_side)
    fps = look.fps or media.fps / abs(frames.step)
    write = _animate if animated else _film
    pictures = yield from write(path, artist, frames, fps, surveyed)
    return WrittenVideo(path, artist.size, pictures, len(frames) / fps, shown)


def occurring_classes(maps: Iterable[NDArray[np.uint8]], num_classes: int) -> tuple[int, ...]:
    """Ids of the classes that occur in any of the maps, rising."""
    seen = np.zeros(256, np.bool_)
    for labels in maps:
        seen |= np.bincount(labels.ravel(), minlength=256) > 0
    return tuple(np.flatnonzero(seen[:num_classes]).tolist())


class _Artist:
    """Draws the picture of a frame."""

    def __init__(
        self,
        media: MediaSource,
        panels: Sequence[Panel],
        classes: tuple[LabelClass, ...],
        look: VideoLook,
    ) -> None:
        self._media, self._panels, self._classes, self._look = media, panels, classes, look
        self._table = palette_rgba(classes)
        self._legend: tuple[LabelClass, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self._mosaic.size

    @property
    def fixed_colors(self) -> list[tuple[int, int, int]]:
        """Of letters and swatches, and of what lies under them."""
        shades = [
            tuple(round(a + (b - a) * i / 3) for a, b in zip(GROUND, LETTERS, strict=True))
            for i in range(4)
        ]
        return [(r, g, b) for r, g, b in shades] + [c.color for c in self._legend]

    def plan(self, frames: range, shown: Sequence[int], max_side: int) -> None:
        """Lay the pictures out."""
        self._legend = tuple(self._classes[i] for i in shown)
        count = len(self._panels)
        columns = self._look.columns or (count if count < 4 else math.ceil(count**0.5))
        last = max(frames)
        plan = MosaicPlan(
            titles=tuple(panel.title for panel in self._panels),
            columns=columns,
            size=(self._media.width, self._media.height),
            legend=self._legend,
            place=self._look.legend,
            caption=self._caption(last, self._media.time_of(last)),
            max_side=max_side,
        )
        self._mosaic = Mosaic(plan)

    def occurring(self, index: int) -> tuple[int, ...]:
        """Class ids in any panel's labels of a frame."""
        maps = (panel.labels(index) for panel in self._panels if panel.labels is not None)
        return occurring_classes(maps, len(self._classes))

    def draw(self, index: int) -> NDArray[np.uint8]:
        """``[h, w, 3]``."""
        frame = self._media[index]
        pictures = [self._picture(frame, panel) for panel in self._panels]
        return self._mosaic.draw(pictures, self._caption(index, frame.pts_seconds))

    def _picture(self, frame: Frame, panel: Panel) -> NDArray[np.uint8]:
        if panel.labels is None:
            return frame.image
        labels = panel.labels(frame.index)
        size = frame.image.shape[:2]
        if labels.shape != size:
            whose = f" of '{panel.title}'" if panel.title else ""
            raise LabelError(
                f"the labels{whose} for frame {frame.index} are {labels.shape[1]} x "
                f"{labels.shape[0]} pixels, but the frame is {size[1]} x {size[0]}: make them anew"
            )
        return blend(frame.image, labels, self._table, panel.opacity)

    def _caption(self, index: int, seconds: float) -> str:
        number = [f"frame {index}"] if self._look.number else []
        minutes, rest = divmod(round(1000 * seconds), 60_000)
        time = [f"{minutes}:{rest / 1000:06.3f}"] if self._look.time else []
        return "   ".join(number + time)


def _is_animated(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (*VIDEO_SUFFIXES, *ANIMATED_SUFFIXES):
        raise OutputError(
            f"{path} was not written: the name must end in one of "
            f"{', '.join((*VIDEO_SUFFIXES, *ANIMATED_SUFFIXES))}"
        )
    return suffix in ANIMATED_SUFFIXES


def _survey(
    artist: _Artist, frames: range, total: int
) -> Generator[VideoStep, None, tuple[int, ...]]:
    seen: set[int] = set()
    for done, index in enumerate(frames, 1):
        seen.update(artist.occurring(index))
        yield VideoStep("survey", done, total)
    return tuple(sorted(seen))


def _film(
    path: Path, artist: _Artist, frames: range, fps: float, before: int
) -> Generator[VideoStep, None, int]:
    """H.264; returns how many pictures."""
    with VideoWriter(path, artist.size, fps) as video:
        for done, index in enumerate(frames, 1):
            video.write(artist.draw(index))
            yield VideoStep("draw", before + done, before + len(frames))
    return len(frames)


def _animate(
    path: Path, artist: _Artist, frames: range, fps: float, before: int
) -> Generator[VideoStep, None, int]:
    """GIF or WebP; returns how many pictures."""
    pace = find_pace(len(frames), fps, artist.size)
    chosen = frames[:: pace.step]
    total = before + len(frames) + 1
    palette = None
    if path.suffix.lower() == ".gif":
        samples = [artist.draw(chosen[i]) for i in sample_places(len(chosen))]
        palette = choose_palette(samples, artist.fixed_colors)
    pictures: list[Image.Image] = []
    for index in chosen:
        drawn = artist.draw(index)
        pictures.append(Image.fromarray(drawn) if palette is None else with_palette(drawn, palette))
        done = min(len(frames), len(pictures) * pace.step)
        yield VideoStep("draw", before + done, total)
    yield VideoStep("save", total - 1, total)
    save_animation(path, pictures, pace.delays_ms)
    return len(pictures)
