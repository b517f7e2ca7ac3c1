"""How a decoded picture must be turned to be looked at.

Phones store pictures as the sensor saw them and add a display matrix: nine 32-bit numbers
``a b u c d v x y w``, a stored point (p, q) being shown at (a p + c q, b p + d q), y down. Only
its signs matter here: a right angle, with or without a mirror; another angle is left unturned.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True, slots=True)
class Orientation:
    """First swap rows and columns, then mirror; all False leaves a picture as it is."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def shown_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) as displayed of a picture stored with `width` and `height`."""
        return (height, width) if self.swap else (width, height)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``[H, W, 3]`` as stored -> ``[H, W, 3]`` as displayed, C-contiguous."""
        if self.swap:
            image = image.transpose(1, 0, 2)
        if self.flip_rows:
            image = image[::-1]
        if self.flip_columns:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)


def orientation_of(picture: VideoFrame) -> Orientation:
    """The orientation a decoded picture asks for by its display matrix, if it has one."""
    for data in picture.side_data:  # its stub says names, it yields the data
        if data.type.name == "DISPLAYMATRIX":  # type: ignore[attr-defined]
            return orientation_from_matrix(bytes(data))  # type: ignore[arg-type]
    return Orientation()


def orientation_from_matrix(matrix: bytes) -> Orientation:
    """The orientation of the 36 bytes of a display matrix, in the byte order of the machine."""
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix[: _MATRIX.size])
    if a and d and not b and not c:
        return Orientation(False, flip_rows=d < 0, flip_columns=a < 0)
    if b and c and not a and not d:
        return Orientation(True, flip_rows=b < 0, flip_columns=c < 0)
    return Orientation()
