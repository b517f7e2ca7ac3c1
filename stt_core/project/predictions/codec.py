"""One array of one frame as bytes: Zstandard with a checksum, as HDF5's filter 32015 stores it.

Half-precision arrays are byte-shuffled first, as HDF5's filter 2 does.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.project.predictions.manifest import ArrayKind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 2
"""Measured on maps of 1024 x 2048: level 1 writes as many frames a second, since there is more to
write; level 3 a seventh fewer for 6 % less room; gzip takes three times as long to pack."""

_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}


class Damaged(Exception):
    """The bytes are not those that were written; the message says how one can tell."""


def pack(array: NDArray[Any], kind: ArrayKind) -> bytes:
    """Compress an array of this kind."""
    flat = np.ascontiguousarray(array, kind.dtype)
    if kind.dtype.itemsize == 1:
        return zstd.compress(flat.data, options=_OPTIONS)
    shuffled = np.ascontiguousarray(flat.view(np.uint8).reshape(-1, kind.dtype.itemsize).T)
    return zstd.compress(shuffled.data, options=_OPTIONS)


def unpack(data: bytes, kind: ArrayKind) -> NDArray[Any]:
    """The array again; it can be written to.

    Raises:
        Damaged: the checksum or the size is not right.
    """
    try:
        # Asked first: damaged bytes may claim any size.
        size = zstd.get_frame_info(data).decompressed_size
        if size != kind.nbytes:
            raise Damaged(f"it holds {size} bytes in place of {kind.nbytes}")
        plain = np.frombuffer(bytearray(zstd.decompress(data)), np.uint8)
    except zstd.ZstdError as error:
        raise Damaged(str(error)) from error
    if plain.size != kind.nbytes:
        raise Damaged(f"it holds {plain.size} bytes in place of {kind.nbytes}")
    if kind.dtype.itemsize > 1:
        plain = np.ascontiguousarray(plain.reshape(kind.dtype.itemsize, -1).T).ravel()
    return plain.view(kind.dtype).reshape(kind.shape)
