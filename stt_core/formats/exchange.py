"""What goes into a label format and comes out of one: plain values, the same for all formats.

H, W: height and width of a frame, pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import IGNORED, VOID, LabelClass

MAX_CLASSES = VOID
"""Ids 0..253."""
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)
"""Names that Windows keeps for devices, whatever the suffix."""
_FORBIDDEN = frozenset('/\\:*?"<>|')


@dataclass(frozen=True, slots=True)
class ExportFrame:
    """One frame with its labels.

    Raises:
        ValueError: the name cannot be a file's, or the labels are no label map.
    """

    name: str
    """What its files are called, without folder and suffix; :func:`plain_name` makes one."""
    index: int
    """Its number in the video, from 0."""
    labels: NDArray[np.uint8]
    """``[H, W]`` class ids; 254 and 255 are both written as "no class"."""
    image: Callable[[], NDArray[np.uint8]] | None = None
    """Makes its ``[H, W, 3]`` RGB; None leaves pictures out."""
    medium: str = ""
    """Of several media the one it is of, by its name in :attr:`ExportOptions.media`."""
    video: bool = True
    """Whether it is of a video, known by its number, and not an image, known by its name."""

    def __post_init__(self) -> None:
        if not is_plain_name(self.name):
            raise ValueError(f"a frame's name must be a file name without folders: {self.name!r}")
        if self.index < 0:
            raise ValueError(f"a frame's index must be at least 0, got {self.index=}")
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8 or 0 in self.labels.shape:
            shape, kind = self.labels.shape, self.labels.dtype
            raise ValueError(f"labels must be uint8 [H, W] with a pixel, got {kind} {shape}")

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        height, width = self.labels.shape
        return height, width


@dataclass(frozen=True, slots=True)
class ExportMedium:
    """One of several media whose frames go into one export."""

    name: str
    """What its folder or file is called, or its frames begin with; see :func:`group_names`."""
    frames: int
    """How many there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What all frames of an export share.

    Raises:
        ValueError: too many classes, or a name that cannot be a folder's.
    """

    classes: tuple[LabelClass, ...]
    """Their places are the ids."""
    total: int
    """How many frames there will be."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """Where the labels come from, as JSON can hold it; written beside them."""
    split: str = "train"
    """Where a format has subsets: which one this is."""
    place: str = "video"
    """Where a format names frames by where they were taken (Cityscapes: the city)."""
    things: frozenset[int] = frozenset()
    """Ids of countable classes, where a format tells things from stuff."""
    media: tuple[ExportMedium, ...] = ()
    """Where there are several: which. Their frames are kept apart, and come one medium after the
    other."""

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) <= MAX_CLASSES:
            raise ValueError(f"there must be 1 to {MAX_CLASSES} classes, got {len(self.classes)}")
        for name in (self.split, self.place, *(medium.name for medium in self.media)):
            if not is_plain_name(name):
                raise ValueError(f"split, place and media must be names of folders, got {name!r}")


@dataclass(frozen=True, slots=True)
class ExportStep:
    """One more frame is written."""

    frame: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written."""

    path: Path
    frames: int
    files: int
    size: int
    """Of all files, bytes."""
    losses: tuple[str, ...]
    """Sentences on what of these very labels the format could not keep; empty when all is kept."""


class LabelWriter(Protocol):
    """Writes frames into a folder that nobody sees until it is whole."""

    def add(self, frame: ExportFrame) -> None:
        """Write one frame. Its labels hold class ids and IGNORED, nothing else."""
        ...

    def finish(self) -> Sequence[str]:
        """Write what stands once for all frames; return what was lost, in sentences."""
        ...


@runtime_checkable
class RenamingWriter(LabelWriter, Protocol):
    """Of a format that cannot carry the names of frames."""

    def renamed(self) -> Mapping[str, FrameOrigin]:
        """What the files of each name are of, where the name does not say it."""
        ...


@dataclass(frozen=True, slots=True)
class FrameOrigin:
    """What a file is of, as the record beside an export tells it."""

    name: str
    """Of the image, or the frame's number."""
    medium: str
    """As of :class:`ExportMedium`; empty where there is one."""


@dataclass(frozen=True, slots=True)
class ReadClass:
    """A class as a file has it."""

    id: int
    """Its number in the file."""
    name: str | None = None
    color: tuple[int, int, int] | None = None
    broader: str | None = None
    """A coarser class that commonly holds it, as CamVid's 11 hold its 32."""


@dataclass(frozen=True, slots=True)
class ReadFrame:
    name: str
    index: int | None
    """Its number in the video, where the file tells it."""
    load: Callable[[], NDArray[np.uint8]]
    """``[H, W]``: places in the classes of the set, or without these the file's own numbers;
    IGNORED where there is no class. Raises FormatError where the file is damaged."""
    medium: str = ""
    """Of several media the one it is of, where the files tell it."""


@dataclass(frozen=True, slots=True)
class ReadMedium:
    """A medium that label maps were made of, as the record beside them tells it."""

    name: str
    """As frames call it in :attr:`ReadFrame.medium`."""
    file: str = ""
    """What the video or folder was called."""
    hash: str = ""
    """Of its content."""


@dataclass(frozen=True, slots=True)
class ReadSet:
    """Label maps made elsewhere. Pixels are read when a frame is loaded, not before."""

    classes: tuple[ReadClass, ...] | None
    """None where the files tell nothing of them."""
    frames: Sequence[ReadFrame]
    notes: tuple[str, ...] = ()
    """Sentences for the person at the keyboard."""
    ids_are_classes: bool = True
    """Whether a number is likely to mean the class of that number; not where it counts objects."""
    media: tuple[ReadMedium, ...] = ()
    """Of what the maps were made, where there are several and the files tell it."""


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file or folder, on every system, and not a path."""
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and not _FORBIDDEN & set(name)
        and not name.endswith((" ", "."))
        and name.partition(".")[0].casefold() not in _RESERVED
    )


def plain_name(text: str) -> str:
    """A frame name made of what a foreign file calls a frame: the last part of a path."""
    stem = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join("_" if c in _FORBIDDEN or not c.isprintable() else c for c in stem)
    kept = kept.strip(" .") or "unnamed"
    return f"{kept}_" if kept.partition(".")[0].casefold() in _RESERVED else kept


def group_names(names: Sequence[str]) -> list[str]:
    """What media are called in an export: each another, whatever its case.

    A name that another one continues after an underscore would make frames of two media share a
    name, as "a" with "b_1" and "a_b" with "1" do; then all have hyphens for underscores.
    """
    plain = [plain_name(name) for name in names]
    folded = [name.casefold() for name in plain]
    if any(a != b and b.startswith(f"{a}_") for a in folded for b in folded):
        plain = [name.replace("_", "-") for name in plain]
    found: list[str] = []
    taken: set[str] = set()
    for name in plain:
        tries = (name if n == 1 else f"{name}-{n}" for n in count(1))
        free = next(each for each in tries if each.casefold() not in taken)
        taken.add(free.casefold())
        found.append(free)
    return found


def number_in(name: str) -> int | None:
    """The frame number that a name ends with: 42 of "drive_000042" and of "42"."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits and digits.isascii() and len(digits) <= 12 else None


def no_class(labels: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """The labels with `value` for IGNORED."""
    return np.where(labels == IGNORED, np.uint8(value), labels)


def counts(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """``[256]`` pixels of each id."""
    return np.bincount(labels.ravel(), minlength=256)
