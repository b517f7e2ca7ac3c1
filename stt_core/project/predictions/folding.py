"""Writing frames of several files as finished segments, and only then removing those files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stt_core.errors import FormatError, OutputError
from stt_core.files import is_temporary, writing
from stt_core.project.predictions import spool
from stt_core.project.predictions.codec import Damaged
from stt_core.project.predictions.index import Index
from stt_core.project.predictions.manifest import ARRAYS, Manifest
from stt_core.project.predictions.rows import Rows, Source, read_parts
from stt_core.project.predictions.segment import write_segment

SEGMENT_FRAMES = 128
SEGMENT_BYTES = 64 * 2**20
"""A segment ends with the frame that reaches either."""


class _Packed(NamedTuple):
    row: np.void
    parts: list[bytes]


def is_full(frames: int, nbytes: int) -> bool:
    """Whether that many frames and bytes make a segment."""
    return frames >= SEGMENT_FRAMES or nbytes >= SEGMENT_BYTES


def fold(
    folder: Path,
    manifest: Manifest,
    index: Index,
    sources: Sequence[Source],
    *,
    without: Collection[int] = (),
) -> None:
    """Write the newest frames of some sources anew, then remove the sources.

    Killed at any moment, every frame is in one of the files, old or new.

    Args:
        folder: of the predictions, locked by the caller.
        manifest: of the folder.
        index: of the folder; is kept right.
        sources: files of the folder.
        without: frames to leave out.

    Raises:
        OutputError: the disk is full; all frames are where they were.
        FormatError: a file cannot be read.
    """
    places = [(source, row) for source in sources for row in index.live(source)]
    places = [place for place in places if int(place[1]["frame"]) not in without]
    places.sort(key=lambda place: int(place[1]["frame"]))
    which = [ARRAYS.index(name) for name in manifest.arrays()]
    packed = (_Packed(row, _read(source, row, which)) for source, row in places)
    for batch in _batches(packed):
        rows: Rows = np.array([each.row for each in batch])
        parts = [each.parts for each in batch]
        index.add(write_segment(folder, index.next_serial, manifest, rows, parts))
    for source in sources:
        remove(index, source)


def fold_spools(folder: Path, manifest: Manifest, index: Index) -> None:
    """Fold what has been spooled, and small segments before it, so that few files remain.

    A segment is taken along while it holds at most twice as many frames as there are so far: a
    frame is written anew a few times at most, however often a writer comes and goes.
    """
    spools = _spools(index)
    taken = [*spools]
    frames, nbytes = _extent(index, spools)
    for name in sorted(set(index.sources) - {each.path.name for each in spools}, reverse=True):
        source = index.sources[name]
        more, larger = _extent(index, [source])
        fits = frames + more <= SEGMENT_FRAMES and nbytes + larger <= SEGMENT_BYTES
        if source.problems or not fits or more > 2 * frames:
            break
        taken.append(source)
        frames, nbytes = frames + more, nbytes + larger
    if spools:
        fold(folder, manifest, index, taken)


def count_spooled(index: Index) -> int:
    """How many frames are not in a segment yet."""
    return sum(len(index.live(source)) for source in _spools(index))


def remove(index: Index, source: Source) -> None:
    """Remove a file whose frames are elsewhere, or lost."""
    try:
        with writing(source.path):
            source.path.unlink(missing_ok=True)
    except OutputError:
        if os.name != "nt":
            raise
        return  # someone reads it right now; the next writer removes it
    index.drop(source)


def remove_leftovers(folder: Path, index: Index) -> None:
    """Remove what a killed writer left: temporary files, and files that newer ones replace.

    Args:
        folder: of the predictions, locked by the caller.
        index: of the folder; is kept right.
    """
    for path in folder.iterdir():
        if is_temporary(path):
            with writing(path):
                path.unlink(missing_ok=True)
    for source in [*index.sources.values()]:
        if not source.problems and not len(index.live(source)):
            remove(index, source)


def _spools(index: Index) -> list[Source]:
    return [source for name, source in index.sources.items() if name.endswith(spool.SUFFIX)]


def _extent(index: Index, sources: Sequence[Source]) -> tuple[int, int]:
    """Frames and bytes that are still in use."""
    rows = [index.live(source) for source in sources]
    return sum(map(len, rows)), sum(int(each["size"].sum()) for each in rows)


def _batches(packed: Iterator[_Packed]) -> Iterator[list[_Packed]]:
    batch: list[_Packed] = []
    nbytes = 0
    for each in packed:
        batch.append(each)
        nbytes += sum(map(len, each.parts))
        if is_full(len(batch), nbytes):
            yield batch
            batch, nbytes = [], 0
    if batch:
        yield batch


def _read(source: Source, row: np.void, which: Sequence[int]) -> list[bytes]:
    try:
        return read_parts(source.path, row, which)
    except (OSError, Damaged) as error:
        raise unreadable(source.path, int(row["frame"]), str(error)) from error


def unreadable(path: Path, frame: int, why: str) -> FormatError:
    """A damaged frame, in a sentence."""
    return FormatError(
        f"the prediction of frame {frame} in {path} cannot be read ({why}). Check the project, "
        "which drops what is damaged, and compute it again."
    )
