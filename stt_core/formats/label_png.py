"""Label maps as PNG: ids or colours, decoded with care."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import FormatError, OutputError
from stt_core.formats.untrusted import Limits, checked_size
from stt_core.labels import IGNORED, LabelClass, with_true_greys

Color = tuple[int, int, int]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">4sIIBB")  # from byte 12: IHDR, width, height, bit depth, colour type
_GREY, _RGB, _PALETTE, _GREY_ALPHA = 0, 2, 3, 4
_TOLD = 8
"""Wrong ids or colours that a message lists."""


@dataclass(frozen=True, slots=True)
class IndexImage:
    ids: NDArray[np.uint8]
    """``[H, W]``"""
    palette: NDArray[np.uint8] | None
    """``[n, 3]`` RGB of the ids; None of a grey image."""


def read_ids(data: bytes, what: Path | str, limits: Limits) -> IndexImage:
    """Decode a grey or palette PNG of up to 8 bits.

    Raises:
        FormatError: it is something else, damaged, or too large.
    """
    depth, kind = _header(data, what, limits)
    if depth == 16:
        raise FormatError(
            f"{what} holds numbers of 16 bits, as maps of instances do. Class ids have 8."
        )
    if kind not in (_GREY, _PALETTE):
        raise FormatError(
            f"{what} holds colours: labels of this kind are 8-bit grey or palette PNGs of class "
            "ids. The formats camvid and cvat know classes by colour."
        )
    image = _decoded(data, what)
    if kind == _GREY:
        return IndexImage(np.asarray(with_true_greys(image, data), np.uint8), None)
    colors = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
    return IndexImage(np.asarray(image, np.uint8), colors)


def read_rgb(data: bytes, what: Path | str, limits: Limits) -> NDArray[np.uint8]:
    """Decode a colour or palette PNG of 8 bits: ``[H, W, 3]``.

    Raises:
        FormatError: it is something else, damaged, or too large.
    """
    depth, kind = _header(data, what, limits)
    if depth == 16 or kind in (_GREY, _GREY_ALPHA):
        held = "numbers of 16 bits" if depth == 16 else "grey"
        raise FormatError(f"{what} holds {held}: labels of this kind are 8-bit colours.")
    return np.asarray(_decoded(data, what).convert("RGB"), np.uint8)


def ids_of_colors(
    rgb: NDArray[np.uint8], id_of: Mapping[Color, int], what: Path | str, table: Path | str
) -> NDArray[np.uint8]:
    """``[H, W]`` ids of ``[H, W, 3]`` colours.

    Raises:
        FormatError: a colour that the table does not name.
    """
    known = np.array(sorted(_packed(color) for color in id_of), np.int32)
    by_packed = {_packed(color): i for color, i in id_of.items()}
    ids = np.array([by_packed[int(color)] for color in known], np.uint8)
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    packed = red << 16 | green << 8 | blue
    place = np.searchsorted(known, packed).clip(max=len(known) - 1)
    strange = np.unique(packed[known[place] != packed])
    if strange.size:
        colors = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in strange]
        raise FormatError(f"{what} holds colours that {table} does not name: {few(colors)}.")
    return ids[place]


def refuse_ids(ids: NDArray[np.uint8], known: NDArray[np.bool_], what: str, has: str) -> None:
    """FormatError where an id occurs that is not `known` (``[256]``); `has` ends the sentence."""
    wrong = np.flatnonzero((np.bincount(ids.ravel(), minlength=256) > 0) & ~known)
    if wrong.size:
        raise FormatError(f"{what} holds the ids {few(wrong.tolist())}, {has}")


def palette_of(
    classes: Sequence[LabelClass], *, start: int = 0, ignored: Color = (0, 0, 0)
) -> NDArray[np.uint8]:
    """``[256, 3]`` colours of ids, the first class at `start`; `ignored` is that of IGNORED."""
    table = np.zeros((256, 3), np.uint8)
    for place, label_class in enumerate(classes, start=start):
        table[place] = label_class.color
    table[IGNORED] = ignored
    return table


def save_ids(path: Path, ids: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> None:
    """Write ids as they are: grey, or mode P with all 256 colours of `palette` ``[256, 3]``."""
    image = Image.fromarray(np.ascontiguousarray(ids))
    if palette is not None:
        image.putpalette(palette.tobytes())
    _make_room(path)
    image.save(path, format="PNG")


def save_ids_16(path: Path, ids: NDArray[np.uint16]) -> None:
    """Write numbers of 16 bits as they are, grey."""
    _make_room(path)
    Image.fromarray(np.ascontiguousarray(ids)).save(path, format="PNG")


def save_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write ``[H, W, 3]`` RGB: JPEG of high quality if the suffix says so, else PNG."""
    _make_room(path)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    if path.suffix == ".jpg":
        image.save(path, format="JPEG", quality=95)
    else:
        image.save(path, format="PNG")


def few(values: Sequence[object]) -> str:
    """The first of many, in words."""
    more = f" and {len(values) - _TOLD} more" if len(values) > _TOLD else ""
    return ", ".join(str(value) for value in values[:_TOLD]) + more


def same_file(name: str) -> OutputError:
    """What to say where two frames of an export would be one file."""
    return OutputError(
        f"two frames would both be {name}. This format calls frames of videos by their numbers: "
        "export one video at a time."
    )


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise same_file(path.name)


def _header(data: bytes, what: Path | str, limits: Limits) -> tuple[int, int]:
    """Bit depth and colour type, once the size is known to be within limits."""
    if not data.startswith(_SIGNATURE) or len(data) < 12 + _HEADER.size:
        raise FormatError(f"{what} is not a PNG. Label maps must be: JPEG changes the classes.")
    tag, width, height, depth, kind = _HEADER.unpack_from(data, 12)
    if tag != b"IHDR":
        raise FormatError(f"{what} is a damaged PNG: it has no header.")
    checked_size(height, width, what, limits)
    return depth, kind


def _decoded(data: bytes, what: Path | str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        image.load()
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{what} cannot be read ({error}). Get it again.") from error
    return image


def _packed(color: Color) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue
