"""CVAT's "Segmentation mask 1.1": a zip of colour masks.

    labelmap.txt                          background:0,0,0:: and the classes
    SegmentationClass/NAME.png            colours of the classes
    SegmentationObject/NAME.png           one object for each class of the frame
    ImageSets/Segmentation/default.txt    names, one a line

Frames of a video are called frame_000000, by their number, as CVAT matches them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import FormatError
from stt_core.formats.class_files import as_json, distinct_colors, line_names, voc_color
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    LabelWriter,
    ReadFrame,
    ReadSet,
    number_in,
)
from stt_core.formats.label_png import Color, ids_of_colors, read_rgb, same_file
from stt_core.formats.untrusted import Archive, Limits, files_in, inside, read_bytes
from stt_core.formats.voc import LABEL_MAP, LABEL_MAP_FORBIDS, label_map_lines, parse_label_map
from stt_core.labels import IGNORED, LabelClass

_BACKGROUND = "background"
_BLACK = (0, 0, 0)
_MASKS, _OBJECTS = "SegmentationClass", "SegmentationObject"

_Masks = dict[str, Callable[[], bytes]]
"""What reads each mask, by its name."""


@contextmanager
def cvat_writer(path: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    with zipfile.ZipFile(path, "w") as archive:
        yield CvatWriter(archive, options)


class CvatWriter:
    def __init__(self, archive: zipfile.ZipFile, options: ExportOptions) -> None:
        self._zip, self._options = archive, options
        self._colors, self._recolored = distinct_colors(options.classes)
        self._table, self._objects = (np.zeros((256, 3), np.uint8) for _ in range(2))
        self._table[: len(self._colors)] = self._colors
        self._objects[: len(self._colors)] = [voc_color(i + 1) for i in range(len(options.classes))]
        self._names: dict[str, None] = {}  # in order

    def add(self, frame: ExportFrame) -> None:
        name = f"frame_{frame.index:06d}" if frame.video else frame.name
        if name in self._names:
            raise same_file(f"{name}.png")
        self._write(f"{_MASKS}/{name}.png", _png(self._table[frame.labels]))
        self._write(f"{_OBJECTS}/{name}.png", _png(self._objects[frame.labels]))
        self._names[name] = None

    def finish(self) -> Sequence[str]:
        background = LabelClass(_BACKGROUND, _BLACK)
        names, renamed = line_names((background, *self._options.classes), LABEL_MAP_FORBIDS)
        rows = label_map_lines(names, [_BLACK, *self._colors])
        self._write(LABEL_MAP, _lines(rows))
        self._write("ImageSets/Segmentation/default.txt", _lines([*self._names]))
        self._write("provenance.json", as_json(self._options.provenance).encode())
        return [*self._recolored, *renamed]

    def _write(self, name: str, data: bytes) -> None:
        # PNGs are compressed already.
        how = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
        self._zip.writestr(zipfile.ZipInfo(name), data, compress_type=how)


def read_cvat(path: Path, limits: Limits) -> ReadSet:
    """Read the masks of an archive, or of the folder that it was unpacked to.

    Raises:
        FormatError: it is no such archive, or not safe to open.
    """
    masks, label_map = (_in_folder if path.is_dir() else _in_archive)(path, limits)
    if not masks:
        raise FormatError(f"{path} is not CVAT's Segmentation mask: {_MASKS} holds no PNG.")
    listed = parse_label_map(label_map, f"{LABEL_MAP} in {path}")
    classes = tuple(c for c in listed if not (c.name == _BACKGROUND and c.color == _BLACK))
    place_of: dict[Color, int] = {_BLACK: IGNORED}
    place_of |= {c.color: i for i, c in enumerate(classes) if c.color is not None}
    frames = []
    for name, read in masks.items():
        stem = PurePosixPath(name).stem
        load = partial(_load, read, f"{name} in {path}", place_of, limits)
        frames.append(ReadFrame(stem, number_in(stem), load))
    return ReadSet(classes, frames)


def _in_archive(path: Path, limits: Limits) -> tuple[_Masks, bytes]:
    archive = Archive(path, limits)
    names = archive.names(lambda name: name.startswith(f"{_MASKS}/") and _is_png(name))
    return {name: partial(archive.read, name) for name in names}, archive.read(LABEL_MAP)


def _in_folder(path: Path, limits: Limits) -> tuple[_Masks, bytes]:
    files = [file for file in files_in(path / _MASKS, "*", limits) if _is_png(file.name)]
    table = read_bytes(inside(path, LABEL_MAP, path), limits)
    return {f"{_MASKS}/{file.name}": partial(read_bytes, file, limits) for file in files}, table


def _load(
    read: Callable[[], bytes], what: str, place_of: dict[Color, int], limits: Limits
) -> NDArray[np.uint8]:
    return ids_of_colors(read_rgb(read(), what, limits), place_of, what, LABEL_MAP)


def _is_png(name: str) -> bool:
    return name.lower().endswith(".png")


def _png(rgb: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, format="PNG")
    return data.getvalue()


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
