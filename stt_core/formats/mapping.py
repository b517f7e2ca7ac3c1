"""Which class of ours each class of a foreign label map is: proposed, shown, then applied.

H, W: height and width of a frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from stt_core.formats.class_files import same_word
from stt_core.formats.exchange import ReadClass, ReadSet, counts
from stt_core.labels import IGNORED, LabelClass

_Key = TypeVar("_Key", bound=Hashable)
FoundBy = Literal["name", "broader name", "colour", "id", "hand"]


@dataclass(frozen=True, slots=True)
class MappingRow:
    """One class of theirs."""

    theirs: ReadClass
    ours: int | None
    """The id it becomes; None for IGNORED."""
    found_by: FoundBy | None
    """How `ours` was found; None where nothing fits."""
    pixels: int | None = None
    """How many pixels it has, once counted."""


@dataclass(frozen=True, slots=True)
class ClassMapping:
    """A row for each value that a loaded label map may hold, except IGNORED."""

    rows: tuple[MappingRow, ...]
    values: tuple[int, ...]
    """What a loaded map holds for each row."""
    classes: int
    """How many we have."""

    def chosen(self, row: int, ours: int | None) -> ClassMapping:
        """With one row set by hand; ValueError for a class that is not there."""
        if ours is not None and not 0 <= ours < self.classes:
            raise ValueError(f"there are {self.classes} classes, got {ours=}")
        rows = list(self.rows)
        rows[row] = replace(rows[row], ours=ours, found_by="hand")
        return replace(self, rows=tuple(rows))

    def counted(self, pixels: NDArray[np.int64]) -> ClassMapping:
        """With pixels of each row filled in.

        Values without a row get one, and rows of bare numbers that do not occur go away.

        Args:
            pixels: ``[256]``, of :func:`count_pixels`.
        """
        known = dict(zip(self.values, self.rows, strict=True))
        extra = [v for v in np.flatnonzero(pixels[:IGNORED]).tolist() if v not in known]
        for value in extra:
            known[value] = MappingRow(ReadClass(value), None, None)
        kept = {
            value: replace(row, pixels=int(pixels[value]))
            for value, row in sorted(known.items())
            if row.theirs.name is not None or pixels[value]
        }
        return replace(self, rows=tuple(kept.values()), values=tuple(kept))

    def apply(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A loaded map in our ids: ``[H, W]``, IGNORED for all that has none."""
        table = np.full(256, IGNORED, np.uint8)
        for value, row in zip(self.values, self.rows, strict=True):
            if row.ours is not None:
                table[value] = row.ours
        return table[labels]


def propose_mapping(found: ReadSet, ours: Sequence[LabelClass]) -> ClassMapping:
    """Match by name (whatever its case, spaces and hyphens), else by colour, else by id.

    A coarser class counts as a name where nothing has the name itself. A colour counts where only
    one class has it on either side. An id counts only for classes without a name, and only in sets
    where nothing is known by colour: else an equal number is chance.
    """
    if found.classes is None:
        ids = range(len(ours)) if found.ids_are_classes else ()
        rows = [MappingRow(ReadClass(i), i, "id") for i in ids]
        return ClassMapping(tuple(rows), tuple(ids), len(ours))
    by_name = _unique((same_word(c.name), i) for i, c in enumerate(ours))
    by_color = _unique((c.color, i) for i, c in enumerate(ours))
    their_colors = Counter(c.color for c in found.classes)
    rows = [_row(theirs, by_name, by_color, their_colors) for theirs in found.classes]
    if found.ids_are_classes and not any(row.found_by for row in rows):
        rows = [
            replace(row, ours=row.theirs.id, found_by="id")
            if row.theirs.name is None and 0 <= row.theirs.id < len(ours)
            else row
            for row in rows
        ]
    return ClassMapping(tuple(rows), tuple(range(len(rows))), len(ours))


def count_pixels(found: ReadSet) -> Generator[int, None, NDArray[np.int64]]:
    """Read all frames, and yield how many are done; return ``[256]`` pixels of each value.

    Raises:
        FormatError: a frame is damaged.
    """
    pixels = np.zeros(256, np.int64)
    for done, frame in enumerate(found.frames, start=1):
        pixels += counts(frame.load())
        yield done
    return pixels


def _row(
    theirs: ReadClass,
    by_name: Mapping[str, int],
    by_color: Mapping[tuple[int, int, int], int],
    their_colors: Counter[tuple[int, int, int] | None],
) -> MappingRow:
    name, broader = (None if n is None else same_word(n) for n in (theirs.name, theirs.broader))
    if name is not None and name in by_name:
        return MappingRow(theirs, by_name[name], "name")
    if broader is not None and broader in by_name:
        return MappingRow(theirs, by_name[broader], "broader name")
    color = theirs.color
    if color is not None and color in by_color and their_colors[color] == 1:
        return MappingRow(theirs, by_color[color], "colour")
    return MappingRow(theirs, None, None)


def _unique(pairs: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    """The pairs whose key is there once."""
    listed = list(pairs)
    often = Counter(key for key, _ in listed)
    return {key: i for key, i in listed if often[key] == 1}
