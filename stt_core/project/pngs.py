"""The PNG of one label map: written with what it belongs to, read with suspicion.

Each says in a text chunk which frame it is of and which pixels were written, so that a change by
another program is told from one of ours, and labels can be found again without the journal.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stt_core.errors import LabelError
from stt_core.files import write_bytes, writing
from stt_core.labels import LabelClass, palette_rgba, read_label_png

_KEY = "stt-studio"


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file's look from outside, to see whether it was changed."""

    size: int
    mtime: int
    """ns."""
    digest: bytes
    """Of its bytes."""


@dataclass(frozen=True, slots=True)
class LabelPng:
    ids: NDArray[np.uint8]
    """``[H, W]``."""
    about: dict[str, Any]
    """What we wrote beside the pixels; empty where another program wrote the file."""
    ours: bool
    """Whether these are the pixels we wrote."""


def write_png(
    path: Path, ids: NDArray[np.uint8], classes: tuple[LabelClass, ...], about: dict[str, Any]
) -> Stamp:
    """Write a map in one step, 8-bit palette; `about` must go into JSON.

    Raises:
        OutputError: it could not be written; the file before it is untouched.
    """
    image = Image.fromarray(ids)
    image.putpalette(palette_rgba(classes)[:, :3].tobytes())
    chunks = PngInfo()
    chunks.add_itxt(_KEY, json.dumps({**about, "pixels": _pixels_digest(ids)}))
    stream = io.BytesIO()
    image.save(stream, format="PNG", pnginfo=chunks)
    write_bytes(path, stream.getvalue())
    return stamp(path, stream.getvalue())


def read_png(path: Path, size: tuple[int, int], num_classes: int) -> LabelPng:
    """Read a map that may be anybody's.

    Args:
        path: the file.
        size: height and width it must have.
        num_classes: ids at or above it, other than VOID and UNLABELLED, are refused.

    Raises:
        LabelError: unreadable, another size, not 8-bit ids, or ids that are no class.
    """
    try:
        with Image.open(path) as image:  # the header: a huge picture is not decoded
            found, about = image.size[::-1], _about(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LabelError(f"cannot read the label map {path}: {error}") from error
    if found != size:
        raise LabelError(
            f"{path} is {found[1]} x {found[0]} pixels, but its frame is {size[1]} x {size[0]}"
        )
    ids = read_label_png(path, num_classes)
    return LabelPng(ids, about, about.get("pixels") == _pixels_digest(ids))


def read_about(path: Path) -> dict[str, Any]:
    """What we wrote beside the pixels; empty where there is nothing of ours."""
    try:
        with Image.open(path) as image:
            return _about(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}


def stamp(path: Path, data: bytes | None = None) -> Stamp:
    """The look of a file; its bytes are read where they are not given.

    Raises:
        OutputError: it is gone.
    """
    with writing(path):
        if data is None:
            data = path.read_bytes()
        stat = path.stat()
    return Stamp(stat.st_size, stat.st_mtime_ns, hashlib.blake2b(data, digest_size=16).digest())


def _about(image: Image.Image) -> dict[str, Any]:
    text = image.info.get(_KEY)
    try:
        about = json.loads(str(text)) if text else {}
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _pixels_digest(ids: NDArray[np.uint8]) -> str:
    shape = f"{ids.shape}".encode()
    return hashlib.blake2b(shape + np.ascontiguousarray(ids).tobytes(), digest_size=16).hexdigest()
