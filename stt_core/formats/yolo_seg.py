"""YOLO segmentation: polygons in text files.

    OUT/labels/SPLIT/NAME.txt     lines of: class x1 y1 x2 y2 ..., 0..1 of width and height
    OUT/images/SPLIT/NAME.png     if there are images
    OUT/data.yaml                 names of the classes
    OUT/classes.json, sizes.json  colours; width and height of each frame

A polygon goes through the centres of the outermost pixels of a connected region, the largest first,
so that whoever draws them in that order finds what lies in the holes of others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import FormatError
from stt_core.formats.class_files import (
    CLASSES_FILE,
    checked_classes,
    line_names,
    read_class_file,
    write_class_file,
    write_json,
    write_lines,
)
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadFrame,
    ReadSet,
    number_in,
)
from stt_core.formats.label_png import save_rgb
from stt_core.formats.untrusted import (
    Limits,
    checked_size,
    files_in,
    inside,
    is_there,
    malformed,
    read_json,
    read_text,
)
from stt_core.labels import IGNORED

_SIZES, _DATA = "sizes.json", "data.yaml"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_FEWEST_POINTS = 3

Polygon = tuple[int, NDArray[np.int32]]
"""A class, and ``[n, 2]`` x, y of pixels."""


class YoloSegWriter:
    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._sizes: dict[str, list[int]] = {}
        self._holes = self._changed = 0

    def add(self, frame: ExportFrame) -> None:
        split, (height, width) = self._options.split, frame.size
        polygons, holes = _polygons(frame.labels)
        lines = [_line(class_id, points, frame.size) for class_id, points in polygons]
        write_lines(self._folder / "labels" / split / f"{frame.name}.txt", lines)
        if frame.image is not None:
            save_rgb(self._folder / "images" / split / f"{frame.name}.png", frame.image())
        self._sizes[frame.name] = [width, height]
        self._holes += holes
        self._changed += int((_drawn(polygons, frame.size) != frame.labels).sum())

    def finish(self) -> Sequence[str]:
        split, classes = self._options.split, self._options.classes
        names, renamed = line_names(classes, "")
        # A JSON text is a YAML text as well.
        rows = [f"  {i}: {json.dumps(name, ensure_ascii=False)}" for i, name in enumerate(names)]
        head = ["path: .", f"train: images/{split}", f"val: images/{split}", "names:"]
        write_lines(self._folder / _DATA, [*head, *rows])
        write_class_file(self._folder / CLASSES_FILE, classes)
        write_json(self._folder / _SIZES, self._sizes)
        losses = [*renamed]
        if self._holes:
            losses.append(
                f"yolo-seg cannot keep {self._holes} holes: it says only what is drawn later there"
            )
        if self._changed:
            losses.append(f"{self._changed} pixels change when the polygons are drawn again")
        return losses


def read_yolo_seg(path: Path, limits: Limits) -> ReadSet:
    """Read the polygons of all splits.

    Sizes are those of sizes.json or of the images of the same names. Rows of four numbers are
    boxes, not polygons: they are left out, and told.

    Raises:
        FormatError: there are no label files, or a frame's size is not known.
    """
    labels = path / "labels"
    files = files_in(labels, "**/*.txt", limits)
    if not files:
        raise FormatError(f"{path} is not YOLO segmentation: labels holds no text file.")
    classes, notes = _classes(path, limits)
    sizes = _told_sizes(path, limits)
    frames = []
    for file in files:
        size = sizes.get(file.stem) or _image_size(path, file.relative_to(labels), limits)
        count = None if classes is None else len(classes)
        load = partial(_load, file, size, count, limits)
        frames.append(ReadFrame(file.stem, number_in(file.stem), load))
    return ReadSet(classes, frames, notes)


def _polygons(labels: NDArray[np.uint8]) -> tuple[list[Polygon], int]:
    """Outlines of all connected regions, the largest first, and how many holes they have."""
    found: list[tuple[float, int, NDArray[np.int32]]] = []
    holes = 0
    for class_id in np.unique(labels[labels != IGNORED]).tolist():
        mask = (labels == class_id).astype(np.uint8)
        outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for outline, (_, _, _, parent) in zip(outlines, tree[0], strict=True):
            if parent >= 0:
                holes += 1
            else:
                found.append((cv2.contourArea(outline), class_id, outline.reshape(-1, 2)))
    found.sort(key=lambda row: -row[0])
    return [(class_id, points.astype(np.int32)) for _, class_id, points in found], holes


def _line(class_id: int, points: NDArray[np.int32], size: tuple[int, int]) -> str:
    """One line; a region of one or two pixels repeats them, as three points are the fewest."""
    points = np.resize(points, (max(_FEWEST_POINTS, len(points)), 2))
    # Pixel centres, so that rounding either way finds the same pixel again.
    numbers = (points + 0.5) / (size[1], size[0])
    return " ".join([str(class_id), *(f"{number:.8g}" for number in numbers.ravel())])


def _drawn(polygons: Sequence[Polygon], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``[H, W]`` labels of polygons drawn one over the other."""
    labels = np.full(size, IGNORED, np.uint8)
    for class_id, points in polygons:
        cv2.fillPoly(labels, [points], class_id)
    return labels


def _load(
    file: Path, size: tuple[int, int], classes: int | None, limits: Limits
) -> NDArray[np.uint8]:
    polygons: list[Polygon] = []
    for number, line in enumerate(read_text(file, limits).splitlines(), start=1):
        words = line.split()
        with malformed(f"line {number} of {file}", "a polygon"):
            if len(words) == 5 or not words:
                continue  # a box
            class_id, numbers = int(words[0]), np.array(words[1:], np.float64)
            if len(numbers) < 2 * _FEWEST_POINTS or len(numbers) % 2:
                raise ValueError("it should be: class x1 y1 x2 y2 x3 y3 ...")
            if not 0 <= class_id < (254 if classes is None else classes):
                raise ValueError(f"the class {class_id} is not listed")
            if not ((numbers >= 0) & (numbers <= 1)).all():
                raise ValueError("its numbers must lie in 0..1")
            pixels = np.floor(numbers.reshape(-1, 2) * (size[1], size[0])).astype(np.int32)
            polygons.append((class_id, pixels.clip(max=(size[1] - 1, size[0] - 1))))
    return _drawn(polygons, size)


def _classes(path: Path, limits: Limits) -> tuple[tuple[ReadClass, ...] | None, tuple[str, ...]]:
    if is_there(path, CLASSES_FILE):
        return read_class_file(path / CLASSES_FILE, limits)[0], ()
    if is_there(path, _DATA):
        with malformed(path / _DATA, "a data.yaml of YOLO"):
            names = _yaml_names(read_text(path / _DATA, limits))
        classes = [ReadClass(i, name) for i, name in enumerate(names)]
        return checked_classes(classes, path / _DATA), ()
    return None, (f"{path} has no {_DATA}, so its classes are numbers without names.",)


def _yaml_names(text: str) -> list[str]:
    """The names of data.yaml: a list in brackets, rows of "- name" or of "0: name".

    This much of YAML is what such files hold; ValueError for anything else.
    """
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        raise ValueError("it has no names")
    listed = lines[start].removeprefix("names:").partition("#")[0].strip()
    if listed:
        if not (listed.startswith("[") and listed.endswith("]")):
            raise ValueError("names should be a list")
        return [_unquoted(word) for word in listed[1:-1].split(",") if word.strip()]
    rows: list[str] = []
    for line in lines[start + 1 :]:
        row = line.strip()
        if not row or row.startswith("#"):
            continue
        if row.startswith("- "):
            rows.append(_unquoted(row[2:]))
        elif line[0].isspace() and ":" in row:
            number, _, name = row.partition(":")
            if int(number) != len(rows):
                raise ValueError("names should be numbered from 0")
            rows.append(_unquoted(name))
        else:
            break
    return rows


def _unquoted(word: str) -> str:
    word = word.strip()
    if word.startswith('"'):
        return str(json.loads(word))
    return word[1:-1].replace("''", "'") if word.startswith("'") else word


def _told_sizes(path: Path, limits: Limits) -> Mapping[str, tuple[int, int]]:
    """H, W by name."""
    file = path / _SIZES
    if not is_there(path, _SIZES):
        return {}
    told = read_json(file, limits)
    with malformed(file, "a list of sizes"):
        return {
            name: checked_size(height, width, file, limits)
            for name, (width, height) in told.items()
        }


def _image_size(path: Path, below: Path, limits: Limits) -> tuple[int, int]:
    for suffix in _IMAGE_SUFFIXES:
        name = (Path("images") / below).with_suffix(suffix).as_posix()
        image = inside(path, name, path / "labels")
        if image.is_file():
            try:
                with Image.open(image) as opened:
                    width, height = opened.size
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise FormatError(f"{image} cannot be read ({error}).") from error
            return checked_size(height, width, image, limits)
    raise FormatError(
        f"the size of {below} is not known: there is neither {_SIZES} in {path} nor an image of "
        "that name in images."
    )
