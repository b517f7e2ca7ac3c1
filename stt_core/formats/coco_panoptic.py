"""COCO panoptic: a PNG whose colours are segment numbers, and JSON with what these are.

    OUT/annotations/panoptic_SPLIT.json
    OUT/annotations/panoptic_SPLIT/NAME.png   number = R + 256 G + 65536 B, 0 for none
    OUT/images/SPLIT/NAME.jpg                 if there are images

Stuff is one segment for each class of a frame; of things each connected region is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
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
from stt_core.formats.label_png import few, read_rgb, save_rgb
from stt_core.formats.untrusted import Limits, inside, malformed, read_bytes
from stt_core.labels import IGNORED


@contextmanager
def coco_panoptic_writer(folder: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    path = folder / "annotations" / f"panoptic_{options.split}.json"
    head = {"info": {}, "licenses": [], "categories": category_rows(options)}
    with json_rows(path, head, "annotations") as rows:
        yield CocoPanopticWriter(folder, options, rows)


class CocoPanopticWriter:
    def __init__(self, folder: Path, options: ExportOptions, rows: JsonRows) -> None:
        self._folder, self._options, self._rows = folder, options, rows
        self._masks = folder / "annotations" / f"panoptic_{options.split}"
        self._images: list[dict[str, Any]] = []
        self._things = 0
        self._thing_ids = {category_id(i) for i in options.things}

    def add(self, frame: ExportFrame) -> None:
        number = len(self._images) + 1
        self._images.append(add_image(self._folder, self._options.split, number, frame))
        segments, found = _segments(frame.labels, self._options.things)
        self._things += sum(row["category_id"] in self._thing_ids for row in found)
        parts = [segments & 255, segments >> 8 & 255, segments >> 16]
        save_rgb(self._masks / f"{frame.name}.png", np.stack(parts, axis=-1).astype(np.uint8))
        self._rows.append(
            {"image_id": number, "file_name": f"{frame.name}.png", "segments_info": found}
        )

    def finish(self) -> Sequence[str]:
        self._rows.finish({"images": self._images})
        if not self._things:
            return ()
        return [
            f"which pixels belong to one thing is not known: {self._things} connected regions "
            "were written as things of their own"
        ]


def read_coco_panoptic(path: Path, limits: Limits) -> ReadSet:
    """Read a folder with annotations/panoptic_*.json, or one such file.

    Raises:
        FormatError: there is none, or it is damaged.
    """
    files = read_coco_files(path, "panoptic_", limits)
    place_of = {c.id: place for place, c in enumerate(files[0].categories)}
    frames = [
        frame
        for file in files
        for frame in coco_frames(
            file, limits, partial(_loader, file.path, place_of=place_of, limits=limits)
        )
    ]
    return ReadSet(files[0].categories, frames)


def _segments(
    labels: NDArray[np.uint8], things: Collection[int]
) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """``[H, W]`` segment numbers from 1, 0 for none, and their `segments_info`."""
    segments = np.zeros(labels.shape, np.int32)
    rows: list[dict[str, Any]] = []
    for class_id in np.unique(labels[labels != IGNORED]).tolist():
        mask = (labels == class_id).astype(np.uint8)
        if class_id in things:
            _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            boxes = stats[1:].tolist()  # x, y, width, height, area of all but the background
        else:
            regions, boxes = mask.astype(np.int32), [[*cv2.boundingRect(mask), int(mask.sum())]]
        segments += np.where(mask > 0, regions + len(rows), 0).astype(np.int32)
        for number, (*box, area) in enumerate(boxes, start=len(rows) + 1):
            row = {"id": number, "category_id": category_id(class_id), "area": area}
            rows.append({**row, "bbox": box, "iscrowd": 0})
    return segments, rows


def _loader(
    path: Path,
    annotations: Sequence[Any],
    size: tuple[int, int],
    *,
    place_of: Mapping[int, int],
    limits: Limits,
) -> partial[NDArray[np.uint8]]:
    with malformed(path, "a panoptic annotation file of COCO"):
        if len(annotations) != 1:
            raise ValueError(f"an image has {len(annotations)} annotations, and not one")
        told = annotations[0]
        png = inside(path.parent, f"{path.stem}/{told['file_name']}", path)
        class_of = {}
        for segment in told["segments_info"]:
            if segment["id"] in class_of or segment["category_id"] not in place_of:
                raise ValueError(
                    f"segment {segment['id']!r} of {told['file_name']} is twice there "
                    "or has a category that is not listed"
                )
            class_of[int(segment["id"])] = place_of[segment["category_id"]]
    return partial(_load, png, class_of, size, limits)


def _load(
    png: Path, class_of: Mapping[int, int], size: tuple[int, int], limits: Limits
) -> NDArray[np.uint8]:
    rgb = read_rgb(read_bytes(png, limits), png, limits).astype(np.int64)
    if rgb.shape[:2] != size:
        raise FormatError(
            f"{png} is {rgb.shape[1]} x {rgb.shape[0]} pixels, but {size[1]} x {size[0]} are told."
        )
    segments, back = np.unique(rgb @ np.array([1, 1 << 8, 1 << 16]), return_inverse=True)
    strange = [n for n in segments.tolist() if n != 0 and n not in class_of]
    if strange:
        raise FormatError(f"{png} holds the segments {few(strange)}, which its JSON does not tell.")
    classes = [class_of.get(n, IGNORED) for n in segments.tolist()]
    return np.array(classes, np.uint8)[back].reshape(size)
