"""Writing a video file, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stt_core.errors import OutputError
from stt_core.files import temporary_prefix, unwritable

_FASTSTART = {".mp4", ".m4v", ".mov"}
_MAX_RATE_DENOMINATOR = 1001  # of 30000 / 1001; MPEG-4 allows no large ones
_SYSTEM_REFUSES = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
}
_BT709 = 1  # the code of its matrix in FFmpeg


class VideoWriter:
    """Write frames one after the other; the file appears under its name when all is done.

    Until the end of the ``with`` block the video grows under a temporary name beside the target;
    after an error it is removed and an older file of that name is left as it was. Odd sizes are
    padded by one pixel at the right and bottom. Colours are stored as BT.709 and marked so.

    Args:
        path: the target; its suffix names the container (.mp4, .mov, .mkv, .avi).
        size: (width, height) of the frames, pixels.
        fps: frames a second.
        codec: an encoder of FFmpeg; "mpeg4" is used instead where this one is missing.
        crf: quality of H.264, 0 (lossless) to 51; 18 is hard to tell from the source.
        key_every: frames from one key frame to the next, None for the encoder's choice. Small
            numbers make seeking fast and the file large.

    Raises:
        ValueError: `size` or `fps` is not above 0.
    """

    def __init__(
        self,
        path: Path | str,
        size: tuple[int, int],
        fps: float,
        *,
        codec: str = "libx264",
        crf: int = 18,
        key_every: int | None = None,
    ) -> None:
        if min(size) < 1 or not fps > 0:
            raise ValueError(f"size and fps must be above 0, got {size=} {fps=}")
        self.path = Path(path)
        self._partial = self.path.with_name(
            f"{temporary_prefix(self.path)}{secrets.token_hex(4)}{self.path.suffix}"
        )
        self._size, self._rate = size, Fraction(fps).limit_denominator(_MAX_RATE_DENOMINATOR)
        self._codec = codec if codec in av.codecs_available else "mpeg4"
        self._crf, self._key_every = crf, key_every
        self._container: OutputContainer | None = None
        self._reformatter = VideoReformatter()  # one for all: each keeps tables and threads
        self._written = 0

    def __enter__(self) -> Self:
        """Raises OutputError when the file cannot be made."""
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a folder. Choose the name of a file.")
        try:
            self._open()
        except (av.FFmpegError, OSError, ValueError) as error:
            self._discard()
            raise self._failure(error) from error
        return self

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append one frame.

        Args:
            image: ``[H, W, 3]`` RGB, uint8, of the size given at the start.

        Raises:
            ValueError: another shape or dtype, or outside of the ``with`` block.
            OutputError: the disk is full or gone.
        """
        width, height = self._size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 {(height, width, 3)}, got {image.dtype} {image.shape}"
            )
        frame = self._to_yuv(image)
        frame.pts, frame.time_base = self._written, 1 / self._rate
        self._encode(frame)
        self._written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and give it its name; raises OutputError when that fails."""
        if error is not None:
            self._discard()
            return
        if not self._written:
            self._discard()
            raise OutputError(f"{self.path} was not written: there was no frame to put into it.")
        self._encode(None)
        try:
            self._close()
            with self._partial.open("rb+") as file:
                os.fsync(file.fileno())  # a crash after the rename must not find half of it
            self._partial.replace(self.path)
        except (av.FFmpegError, OSError) as failure:
            self._discard()
            raise self._failure(failure) from failure

    def _open(self) -> None:
        # Made by Python first: its errors name the reason, those of FFmpeg not always.
        self._partial.open("wb").close()
        flags = {"movflags": "+faststart"} if self.path.suffix.lower() in _FASTSTART else {}
        self._container = av.open(str(self._partial.absolute()), "w", container_options=flags)
        stream = self._container.add_stream(self._codec, self._rate, options=self._options())
        assert isinstance(stream, VideoStream)
        self._stream = stream
        stream.width, stream.height = (length + length % 2 for length in self._size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / self._rate
        stream.codec_context.colorspace = _BT709
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.color_range = ColorRange.MPEG
        if self._key_every is not None:
            stream.gop_size = self._key_every

    def _options(self) -> dict[str, str]:
        if self._codec == "mpeg4":
            return {"qmin": "2", "qmax": "4"}
        return {"crf": str(self._crf), "preset": "veryfast"}

    def _to_yuv(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """``[H, W, 3]`` RGB -> an even-sized picture in BT.709, its last row or column repeated."""
        height, width, _ = image.shape
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )

    def _encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame, or with None what the encoder holds back."""
        if self._container is None:
            raise ValueError(f"{self.path} is not open: write inside of the with block")
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            self._discard()
            raise self._failure(error) from error

    def _close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def _discard(self) -> None:
        """Remove what was written so far; the first error is the one to tell."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> OutputError:
        if isinstance(error, OSError) and error.errno in _SYSTEM_REFUSES:
            return unwritable(self.path, error)
        reason = getattr(error, "strerror", None) or error
        return OutputError(
            f"{self.path} could not be written ({reason}). Check that the folder exists, may be "
            "written to and has room, and that the name ends in .mp4, .mov, .mkv or .avi."
        )
