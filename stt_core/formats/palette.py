"""A folder of palette PNGs, as DAVIS and Cutie keep the masks of a video.

    OUT/masks/0000000.png        mode P: 0 for no class, id + 1 of each class
    OUT/images/0000000.jpg       if there are images
    OUT/classes.json             what the indices mean

Frames of a video are named by number, images by their names; of several media each has a folder of
its own in masks and images.

There an index is an object and 0 the background, so class ids move up by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import (
    CLASSES_FILE,
    checked_classes,
    read_class_file,
    write_class_file,
)
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadMedium,
    ReadSet,
)
from stt_core.formats.label_png import palette_of, read_ids, save_ids, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import Limits, files_in, is_there, read_bytes
from stt_core.labels import IGNORED

_BACKGROUND = 0


class PaletteWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._palette = palette_of(options.classes, start=1)

    def add(self, frame: ExportFrame) -> None:
        name = f"{frame.index:07d}" if frame.video else frame.name
        moved = np.where(frame.labels == IGNORED, _BACKGROUND, frame.labels + np.uint8(1))
        masks, images = (self._folder / kind / frame.medium for kind in ("masks", "images"))
        save_ids(masks / f"{name}.png", moved.astype(np.uint8), self._palette)
        if frame.image is not None:
            save_rgb(images / f"{name}.jpg", frame.image())

    def finish(self) -> Sequence[str]:
        path = self._folder / CLASSES_FILE
        write_class_file(path, self._options.classes, start=1, ignored=_BACKGROUND)
        return ()


def read_palette(path: Path, limits: Limits) -> ReadSet:
    """Read a folder of palette masks, or one with `masks` in it, perhaps in folders of their own.

    Raises:
        FormatError: there are no masks, or the class list is none.
    """
    masks = path / "masks" if (path / "masks").is_dir() else path
    files = files_in(masks, "*.png", limits) or files_in(masks, "*/*.png", limits)
    if not files:
        raise FormatError(f"{path} holds no masks: there is no PNG in {masks}.")
    if is_there(path, CLASSES_FILE):
        classes, ignored = read_class_file(path / CLASSES_FILE, limits)
        places = place_table(classes, ignored)
        return _set(classes, files, masks, places, limits)
    palette = read_ids(read_bytes(files[0], limits), files[0], limits).palette
    if palette is None:
        raise FormatError(
            f"{files[0]} is grey, and there is no {CLASSES_FILE}. Open the folder as png."
        )
    objects = checked_classes(
        [ReadClass(i, color=tuple(c)) for i, c in enumerate(palette.tolist()) if 0 < i < 254], path
    )
    table = place_table(objects, _BACKGROUND)
    note = (
        f"{path} has no {CLASSES_FILE}: an index is perhaps an object and not a class. Say which "
        "class each is; 0 is the background."
    )
    found = _set(objects, files, masks, table, limits)
    return replace(found, notes=(note,), ids_are_classes=False)


def _set(
    classes: Sequence[ReadClass],
    files: Sequence[Path],
    masks: Path,
    table: NDArray[np.int16],
    limits: Limits,
) -> ReadSet:
    """The masks of one medium, or of one in each folder."""
    frames = [
        png_frame(file, table, limits, medium="" if file.parent == masks else file.parent.name)
        for file in files
    ]
    media = sorted({frame.medium for frame in frames} - {""})
    return ReadSet(tuple(classes), frames, media=tuple(ReadMedium(name, name) for name in media))
