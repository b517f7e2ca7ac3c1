"""Forgetting the past of a project on request: each labelled frame keeps one map."""

from __future__ import annotations

import time

import numpy as np

from stt_core.labels import UNLABELLED
from stt_core.project.class_table import new_table
from stt_core.project.frames import all_frames, read_media
from stt_core.project.history import History, compressed
from stt_core.project.journal import Journal


def compact(journal: Journal, history: History) -> int:
    """Drop undo and redo, and the slots of classes that are gone; return the bytes gained.

    Labels, review states and bookmarks stay; of their provenance only the fact of the compaction.

    Raises:
        ProjectError: the disk is full; nothing changed.
    """
    journal.run("PRAGMA wal_checkpoint(TRUNCATE)")
    before = journal.path.stat().st_size
    with history.transaction():
        step = journal.run(
            "INSERT INTO steps(action, author, model, note, time) "
            "VALUES ('compacted', '', '', '', ?)",
            time.time(),
        )
        for medium in read_media(journal).values():
            empty = compressed(np.full(medium.size, UNLABELLED, np.uint8))
            for frame in all_frames(journal, medium):
                ids = history.table.ids[history.slots(frame)]
                journal.run("DELETE FROM edits WHERE frame = ?", frame.number)
                journal.run("DELETE FROM counts WHERE frame = ?", frame.number)
                if not frame.labelled:
                    continue
                journal.run(
                    "INSERT INTO edits(step, frame, y, x, height, width, before, after) "
                    "VALUES (?, ?, 0, 0, ?, ?, ?, ?)",
                    step, frame.number, *ids.shape, empty, compressed(ids),
                )  # fmt: skip
                counts = np.bincount(ids.ravel(), minlength=256).astype(np.int32)
                counts[UNLABELLED] = 0
                journal.run("INSERT INTO counts VALUES (?, ?)", frame.number, counts.tobytes())
        journal.run("DELETE FROM bases")
        journal.run("DELETE FROM steps WHERE number != ?", step)
        journal.put("table", new_table(history.table.classes).to_json())
        journal.put("look", int(journal.get("look")) + 1)
        journal.put("position", step)
        journal.put("floor", step)
    history.forget()
    journal.run("VACUUM")
    journal.run("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(0, before - journal.path.stat().st_size)
