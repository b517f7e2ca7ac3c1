"""Datumaro's JSON: one file for each subset, masks as run lengths.

OUT/annotations/SPLIT.json        a class is its place in the list of labels
OUT/images/SPLIT/NAME.jpg         if there are images
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import checked_classes, color_from
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    LabelWriter,
    ReadClass,
    ReadFrame,
    ReadSet,
    number_in,
    plain_name,
)
from stt_core.formats.json_rows import JsonRows, json_rows
from stt_core.formats.label_png import Color, save_rgb
from stt_core.formats.rle import class_masks, decode
from stt_core.formats.untrusted import Limits, checked_size, files_in, malformed, read_json
from stt_core.labels import IGNORED, LabelClass

_VERSION = "1.0"


@contextmanager
def datumaro_writer(folder: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    path = folder / "annotations" / f"{options.split}.json"
    head = {
        "dm_format_version": _VERSION,
        "infos": {},
        "categories": {
            "label": {
                "labels": [
                    {"name": c.name, "parent": "", "attributes": []} for c in options.classes
                ],
                "attributes": [],
            },
            "mask": {"colormap": _color_rows(options.classes)},
        },
    }
    with json_rows(path, head, "items") as rows:
        yield DatumaroWriter(folder, options, rows)


class DatumaroWriter:
    def __init__(self, folder: Path, options: ExportOptions, rows: JsonRows) -> None:
        self._folder, self._split, self._rows = folder, options.split, rows

    def add(self, frame: ExportFrame) -> None:
        name = f"{frame.name}.jpg"
        if frame.image is not None:
            save_rgb(self._folder / "images" / self._split / name, frame.image())
        masks = [
            {
                "id": n, "type": "mask", "attributes": {}, "group": 0, "label_id": class_id,
                "rle": rle, "z_order": 0,
            }
            for n, (class_id, rle) in enumerate(class_masks(frame.labels))
        ]  # fmt: skip
        image = {"path": name, "size": list(frame.size)}
        self._rows.append(
            {"id": frame.name, "annotations": masks, "attr": {"frame": frame.index}, "image": image}
        )

    def finish(self) -> Sequence[str]:
        self._rows.finish({})
        return ()


def read_datumaro(path: Path, limits: Limits) -> ReadSet:
    """Read a folder with annotations/*.json, or one such file.

    Other annotations than masks are left out, and told. Where masks overlap, the higher z_order
    wins, then the later.

    Raises:
        FormatError: there is none, it is damaged, or its subsets have other labels.
    """
    files = [path] if path.is_file() else files_in(path / "annotations", "*.json", limits)
    if not files:
        raise FormatError(f"{path} is not Datumaro's: there is no annotations/*.json in it.")
    classes: tuple[ReadClass, ...] | None = None
    frames: list[ReadFrame] = []
    left_out = 0
    for file in files:
        told = read_json(file, limits)
        with malformed(file, "a Datumaro file"):
            own = _classes(told["categories"], file)
            if classes is not None and own != classes:
                raise ValueError("its labels are not those of the other subsets")
            classes = own
            for item in told["items"]:
                frame, others = _frame(item, len(own), file, limits)
                frames.append(frame)
                left_out += others
            if len(frames) > limits.files:
                raise ValueError(f"it names more than {limits.files} items")
    note = f"{left_out} annotations of {path} are no masks and were left out."
    return ReadSet(classes, frames, (note,) if left_out else ())


def _color_rows(classes: Sequence[LabelClass]) -> list[dict[str, int]]:
    return [
        {"label_id": i, "r": red, "g": green, "b": blue}
        for i, (red, green, blue) in enumerate(c.color for c in classes)
    ]


def _classes(categories: Any, file: Path) -> tuple[ReadClass, ...]:
    colors: dict[int, Color] = {
        int(row["label_id"]): color_from((row["r"], row["g"], row["b"]))
        for row in categories.get("mask", {}).get("colormap", ())
    }
    rows = enumerate(categories["label"]["labels"])
    return checked_classes([ReadClass(i, str(row["name"]), colors.get(i)) for i, row in rows], file)


def _frame(item: Any, classes: int, file: Path, limits: Limits) -> tuple[ReadFrame, int]:
    """The frame of an item, and how many annotations it has besides masks."""
    name = plain_name(str(item["id"]))
    masks = [a for a in item["annotations"] if a["type"] == "mask"]
    masks.sort(key=lambda a: int(a.get("z_order", 0)))
    for mask in masks:
        if not 0 <= int(mask["label_id"]) < classes:
            raise ValueError(f"item {name} has the label {mask['label_id']!r}, which is not listed")
    sizes = [
        (item.get("image") or item.get("media") or {}).get("size"),
        *(mask["rle"]["size"] for mask in masks),
    ]
    told = next((size for size in sizes if size), None)
    if told is None:
        raise ValueError(f"item {name} has neither masks nor a size")
    height, width = told
    size = checked_size(height, width, file, limits)
    index = item.get("attr", {}).get("frame")
    number = index if isinstance(index, int) and index >= 0 else number_in(name)
    load = partial(_load, masks, size, f"item {name} of {file}", limits)
    return ReadFrame(name, number, load), len(item["annotations"]) - len(masks)


def _load(
    masks: Sequence[Mapping[str, Any]], size: tuple[int, int], what: str, limits: Limits
) -> NDArray[np.uint8]:
    labels = np.full(size, IGNORED, np.uint8)
    for mask in masks:
        labels[decode(mask["rle"], size, what, limits)] = int(mask["label_id"])
    return labels
