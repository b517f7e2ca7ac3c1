"""Which row of the journal belongs to which frame of which medium."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from stt_core.project.journal import Journal
from stt_core.project.manifest import MediaEntry

Review = Literal["todo", "draft", "checked", "locked"]
REVIEWS: tuple[Review, ...] = get_args(Review)


class FrameRef(NamedTuple):
    media_id: str
    frame: int
    """Index now."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium as the journal knows it."""

    number: int
    entry: MediaEntry

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.entry.height, self.entry.width


@dataclass(frozen=True, slots=True)
class FrameRow:
    number: int
    medium: Medium
    key: int
    """Of a video the index, of a folder the number of the image."""
    version: int
    review: Review
    labelled: int
    """Pixels that are not UNLABELLED."""
    png_version: int | None
    png_size: int | None
    png_mtime: int | None
    png_digest: bytes | None

    @property
    def current(self) -> bool:
        """Whether the PNG was written after the last change."""
        return self.version == self.png_version


_COLUMNS = "number, key, version, review, labelled, png_version, png_size, png_mtime, png_digest"


def read_media(journal: Journal) -> dict[str, Medium]:
    """All media by id, in the order they were added."""
    rows = journal.all("SELECT number, id, entry FROM media ORDER BY number")
    return {
        id_: Medium(number, MediaEntry.model_validate_json(entry)) for number, id_, entry in rows
    }


def key_of(journal: Journal, medium: Medium, index: int) -> int:
    """What the labels of a frame hang on.

    Raises:
        IndexError: there is no such frame.
    """
    if not 0 <= index < medium.entry.frames:
        raise IndexError(
            f"frame {index} of {medium.entry.name}, which has frames 0 to {medium.entry.frames - 1}"
        )
    if medium.entry.kind == "video":
        return index
    row = journal.one(
        "SELECT number FROM images WHERE media = ? AND place = ?", medium.number, index
    )
    return int(row[0]) if row else index


def index_of(journal: Journal, medium: Medium, key: int) -> int | None:
    """The index of a frame now; None while its image is gone."""
    if medium.entry.kind == "video":
        return key
    row = journal.one("SELECT place FROM images WHERE media = ? AND number = ?", medium.number, key)
    return row[0] if row else None


def find_frame(journal: Journal, medium: Medium, key: int) -> FrameRow | None:
    row = journal.one(
        f"SELECT {_COLUMNS} FROM frames WHERE media = ? AND key = ?", medium.number, key
    )
    return _frame(medium, row) if row else None


def frame_by_number(journal: Journal, media: dict[str, Medium], number: int) -> FrameRow:
    row = journal.one(f"SELECT {_COLUMNS}, media FROM frames WHERE number = ?", number)
    assert row is not None
    medium = next(m for m in media.values() if m.number == row[-1])
    return _frame(medium, row[:-1])


def make_frame(journal: Journal, medium: Medium, key: int) -> FrameRow:
    """Within a transaction: the row of a frame, made where it is the first time."""
    found = find_frame(journal, medium, key)
    if found is not None:
        return found
    pts = _pts(journal, medium, key) if medium.entry.kind == "video" else None
    journal.run("INSERT INTO frames(media, key, pts) VALUES (?, ?, ?)", medium.number, key, pts)
    made = find_frame(journal, medium, key)
    assert made is not None
    return made


def all_frames(journal: Journal, medium: Medium) -> list[FrameRow]:
    rows = journal.all(f"SELECT {_COLUMNS} FROM frames WHERE media = ? ORDER BY key", medium.number)
    return [_frame(medium, row) for row in rows]


def stale_frames(journal: Journal, media: dict[str, Medium]) -> list[FrameRow]:
    """Those whose PNG is behind the journal."""
    rows = [
        (medium, row)
        for medium in media.values()
        for row in journal.all(
            f"SELECT {_COLUMNS} FROM frames "
            "WHERE media = ? AND version > 0 AND png_version IS NOT version ORDER BY key",
            medium.number,
        )
    ]
    return [_frame(medium, row) for medium, row in rows]


def indices_where(journal: Journal, medium: Medium, column: str, wanted: str | None) -> list[int]:
    """Rising indices of the frames whose `column` is `wanted`; with None, above 0."""
    what = f"{column} > 0" if wanted is None else f"{column} = ?"
    values: tuple[object, ...] = (medium.number,) if wanted is None else (medium.number, wanted)
    if medium.entry.kind == "video":
        sql = f"SELECT key FROM frames WHERE media = ? AND {what} ORDER BY key"
    else:
        sql = (
            "SELECT place FROM frames JOIN images "
            "ON images.media = frames.media AND images.number = frames.key "
            f"WHERE frames.media = ? AND {what} AND place IS NOT NULL ORDER BY place"
        )
    return [int(row[0]) for row in journal.all(sql, *values)]


def _frame(medium: Medium, row: tuple[object, ...]) -> FrameRow:
    number, *rest = row
    return FrameRow(number, medium, *rest)  # type: ignore[arg-type]  # columns in this order


def _pts(journal: Journal, medium: Medium, index: int) -> float | None:
    row = journal.one("SELECT times FROM media WHERE number = ?", medium.number)
    if row is None or row[0] is None:
        return None
    times = np.frombuffer(zlib.decompress(row[0]), np.float64)
    return float(times[index]) if index < len(times) else None
