"""CamVid: by colour, as its authors published it, or by index, as SegNet did.

    OUT/701_StillsRaw_full/NAME.png       if there are images     OUT/SPLIT/NAME.png
    OUT/LabeledApproved_full/NAME_L.png   colours or indices      OUT/SPLITannot/NAME.png
    OUT/label_colors.txt                  or what these mean      OUT/classes.json
    OUT/SPLIT.txt                         image and labels of each frame

An index file has ids from 0 and the number of classes where there is none (11 in CamVid).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import (
    CLASSES_FILE,
    checked_classes,
    color_from,
    distinct_colors,
    line_names,
    read_class_file,
    same_word,
    shipped_classes,
    write_class_file,
    write_lines,
)
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadFrame,
    ReadSet,
    no_class,
    number_in,
)
from stt_core.formats.label_png import Color, ids_of_colors, read_rgb, save_ids, save_rgb
from stt_core.formats.png import place_table, png_frame
from stt_core.formats.untrusted import Limits, files_in, is_there, read_bytes, read_text
from stt_core.labels import IGNORED

COLOR_TABLE = "label_colors.txt"
_IMAGES = "701_StillsRaw_full"
_LABELS = ("LabeledApproved_full", "labels", ".")
_SUFFIX = "_L"
_VOID = "Void"
_BLACK = (0, 0, 0)
_OFFICIAL = {"pole": "Column_Pole", "pavement": "Sidewalk"}
"""Names of the 11 classes that the table of its authors does not have: what they are there."""


class CamvidWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._colors, self._recolored = distinct_colors(options.classes)
        self._table = np.zeros((256, 3), np.uint8)
        self._table[: len(self._colors)] = self._colors
        self._pairs: list[tuple[str, str]] = []

    def add(self, frame: ExportFrame) -> None:
        image = f"{_IMAGES}/{frame.name}.png"
        labels = f"{_LABELS[0]}/{frame.name}{_SUFFIX}.png"
        save_rgb(self._folder / labels, self._table[frame.labels])
        if frame.image is not None:
            save_rgb(self._folder / image, frame.image())
        self._pairs.append((image, labels))

    def finish(self) -> Sequence[str]:
        names, renamed = line_names(self._options.classes, " \t")
        names = _official(names)
        rows = [*zip(self._colors, names, strict=True), (_BLACK, _VOID)]
        lines = [f"{red} {green} {blue}\t{name}" for (red, green, blue), name in rows]
        write_lines(self._folder / COLOR_TABLE, lines)
        unlisted = _write_list(self._folder, self._options.split, self._pairs)
        return [*self._recolored, *renamed, *unlisted]


def read_camvid(path: Path, limits: Limits) -> ReadSet:
    """Read labels by colour. The colours are those of label_colors.txt, where it is there.

    Raises:
        FormatError: there are no labels, or a line of label_colors.txt is no `R G B name`.
    """
    files: list[Path] = []
    for folder in _LABELS:
        files = files or files_in(path / folder, f"*{_SUFFIX}.png", limits)
    if not files:
        raise FormatError(f"{path} is not CamVid: there is no {_LABELS[0]}/*{_SUFFIX}.png in it.")
    table = path / COLOR_TABLE
    notes: tuple[str, ...] = ()
    if is_there(path, COLOR_TABLE):
        named = _parse_colors(read_text(table, limits), table)
    else:
        named = {color_from(row["color"]): str(row["name"]) for row in shipped_classes("camvid32")}
        table = Path("the table of CamVid")
        notes = (f"{path} has no {COLOR_TABLE}: the colours of CamVid's authors are assumed.",)
    return _by_color(files, named, table, notes, limits)


class CamvidIndexWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._void = len(options.classes)
        self._pairs: list[tuple[str, str]] = []

    def add(self, frame: ExportFrame) -> None:
        split = self._options.split
        image, labels = f"{split}/{frame.name}.png", f"{split}annot/{frame.name}.png"
        save_ids(self._folder / labels, no_class(frame.labels, self._void))
        if frame.image is not None:
            save_rgb(self._folder / image, frame.image())
        self._pairs.append((image, labels))

    def finish(self) -> Sequence[str]:
        path = self._folder / CLASSES_FILE
        write_class_file(path, self._options.classes, ignored=self._void)
        return _write_list(self._folder, self._options.split, self._pairs)


def read_camvid_index(path: Path, limits: Limits) -> ReadSet:
    """Read labels by index. Without classes.json they are SegNet's 11 classes, void 11.

    Raises:
        FormatError: there are no labels, or the class list is none.
    """
    files = files_in(path, "*annot/*.png", limits) or files_in(path / "labels", "**/*.png", limits)
    if not files:
        raise FormatError(
            f"{path} is not CamVid in SegNet's form: there is no trainannot/*.png or "
            "labels/train/*.png in it."
        )
    notes: tuple[str, ...] = ()
    if is_there(path, CLASSES_FILE):
        classes, void = read_class_file(path / CLASSES_FILE, limits)
    else:
        rows = enumerate(shipped_classes("camvid11"))
        classes = tuple(ReadClass(i, row["name"], color_from(row["color"])) for i, row in rows)
        void = None
        notes = (f"{path} has no {CLASSES_FILE}: SegNet's 11 classes are assumed, 11 for none.",)
    table = place_table(classes, len(classes) if void is None else void)
    return ReadSet(classes, [png_frame(f, table, limits) for f in files], notes)


def _write_list(folder: Path, split: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    if any(" " in image for image, _ in pairs):
        return [f"there is no list {split}.txt, since names with spaces would break it"]
    write_lines(folder / f"{split}.txt", [f"/{image} /{labels}" for image, labels in pairs])
    return []


def _official(names: Sequence[str]) -> list[str]:
    """Names as CamVid's authors wrote them, as far as nobody else has these."""
    taken = {same_word(name) for name in names}
    wanted = [_OFFICIAL.get(same_word(name), name) for name in names]
    pairs = zip(names, wanted, strict=True)
    return [name if same_word(other) in taken else other for name, other in pairs]


def _parse_colors(text: str, what: Path) -> dict[Color, str]:
    named: dict[Color, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split(maxsplit=3)
        if not parts:
            continue
        if len(parts) < 4 or not all(p.isdecimal() and int(p) < 256 for p in parts[:3]):
            raise FormatError(f"{what} has no 'R G B name' in line {number}: {line[:80]!r}.")
        red, green, blue = (int(part) for part in parts[:3])
        named[red, green, blue] = parts[3].strip()
    if not named:
        raise FormatError(f"{what} is empty: it should hold lines of 'R G B name'.")
    return named


def _by_color(
    files: Sequence[Path],
    named: dict[Color, str],
    table: Path,
    notes: tuple[str, ...],
    limits: Limits,
) -> ReadSet:
    broader = {row["name"]: row.get("merged_into") for row in shipped_classes("camvid32")}
    kept = [(color, name) for color, name in named.items() if (color, name) != (_BLACK, _VOID)]
    classes = checked_classes(
        [ReadClass(i, n, color, broader.get(n)) for i, (color, n) in enumerate(kept)], table
    )
    place_of = dict.fromkeys((_BLACK, *named), IGNORED)
    place_of |= {c.color: c.id for c in classes if c.color is not None}
    return ReadSet(
        classes,
        [
            ReadFrame(name, number_in(name), partial(_load, file, place_of, table, limits))
            for file in files
            for name in [file.stem.removesuffix(_SUFFIX)]
        ],
        notes,
    )


def _load(file: Path, place_of: dict[Color, int], table: Path, limits: Limits) -> NDArray[np.uint8]:
    return ids_of_colors(read_rgb(read_bytes(file, limits), file, limits), place_of, file, table)
