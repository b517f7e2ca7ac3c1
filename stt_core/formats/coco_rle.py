"""COCO with masks as run lengths, which keep holes and stuff.

OUT/annotations/instances_SPLIT.json   one annotation for each class of a frame
OUT/images/SPLIT/NAME.jpg              if there are images
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
from stt_core.formats.coco import (
    add_image,
    category_id,
    category_rows,
    coco_frames,
    read_coco_files,
)
from stt_core.formats.exchange import ExportFrame, ExportOptions, LabelWriter, ReadSet
from stt_core.formats.json_rows import JsonRows, json_rows
from stt_core.formats.rle import area_and_box, class_masks, decode, decode_polygons
from stt_core.formats.untrusted import Limits, malformed
from stt_core.labels import IGNORED


@contextmanager
def coco_rle_writer(folder: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    path = folder / "annotations" / f"instances_{options.split}.json"
    head = {"info": {}, "licenses": [], "categories": category_rows(options)}
    with json_rows(path, head, "annotations") as rows:
        yield CocoRleWriter(folder, options, rows)


class CocoRleWriter:
    def __init__(self, folder: Path, options: ExportOptions, rows: JsonRows) -> None:
        self._folder, self._options, self._rows = folder, options, rows
        self._images: list[dict[str, Any]] = []
        self._written = 0

    def add(self, frame: ExportFrame) -> None:
        number = len(self._images) + 1
        self._images.append(add_image(self._folder, self._options.split, number, frame))
        for class_id, rle in class_masks(frame.labels):
            self._written += 1
            area, box = area_and_box(rle)
            row = {
                "id": self._written, "image_id": number, "category_id": category_id(class_id),
                "segmentation": rle, "area": area, "bbox": box, "iscrowd": 0,
            }  # fmt: skip
            self._rows.append(row)

    def finish(self) -> Sequence[str]:
        self._rows.finish({"images": self._images})
        return ()


def read_coco_rle(path: Path, limits: Limits) -> ReadSet:
    """Read a folder with annotations/instances_*.json, or one such file.

    Where masks overlap, the later annotation wins.

    Raises:
        FormatError: there is none, or it is damaged.
    """
    files = read_coco_files(path, "instances_", limits)
    place_of = {c.id: place for place, c in enumerate(files[0].categories)}
    frames = [
        frame
        for file in files
        for frame in coco_frames(
            file, limits, partial(_loader, file.path, place_of=place_of, limits=limits)
        )
    ]
    return ReadSet(files[0].categories, frames)


def _loader(
    path: Path,
    annotations: Sequence[Any],
    size: tuple[int, int],
    *,
    place_of: Mapping[int, int],
    limits: Limits,
) -> partial[NDArray[np.uint8]]:
    return partial(_load, path, annotations, size, place_of, limits)


def _load(
    path: Path,
    annotations: Sequence[Any],
    size: tuple[int, int],
    place_of: Mapping[int, int],
    limits: Limits,
) -> NDArray[np.uint8]:
    labels = np.full(size, IGNORED, np.uint8)
    for annotation in annotations:
        with malformed(path, "an annotation file of COCO"):
            what = f"annotation {annotation['id']!r} of {path}"
            category, shape = annotation["category_id"], annotation["segmentation"]
            if category not in place_of:
                raise FormatError(f"{what} has the category {category!r}, which is not listed.")
        if isinstance(shape, list):
            mask = decode_polygons(shape, size, what, limits)
        else:
            mask = decode(shape, size, what, limits)
        labels[mask] = place_of[category]
    return labels
