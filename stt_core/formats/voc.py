"""Pascal VOC segmentation.

OUT/SegmentationClass/NAME.png       mode P: class ids, 255 for none
OUT/JPEGImages/NAME.jpg              if there are images
OUT/ImageSets/Segmentation/SPLIT.txt names, one a line
OUT/labelmap.txt                     names and colours in the order of the ids
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stt_core.errors import FormatError
from stt_core.formats.class_files import (
    checked_classes,
    color_from,
    line_names,
    shipped_classes,
    write_lines,
)
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadSet,
)
from stt_core.formats.label_png import Color, palette_of, save_ids, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import (
    Limits,
    as_text,
    files_in,
    inside,
    is_there,
    malformed,
    read_bytes,
    read_text,
)
from stt_core.labels import LabelClass

LABEL_MAP = "labelmap.txt"
LABEL_MAP_FORBIDS = ":#"
_VOID = LabelClass("ignored", (224, 224, 192))
"""What readers by colour call the pixels of 255."""
_MASKS = "SegmentationClass"


class VocWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._palette = palette_of(options.classes, ignored=_VOID.color)
        self._names: list[str] = []

    def add(self, frame: ExportFrame) -> None:
        save_ids(self._folder / _MASKS / f"{frame.name}.png", frame.labels, self._palette)
        if frame.image is not None:
            save_rgb(self._folder / "JPEGImages" / f"{frame.name}.jpg", frame.image())
        self._names.append(frame.name)

    def finish(self) -> Sequence[str]:
        sets = self._folder / "ImageSets" / "Segmentation"
        write_lines(sets / f"{self._options.split}.txt", self._names)
        classes = self._options.classes
        (void, *names), renamed = line_names((_VOID, *classes), LABEL_MAP_FORBIDS)
        colors = [*(c.color for c in classes), _VOID.color]
        write_lines(self._folder / LABEL_MAP, label_map_lines([*names, void], colors))
        return renamed


def read_voc(path: Path, limits: Limits) -> ReadSet:
    """Read all frames that the lists name, or all there are where there is no list.

    Raises:
        FormatError: there are no label maps, or a list names one that is missing or elsewhere.
    """
    files = _listed(path, limits) or files_in(path / _MASKS, "*.png", limits)
    if not files:
        raise FormatError(f"{path} is not Pascal VOC: there is no PNG in {path / _MASKS}.")
    notes: tuple[str, ...] = ()
    label_map = path / LABEL_MAP
    if is_there(path, LABEL_MAP):
        rows = parse_label_map(read_bytes(label_map, limits), label_map)
        classes = tuple(c for c in rows if (c.name, c.color) != (_VOID.name, _VOID.color))
    else:
        classes = tuple(
            ReadClass(i, row["name"], color_from(row["color"]))
            for i, row in enumerate(shipped_classes("voc21"))
        )
        notes = (f"{path} has no {LABEL_MAP}: its ids are taken for the 20 classes of VOC.",)
    table = place_table(classes)
    return ReadSet(classes, [png_frame(file, table, limits) for file in files], notes)


def label_map_lines(names: Sequence[str], colors: Sequence[Color]) -> list[str]:
    """labelmap.txt: lines of ``name:r,g,b::``."""
    rows = [
        f"{name}:{red},{green},{blue}::"
        for name, (red, green, blue) in zip(names, colors, strict=True)
    ]
    return ["# label:color_rgb:parts:actions", *rows]


def parse_label_map(data: bytes, what: Path | str) -> tuple[ReadClass, ...]:
    """Read labelmap.txt; ids are places.

    Raises:
        FormatError: a line has no name and colour.
    """
    lines = [line.strip() for line in as_text(data, what).splitlines()]
    rows = [line.split(":") for line in lines if line and not line.startswith("#")]
    with malformed(what, "a label map with lines of name:r,g,b::"):
        classes = [
            ReadClass(i, row[0], color_from(row[1].split(","))) for i, row in enumerate(rows)
        ]
    return checked_classes(classes, what)


def _listed(path: Path, limits: Limits) -> list[Path]:
    files: dict[str, Path] = {}
    for listing in files_in(path / "ImageSets" / "Segmentation", "*.txt", limits):
        for name in read_text(listing, limits).splitlines():
            if not name.strip():
                continue
            file = inside(path, f"{_MASKS}/{name.strip()}.png", listing)
            if not file.is_file():
                raise FormatError(f"{listing} names {name.strip()}, but {file} is missing.")
            files[file.stem] = file
    return list(files.values())
