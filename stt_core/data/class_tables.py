"""The class tables of data sets, shipped or beside the labels."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stt_core.data.label_codes import IndexCode, index_code
from stt_core.errors import DataError, Problem
from stt_core.formats.class_files import shipped_classes
from stt_core.labels import VOID, LabelClass, read_classes
from stt_core.resources import SAMPLE_CLASSES, resource_path


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Classes, and which ids in label files stand for them."""

    classes: tuple[LabelClass, ...]
    code: IndexCode


def camvid_classes() -> tuple[LabelClass, ...]:
    """The 11 classes of generated scenes and of every CamVid-type model."""
    return read_classes(resource_path(SAMPLE_CLASSES))


def camvid_places() -> dict[str, int]:
    """Which of the 11 classes holds each of the 32 of CamVid's authors; all others are void."""
    places = {own.name: place for place, own in enumerate(camvid_classes())}
    merged = {
        str(row["name"]): row.get("merged_into", row["name"]) for row in shipped_classes("camvid32")
    }
    return {name: places[own] for name, own in merged.items() if own in places}


def cityscapes_train_ids() -> dict[int, int]:
    """The class of each label id of Cityscapes' files; IGNORED where it is not judged."""
    rows = shipped_classes("cityscapes_labels")
    return {int(row["id"]): int(row["train_id"]) for row in rows}


def cityscapes_classes() -> tuple[LabelClass, ...]:
    """The 19 classes that Cityscapes is judged by, in the order of its train ids."""
    return read_classes(resource_path("classes/cityscapes19.json"))


def class_table(classes: tuple[LabelClass, ...], ignored: Collection[int] = ()) -> ClassTable:
    """The table of files whose ids are the places of `classes`; those ignored keep their class."""
    ids = {i: i for i in range(len(classes))}
    return ClassTable(classes, index_code(ids, ignored))


def read_class_table(path: Path, ignored: Collection[int] = ()) -> ClassTable:
    """Read a class list, and what its ids are.

    JSON: `classes`, a list of `name`, `color` or `rgb`, and if it is not the place in the list
    `id`; besides, perhaps, `ignore_id`. A class whose id is ignored is left out of the table, and
    those behind it move up.

    Raises:
        DataError: the file is none, or two of its classes have one id.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        ignored = {*ignored, *([int(told["ignore_id"])] if "ignore_id" in told else [])}
        rows = sorted((_row(place, row) for place, row in enumerate(told["classes"])))
        ids = [number for number, _, _ in rows]
        if len(set(ids)) < len(ids) or not all(0 <= i < VOID for i in ids):
            raise ValueError(f"ids must differ and lie in 0..{VOID - 1}, got {ids}")
        kept = [row for row in rows if row[0] not in ignored]
        if not kept or not all(0 <= i <= 255 for i in ignored):
            raise ValueError("it must name a class that is not ignored, and 8-bit ids")
    except FileNotFoundError as error:
        problem = Problem(path, "is missing: it should list the classes of the labels")
        raise DataError(str(problem), [problem]) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        problem = Problem(path, f"is not a class list: {error}")
        raise DataError(str(problem), [problem]) from error
    classes = tuple(LabelClass(name, color) for _, name, color in kept)
    return ClassTable(classes, index_code({row[0]: i for i, row in enumerate(kept)}, ignored))


def _row(place: int, row: Any) -> tuple[int, str, tuple[int, int, int]]:
    color = row["color"] if "color" in row else row["rgb"]
    red, green, blue = (int(part) for part in color)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"colour parts lie in 0..255, got {color!r}")
    return int(row.get("id", place)), str(row["name"]), (red, green, blue)
