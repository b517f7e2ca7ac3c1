"""Reading and changing the labels of a project, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import UNLABELLED
from stt_core.project.facts import publish, revise
from stt_core.project.frames import (
    FrameRef,
    FrameRow,
    Medium,
    find_frame,
    frame_by_number,
    index_of,
    indices_where,
    key_of,
    make_frame,
    stale_frames,
)
from stt_core.project.history import History, Patch, Provenance, Step
from stt_core.project.journal import Journal
from stt_core.project.lock import current_user
from stt_core.project.media_table import MediaTable
from stt_core.project.mirror import Mirror

EDITED_OUTSIDE = "edited outside"


@dataclass(frozen=True, slots=True)
class LabelEdit:
    """A changed box of one frame's labels."""

    media_id: str
    frame: int
    corner: tuple[int, int]
    """Topmost row and leftmost column of the box, image pixels."""
    after: NDArray[np.uint8]
    """``[h, w]`` of the box: class ids, VOID or UNLABELLED."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What undo or redo did."""

    step: Step
    frames: tuple[FrameRef, ...]
    """Whose labels changed; without those of images that are gone."""
    classes: bool
    """Whether the classes changed: all frames may show differently."""


class Labelling:
    """The labels of a project. Where the journal is read-only, only what reads may be called.

    Args:
        folder: of the project.
        journal: its journal.
        media: its media.
        tell: takes a sentence for the person about what was found and done.
    """

    def __init__(
        self, folder: Path, journal: Journal, media: MediaTable, tell: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._media = media
        self.history = History(journal, lambda n: frame_by_number(journal, media.by_id, n))
        self.mirror = Mirror(folder, journal, self.history, self._adopt, tell)
        self._refreshed: set[str] = set()  # media
        self._settled: set[int] = set()  # frames whose file was looked at
        self._changed: set[int] = set()  # frames, in this session

    def medium(self, media_id: str) -> Medium:
        """The medium, an image folder as it is now.

        Raises:
            ValueError: there is none of that id.
        """
        if self._journal.read_only and media_id not in self._media.by_id:
            self._media.reload()
        may = not self._journal.read_only and not self._journal.in_transaction
        if may and media_id not in self._refreshed:
            self._refreshed.add(media_id)
            self._media.refresh(media_id)
        return self._media[media_id]

    def row(self, media_id: str, frame: int) -> FrameRow | None:
        """The frame as the journal knows it, its file seen to the first time; None if it does not.

        Raises:
            IndexError: there is no such frame.
        """
        medium = self.medium(media_id)
        key = key_of(self._journal, medium, frame)
        row = find_frame(self._journal, medium, key)
        if self._journal.read_only or self._journal.in_transaction:
            return row
        if row is None and not self.mirror.path(medium, key).exists():
            return None
        if row is None or row.number not in self._settled or not self.mirror.fits(row):
            self.settle(row or make_frame(self._journal, medium, key))
            row = find_frame(self._journal, medium, key)
        return row

    def settle(self, row: FrameRow, *, thorough: bool = False) -> bool:
        """See to the file of a frame; see :meth:`Mirror.settle`."""
        self._settled.add(row.number)
        return self.mirror.settle(row, thorough=thorough)

    def row_to_change(self, media_id: str, frame: int) -> FrameRow:
        """Within a transaction: the frame, made known to the journal."""
        medium = self.medium(media_id)
        return make_frame(self._journal, medium, key_of(self._journal, medium, frame))

    def labels(self, media_id: str, frame: int) -> NDArray[np.uint8] | None:
        """See :meth:`stt_core.project.store.Project.labels`."""
        self.row(media_id, frame)
        with self._journal.reading():
            row = self.row(media_id, frame)
            if row is None or not row.labelled:
                return None
            return self.history.table.ids[self.history.slots(row)]

    def frames_with(self, column: str, media_id: str, wanted: str | None = None) -> tuple[int, ...]:
        """Rising indices of the frames whose `column` is `wanted`; with None, above 0."""
        return tuple(indices_where(self._journal, self.medium(media_id), column, wanted))

    def apply(self, edits: Iterable[LabelEdit], provenance: Provenance | None) -> int | None:
        """See :meth:`stt_core.project.store.Project.apply_many`."""
        source = provenance or Provenance()
        source = replace(source, author=source.author or current_user())
        for media_id in tuple(self._media.by_id):
            self.medium(media_id)
        seen: set[int] = set()
        with self.history.transaction():
            step = self.history.record((p for e in edits for p in self._patch(e, seen)), source)
        self._changed |= seen
        return step

    def move(self, *, forward: bool) -> Moved | None:
        """Redo or undo one step; None where there is none."""
        with self.history.transaction():
            done = self.history.move(forward=forward)
            if done is None:
                return None
            step, numbers, classes = done
            if classes:
                revise(self._journal)
        self._changed.update(numbers)
        if classes:
            publish(self._folder, self._journal)
        rows = [frame_by_number(self._journal, self._media.by_id, n) for n in numbers]
        refs = tuple(ref for row in rows if (ref := self._ref(row)) is not None)
        return Moved(step, refs, classes)

    def stale(self) -> list[FrameRow]:
        """Frames whose file is behind the journal."""
        return stale_frames(self._journal, self._media.by_id)

    def flushing(self, *, all_frames: bool = True) -> Iterator[FrameRef | None]:
        """Write the files that are behind: all, or those of frames changed in this session.

        Raises:
            OutputError: one could not be written; the journal has it.
        """
        for stale in self.stale():
            if not all_frames and stale.number not in self._changed:
                continue
            self._journal.refuse_moved()  # label files must not be left where no project is
            self.flush_frame(stale.number)
            yield self._ref(stale)

    def flush_frame(self, number: int) -> None:
        """Write the file of one frame, if it is behind. Raises as :meth:`flushing` does."""
        row = frame_by_number(self._journal, self._media.by_id, number)
        if row.version and not row.current and not self.mirror.fits(row):
            self.settle(row)  # another program saved the file since it was looked at
            row = frame_by_number(self._journal, self._media.by_id, number)
        if row.version and not row.current:
            self.mirror.write(row)
        self._changed.discard(number)

    def restart(self, frame: FrameRow, ids: NDArray[np.uint8]) -> None:
        """Give a frame whose edits cannot be read a map to go on from."""
        before = np.full(ids.shape, UNLABELLED, np.uint8)
        after = self.history.table.to_slots(ids, before)
        with self.history.transaction():
            self.history.drop(frame)
            row = frame_by_number(self._journal, self._media.by_id, frame.number)
            self.history.record([Patch(row, 0, 0, before, after)], Provenance("restored"))

    def _ref(self, row: FrameRow) -> FrameRef | None:
        index = index_of(self._journal, row.medium, row.key)
        return None if index is None else FrameRef(row.medium.entry.id, index)

    def _patch(self, edit: LabelEdit, seen: set[int]) -> Iterator[Patch]:
        """The part of a box that changes; nothing where none does."""
        where = _box(edit, self.medium(edit.media_id).size)
        self._media.refuse_replaced(edit.media_id)
        row = self.row_to_change(edit.media_id, edit.frame)
        if row.number in seen:
            raise ValueError(f"frame {edit.frame} of {edit.media_id} is twice in one step")
        seen.add(row.number)
        before = self.history.slots(row)[where]
        after = self.history.table.to_slots(edit.after, before)
        differs = before != after
        ys, xs = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
        if ys.size:
            part = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
            y, x = int(edit.corner[0] + ys[0]), int(edit.corner[1] + xs[0])
            yield Patch(row, y, x, before[part].copy(), after[part])

    def _adopt(self, frame: FrameRow, ids: NDArray[np.uint8]) -> None:
        """Take what another program wrote as an edit of ours."""
        before = self.history.slots(frame).copy()
        patch = Patch(frame, 0, 0, before, self.history.table.to_slots(ids, before))
        with self.history.transaction():
            self.history.record([patch], Provenance(EDITED_OUTSIDE))
        self._changed.add(frame.number)


def _box(edit: LabelEdit, size: tuple[int, int]) -> tuple[slice, slice]:
    (y, x), shape = edit.corner, edit.after.shape
    if edit.after.dtype != np.uint8 or len(shape) != 2:
        raise ValueError(f"labels must be uint8 [h, w], got {edit.after.dtype} {shape}")
    if min(y, x) < 0 or y + shape[0] > size[0] or x + shape[1] > size[1]:
        raise ValueError(f"the box must lie in the frame, got {edit.corner=} {shape=} {size=}")
    return slice(y, y + shape[0]), slice(x, x + shape[1])
