"""Decoding from a chosen packet on, each picture with the serial number of its packet.

The trick that makes seeking exact: every packet is recognised in the table before it is decoded,
and its pts is replaced by its serial number, which the decoder hands through to the picture. So
where a seek landed is known before anything is decoded, and no time stamp is ever compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stt_core.errors import MediaError
from stt_core.media.packets import NO_TIME, READ_ERRORS, PacketTable, landmarks


class Picture(NamedTuple):
    """A decoded picture and the packet it came from."""

    serial: int
    frame: VideoFrame


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open the first stream that is a video and not the cover of an audio file.

    Raises:
        MediaError: FFmpeg cannot read the file, or there is no video in it.
    """
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be opened as a video ({_reason(error)}). "
            "Choose a video file, or convert this one to MP4."
        ) from error
    stream = _first_video(container)
    if stream is not None and stream.codec_context is not None:
        return container, stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    container.close()
    if stream is not None:
        raise MediaError(f"{path} holds a video of an unknown codec. Convert it to H.264 in MP4.")
    raise MediaError(f"{path} holds no video, only {kinds}. Choose a file with a picture.")


def _first_video(container: InputContainer) -> VideoStream | None:
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover), None)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


class Decoder:
    """The decoder of one stream. Not thread-safe.

    Args:
        path: a video.
        table: its packets.
        stop: the first packet not to decode, where the readable part of the file ends.
        opened: the file, if it is open already; it is closed with the decoder.
    """

    def __init__(
        self,
        path: Path,
        table: PacketTable,
        stop: int,
        opened: tuple[InputContainer, VideoStream] | None = None,
    ) -> None:
        self._path, self._table, self._stop = path, table, stop
        self._landmarks = landmarks(table)
        self._held: Packet[VideoStream] | None = None  # met by a seek, not decoded yet
        self._fed = -1
        self._use(opened or open_video(path), careful=False)
        if opened:
            self.go_to(0, [])

    @property
    def fed(self) -> int:
        """Serial number of the packet decoded last, -1 at the start."""
        return self._fed

    @property
    def ended(self) -> bool:
        """Everything up to the end was decoded."""
        return self._ended

    def close(self) -> None:
        self._container.close()

    def go_to(self, serial: int, earlier: list[int], *, careful: bool = False) -> None:
        """Decode from packet `serial` on.

        Args:
            serial: a key packet, or 0.
            earlier: key packets before it, to aim at when aiming at `serial` lands behind it.
            careful: with one thread. Then a damaged packet harms no picture but those that
                build on it; with several, pictures in flight at the end of a file are lost.
        """
        if careful != self._careful:
            self._reopen(careful=careful)
        for target in [serial, *earlier[:2]]:
            if self._seek(target) and self._skip_to(serial):
                return
        self._reopen(careful=careful)  # the last resort: from the first packet on
        self._skip_to(serial, reached=-1)

    def step(self) -> list[Picture]:
        """Decode one packet: the pictures that came out, none for a damaged one."""
        packet = self._next_packet()
        self._ended = packet is None
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            # Not lost: the picture will be missed under its own number, which can be named.
            return []
        return [Picture(frame.pts, frame) for frame in frames if frame.pts is not None]

    def _next_packet(self) -> Packet[VideoStream] | None:
        packet = self._held or next(self._packets, None)
        self._held = None
        if packet is None:
            return None
        found = self._landmarks.serial_of(packet)
        serial = self._fed + 1 if found is None else found
        if serial >= self._stop:
            return None
        self._fed = packet.pts = serial
        return packet

    def _seek(self, serial: int) -> bool:
        times = (int(self._table.dts[serial]), int(self._table.pts[serial]))
        known = [time for time in times if time != NO_TIME]
        if not known or not self._landmarks.serials:
            return False
        try:
            self._container.seek(min(known), stream=self._stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        self._start()
        return True

    def _skip_to(self, serial: int, reached: int | None = None) -> bool:
        """Pass over packets up to `serial` without decoding them; False where it was passed.

        Args:
            serial: the packet to stop at.
            reached: the packet before the next one, None when only a landmark can tell.
        """
        for packet in self._packets:
            found = self._landmarks.serial_of(packet)
            if found is None and reached is None:
                continue
            reached = found if found is not None else (reached or 0) + 1
            if reached >= serial:
                self._held, self._fed = packet, serial - 1
                return reached == serial
        return False

    def _reopen(self, *, careful: bool) -> None:
        self._container.close()
        self._use(open_video(self._path), careful=careful)

    def _use(self, opened: tuple[InputContainer, VideoStream], *, careful: bool) -> None:
        self._container, self._stream = opened
        self._stream.thread_type = "NONE" if careful else "AUTO"
        if careful:
            self._stream.thread_count = 1
        self._careful = careful
        self._start()

    def _start(self) -> None:
        self._packets = self._read()
        self._held = None
        self._fed = -1
        self._ended = False

    def _read(self) -> Iterator[Packet[VideoStream]]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:  # without data it only asks the decoder for its last pictures
                    yield packet
        except READ_ERRORS:
            return  # frames behind a read error are missed under their own numbers
