"""Optical flow in Middlebury's .flo: a tag, width, height, then u and v of every pixel.

All numbers are little endian. H, W: height and width of the flow.
"""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.files import write_bytes

TAG = 202021.25  # its bytes spell PIEH
_HEADER = struct.Struct("<fii")
_MAX_SIDE = 1 << 16


def write_flo(path: Path | str, flow: NDArray[np.float32]) -> None:
    """Write a flow in one step: after a crash the file is the old one or the new one.

    Args:
        path: the file.
        flow: float32 ``[H, W, 2]``, (u, v) pixels to the right and down.

    Raises:
        ValueError: `flow` has another shape, or no pixels.
        OutputError: the file cannot be written.
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape:
        raise ValueError(f"flow must be [H, W, 2] with at least one pixel, got {flow.shape=}")
    height, width, _ = flow.shape
    header = _HEADER.pack(TAG, width, height)
    write_bytes(Path(path), header + np.ascontiguousarray(flow, "<f4").tobytes())


def read_flo(path: Path | str) -> NDArray[np.float32]:
    """Read a flow.

    Args:
        path: the file.

    Returns:
        float32 ``[H, W, 2]``, (u, v) pixels.

    Raises:
        FormatError: the file cannot be read, is not a .flo file, or is not of the length its
            header asks for.
    """
    data = _read(Path(path))
    width, height = _read_header(Path(path), data)
    wanted = _HEADER.size + 8 * width * height
    if len(data) != wanted:
        raise FormatError(
            f"{path} says it holds a flow of {width} x {height}, which takes {wanted} bytes, but "
            f"it has {len(data)}. It may have been cut off; write or copy it again."
        )
    values = np.frombuffer(data, "<f4", offset=_HEADER.size)
    return values.reshape(height, width, 2).astype(np.float32)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}.") from error


def _read_header(path: Path, data: bytes) -> tuple[int, int]:
    """Width and height, once the tag and the size are known to make sense."""
    if len(data) < _HEADER.size:
        raise FormatError(f"{path} is too short for a .flo file: it has {len(data)} bytes.")
    tag, width, height = _HEADER.unpack_from(data)
    if tag != TAG:
        raise FormatError(f"{path} is not a .flo file: it starts with {tag:g}, not with {TAG}.")
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise FormatError(f"{path} has a header that asks for {width} x {height} pixels.")
    return width, height
