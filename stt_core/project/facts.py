"""What the journal knows of the whole project, and project.json as its copy."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.project.class_table import ClassTable, new_table
from stt_core.project.frames import read_media
from stt_core.project.journal import Journal
from stt_core.project.manifest import ClassEntry, Manifest, MediaEntry, write_manifest


def fill_journal(journal: Journal, manifest: Manifest) -> None:
    """Into an empty journal: all that a manifest tells."""
    with journal.transaction():
        journal.put("schema", manifest.version)
        journal.put("id", manifest.id)
        journal.put("revision", manifest.revision)
        journal.put("position", 0)
        journal.put("floor", 0)
        journal.put("look", 0)
        journal.put("table", new_table(manifest.label_classes).to_json())
        if manifest.cache_bytes is not None:
            journal.put("cache_bytes", manifest.cache_bytes)
        for entry in manifest.media:
            insert_medium(journal, entry, None)


def insert_medium(journal: Journal, entry: MediaEntry, times: NDArray[np.float64] | None) -> int:
    """Within a transaction: add a medium; return its number."""
    return journal.run(
        "INSERT INTO media(id, entry, times) VALUES (?, ?, ?)",
        entry.id, entry.model_dump_json(), stored_times(times),
    )  # fmt: skip


def stored_times(times: NDArray[np.float64] | None) -> bytes | None:
    return None if times is None else zlib.compress(times.astype(np.float64).tobytes())


def manifest_of(journal: Journal) -> Manifest:
    """project.json as it should be now."""
    with journal.reading():
        table = ClassTable.from_json(journal.get("table"))
        return Manifest(
            id=journal.get("id"),
            revision=int(journal.get("revision")),
            classes=tuple(ClassEntry(name=c.name, color=c.color) for c in table.classes),
            media=tuple(medium.entry for medium in read_media(journal).values()),
            cache_bytes=journal.get("cache_bytes"),
        )


def revise(journal: Journal) -> None:
    """Within a transaction: what project.json tells has changed."""
    journal.put("revision", int(journal.get("revision")) + 1)


def publish(folder: Path, journal: Journal) -> None:
    """Write project.json.

    Raises:
        OutputError: it could not be written; the next opening tries again.
    """
    write_manifest(folder, manifest_of(journal))
