"""Classes and label maps: what a person painted, and how a class looks.

A label map is uint8 ``[H, W]``. Ids 0..253 are classes; UNLABELLED says that nobody painted there,
VOID that a person chose to say nothing. Training ignores both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import LabelError
from stt_core.files import replacing

UNLABELLED = 255
VOID = 254
IGNORED = UNLABELLED
"""What training and exports write for both."""

_HEADER_BYTES = 26
"""Of a PNG up to bit depth and colour type."""
_GREY = 0
"""The colour type."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    name: str
    color: tuple[int, int, int]
    """RGB, each in 0..255."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """One drag of the brush, in image pixels."""

    points: NDArray[np.float64]
    """``[n, 2]`` x, y."""
    radius: float
    class_id: int
    """A class id, VOID, or UNLABELLED to erase."""


def read_classes(path: Path) -> tuple[LabelClass, ...]:
    """Read a class list: JSON with `classes`, a list of `name` and `color`.

    Raises:
        LabelError: the file is not one.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["classes"]
        return tuple(LabelClass(str(row["name"]), _color(row["color"])) for row in rows)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise LabelError(f"{path} is not a class list: {error}") from error


def palette_rgba(classes: tuple[LabelClass, ...]) -> NDArray[np.uint8]:
    """``[256, 4]`` RGBA of every id; ids without a class are transparent black."""
    table = np.zeros((256, 4), np.uint8)
    for i, label_class in enumerate(classes):
        table[i] = (*label_class.color, 255)
    return table


def read_label_png(path: Path, num_classes: int) -> NDArray[np.uint8]:
    """Read a label map of ids in up to 8 bits (grey or palette).

    Args:
        path: the PNG.
        num_classes: ids at or above it, other than VOID and UNLABELLED, are refused.

    Returns:
        ``[H, W]`` ids.

    Raises:
        LabelError: unreadable, not 8-bit ids, or an id outside the class table.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1"):
                raise LabelError(
                    f"{path} holds {image.mode} pixels: a label map is an 8-bit grey or palette "
                    f"PNG of class ids. Convert it first."
                )
            ids = np.asarray(with_true_greys(image, png_header(path)), np.uint8)
    except (OSError, SyntaxError) as error:
        raise LabelError(f"cannot read the label map {path}: {error}") from error
    wrong = np.setdiff1d(np.unique(ids), [*range(num_classes), VOID, UNLABELLED])
    if wrong.size:
        raise LabelError(
            f"{path} holds the ids {wrong.tolist()}, but there are {num_classes} classes "
            f"(0 to {num_classes - 1}; {VOID} void, {UNLABELLED} not labelled)"
        )
    return ids


def png_header(path: Path) -> bytes:
    """The beginning of a file, where a PNG says how many bits a pixel has."""
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)


def with_true_greys(image: Image.Image, header: bytes) -> Image.Image:
    """The numbers that are in the file: Pillow spreads grey of 1, 2 and 4 bits over 0..255.

    Args:
        image: as Pillow reads it.
        header: the beginning of its file.

    Returns:
        Of mode L where it was such a PNG, else `image` itself.
    """
    depth, kind = header[24:_HEADER_BYTES] if len(header) >= _HEADER_BYTES else (8, 0)
    if image.format != "PNG" or kind != _GREY or depth >= 8:
        return image
    return Image.fromarray(np.asarray(image.convert("L"), np.uint8) // (255 // ((1 << depth) - 1)))


def write_label_png(
    path: Path, labels: NDArray[np.uint8], classes: tuple[LabelClass, ...] | None = None
) -> None:
    """Write a label map in one step: mode L, or mode P with the classes' colours.

    Raises:
        OutputError: it could not be written; the file before it is untouched.
    """
    image = Image.fromarray(labels)
    if classes is not None:
        image.putpalette(palette_rgba(classes)[:, :3].tobytes())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def covered_by(
    stroke: Stroke, size: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """The box a stroke touches in a map of this height and width, and which of its pixels.

    Those whose centres lie under the brush; the box is empty where it passed the map by.
    """
    low = np.floor(stroke.points.min(0) - stroke.radius).astype(int)
    high = np.ceil(stroke.points.max(0) + stroke.radius).astype(int) + 1
    (x0, y0), (x1, y1) = low.clip(0), np.maximum(high.clip(max=(size[1], size[0])), low.clip(0))
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    near = np.full(y.shape, np.inf)
    ends = stroke.points[1:] if len(stroke.points) > 1 else stroke.points
    for (ax, ay), (bx, by) in zip(stroke.points, ends, strict=False):
        dx, dy = bx - ax, by - ay
        length = dx * dx + dy * dy
        along = ((x - ax) * dx + (y - ay) * dy) / (length or 1)
        along = along.clip(0, 1)
        np.minimum(near, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2, out=near)
    return (slice(y0, y1), slice(x0, x1)), near <= stroke.radius**2


def _color(raw: object) -> tuple[int, int, int]:
    if not isinstance(raw, list) or len(raw) != 3:
        raise ValueError(f"a colour is three numbers, got {raw!r}")
    red, green, blue = (int(c) for c in raw)
    if not all(0 <= c <= 255 for c in (red, green, blue)):
        raise ValueError(f"colour parts lie in 0..255, got {raw!r}")
    return red, green, blue
