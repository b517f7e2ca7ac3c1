"""labels/: the PNGs that other programs read, kept equal to the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.files import writing
from stt_core.project.aside import set_aside
from stt_core.project.frames import FrameRow, Medium
from stt_core.project.history import History
from stt_core.project.journal import Journal
from stt_core.project.pngs import LabelPng, Stamp, read_png, stamp, write_png

FOLDER = "labels"


class Mirror:
    """Writes and watches the label files.

    Args:
        folder: of the project.
        journal: its journal, open for writing.
        history: over that journal.
        adopt: takes a map that another program wrote as an edit of a frame.
        tell: takes a sentence for the person about what was found and done.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        history: History,
        adopt: Callable[[FrameRow, NDArray[np.uint8]], None],
        tell: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._history = history
        self._adopt = adopt
        self._tell = tell

    def path(self, medium: Medium, key: int) -> Path:
        """Where the file of a frame is, or would be."""
        return self._folder / FOLDER / medium.entry.id / f"{key:06d}.png"

    def fits(self, frame: FrameRow, *, thorough: bool = False) -> bool:
        """Whether the file is as the journal says that we left it: size and time, or all bytes."""
        path = self.path(frame.medium, frame.key)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return frame.png_digest is None and (not frame.labelled or not frame.current)
        if thorough:
            return stamp(path).digest == frame.png_digest
        return (found.st_size, found.st_mtime_ns) == (frame.png_size, frame.png_mtime)

    def write(self, frame: FrameRow) -> None:
        """Bring a frame's file up to date; a map without any label has none.

        Raises:
            OutputError: it could not be written; the labels are safe in the journal.
        """
        path = self.path(frame.medium, frame.key)
        if not frame.labelled:
            with writing(path):
                path.unlink(missing_ok=True)
            self._note(frame, None)
            return
        table = self._history.table
        ids = table.ids[self._history.slots(frame)]
        self._note(frame, write_png(path, ids, table.classes, self._about(frame)))
        self._history.add_base(frame)

    def settle(self, frame: FrameRow, *, thorough: bool = False) -> bool:
        """Look whether a frame's file is as we left it, and see to it where it is not.

        The journal wins over files that are missing, damaged or no label map; those are moved
        aside. A sound map that another program saved over an up-to-date file becomes an edit.

        Args:
            frame: of the project.
            thorough: read the bytes as well, not only size and time.

        Returns:
            Whether nothing had to be done.

        Raises:
            OutputError: something could not be written; the labels are safe in the journal.
        """
        path = self.path(frame.medium, frame.key)
        if self.fits(frame, thorough=thorough):
            return True
        if not path.exists():
            if frame.labelled and frame.png_digest is not None:
                self._tell(f"{path} was missing; it was written again from the journal.")
            self._stale(frame)
            return not (frame.labelled and frame.png_digest is not None)
        try:
            found = read_png(path, frame.medium.size, len(self._history.table.classes))
        except LabelError as error:
            self._replace(frame, path, str(error))
            return False
        return self._judge(frame, path, found)

    def _judge(self, frame: FrameRow, path: Path, found: LabelPng) -> bool:
        now = self._history.table.ids[self._history.slots(frame)]
        if np.array_equal(found.ids, now):
            self._note(frame, stamp(path))  # only its time changed, or a crash came before the note
            return True
        if found.ours:
            self._stale(frame)  # an older state of ours, as after a crash or from a backup
            return frame.png_digest is None or not frame.current
        if frame.review == "locked":
            self._replace(frame, path, f"{path} was changed outside, but its frame is locked")
        elif frame.current or not frame.labelled:
            self._adopt(frame, found.ids)
            self._tell(
                f"{path} was changed by another program; the change was taken as an edit, which "
                "undo takes back."
            )
        else:
            self._replace(frame, path, f"{path} was changed outside, but the project has newer")
        return False

    def _replace(self, frame: FrameRow, path: Path, why: str) -> None:
        kept = set_aside(self._folder, path)
        self._tell(
            f"{why.rstrip('.')}. It was moved to {kept} and the labels restored from the journal."
        )
        self._stale(frame)

    def _stale(self, frame: FrameRow) -> None:
        with self._journal.transaction():
            self._journal.run(
                "UPDATE frames SET png_version = NULL, png_digest = NULL WHERE number = ?",
                frame.number,
            )

    def _note(self, frame: FrameRow, left: Stamp | None) -> None:
        values = (left.size, left.mtime, left.digest) if left else (None, None, None)
        with self._journal.transaction():
            self._journal.run(
                "UPDATE frames SET png_version = ?, png_size = ?, png_mtime = ?, png_digest = ? "
                "WHERE number = ?", frame.version, *values, frame.number,
            )  # fmt: skip

    def _about(self, frame: FrameRow) -> dict[str, Any]:
        """Enough to know the frame again without the journal."""
        medium = frame.medium
        about = {"media": medium.entry.id, "key": frame.key, "version": frame.version}
        if medium.entry.kind == "video":
            row = self._journal.one("SELECT pts FROM frames WHERE number = ?", frame.number)
            return about | {"pts": row[0] if row else None}
        row = self._journal.one(
            "SELECT name, hash FROM images WHERE media = ? AND number = ?",
            medium.number, frame.key,
        )  # fmt: skip
        return about | ({"name": row[0], "hash": row[1]} if row else {})
