"""Steps of work in the journal: recording them, taking them back, and the maps they add up to.

A step is what undo takes back at once: boxes of label maps, or a change of the classes. Steps are
ordered by number, never by time; those up to `position` are done. All maps here hold slots
(:mod:`stt_core.project.class_table`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.cache import ByteCache
from stt_core.errors import ProjectError
from stt_core.labels import UNLABELLED, VOID
from stt_core.project.class_table import ClassTable
from stt_core.project.frames import FrameRow
from stt_core.project.journal import DamagedJournal, Journal

_CACHE_BYTES = 128 * 2**20
_EDITS_A_BASE = 256
_EDIT = "frame, y, x, height, width, before, after"
_LEVEL = 1  # of zlib: twice the speed for a few bytes more


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where labels come from."""

    action: str = "brush"
    """What was done, in a word or two: brush, adopt, import."""
    author: str = ""
    model: str = ""
    """Hash of the model whose prediction it was."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    provenance: Provenance
    seconds: float
    """When, since 1970; clocks may have gone back."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A box of one frame before and after a step."""

    frame: FrameRow
    y: int
    x: int
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Edit:
    frame: int
    y: int
    x: int
    height: int
    width: int
    before: bytes
    after: bytes

    def pixels(self, data: bytes) -> NDArray[np.uint8]:
        return _unpacked(data, (self.height, self.width))


class History:
    """Reads and writes steps.

    Args:
        journal: may be read-only, for reading.
        frame_of: the frame of a number.
    """

    def __init__(self, journal: Journal, frame_of: Callable[[int], FrameRow]) -> None:
        self._journal = journal
        self._frame_of = frame_of
        self._maps = ByteCache[tuple[int, NDArray[np.uint8]]](_CACHE_BYTES)
        self._table: tuple[int, ClassTable] | None = None

    @property
    def position(self) -> int:
        return int(self._journal.get("position"))

    @property
    def table(self) -> ClassTable:
        look = int(self._journal.get("look"))
        if self._table is None or self._table[0] != look:
            self._table = look, ClassTable.from_json(self._journal.get("table"))
        return self._table[1]

    def slots(self, frame: FrameRow) -> NDArray[np.uint8]:
        """The map of a frame now, ``[H, W]``; not to be changed."""
        held = self._maps.get(frame.number)
        if held is not None and held[0] == frame.version:
            return held[1]
        made = self._replay(frame)
        self._maps.put(frame.number, (frame.version, made), made.nbytes)
        return made

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around every change: all of it or nothing, on the disk and in memory."""
        try:
            with self._journal.transaction():
                yield
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Drop what is held in memory."""
        self._maps.clear()
        self._table = None

    def record(self, patches: Iterable[Patch], provenance: Provenance) -> int | None:
        """Within a transaction: do a step.

        Args:
            patches: taken one after the other, so that they need not all be held.
            provenance: of all of them.

        Returns:
            The number of the step; None where there was no patch, which leaves no step.

        Raises:
            ProjectError: a frame is locked.
        """
        step = None
        for patch in patches:
            refuse_locked(patch.frame)
            if step is None:
                step = self._new_step(provenance, None, None)
            self._journal.run(
                "INSERT INTO edits(step, frame, y, x, height, width, before, after) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                step, patch.frame.number, patch.y, patch.x, *patch.after.shape,
                compressed(patch.before), compressed(patch.after),
            )  # fmt: skip
            self._change(patch)
        return step

    def record_table(self, table: ClassTable, provenance: Provenance) -> int:
        """Within a transaction: change the classes as a step; return its number."""
        before = self.table
        step = self._new_step(provenance, before.to_json(), table.to_json())
        self.set_table(before, table)
        return step

    def set_table(self, before: ClassTable, after: ClassTable) -> None:
        """Within a transaction: show all maps by another table."""
        self._journal.put("table", after.to_json())
        self._journal.put("look", int(self._journal.get("look")) + 1)
        common = min(len(before.shows), len(after.shows))
        shown = bool((before.ids[:common] != after.ids[:common]).any())
        shared = min(len(before.classes), len(after.classes))
        colors = [[c.color for c in table.classes[:shared]] for table in (before, after)]
        if shown or colors[0] != colors[1]:
            self._journal.run("UPDATE frames SET png_version = NULL WHERE version > 0")
        if shown:
            self._recount(after)

    def can_undo(self) -> bool:
        return self._next(forward=False) is not None

    def can_redo(self) -> bool:
        return self._next(forward=True) is not None

    def move(self, *, forward: bool) -> tuple[Step, list[int], bool] | None:
        """Redo or undo one step.

        Returns:
            The step, the numbers of the frames it changed and whether the classes changed;
            None where there is no such step.

        Raises:
            ProjectError: one of the frames is locked, or the journal cannot be written.
        """
        with self.transaction():
            row = self._next(forward)
            if row is None:
                return None
            step = step_of(row)
            self._journal.put("position", step.number if forward else step.number - 1)
            table = row[7] if forward else row[6]
            if table is not None:
                self.set_table(self.table, ClassTable.from_json(table))
            frames = self._play(step.number, forward)
        return step, frames, table is not None

    def add_base(self, frame: FrameRow) -> None:
        """Store a frame's whole map where replaying its edits has become long."""
        with self._journal.transaction():
            position = self.position
            row = self._journal.one(
                "SELECT COUNT(*), MAX(number), MAX(step) FROM edits WHERE frame = ? AND step <= ? "
                "AND number > COALESCE((SELECT MAX(edit) FROM bases WHERE frame = ?), 0)",
                frame.number, position, frame.number,
            )  # fmt: skip
            if row is None or row[0] < _EDITS_A_BASE:
                return
            self._journal.run(
                "INSERT OR REPLACE INTO bases(frame, step, edit, map) VALUES (?, ?, ?, ?)",
                frame.number, row[2], row[1], compressed(self.slots(frame)),
            )  # fmt: skip

    def drop(self, frame: FrameRow) -> None:
        """Within a transaction: forget all edits of a frame; it is without labels."""
        for table in ("edits", "bases", "counts"):
            self._journal.run(f"DELETE FROM {table} WHERE frame = ?", frame.number)
        self._journal.run(
            "UPDATE frames SET version = version + 1, painted = 0, labelled = 0 WHERE number = ?",
            frame.number,
        )

    def changed(self, edit: int, y: int, x: int) -> bool:
        """Whether an edit, whose box covers it, changed a pixel."""
        row = self._journal.one(f"SELECT {_EDIT} FROM edits WHERE number = ?", edit)
        assert row is not None
        found = _Edit(*row)
        at = y - found.y, x - found.x
        return bool(found.pixels(found.before)[at] != found.pixels(found.after)[at])

    def _replay(self, frame: FrameRow) -> NDArray[np.uint8]:
        height, width = frame.medium.size
        with self._journal.reading():
            position = self.position
            base = self._journal.one(
                "SELECT edit, map FROM bases WHERE frame = ? AND step <= ? "
                "ORDER BY step DESC LIMIT 1", frame.number, position,
            )  # fmt: skip
            start = int(base[0]) if base else 0
            whole = self._journal.one(
                "SELECT MAX(number) FROM edits WHERE frame = ? AND step <= ? AND number > ? "
                "AND height = ? AND width = ?", frame.number, position, start, height, width,
            )  # fmt: skip
            start = max(start, int(whole[0] or 0) - 1) if whole else start
            rows = self._journal.all(
                f"SELECT {_EDIT} FROM edits "
                "WHERE frame = ? AND step <= ? AND number > ? ORDER BY number",
                frame.number, position, start,
            )  # fmt: skip
        slots = np.full((height, width), UNLABELLED, np.uint8)
        if base:
            slots[:] = _unpacked(base[1], (height, width))
        for edit in (_Edit(*row) for row in rows):
            box = slice(edit.y, edit.y + edit.height), slice(edit.x, edit.x + edit.width)
            slots[box] = edit.pixels(edit.after)
        return slots

    def _new_step(self, provenance: Provenance, before: str | None, after: str | None) -> int:
        """What was undone before can no longer be redone."""
        run, position = self._journal.run, self.position
        run("DELETE FROM edits WHERE step > ?", position)
        run("DELETE FROM bases WHERE step > ?", position)
        run("DELETE FROM steps WHERE number > ?", position)
        step = run(
            "INSERT INTO steps(action, author, model, note, time, table_before, table_after) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            provenance.action, provenance.author, provenance.model, provenance.note,
            time.time(), before, after,
        )  # fmt: skip
        self._journal.put("position", step)
        return step

    def _next(self, forward: bool) -> tuple[Any, ...] | None:
        columns = "number, action, author, model, note, time, table_before, table_after"
        if forward:
            where, least = "number > ? ORDER BY number LIMIT 1", self.position
            return self._journal.one(f"SELECT {columns} FROM steps WHERE {where}", least)
        where = "number <= ? AND number > ? ORDER BY number DESC LIMIT 1"
        floor = int(self._journal.get("floor"))
        return self._journal.one(f"SELECT {columns} FROM steps WHERE {where}", self.position, floor)

    def _play(self, step: int, forward: bool) -> list[int]:
        order = "" if forward else "DESC"
        numbers = self._journal.all(
            f"SELECT number FROM edits WHERE step = ? ORDER BY number {order}", step
        )
        frames = []
        for (number,) in numbers:  # one at a time: an import may be of thousands of whole maps
            row = self._journal.one(f"SELECT {_EDIT} FROM edits WHERE number = ?", number)
            assert row is not None
            edit = _Edit(*row)
            frame = self._frame_of(edit.frame)
            refuse_locked(frame)
            pair = edit.pixels(edit.before), edit.pixels(edit.after)
            old, new = pair if forward else pair[::-1]
            self._change(Patch(frame, edit.y, edit.x, old, new))
            frames.append(frame.number)
        return frames

    def _change(self, patch: Patch) -> None:
        """A frame's map changes: count its pixels, note that it did, and keep the held map up."""
        frame = patch.frame
        row = self._journal.one("SELECT pixels FROM counts WHERE frame = ?", frame.number)
        counts = np.frombuffer(row[0], np.int32).copy() if row else np.zeros(256, np.int32)
        counts += np.bincount(patch.after.ravel(), minlength=256).astype(np.int32)
        counts -= np.bincount(patch.before.ravel(), minlength=256).astype(np.int32)
        counts[UNLABELLED] = 0  # the rest, and negative where it was painted over
        self._journal.run(
            "INSERT OR REPLACE INTO counts(frame, pixels) VALUES (?, ?)",
            frame.number, counts.tobytes(),
        )  # fmt: skip
        self._journal.run(
            "UPDATE frames SET version = version + 1, painted = ?, labelled = ? WHERE number = ?",
            *_sums(counts, self.table), frame.number,
        )  # fmt: skip
        held = self._maps.get(frame.number)
        if held is not None and held[0] == frame.version:
            height, width = patch.after.shape
            held[1][patch.y : patch.y + height, patch.x : patch.x + width] = patch.after
            self._maps.put(frame.number, (frame.version + 1, held[1]), held[1].nbytes)

    def _recount(self, table: ClassTable) -> None:
        rows = self._journal.all("SELECT frame, pixels FROM counts")
        self._journal.run_many(
            "UPDATE frames SET painted = ?, labelled = ? WHERE number = ?",
            ((*_sums(np.frombuffer(pixels, np.int32), table), frame) for frame, pixels in rows),
        )


def refuse_locked(frame: FrameRow) -> None:
    """Raises ProjectError where a frame must not be changed."""
    if frame.review == "locked":
        raise ProjectError(
            f"Frame {frame.key} of {frame.medium.entry.name} is locked, so its labels cannot be "
            "changed. Set its review state to draft first."
        )


def compressed(pixels: NDArray[np.uint8]) -> bytes:
    return zlib.compress(pixels.tobytes(), _LEVEL)


def _unpacked(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
    except (zlib.error, ValueError) as error:
        raise DamagedJournal(
            f"labels in the journal cannot be read ({error}). Run 'stt-studio project check', "
            "which restores them from the label file."
        ) from error


def step_of(row: Sequence[Any]) -> Step:
    """From the columns number, action, author, model, note, time."""
    number, action, author, model, note, seconds = row[:6]
    return Step(number, Provenance(action, author, model, note), seconds)


def _sums(counts: NDArray[np.int32], table: ClassTable) -> tuple[int, int]:
    """Pixels with a class, and pixels with a class or void."""
    return (
        int(counts[table.ids < VOID].sum()),
        int(counts[table.ids != UNLABELLED].sum()),
    )
