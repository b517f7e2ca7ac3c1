"""Cityscapes: label ids, train ids and colours of each frame.

    OUT/leftImg8bit/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png   if there are images
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png       0..33; 0 for no class
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelTrainIds.png  0..18; 255 for no class
    OUT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_color.png          the colours of its table

Classes are found in its table by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from stt_core.errors import FormatError
from stt_core.formats.class_files import color_from, same_word, shipped_classes
from stt_core.formats.exchange import ExportFrame, ExportOptions, ReadClass, ReadSet, counts
from stt_core.formats.label_png import Color, save_ids, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import Limits, files_in
from stt_core.labels import IGNORED

_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)", re.ASCII)
_UNLABELED = 0
_KINDS = ("labelIds", "labelTrainIds")


@dataclass(frozen=True, slots=True)
class _Row:
    """A class of its table."""

    name: str
    id: int
    train_id: int
    color: Color


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
        self._renamed = 0

    def add(self, frame: ExportFrame) -> None:
        name = self._name(frame)
        below = Path(self._options.split, name.partition("_")[0])
        labels = self._folder / "gtFine" / below
        save_ids(labels / f"{name}_gtFine_labelIds.png", self._ids[frame.labels])
        save_ids(labels / f"{name}_gtFine_labelTrainIds.png", self._train_ids[frame.labels])
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
        if self._renamed:
            losses.append(
                f"{self._renamed} frames were renamed to CITY_SEQ_FRAME, the frame number last"
            )
        return losses

    def _name(self, frame: ExportFrame) -> str:
        """CITY_SEQ_FRAME: its own name where it is one already."""
        if _NAME.fullmatch(frame.name):
            return frame.name
        self._renamed += 1
        place = self._options.place.replace("_", "-")  # its tools cut names at underscores
        return f"{place}_000000_{frame.index:06d}"


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


def _classes(kind: str) -> tuple[ReadClass, ...]:
    if kind == "labelIds":
        return tuple(ReadClass(r.id, r.name, r.color) for r in _table())
    judged = sorted((r for r in _table() if r.train_id != IGNORED), key=lambda r: r.train_id)
    return tuple(ReadClass(r.train_id, r.name, r.color) for r in judged)


@cache
def _table() -> tuple[_Row, ...]:
    """All classes but "unlabeled"."""
    return tuple(
        _Row(str(row["name"]), int(row["id"]), int(row["train_id"]), color_from(row["color"]))
        for row in shipped_classes("cityscapes_labels")
        if row["id"] != _UNLABELED
    )
