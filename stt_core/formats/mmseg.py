"""The folders of mmsegmentation.

OUT/images/SPLIT/NAME.jpg            if there are images
OUT/annotations/SPLIT/NAME.png       8-bit grey, the id of each pixel, 255 for none
OUT/dataset_meta.json                classes, palette, ignore_index, reduce_zero_label
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import checked_classes, color_from, write_json
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadFrame,
    ReadSet,
)
from stt_core.formats.label_png import save_ids, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import Limits, files_in, is_there, malformed, read_json, subfolders
from stt_core.labels import IGNORED

_META = "dataset_meta.json"
_SUFFIX = "_labelTrainIds"  # some of its converters add this to the names of label maps


class MmsegWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options

    def add(self, frame: ExportFrame) -> None:
        split = self._options.split
        save_ids(self._folder / "annotations" / split / f"{frame.name}.png", frame.labels)
        if frame.image is not None:
            save_rgb(self._folder / "images" / split / f"{frame.name}.jpg", frame.image())

    def finish(self) -> Sequence[str]:
        meta = {
            "classes": [c.name for c in self._options.classes],
            "palette": [list(c.color) for c in self._options.classes],
            "ignore_index": IGNORED,
            "reduce_zero_label": False,
            "img_suffix": ".jpg",
            "seg_map_suffix": ".png",
        }
        write_json(self._folder / _META, meta)
        return ()


def read_mmseg(path: Path, limits: Limits) -> ReadSet:
    """Read the label maps of all splits.

    Raises:
        FormatError: there are none, or the class table is none.
    """
    folders = [path / "annotations", *subfolders(path, "annotations")]
    files = [file for folder in folders for file in files_in(folder, "*.png", limits)]
    if not files:
        raise FormatError(f"{path} is no mmsegmentation data set: annotations has no PNG.")
    if not is_there(path, _META):
        note = f"{path} has no {_META}, so its classes are numbers without names."
        return ReadSet(None, [_frame(file, None, limits) for file in files], (note,))
    meta = read_json(path / _META, limits)
    with malformed(path / _META, "a class table of mmsegmentation"):
        # Then 0 is no class in the files, and the first class is 1.
        start = 1 if meta.get("reduce_zero_label") else 0
        names, palette = meta["classes"], meta.get("palette") or [None] * len(meta["classes"])
        classes = checked_classes(
            [
                ReadClass(i, str(name), None if color is None else color_from(color))
                for i, (name, color) in enumerate(zip(names, palette, strict=True), start)
            ],
            path / _META,
        )
        ignored = 0 if start else int(meta.get("ignore_index", IGNORED))
        table = place_table(classes, ignored if 0 <= ignored <= 255 else None)
    return ReadSet(classes, [_frame(file, table, limits) for file in files])


def _frame(file: Path, table: NDArray[np.int16] | None, limits: Limits) -> ReadFrame:
    return png_frame(file, table, limits, file.stem.removesuffix(_SUFFIX))
