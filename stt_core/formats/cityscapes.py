"""Cityscapes: label ids, train ids, instance ids and colours of each frame.

    OUT/leftImg8bit/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png   if there are images
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png       0..33; 0 for no class
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelTrainIds.png  0..18; 255 for no class
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_instanceIds.png    16 bits; label ids, see below
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_color.png          the colours of its table

Classes are found in its table by name. Images that are called CITY_SEQ_FRAME keep their names; all
other frames are MEDIUM_000000_FRAME, and the record beside the export says what they were called.

In instance ids a thing is label id x 1000 + n. Which pixels belong to one is not known: each
connected region is one, the largest first. Beyond the thousandth they keep the plain label id,
which stands for a group there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import color_from, same_word, shipped_classes
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    FrameOrigin,
    ReadClass,
    ReadSet,
    counts,
)
from stt_core.formats.label_png import Color, save_ids, save_ids_16, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import Limits, files_in
from stt_core.labels import IGNORED

_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)", re.ASCII)
_UNLABELED = 0
_KINDS = ("labelIds", "labelTrainIds")
_IMAGE = "_leftImg8bit"
_INSTANCES = 1000
"""Of a class in one frame."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A class of its table."""

    name: str
    id: int
    train_id: int
    color: Color
    thing: bool
    """Whether it has instances."""


class CityscapesWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        by_word = {same_word(row.name): row for row in _table()}
        self._rows = [by_word.get(same_word(c.name)) for c in options.classes]
        self._ids, self._train_ids = np.zeros(256, np.uint8), np.full(256, IGNORED, np.uint8)
        self._colors = np.zeros((256, 3), np.uint8)
        for place, row in enumerate(self._rows):
            if row is not None:
                self._ids[place], self._train_ids[place] = row.id, row.train_id
                self._colors[place] = row.color
        self._pixels = np.zeros(256, np.int64)
        self._origins: dict[str, FrameOrigin] = {}
        self._names: set[str] = set()
        self._made_up = self._things = self._crowded = 0

    def add(self, frame: ExportFrame) -> None:
        name = self._name(frame)
        below = Path(self._options.split, name.partition("_")[0])
        labels = self._folder / "gtFine" / below
        save_ids(labels / f"{name}_gtFine_labelIds.png", self._ids[frame.labels])
        save_ids(labels / f"{name}_gtFine_labelTrainIds.png", self._train_ids[frame.labels])
        save_ids_16(labels / f"{name}_gtFine_instanceIds.png", self._instances(frame.labels))
        save_rgb(labels / f"{name}_gtFine_color.png", self._colors[frame.labels])
        if frame.image is not None:
            images = self._folder / "leftImg8bit" / below
            save_rgb(images / f"{name}_leftImg8bit.png", frame.image())
        self._pixels += counts(frame.labels)

    def finish(self) -> Sequence[str]:
        classes = self._options.classes
        losses = [
            f"Cityscapes has no class '{c.name}': its {self._pixels[i]} pixels became unlabelled"
            for i, (c, row) in enumerate(zip(classes, self._rows, strict=True))
            if row is None and self._pixels[i]
        ]
        losses += [
            f"Cityscapes does not train on '{row.name}': its {self._pixels[i]} pixels are 255 in "
            "the train ids"
            for i, row in enumerate(self._rows)
            if row is not None and row.train_id == IGNORED and self._pixels[i]
        ]
        shared = Counter(row.name for row in self._rows if row is not None)
        losses += [f"{n} classes became '{name}'" for name, n in shared.items() if n > 1]
        if self._made_up:
            losses.append(
                f"{self._made_up} frames were renamed to CITY_SEQ_FRAME, the frame number last"
            )
        if self._things:
            losses.append(
                f"which pixels belong to one thing is not known: {self._things} connected regions "
                "have instance ids of their own"
            )
        if self._crowded:
            losses.append(
                f"{self._crowded} regions beyond {_INSTANCES} of a class in one frame have no "
                "instance id"
            )
        return losses

    def renamed(self) -> dict[str, FrameOrigin]:
        return self._origins

    def _name(self, frame: ExportFrame) -> str:
        """CITY_SEQ_FRAME that no other frame has: its own name where it is one already."""
        name = frame.name.removesuffix(_IMAGE)
        if not _NAME.fullmatch(name) or name.casefold() in self._names:
            self._made_up += 1
            # its tools cut names at underscores
            place = (frame.medium or self._options.place).replace("_", "-")
            tries = (f"{place}_{sequence:06d}_{frame.index:06d}" for sequence in count())
            name = next(each for each in tries if each.casefold() not in self._names)
        self._names.add(name.casefold())
        if name != frame.name:
            self._origins[name] = FrameOrigin(frame.name, frame.medium)
        elif frame.medium:
            self._origins[name] = FrameOrigin(name, frame.medium)
        return name

    def _instances(self, labels: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """``[H, W]`` label ids, of things x 1000 + n."""
        ids = self._ids[labels]
        found = ids.astype(np.uint16)
        for row in _table():
            mask = (ids == row.id).astype(np.uint8)
            if not row.thing or not mask.any():
                continue
            total, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            number = np.full(total, row.id, np.uint16)  # of each region; 0 is all that is not
            by_size = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
            told = by_size[:_INSTANCES]
            number[told] = row.id * _INSTANCES + np.arange(len(told), dtype=np.uint16)
            found = np.where(mask > 0, number[regions], found)
            self._things += len(told)
            self._crowded += len(by_size) - len(told)
        return found


def read_cityscapes(path: Path, limits: Limits) -> ReadSet:
    """Read the label ids of all splits; the train ids where there are none.

    Raises:
        FormatError: there are neither.
    """
    for kind in _KINDS:
        suffix = f"_gtFine_{kind}.png"
        files = files_in(path / "gtFine", f"*/*/*{suffix}", limits)
        files = files or files_in(path, f"*{suffix}", limits)
        if files:
            classes = _classes(kind)
            # A label id of 255 does not exist: such a file holds train ids under a wrong name.
            table = place_table(classes)
            if kind == "labelIds":
                table[[254, 255]] = -1
                table[_UNLABELED] = IGNORED
            frames = [png_frame(f, table, limits, f.name.removesuffix(suffix)) for f in files]
            return ReadSet(classes, frames)
    raise FormatError(
        f"{path} is not Cityscapes: there is no gtFine/SPLIT/CITY/*_gtFine_labelIds.png or "
        "*_gtFine_labelTrainIds.png in it."
    )


def cityscapes_names() -> tuple[str, ...]:
    """Names of the classes that label ids stand for, but for "unlabeled"."""
    return tuple(row.name for row in _table())


def _classes(kind: str) -> tuple[ReadClass, ...]:
    if kind == "labelIds":
        return tuple(ReadClass(r.id, r.name, r.color, _in_camvid().get(r.name)) for r in _table())
    judged = sorted((r for r in _table() if r.train_id != IGNORED), key=lambda r: r.train_id)
    return tuple(ReadClass(r.train_id, r.name, r.color, _in_camvid().get(r.name)) for r in judged)


@cache
def _in_camvid() -> dict[str, str]:
    """What CamVid calls a class, where it is another name, so that its classes come back."""
    rows = shipped_classes("camvid11")
    return {str(row["cityscapes"]): str(row["name"]) for row in rows if "cityscapes" in row}


@cache
def _table() -> tuple[_Row, ...]:
    """All classes but "unlabeled"."""
    return tuple(
        _Row(
            str(row["name"]),
            int(row["id"]),
            int(row["train_id"]),
            color_from(row["color"]),
            bool(row.get("thing")),
        )
        for row in shipped_classes("cityscapes_labels")
        if row["id"] != _UNLABELED
    )
