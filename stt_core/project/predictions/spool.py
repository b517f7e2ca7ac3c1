"""The frames of the unfinished segment: an append-only file, synced with every frame.

A record is the magic, the CRC-32 of its head, the CRC-32 of its body, a row and the body. What a
killed writer left unfinished is the end of the file and was never acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stt_core.errors import Problem
from stt_core.files import writing
from stt_core.project.predictions.manifest import ARRAYS
from stt_core.project.predictions.rows import ROW, Rows, Source, sync_folder

SUFFIX = ".spool"
_MAGIC = b"STTf"
_HEAD = struct.Struct("<4sII")
_HEAD_BYTES = _HEAD.size + ROW.itemsize


class SpoolWriter:
    """Appends frames to a new file.

    Attributes:
        source: the frames so far.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, folder: Path, serial: int) -> None:
        path = folder / f"{serial:08d}{SUFFIX}"
        with writing(path):
            self._file = path.open("xb", buffering=0)
            sync_folder(folder)
        self.source = Source(path, np.empty(0, ROW), 0)

    def append(
        self, frame: int, entropy: float, flicker: float, parts: Sequence[bytes | None]
    ) -> None:
        """Write a frame; it is on the disk when this returns.

        Args:
            frame: its index.
            entropy: NaN where it is not known.
            flicker: NaN where it is not known.
            parts: packed arrays, one for each of :data:`ARRAYS`.

        Raises:
            OutputError: the disk is full or gone. The file is closed; the frames before are safe.
        """
        path, rows, end = self.source.path, self.source.rows, self.source.end
        row = _row(end + _HEAD_BYTES, frame, entropy, flicker, parts)
        record = memoryview(_record(row, b"".join(part for part in parts if part)))
        with writing(path):
            try:
                while record:
                    record = record[self._file.write(record) :]
                os.fsync(self._file.fileno())
            except BaseException:  # an interrupt as well: what follows must begin at `end`
                with contextlib.suppress(OSError):  # room for others; a reader stops there anyway
                    self._file.truncate(end)
                self.close()
                raise
        self.source = Source(path, np.concatenate([rows, row]), self._file.tell())

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()


def scan_spool(path: Path, known: Source | None = None) -> Source:
    """Find the frames of a spool.

    Args:
        path: of the spool; a writer may be at work on it.
        known: what was found before, to go on from there.

    Raises:
        OSError: it is gone or cannot be read.
    """
    start = 0 if known is None else known.end
    found: list[Rows] = [] if known is None else [known.rows]
    problems = [] if known is None else [*known.problems]
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    at = 0
    while True:
        row = _head_at(data, at, start)
        if row is not None and _body_fits(data, at, row):
            found.append(row)
            at += _HEAD_BYTES + int(row["size"].sum())
            continue
        following = _next_head(data, at + 1, start)
        if not following:
            break  # the end, or what a writer has not finished
        lost = "a frame" if row is None else f"frame {int(row['frame'][0])}"
        problems.append(Problem(path, f"is damaged at byte {start + at}: {lost} is lost"))
        at = following
    rows = np.concatenate(found) if found else np.empty(0, ROW)
    return Source(path, rows, start + at, tuple(problems))


def _row(
    start: int, frame: int, entropy: float, flicker: float, parts: Sequence[bytes | None]
) -> Rows:
    row = np.zeros(1, ROW)
    row["frame"], row["entropy"], row["flicker"] = frame, entropy, flicker
    sizes = [len(part or b"") for part in parts]
    row["size"] = sizes
    row["offset"] = [start + sum(sizes[:i]) for i in range(len(ARRAYS))]
    return row


def _record(row: Rows, body: bytes) -> bytes:
    checked = struct.pack("<I", zlib.crc32(body)) + row.tobytes()
    return _MAGIC + struct.pack("<I", zlib.crc32(checked)) + checked + body


def _head_at(data: bytes, at: int, start: int) -> Rows | None:
    """The row of a record's sound head at `at`, in data that begins at byte `start`."""
    if len(data) - at < _HEAD_BYTES:
        return None
    magic, head_crc, _ = _HEAD.unpack_from(data, at)
    if magic != _MAGIC or zlib.crc32(data[at + 8 : at + _HEAD_BYTES]) != head_crc:
        return None
    row: Rows = np.frombuffer(data, ROW, 1, at + _HEAD.size).copy()
    return row if int(row["offset"][0, 0]) == start + at + _HEAD_BYTES else None


def _next_head(data: bytes, at: int, start: int) -> int:
    """Where the next sound head begins; 0 where there is none."""
    while (at := data.find(_MAGIC, at)) >= 0:
        if _head_at(data, at, start) is not None:
            return at
        at += 1
    return 0


def _body_fits(data: bytes, at: int, row: Rows) -> bool:
    body = memoryview(data)[at + _HEAD_BYTES :][: int(row["size"].sum())]
    return len(body) == row["size"].sum() and zlib.crc32(body) == _HEAD.unpack_from(data, at)[2]
