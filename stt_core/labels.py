"""Classes and label maps: what a person painted, and how a class looks.

A label map is uint8 ``[H, W]``. Ids 0..253 are classes; UNLABELLED says that nobody painted there,
VOID that a person chose to say nothing. Training ignores both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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

UNDO_DEPTH = 200


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
    """Read a label map of 8-bit ids (grey or palette).

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
            ids = np.asarray(image.convert("L") if image.mode == "1" else image, np.uint8)
    except (OSError, SyntaxError) as error:
        raise LabelError(f"cannot read the label map {path}: {error}") from error
    wrong = np.setdiff1d(np.unique(ids), [*range(num_classes), VOID, UNLABELLED])
    if wrong.size:
        raise LabelError(
            f"{path} holds the ids {wrong.tolist()}, but there are {num_classes} classes "
            f"(0 to {num_classes - 1}; {VOID} void, {UNLABELLED} not labelled)"
        )
    return ids


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


@dataclass(frozen=True, slots=True)
class _Edit:
    frame: int
    where: tuple[slice, slice]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


class LabelStore:
    """Painted classes of every frame that has any, with undo and redo.

    Args:
        size: height and width of the video.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._maps: dict[int, NDArray[np.uint8]] = {}
        self._done: list[_Edit] = []
        self._undone: list[_Edit] = []

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._maps))

    def __len__(self) -> int:
        return len(self._maps)

    def __contains__(self, frame: int) -> bool:
        return frame in self._maps

    def get(self, frame: int) -> NDArray[np.uint8]:
        """A copy of ``[H, W]`` ids, UNLABELLED where nothing was painted."""
        if frame not in self._maps:
            return np.full(self.size, UNLABELLED, np.uint8)
        return self._maps[frame].copy()

    def set(self, frame: int, labels: NDArray[np.uint8]) -> None:
        """Replace a frame's whole map, as when reading it from disk; not undoable."""
        if labels.shape != self.size:
            raise LabelError(
                f"the labels of frame {frame} are {labels.shape[1]}x{labels.shape[0]}, but the "
                f"video is {self.size[1]}x{self.size[0]}"
            )
        self._maps[frame] = labels.copy()

    def apply(self, frame: int, stroke: Stroke) -> None:
        """Paint a stroke and remember how to take it back."""
        where, covered = _cover(stroke, self.size)
        if not covered.any():
            return
        labels = self._maps.setdefault(frame, np.full(self.size, UNLABELLED, np.uint8))
        before = labels[where].copy()
        labels[where][covered] = stroke.class_id
        self._done.append(_Edit(frame, where, before, labels[where].copy()))
        del self._done[:-UNDO_DEPTH]
        self._undone.clear()

    def undo(self) -> int | None:
        """Take back the newest stroke and return its frame; None when there is none."""
        return self._move(self._done, self._undone, forward=False)

    def redo(self) -> int | None:
        """Paint again what was taken back last and return its frame; None when there is none."""
        return self._move(self._undone, self._done, forward=True)

    def snapshot(self) -> dict[int, NDArray[np.uint8]]:
        """Copies of all painted maps: what training may read while painting goes on."""
        return {i: m.copy() for i, m in sorted(self._maps.items()) if (m < VOID).any()}

    def _move(self, source: list[_Edit], target: list[_Edit], *, forward: bool) -> int | None:
        if not source:
            return None
        edit = source.pop()
        self._maps[edit.frame][edit.where] = edit.after if forward else edit.before
        target.append(edit)
        return edit.frame


def _cover(stroke: Stroke, size: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """The box a stroke touches, and which pixel centres in it lie under the brush."""
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
