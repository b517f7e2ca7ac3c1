"""Whether a video file was cut off, told from the sizes it states, without decoding."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

_TS_PACKET = 188
_TS_TAIL = 2000  # transport packets to look through for the last of the video
_PCR_ONLY = 7  # length of an adaptation field that holds a clock and no stuffing


class Ending(Enum):
    """How the end of a file looks."""

    WHOLE = auto()
    DOUBTFUL = auto()
    """The last picture may lack bytes: only decoding can tell."""
    CUT = auto()
    CUT_IN_PICTURE = auto()
    """As CUT, and the last picture surely lacks bytes."""

    @property
    def is_cut(self) -> bool:
        return self in (Ending.CUT, Ending.CUT_IN_PICTURE)


def ending_of(path: Path, format_name: str, stream_id: int) -> Ending:
    """How a video file ends.

    Args:
        path: the file.
        format_name: FFmpeg's name of its container.
        stream_id: of the video; in a transport stream its PID.

    Returns:
        WHOLE as well for containers that do not state their size.
    """
    with path.open("rb") as file:
        if "mp4" in format_name:
            stated = stated_mp4_size(file)
        elif "matroska" in format_name:
            stated = _stated_matroska_size(file)
        elif format_name == "avi":
            stated = _stated_avi_size(file)
        elif format_name == "mpegts":
            return _ending_of_transport_stream(file, stream_id)
        else:
            return Ending.WHOLE
        return Ending.CUT if stated > _size(file) else Ending.WHOLE


def mp4_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, stated end) of each outermost box, offsets in bytes."""
    start, size = 0, _size(file)
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # the length follows in 64 bits
            length = int.from_bytes(header[8:], "big")
        end = size if length == 0 else start + max(length, 8)
        yield header[4:8], start, end
        start = end


def stated_mp4_size(file: BinaryIO) -> int:
    """Where the last outermost box ends by its own word, bytes."""
    return max((end for _, _, end in mp4_boxes(file)), default=0)


def _stated_matroska_size(file: BinaryIO) -> int:
    """End of the segment in bytes, 0 when it was left open (live recordings)."""
    head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()  # of the size itself, told by its leading zeros
    value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    unknown = (1 << 7 * length) - 1
    return 0 if value == unknown else at + length + value


def _stated_avi_size(file: BinaryIO) -> int:
    """End of the last RIFF chunk, bytes; a long AVI has several."""
    start, size = 0, _size(file)
    while start + 8 <= size:
        file.seek(start)
        header = file.read(8)
        if header[:4] != b"RIFF":
            break
        start += 8 + int.from_bytes(header[4:], "little")
    return start


def _ending_of_transport_stream(file: BinaryIO, pid: int) -> Ending:
    extra = 4 if file.read(5)[4:] == b"\x47" else 0  # M2TS puts a time before each packet
    stride = _TS_PACKET + extra
    size = _size(file)
    file.seek(max(0, size // stride - _TS_TAIL) * stride)
    tail = file.read()
    starts = range(len(tail) // stride * stride - stride, -1, -stride)
    packets = (tail[at + extra : at + stride] for at in starts)
    finished = next((_is_stuffed(p) for p in packets if _has_payload(p, pid)), False)
    if size % stride:
        return Ending.CUT if finished else Ending.CUT_IN_PICTURE
    return Ending.WHOLE if finished else Ending.DOUBTFUL


def _has_payload(packet: bytes, pid: int) -> bool:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF == pid and bool(packet[3] & 0x10)


def _is_stuffed(packet: bytes) -> bool:
    """As the last packet of a picture is filled up; 1 picture in 184 just fits."""
    return bool(packet[3] & 0x20) and packet[4] != _PCR_ONLY


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


class PaddedFile(io.RawIOBase):
    """A cut file with zeros for the bytes that are missing, to read what its index promises.

    Args:
        path: the file.
        size: its full size, bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        self._file.seek(self._at)
        wanted = max(0, end - self._at)
        self._at += wanted
        return self._file.read(wanted).ljust(wanted, b"\0")

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()
