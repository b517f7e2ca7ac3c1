"""What COCO's two formats share: images, categories, and where the files are.

OUT/images/SPLIT/NAME.jpg    if there are images
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import checked_classes, color_from
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ReadClass,
    ReadFrame,
    number_in,
    plain_name,
)
from stt_core.formats.label_png import save_rgb
from stt_core.formats.untrusted import Limits, checked_size, files_in, malformed, read_json


@dataclass(frozen=True, slots=True)
class CocoFile:
    path: Path
    told: Mapping[str, Any]
    categories: tuple[ReadClass, ...]


def category_id(class_id: int) -> int:
    """COCO counts from 1."""
    return class_id + 1


def category_rows(options: ExportOptions) -> list[dict[str, Any]]:
    return [
        {
            "id": category_id(i),
            "name": c.name,
            "supercategory": "thing" if i in options.things else "stuff",
            "isthing": int(i in options.things),
            "color": list(c.color),
        }
        for i, c in enumerate(options.classes)
    ]


def add_image(folder: Path, split: str, number: int, frame: ExportFrame) -> dict[str, Any]:
    """Write the picture of a frame, if it has one; return its row of `images`."""
    name = f"{frame.name}.jpg"
    if frame.image is not None:
        save_rgb(folder / "images" / split / name, frame.image())
    height, width = frame.size
    return {
        "id": number, "file_name": name, "height": height, "width": width, "frame": frame.index,
    }  # fmt: skip


def read_coco_files(path: Path, prefix: str, limits: Limits) -> list[CocoFile]:
    """The annotation files of a folder, or the one that was named.

    Raises:
        FormatError: there are none, they are damaged, or their categories differ.
    """
    files = [path] if path.is_file() else files_in(path / "annotations", f"{prefix}*.json", limits)
    files = files or files_in(path, f"{prefix}*.json", limits)
    if not files:
        raise FormatError(f"{path} is not COCO: there is no annotations/{prefix}*.json in it.")
    read = [_read(file, limits) for file in files]
    for one in read[1:]:
        if one.categories != read[0].categories:
            raise FormatError(
                f"{one.path} and {read[0].path} have other categories. Open one of them alone."
            )
    return read


def coco_frames(
    file: CocoFile,
    limits: Limits,
    loader: Callable[[Sequence[Any], tuple[int, int]], Callable[[], NDArray[np.uint8]]],
) -> list[ReadFrame]:
    """A frame of each image; `loader` gets its annotations and its H, W."""
    by_image: dict[Any, list[Any]] = {}
    with malformed(file.path, "an annotation file of COCO"):
        images = list(file.told["images"])
        for annotation in file.told["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        if len(images) > limits.files:
            raise ValueError(f"it names more than {limits.files} images")
        frames = []
        for image in images:
            size = checked_size(image["height"], image["width"], file.path, limits)
            name = plain_name(PurePosixPath(str(image["file_name"])).stem)
            index = image.get("frame")
            number = index if isinstance(index, int) and index >= 0 else number_in(name)
            load = loader(by_image.get(image["id"], []), size)
            frames.append(ReadFrame(name, number, load))
    return frames


def _read(path: Path, limits: Limits) -> CocoFile:
    told = read_json(path, limits)
    with malformed(path, "an annotation file of COCO"):
        categories = [
            ReadClass(
                int(row["id"]),
                str(row["name"]),
                color_from(row["color"]) if "color" in row else None,
            )
            for row in told["categories"]
        ]
    return CocoFile(path, told, checked_classes(categories, path))
