"""Plain PNG of class ids with classes.json, as data sets of folders have them.

OUT/classes.json             names, colours, ids, ignore_id 255
OUT/images/NAME.png          if there are images
OUT/labels/NAME.png          8-bit grey, the id of each pixel, 255 for none
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import CLASSES_FILE, read_class_file, write_class_file
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadFrame,
    ReadSet,
    number_in,
)
from stt_core.formats.label_png import few, read_ids, save_ids, save_rgb
from stt_core.formats.untrusted import Limits, files_in, is_there, read_bytes
from stt_core.labels import IGNORED, VOID


class PngWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options

    def add(self, frame: ExportFrame) -> None:
        save_ids(self._folder / "labels" / f"{frame.name}.png", frame.labels)
        if frame.image is not None:
            save_rgb(self._folder / "images" / f"{frame.name}.png", frame.image())

    def finish(self) -> Sequence[str]:
        write_class_file(self._folder / CLASSES_FILE, self._options.classes)
        return ()


def read_png(path: Path, limits: Limits) -> ReadSet:
    """Read a folder of id maps, or one with `labels` and `classes.json` in it.

    Raises:
        FormatError: there are no label maps, or the class list is none.
    """
    labels = path / "labels" if (path / "labels").is_dir() else path
    files = files_in(labels, "*.png", limits)
    if not files:
        raise FormatError(f"{path} holds no label maps: there is no PNG in {labels}.")
    table = next((p / CLASSES_FILE for p in (path, labels) if is_there(p, CLASSES_FILE)), None)
    if table is None:
        note = f"{path} has no {CLASSES_FILE}, so its classes are numbers without names."
        return ReadSet(None, [png_frame(file, None, limits) for file in files], (note,))
    classes, ignored = read_class_file(table, limits)
    places = place_table(classes, ignored)
    return ReadSet(classes, [png_frame(file, places, limits) for file in files])


def png_frame(
    file: Path,
    table: NDArray[np.int16] | None,
    limits: Limits,
    name: str | None = None,
    medium: str = "",
) -> ReadFrame:
    """The frame of a PNG of ids; without a table the ids are left as they are."""
    name = name or file.stem
    if table is None:
        return ReadFrame(name, number_in(name), partial(_load_raw, file, limits), medium)
    load = partial(load_places, file, file, table, limits)
    return ReadFrame(name, number_in(name), load, medium)


def place_table(classes: Sequence[ReadClass], ignored: int | None = None) -> NDArray[np.int16]:
    """``[256]`` place of each id in `classes`, IGNORED for none, -1 where an id must not occur."""
    table = np.full(256, -1, np.int16)
    table[[VOID, IGNORED]] = IGNORED
    if ignored is not None:
        table[ignored] = IGNORED
    for place, read_class in enumerate(classes):
        if 0 <= read_class.id <= 255:
            table[read_class.id] = place
    return table


def load_places(
    source: Path | bytes, what: Path | str, table: NDArray[np.int16], limits: Limits
) -> NDArray[np.uint8]:
    """The ids of a PNG through `table` ``[256]``; FormatError where it has -1 for one."""
    data = source if isinstance(source, bytes) else read_bytes(source, limits)
    ids = read_ids(data, what, limits).ids
    places = table[ids]
    if places.min() < 0:
        wrong = np.unique(ids[places < 0]).tolist()
        known = np.flatnonzero((table >= 0) & (table < VOID))
        raise FormatError(
            f"{what} holds the ids {few(wrong)}, which its class list does not have (it has "
            f"{len(known)}, up to {known.max(initial=0)})."
        )
    return places.astype(np.uint8)


def _load_raw(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """The ids of a PNG as they are."""
    return read_ids(read_bytes(path, limits), path, limits).ids
