"""A medium of a project as material to learn from, in whichever process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass
from stt_core.project.class_table import ClassTable
from stt_core.project.frames import find_frame, frame_by_number, indices_where, key_of, read_media
from stt_core.project.history import History
from stt_core.project.journal import NAME, Journal


@dataclass(frozen=True, slots=True)
class ProjectVideo:
    """What :class:`stt_core.data.project.LabelledVideo` asks for; can be pickled.

    Each question opens the journal for reading and closes it again, so that none is kept open in
    processes that live and die elsewhere; the answers are those of that moment.
    """

    folder: Path
    """Of the project."""
    media: Path
    media_id: str

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        with self._journal() as journal:
            return ClassTable.from_json(journal.get("table")).classes

    @property
    def painted(self) -> tuple[int, ...]:
        """Rising frames with a pixel that has a class."""
        with self._journal() as journal:
            medium = read_media(journal)[self.media_id]
            return tuple(indices_where(journal, medium, "painted", None))

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids, VOID and UNLABELLED; None where nothing is labelled."""
        with self._journal() as journal, journal.reading():
            media = read_media(journal)
            medium = media[self.media_id]
            row = find_frame(journal, medium, key_of(journal, medium, frame))
            if row is None or not row.labelled:
                return None
            history = History(journal, lambda number: frame_by_number(journal, media, number))
            return history.table.ids[history.slots(row)]

    def _journal(self) -> Journal:
        return Journal(self.folder / NAME, read_only=True)
