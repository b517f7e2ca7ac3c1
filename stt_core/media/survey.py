"""What is in a video file: its packets, its frames, and how much of it can be read.

Opening costs one pass over the packets. Frames are decoded here only where nothing else can tell:
the first, the last groups of a file that was cut off, and all of a file that keeps no times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from stt_core.errors import MediaError
from stt_core.media.decoder import Decoder, Picture, open_video
from stt_core.media.packets import (
    NO_TIME,
    READ_ERRORS,
    FrameIndex,
    PacketTable,
    entry_points,
    frame_index,
    index_by_pts,
    read_packets,
)
from stt_core.media.truncation import (
    Ending,
    PaddedFile,
    ending_of,
    mp4_boxes,
    stated_mp4_size,
)

_FALLBACK_FPS = 25.0
# These keep no presentation time, so FFmpeg makes one up, wrongly where pictures are reordered.
_UNTIMED = ("avi", "h264", "hevc", "m4v", "mpegvideo")
_HIDING = ("vp8",)  # some packets of these show nothing, and only the decoder knows which
_REORDERED = 2  # pictures held back for reordering, in files that keep no times
_GAP = 1.5  # in usual frame distances; more means that a frame is missing in between


@dataclass(frozen=True, slots=True)
class Survey:
    """A video file before any of its frames is asked for."""

    opened: tuple[InputContainer, VideoStream]
    """Whoever asked for the survey closes it."""
    table: PacketTable
    index: FrameIndex
    stop: int
    """The first packet that is not to be decoded."""
    fps: float
    """Average, frames a second."""
    warnings: tuple[str, ...]


def survey(path: Path) -> Survey:
    """Find the frames of a video that can be read.

    Raises:
        MediaError: there is no such file, it is no video, or none of its frames can be read.
    """
    _require_file(path)
    container, stream = _open(path)
    with ExitStack() as on_error:
        on_error.callback(container.close)
        table = read_packets(container, stream)
        ending = ending_of(path, container.format.name, stream.id)
        if table.corrupt[-1:].any():
            ending = Ending.CUT_IN_PICTURE
        elif table.interrupted:
            ending = Ending.CUT
        if len(table):
            found = _Surveyor(path, container, stream, table, ending).survey()
            if len(found.index):
                on_error.pop_all()
                return found
        cut = ending.is_cut or stream.frames
    what = "was cut off before its first frame was complete" if cut else "holds no frame"
    raise MediaError(f"{path} is a video but {what}. Record, export or copy it again.")


def _require_file(path: Path) -> None:
    if not os.path.isfile(path):
        what = "is not a file" if path.exists() else "does not exist"
        raise MediaError(f"{path} {what}. Check the name, or whether its disk is connected.")
    if not path.stat().st_size:
        raise MediaError(f"{path} is empty (0 bytes). Copy it again from where it came from.")


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    try:
        return open_video(path)
    except MediaError as error:
        with path.open("rb") as file:
            size = path.stat().st_size
            whole = {kind: end <= size for kind, _, end in mp4_boxes(file)}
        if b"ftyp" in whole and not whole.get(b"moov"):
            raise MediaError(
                f"{path} was cut off before the end of its index (the moov box), so none of its "
                "frames can be found. Copy the file again, or let the recorder finish first."
            ) from error
        raise


class _Surveyor:
    """The steps of :func:`survey`, which share what is known of the file."""

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: VideoStream,
        table: PacketTable,
        ending: Ending,
    ) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._table, self._ending = table, ending
        self._stated_fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
        self._time_base = float(stream.time_base or 0)
        self._decoded = False  # the index was made by decoding everything
        self._stop = len(table) - (ending is Ending.CUT_IN_PICTURE)

    def survey(self) -> Survey:
        promised = self._promised_packets()
        index = self._index(promised if promised is not None else self._table)
        whole = self._ending is Ending.WHOLE
        readable = len(index) if whole else self._readable_frames(index, promised)
        fps = self._average_fps(index)
        timed = promised is not None and not self._decoded
        count = len(index) if timed else self._promised_count(fps)
        warnings = self._warnings(readable, len(index), count)
        opened = (self._container, self._stream)
        part = index.part(0, readable)
        return Survey(opened, self._table, part, self._stop, fps, warnings)

    def _promised_packets(self) -> PacketTable | None:
        """The packets an MP4 would have had: its index comes first and survives the cut."""
        if not self._ending.is_cut or "mp4" not in self._container.format.name:
            return None
        with self._path.open("rb") as file:
            size = stated_mp4_size(file)
        place = self._container.streams.video.index(self._stream)
        try:
            with PaddedFile(self._path, size) as padded, av.open(padded, "r") as container:
                return read_packets(container, container.streams.video[place])
        except READ_ERRORS:
            return None  # damaged as well: there is only what was found

    def _index(self, table: PacketTable) -> FrameIndex:
        untimed = self._container.format.name in _UNTIMED and self._stream.has_b_frames
        if not untimed and self._stream.codec.name not in _HIDING:
            index = index_by_pts(table, self._time_base)
            if index is not None:
                return index
        return self._index_by_decoding()

    def _index_by_decoding(self) -> FrameIndex:
        """The frames in the order the decoder gives them, one every 1 / fps seconds."""
        self._decoded = True
        decoder = Decoder(self._path, self._table, self._stop)
        serials = list(dict.fromkeys(picture.serial for picture in _pictures(decoder)))
        times = np.arange(len(serials)) / self._stated_fps
        return frame_index(np.array(serials, dtype=np.int64), times, len(self._table))

    def _readable_frames(self, index: FrameIndex, promised: PacketTable | None) -> int:
        """How many frames, from the first on, can be read up to where the file was cut."""
        unread = index.ranks[self._stop :]
        readable = int(min(unread[unread >= 0], default=len(index)))
        if self._ending.is_cut and promised is None and len(index) != self._stream.frames:
            readable = self._first_uncertain(index, readable)
        return self._first_damaged(index, readable)

    def _first_uncertain(self, index: FrameIndex, readable: int) -> int:
        """The first frame that may have lost one before it with the end, else `readable`.

        The last pictures of a cut file are shown after others which came later in the file. A gap
        in even times tells; with uneven times only those are certain that were due.
        """
        if self._decoded:
            return max(min(1, readable), readable - _REORDERED)
        dts = self._table.dts[: self._stop]
        if readable < 3 or dts[-1] == NO_TIME:
            return readable
        due = int(np.searchsorted(index.times, dts[-1] * self._time_base, side="right"))
        steps = np.diff(index.times[:readable])
        gaps = np.flatnonzero(steps > _GAP * np.median(steps)) + 1
        uncertain = due if (gaps < due).any() else min(gaps, default=readable)
        return min(int(uncertain), readable)

    def _first_damaged(self, index: FrameIndex, readable: int) -> int:
        """The first frame that does not decode cleanly in the last two groups, else `readable`."""
        if not readable:
            return 0
        start, *earlier = entry_points(self._table, index, readable - 1)[1:] or [0]
        decoder = Decoder(self._path, self._table, self._stop)
        decoder.go_to(start, earlier, careful=True)
        clean = {index.ranks[p.serial] for p in _pictures(decoder) if not p.frame.is_corrupt}
        checked = range(max(0, int(index.ranks[start])), readable)
        return next((rank for rank in checked if rank not in clean), readable)

    def _average_fps(self, index: FrameIndex) -> float:
        """By the frames where the header is off by more than 1%, as it is for uneven times."""
        span = float(index.times[-1] - index.times[0]) if len(index) > 1 else 0.0
        measured = (len(index) - 1) / span if span > 0 else self._stated_fps
        return self._stated_fps if abs(measured / self._stated_fps - 1) < 0.01 else measured

    def _promised_count(self, fps: float) -> int | None:
        """How many frames the header speaks of, None when it does not."""
        if self._stream.frames:
            return self._stream.frames
        if "matroska" in self._container.format.name and self._container.duration:
            return round(self._container.duration / av.time_base * fps)
        return None

    def _warnings(self, readable: int, found: int, promised: int | None) -> tuple[str, ...]:
        cut = self._ending.is_cut and readable != promised
        if not cut and readable == found:
            return ()
        of = f"of {promised} frames" if promised else "frames (it does not say of how many)"
        return (
            f"{self._path} was cut off: the first {readable} {of} can be read. "
            "Copy the file again if you need the rest.",
        )


def _pictures(decoder: Decoder) -> Iterator[Picture]:
    """Everything up to the end; closes the decoder."""
    while not decoder.ended:
        yield from decoder.step()
    decoder.close()
