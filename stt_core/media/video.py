"""A video file whose frames are reached by index, exactly, on every container.

OpenCV's positions are wrong by up to 100 frames on files with uneven times, on transport streams
and with pictures stored out of order. Here a frame is a packet found in one pass over the file,
and every seek is checked by looking at which packet it met (see `packets` and `decoder`).
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stt_core.cache import ByteCache
from stt_core.errors import MediaError
from stt_core.media.decoder import Decoder
from stt_core.media.frame import CACHE_BYTES, Frame
from stt_core.media.medium import Medium
from stt_core.media.orientation import orientation_of
from stt_core.media.packets import entry_points
from stt_core.media.survey import survey

_REORDER = 20  # frames; decoders hand out pictures at most 16 late
_NEAR = 8  # frames; decoding on over so few is cheaper than a seek
_BACK = 16  # frames kept before the wanted one when the reader goes backward


class VideoFile(Medium):
    """Random access to the frames of one video, in order of display.

    Reading on from the last frame decodes without seeking; the frames read last are kept. A
    picture after a damaged one may show its traces up to the next key frame. Not thread-safe:
    each user opens its own.

    Args:
        path: a file FFmpeg can read.
        cache_bytes: budget for the pixels of decoded frames.

    Attributes:
        path: as given.
        width: of every frame as displayed, pixels; a rotation in the file is applied.
        height: the same.
        fps: average, frames a second.
        warnings: sentences for the person at the keyboard, such as that the file was cut off.

    Raises:
        MediaError: the file is missing, is no video, or none of its frames can be read.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = Path(path)
        found = survey(self.path)
        self.fps, self.warnings = found.fps, found.warnings
        self._table, self._index = found.table, found.index
        self._cache_bytes = cache_bytes
        self._cache = ByteCache[Frame](cache_bytes)
        self._to_rgb = VideoReformatter()  # one for all: each keeps tables and threads
        self._damaged: set[int] = set()
        self._closed = False
        self._last = -1
        self._decoder = Decoder(self.path, found.table, found.stop, found.opened)
        # Decoded but not asked for yet, by frame; and the newest frame that came out.
        self._ready: dict[int, VideoFrame] = {}
        self._newest = -1
        try:
            self._look_at_first_picture()
        except MediaError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Frame:
        """Decode one frame, or take it from the cache.

        Raises:
            IndexError: `index` is not in [0, len).
            MediaError: the file is damaged there, or closed.
        """
        self._require(index)
        if self._closed:
            raise MediaError(f"{self.path} is closed. Open it again to read frame {index}.")
        frame = self._cache.get(index) or self._decode(index)
        self._last = index
        return frame

    def time_of(self, index: int) -> float:
        """Presentation time in seconds, without decoding. Raises IndexError."""
        self._require(index)
        return float(self._index.times[index])

    def close(self) -> None:
        self._closed = True
        self._decoder.close()
        self._forget_pictures()
        self._cache.clear()

    def _look_at_first_picture(self) -> None:
        """Learn size and rotation; leave out frames that need pictures before the file begins."""
        while not self._ready and not self._decoder.ended:
            self._pump(keep_from=0)
        if not self._ready:
            raise MediaError(
                f"None of the {len(self)} frames of {self.path} can be decoded. "
                "The file is damaged: copy or export it again."
            )
        first, picture = next(iter(self._ready.items()))
        self._orientation = orientation_of(picture)
        self._stored_size = (picture.width, picture.height)
        self.width, self.height = self._orientation.shown_size(*self._stored_size)
        self._back = max(1, min(_BACK, self._cache_bytes // (self.width * self.height * 3)))
        self._leave_out_head(first)

    def _leave_out_head(self, first: int) -> None:
        keys = np.flatnonzero(self._table.key)
        head = int(self._index.ranks[keys[0]]) if len(keys) else 0
        if not 0 < head <= first:
            return
        self._index = self._index.part(head, len(self._index))
        self._ready = {rank - head: picture for rank, picture in self._ready.items()}
        self._newest -= head
        self.warnings += (
            f"{self.path} begins in the middle of a recording: {head} frames before its first key "
            "frame cannot be decoded and are left out.",
        )

    def _decode(self, index: int) -> Frame:
        """Reach a frame by reading on, else from a key frame, else from the one before it."""
        if index not in self._damaged:
            stepping_back = self._last - self._back <= index < self._last
            keep_from = max(0, index - self._back + 1) if stepping_back else index
            if self._is_ahead(index) and self._run_to(index, keep_from):
                return self._take(index)
            starts = entry_points(self._table, self._index, index)
            for attempt in range(3):
                start, *earlier = starts[min(attempt, 1) :] or starts[-1:]
                self._forget_pictures()
                self._decoder.go_to(start, earlier, careful=attempt == 2)
                if self._run_to(index, keep_from):
                    return self._take(index)
            self._damaged.add(index)
        raise MediaError(
            f"Frame {index} of {self.path} is damaged and cannot be decoded. "
            "Skip it, or copy the file again from where it came from."
        )

    def _is_ahead(self, index: int) -> bool:
        """Reading on reaches the frame at least as soon as a seek."""
        if index in self._ready:
            return True
        if self._decoder.ended or index <= self._newest:
            return False
        start = entry_points(self._table, self._index, index)[0]
        return start <= self._decoder.fed or index - self._newest <= _NEAR

    def _run_to(self, index: int, keep_from: int) -> bool:
        """Decode until the frame is ready; False when it does not come, or comes damaged."""
        while index not in self._ready:
            if self._decoder.ended or self._newest >= index + _REORDER:
                return False
            self._pump(keep_from)
        return not self._ready[index].is_corrupt

    def _pump(self, keep_from: int) -> None:
        for picture in self._decoder.step():
            rank = int(self._index.ranks[picture.serial])
            self._newest = max(self._newest, rank)
            if rank >= keep_from:
                self._ready[rank] = picture.frame

    def _take(self, index: int) -> Frame:
        """Turn the picture of `index`, and those kept before it, into frames."""
        for rank in sorted(rank for rank in self._ready if rank <= index):
            picture = self._ready.pop(rank)
            if rank == index or not picture.is_corrupt:
                decoded = Frame(rank, self._image(picture, rank), self.time_of(rank), "")
                self._cache.put(rank, decoded, decoded.image.nbytes)
        frame = self._cache.get(index)
        assert frame is not None
        return frame

    def _image(self, picture: VideoFrame, index: int) -> NDArray[np.uint8]:
        if (picture.width, picture.height) != self._stored_size:
            raise MediaError(
                f"Frame {index} of {self.path} has {picture.width} x {picture.height} pixels, "
                f"the frames before it {self._stored_size[0]} x {self._stored_size[1]}. "
                "Split the video where its size changes, or convert it to one size."
            )
        try:
            rgb = self._to_rgb.reformat(picture, format="rgb24", threads=1)
            stored = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(
                f"Frame {index} of {self.path} has a pixel format that cannot be shown "
                f"({picture.format.name}). Convert the video to H.264 in MP4."
            ) from error
        image = self._orientation.apply(stored)
        image.flags.writeable = False
        return image

    def _forget_pictures(self) -> None:
        """Before decoding from elsewhere."""
        self._ready.clear()
        self._newest = -1
