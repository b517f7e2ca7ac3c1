"""Where the parts of frames lie in a file, and reading them.

Both kinds of file, spools and segments, say it in the same words: a row for each frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import Problem
from stt_core.files import writing
from stt_core.project.predictions.codec import Damaged
from stt_core.project.predictions.manifest import ARRAYS

ROW = np.dtype(
    [
        ("frame", "<u4"),
        ("entropy", "<f4"),
        ("flicker", "<f4"),
        ("offset", "<u8", (len(ARRAYS),)),
        ("size", "<u4", (len(ARRAYS),)),
    ]
)
"""Packed. Parts that are not stored have size 0; values that are not known are NaN."""

Rows = NDArray[Any]
"""``[n]`` of :data:`ROW`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that holds frames."""

    path: Path
    rows: Rows
    """Of the frames that can be read."""
    end: int
    """Bytes of a spool that were looked at."""
    problems: tuple[Problem, ...] = ()


def serial_of(name: str) -> int:
    """The number a file's name begins with; newer files have higher ones."""
    return int(name[:8])


def read_parts(path: Path, row: np.void, which: Iterable[int]) -> list[bytes]:
    """The stored bytes of some arrays of a frame.

    Raises:
        OSError: the file is gone or cannot be read.
        Damaged: it ends too early.
    """
    with path.open("rb", buffering=0) as file:
        return [_read_span(file.fileno(), row, part) for part in which]


def parts_end(rows: Rows) -> NDArray[np.uint64]:
    """``[n]`` where the last byte of each row's frame is over."""
    ends: NDArray[np.uint64] = (rows["offset"] + rows["size"]).max(1, initial=0)
    return ends


def sync_folder(folder: Path) -> None:
    """Make names that were given or taken in a folder last; Windows does so by itself.

    Raises:
        OutputError: the disk is gone.
    """
    if os.name == "nt":
        return
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_span(handle: int, row: np.void, part: int) -> bytes:
    offset, size = int(row["offset"][part]), int(row["size"][part])
    os.lseek(handle, offset, os.SEEK_SET)
    data = os.read(handle, size)
    if len(data) != size:
        raise Damaged(f"the file ends {size - len(data)} bytes too early")
    return data
