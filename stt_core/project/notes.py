"""What is known of a frame beside its labels: where they came from, review state, bookmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.project.frames import REVIEWS, FrameRef, FrameRow, Review, index_of, read_media
from stt_core.project.history import Step, step_of
from stt_core.project.journal import Journal
from stt_core.project.labelling import Labelling

_STEP = "steps.number, action, author, model, note, time"


class Bookmark(NamedTuple):
    media_id: str
    frame: int
    note: str


class Notes:
    """Reads and, where the journal may be written, changes them."""

    def __init__(
        self, journal: Journal, labelling: Labelling, must_write: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._labelling = labelling
        self._must_write = must_write

    def history(self, media_id: str, frame: int) -> tuple[Step, ...]:
        """The steps that made the labels of a frame, oldest first, without those undone."""
        row = self._labelling.row(media_id, frame)
        rows = self._journal.all(
            f"SELECT DISTINCT {_STEP} FROM steps JOIN edits ON edits.step = steps.number "
            "WHERE frame = ? AND steps.number <= ? ORDER BY steps.number",
            row.number if row else None, self._labelling.history.position,
        )  # fmt: skip
        return tuple(step_of(found) for found in rows)

    def steps(self, since: int = 0) -> tuple[Step, ...]:
        """All steps done with a number above `since`, oldest first."""
        rows = self._journal.all(
            f"SELECT {_STEP} FROM steps WHERE number > ? AND number <= ? ORDER BY number",
            since, self._labelling.history.position,
        )  # fmt: skip
        return tuple(step_of(row) for row in rows)

    def origin(self, media_id: str, frame: int, y: int, x: int) -> Step | None:
        """The step that gave a pixel its label; None where it has none from any."""
        row = self._labelling.row(media_id, frame)
        return None if row is None else self._last_change(row, y, x)

    def pixels(self, media_id: str, frame: int) -> NDArray[np.int64]:
        """``[256]``: how many pixels of a frame have each id; UNLABELLED is not counted."""
        row = self._labelling.row(media_id, frame)
        return self._pixels("WHERE frame = ?", row.number if row else None)

    def all_pixels(self) -> NDArray[np.int64]:
        """``[256]``: the same over the whole project."""
        return self._pixels("")

    def review(self, media_id: str, frame: int) -> Review:
        row = self._labelling.row(media_id, frame)
        return row.review if row else "todo"

    def set_review(self, media_id: str, frame: int, state: Review) -> None:
        """Say how far a frame is; the labels of a locked one refuse every change.

        Raises:
            ValueError: no such state.
            ProjectError: it could not be written.
        """
        if state not in REVIEWS:
            raise ValueError(f"the review state must be one of {REVIEWS}, got {state=}")
        self._must_write()
        self._labelling.row(media_id, frame)
        with self._journal.transaction():
            row = self._labelling.row_to_change(media_id, frame)
            self._journal.run("UPDATE frames SET review = ? WHERE number = ?", state, row.number)

    def frames_in(self, media_id: str, state: Review) -> tuple[int, ...]:
        """Rising frames of a review state; of "todo" only those that have been another once."""
        return self._labelling.frames_with("review", media_id, state)

    def set_bookmark(self, media_id: str, frame: int, note: str | None) -> None:
        """Mark a frame, with or without words; None takes the mark away."""
        self._must_write()
        self._labelling.row(media_id, frame)
        with self._journal.transaction():
            row = self._labelling.row_to_change(media_id, frame)
            self._journal.run("DELETE FROM bookmarks WHERE frame = ?", row.number)
            if note is not None:
                self._journal.run("INSERT INTO bookmarks VALUES (?, ?)", row.number, note)

    def bookmarks(self) -> tuple[Bookmark, ...]:
        """By medium and frame; without those of images that are gone."""
        media = {medium.number: medium for medium in read_media(self._journal).values()}
        found = []
        for number, key, note in self._journal.all(
            "SELECT media, key, note FROM bookmarks JOIN frames ON frames.number = frame "
            "ORDER BY media, key"
        ):
            index = index_of(self._journal, media[number], key)
            if index is not None:
                found.append(Bookmark(*FrameRef(media[number].entry.id, index), note))
        return tuple(found)

    def _pixels(self, where: str, *values: object) -> NDArray[np.int64]:
        ids = self._labelling.history.table.ids
        total = np.zeros(256, np.int64)
        for (counts,) in self._journal.all(f"SELECT pixels FROM counts {where}", *values):
            total += np.frombuffer(counts, np.int32)
        shown = np.zeros(256, np.int64)
        np.add.at(shown, ids, total)
        shown[-1] = 0
        return shown

    def _last_change(self, row: FrameRow, y: int, x: int) -> Step | None:
        position = self._labelling.history.position
        for number, step in self._journal.all(
            "SELECT number, step FROM edits WHERE frame = ? AND step <= ? "
            "AND y <= ? AND y + height > ? AND x <= ? AND x + width > ? ORDER BY number DESC",
            row.number, position, y, y, x, x,
        ):  # fmt: skip
            if self._labelling.history.changed(number, y, x):
                found = self._journal.one(f"SELECT {_STEP} FROM steps WHERE number = ?", step)
                return step_of(found) if found else None
        return None
