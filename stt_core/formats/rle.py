"""Run lengths of COCO: counts down the columns, of 0 and 1 in turn, perhaps packed into text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask  # type: ignore[import-untyped]

from stt_core.formats.untrusted import Limits, checked_size, malformed
from stt_core.labels import IGNORED


def class_masks(labels: NDArray[np.uint8]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each class of a label map with its compressed run lengths, as JSON holds them."""
    for class_id in np.unique(labels[labels != IGNORED]).tolist():
        yield class_id, encode(labels == class_id)


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """``size`` [H, W] and ``counts``, a text."""
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(n) for n in found["size"]], "counts": found["counts"].decode("ascii")}


def area_and_box(rle: Mapping[str, Any]) -> tuple[int, list[float]]:
    """Pixels, and x, y, width, height."""
    return int(coco_mask.area(rle)), [float(x) for x in coco_mask.toBbox(rle)]


def decode(rle: Any, size: tuple[int, int], what: Path | str, limits: Limits) -> NDArray[np.bool_]:
    """The mask of run lengths of either kind.

    The runs are summed up before any is unpacked, so that none can reach beyond the mask.

    Args:
        rle: what JSON held.
        size: H, W that the mask must have.
        what: for messages.
        limits: of the size.

    Raises:
        FormatError: these are no run lengths of such a mask.
    """
    with malformed(what, "a mask in run lengths"):
        told_height, told_width = rle["size"]
        height, width = checked_size(told_height, told_width, what, limits)
        counts = rle["counts"]
        runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
        if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
            raise ValueError(f"its runs do not add up to {width} x {height} pixels")
        if (height, width) != size:
            raise ValueError(f"it is {width} x {height}, its frame {size[1]} x {size[0]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def decode_polygons(
    polygons: Any, size: tuple[int, int], what: Path | str, limits: Limits
) -> NDArray[np.bool_]:
    """The union of COCO's polygons ``[x1, y1, x2, ...]``.

    Raises:
        FormatError: these are none, or they reach far out of the frame.
    """
    height, width = size
    with malformed(what, "a list of polygons"):
        lists = [np.array(polygon, np.float64) for polygon in polygons]
        for points in lists:
            if points.ndim != 1 or len(points) < 6 or len(points) % 2:
                raise ValueError("a polygon needs three points or more")
            # What draws them makes a table as long as their outline.
            if not (np.abs(points) <= 2 * max(height, width)).all():
                raise ValueError("a polygon reaches far out of the frame")
    drawn = np.zeros(size, np.bool_)
    for rle in coco_mask.frPyObjects([p.tolist() for p in lists], height, width):
        drawn |= decode({**rle, "counts": rle["counts"].decode("ascii")}, size, what, limits)
    return drawn


def _unpacked(text: str) -> list[int]:
    """Runs of the text: 5 bits a character, lowest first; from the third on, differences."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("its text holds other characters than run lengths do")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("its text is cut off")
    return runs
