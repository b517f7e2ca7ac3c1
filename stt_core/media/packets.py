"""The packets of a video stream, in the order of the file, and the frames they make.

P = packets in the order of the file, each known by its serial number, from 0; F = frames in the
order of display. One pass without decoding gives both: frame i is the packet of the i-th smallest
presentation time. 600 packets take 4 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands for a missing pts, dts or file position."""

READ_ERRORS = (av.FFmpegError, OSError, IndexError)
"""What demuxing raises. IndexError is PyAV's, for a stream that first appears in mid-file."""

_ENTRY_POINTS = 4

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PacketTable:
    """What one pass over the file tells of each packet, without decoding."""

    pts: Integers
    """``[P]`` in time bases of the stream, NO_TIME where missing; so is dts."""
    dts: Integers
    position: Integers
    """``[P]`` offset in the file, bytes."""
    key: Flags
    discarded: Flags
    """``[P]`` decoded but not displayed, by an edit list."""
    corrupt: Flags
    """``[P]`` the container knows that bytes are missing."""
    interrupted: bool
    """The pass ended with a read error rather than at the end of the file."""

    def __len__(self) -> int:
        return len(self.pts)


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Which packet makes which frame."""

    serials: Integers
    """``[F]`` packet of each frame."""
    ranks: Integers
    """``[P]`` frame of each packet, -1 where it shows none."""
    times: NDArray[np.float64]
    """``[F]`` presentation time, seconds."""

    def __len__(self) -> int:
        return len(self.serials)

    def part(self, start: int, stop: int) -> FrameIndex:
        """The frames [start, stop), numbered from 0 again."""
        return frame_index(self.serials[start:stop], self.times[start:stop], len(self.ranks))


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Tells which packet of the table was met after a seek."""

    by_position: bool
    serials: Mapping[int, int]

    def serial_of(self, packet: Packet[VideoStream]) -> int | None:
        """The serial number, or None for a packet that the table cannot tell from others."""
        value = packet.pos if self.by_position else packet.pts
        return None if value is None else self.serials.get(value)


def read_packets(container: InputContainer, stream: VideoStream) -> PacketTable:
    """Pass once over the stream. A read error ends the pass and is noted in the table."""
    rows: list[tuple[int, int, int, bool, bool, bool]] = []
    interrupted = False
    try:
        rows.extend(_row(packet) for packet in container.demux(stream) if packet.size)
    except READ_ERRORS:
        interrupted = True
    numbers = np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)
    flags = np.array([row[3:] for row in rows], dtype=np.bool_).reshape(-1, 3)
    pts, dts, position = numbers.T
    key, discarded, corrupt = flags.T
    return PacketTable(pts, dts, position, key, discarded, corrupt, interrupted)


def _row(packet: Packet[VideoStream]) -> tuple[int, int, int, bool, bool, bool]:
    return (
        NO_TIME if packet.pts is None else packet.pts,
        NO_TIME if packet.dts is None else packet.dts,
        NO_TIME if packet.pos is None or packet.pos < 0 else packet.pos,
        packet.is_keyframe,
        packet.is_discard,
        packet.is_corrupt,
    )


def frame_index(serials: Integers, times: NDArray[np.float64], packets: int) -> FrameIndex:
    """The index of frames whose packets, in order of display, are `serials` ``[F]``."""
    ranks = np.full(packets, -1, dtype=np.int64)
    ranks[serials] = np.arange(len(serials))
    return FrameIndex(serials, ranks, times)


def index_by_pts(table: PacketTable, time_base: float) -> FrameIndex | None:
    """The frames in order of pts, or None where a pts is missing or given twice."""
    shown = np.flatnonzero(~table.discarded)
    pts = table.pts[shown]
    if not _all_different(pts):
        return None
    order = np.argsort(pts)
    times = pts[order].astype(np.float64) * time_base
    return frame_index(shown[order], times, len(table))


def landmarks(table: PacketTable) -> Landmarks:
    """Packets by file position where each has its own, else by pts, else none.

    A laced block of Matroska gives one position to several packets; AVI has no pts.
    """
    for by_position, column in ((True, table.position), (False, table.pts)):
        if _all_different(column):
            return Landmarks(by_position, {value: at for at, value in enumerate(column.tolist())})
    return Landmarks(False, {})


def entry_points(table: PacketTable, index: FrameIndex, rank: int) -> list[int]:
    """Packets at which decoding can start to reach frame `rank`, the nearest first.

    A key packet shown after the frame does not help, even where it comes before it in the file:
    the frames it leads need the picture before it. The first packet always ends the list.
    """
    keys = np.flatnonzero(table.key[: index.serials[rank] + 1])
    usable = keys[index.ranks[keys] <= rank]  # -1, a hidden key, is usable
    nearest = usable[: -1 - _ENTRY_POINTS : -1]
    return [*(key for key in nearest.tolist() if key), 0]


def _all_different(values: Integers) -> bool:
    return NO_TIME not in values and len(np.unique(values)) == len(values)
