"""A finished segment: an HDF5 file that is written once, whole.

Other programs read the datasets `frame`, `entropy`, `flicker`, `labels`, `confidence` and, where
stored, `probabilities` and `features`: one chunk a frame, compressed by the registered filter
32015 (Zstandard; hdf5plugin has it). Ours reads the table before HDF5's own first byte (a user
block), which says where each chunk lies: opening a folder of thousands of segments takes a small
read of each, and a frame one more, without HDF5 and its global lock.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stt_core.errors import Problem
from stt_core.files import replacing
from stt_core.project.predictions.codec import LEVEL
from stt_core.project.predictions.manifest import ARRAYS, ArrayKind, Manifest
from stt_core.project.predictions.rows import ROW, Rows, Source, parts_end, sync_folder

SUFFIX = ".h5"
_MAGIC = b"STTpred1"
_HEAD = struct.Struct("<8sII")
"""Magic, CRC-32 of the rows, how many rows."""
_FIRST_READ = 8192
"""Holds the table of 128 rows."""
_ZSTD, _SHUFFLE = 32015, 2


def write_segment(
    folder: Path,
    serial: int,
    manifest: Manifest,
    rows: Rows,
    parts: Sequence[Sequence[bytes]],
) -> Source:
    """Write frames as a segment.

    Args:
        folder: of the predictions.
        serial: above that of every file there.
        manifest: of the folder.
        rows: with frames, values and sizes; rising frames.
        parts: packed arrays of each row, those that are stored.

    Raises:
        OutputError: it could not be written; nothing of it is left.
    """
    first, last = int(rows["frame"][0]), int(rows["frame"][-1])
    path = folder / f"{serial:08d}_{first:07d}-{last:07d}{SUFFIX}"
    image, placed = _image(manifest, rows, parts)
    head = head_of(placed)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(head)
        file.write(image)
    sync_folder(folder)
    return Source(path, _shifted(placed, len(head)), 0)


def head_of(placed: Rows) -> bytes:
    """The user block of rows whose offsets count from HDF5's first byte."""
    room = 512  # HDF5 looks for its first byte at 0, 512 and every doubling
    while room < _HEAD.size + placed.nbytes:
        room *= 2
    table = _shifted(placed, room).tobytes()
    return (_HEAD.pack(_MAGIC, zlib.crc32(table), len(placed)) + table).ljust(room, b"\0")


def read_segment(path: Path) -> Source:
    """Find the frames of a segment.

    Raises:
        OSError: it is gone or cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_FIRST_READ)
        rows = _table(head)
        if rows is None and len(head) == _FIRST_READ:
            file.seek(0)
            rows = _table(file.read(_HEAD.size + _claimed(head) * ROW.itemsize))
        size = file.seek(0, 2)
    if rows is None:
        what = f"is damaged: what it held of the frames {path.stem[9:]} is lost"
        return Source(path, np.empty(0, ROW), 0, (Problem(path, what),))
    inside = parts_end(rows) <= size
    if inside.all():
        return Source(path, rows, 0)
    lost = rows["frame"][~inside]
    what = f"is cut short: {len(lost)} frames from {lost[0]} to {lost[-1]} are lost"
    return Source(path, rows[inside], 0, (Problem(path, what),))


def _claimed(head: bytes) -> int:
    magic, _, count = _HEAD.unpack_from(head)
    return int(count) if magic == _MAGIC and count < 2**20 else 0


def _table(head: bytes) -> Rows | None:
    if len(head) < _HEAD.size:
        return None
    magic, crc, count = _HEAD.unpack_from(head)
    table = head[_HEAD.size : _HEAD.size + count * ROW.itemsize]
    if magic != _MAGIC or len(table) != count * ROW.itemsize or zlib.crc32(table) != crc:
        return None
    rows: Rows = np.frombuffer(table, ROW)
    return rows


def _image(manifest: Manifest, rows: Rows, parts: Sequence[Sequence[bytes]]) -> tuple[bytes, Rows]:
    """The HDF5 file, and the rows with offsets into it.

    It is made in memory: HDF5 does not survive a disk that is full.
    """
    import h5py  # type: ignore[import-untyped]  # takes 0.15 s; who only reads does without

    placed = rows.copy()
    placed["offset"], placed["size"] = 0, 0
    with h5py.File("segment", "w", driver="core", backing_store=False, block_size=1 << 20) as file:
        file.attrs.update(
            media_hash=manifest.media_hash,
            model_hash=manifest.model_hash,
            digest=manifest.key.digest,
            classes=[each.name for each in manifest.classes],
        )
        for name in ("frame", "entropy", "flicker"):
            file[name] = rows[name]
        for index, (name, kind) in enumerate(manifest.arrays().items()):
            dataset = _dataset(file.id, name, kind, len(rows))
            at = (0,) * len(kind.shape)
            for i, each in enumerate(parts):
                dataset.write_direct_chunk((i, *at), each[index])
            part = ARRAYS.index(name)
            for i in range(len(rows)):
                chunk = dataset.get_chunk_info_by_coord((i, *at))
                placed["offset"][i, part], placed["size"][i, part] = chunk.byte_offset, chunk.size
        file.flush()
        return file.id.get_file_image(), placed


def _dataset(file: Any, name: str, kind: ArrayKind, count: int) -> Any:
    """HDF5's own objects: a file and the dataset in it."""
    from h5py import h5d, h5p, h5s, h5t, h5z

    how = h5p.create(h5p.DATASET_CREATE)
    how.set_chunk((1, *kind.shape))
    if kind.dtype.itemsize > 1:
        how.set_shuffle()
    # Optional, since HDF5 itself cannot compress with it: it is handed compressed chunks.
    how.set_filter(_ZSTD, h5z.FLAG_OPTIONAL, (LEVEL,))
    space = h5s.create_simple((count, *kind.shape))
    return h5d.create(file, name.encode(), h5t.py_create(kind.dtype), space, how)


def _shifted(placed: Rows, by: int) -> Rows:
    """Rows with the offsets of stored parts moved on."""
    rows = placed.copy()
    rows["offset"] += np.where(rows["size"] > 0, by, 0).astype(np.uint64)
    return rows
