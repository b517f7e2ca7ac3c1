"""Frames and classes to export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stt_core.formats.exchange import ExportFrame, ExportOptions, ExportReport, ReadSet
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels, write_labels
from stt_core.formats.mapping import propose_mapping
from stt_core.labels import LabelClass

ROAD = LabelClass("Road", (128, 64, 128))
CAR = LabelClass("Car", (0, 0, 142))
LIGHT = LabelClass("Traffic light", (250, 170, 30))
SKY = LabelClass("Sky", (70, 130, 180))
CLASSES = (ROAD, CAR, LIGHT, SKY)
"""All of them are classes of Cityscapes, too."""

EXACT = tuple(name for name in LABEL_FORMATS if name != "yolo-seg")
"""Formats that keep every pixel of such classes."""


def many_classes(count: int) -> tuple[LabelClass, ...]:
    """Classes with colours of their own, none black."""
    return tuple(LabelClass(f"class {i}", (i, 255 - i, 7)) for i in range(count))


def checkers(size: tuple[int, int] = (6, 9), classes: int = len(CLASSES)) -> NDArray[np.uint8]:
    """All classes, a void pixel, one left unlabelled."""
    labels = (np.arange(size[0] * size[1], dtype=np.uint8) % classes).reshape(size)
    labels[0, 0], labels[-1, -1] = 255, 254
    return labels


def frames_of(
    maps: Iterable[NDArray[np.uint8]],
    *,
    images: bool = False,
    name: Callable[[int], str] = "{:06d}".format,
) -> list[ExportFrame]:
    return [
        ExportFrame(name(i), i, labels, (lambda m=labels: picture(m)) if images else None)
        for i, labels in enumerate(maps)
    ]


def picture(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([labels, labels // 2, 255 - labels], axis=-1)


def target_of(name: str, folder: Path) -> Path:
    return folder / f"out{LABEL_FORMATS[name].suffix}"


def export(
    name: str,
    target: Path,
    frames: Sequence[ExportFrame],
    classes: tuple[LabelClass, ...] = CLASSES,
    **options: object,
) -> ExportReport:
    """Write all frames at once."""
    told = ExportOptions(classes=classes, total=len(frames), **options)  # type: ignore[arg-type]
    steps = write_labels(name, target, frames, told)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def in_our_ids(found: ReadSet, classes: tuple[LabelClass, ...]) -> list[NDArray[np.uint8]]:
    """All maps of a set, through the mapping that is proposed."""
    mapping = propose_mapping(found, classes)
    return [mapping.apply(frame.load()) for frame in found.frames]


def round_trip(
    name: str,
    folder: Path,
    maps: Sequence[NDArray[np.uint8]],
    classes: tuple[LabelClass, ...] = CLASSES,
    **options: object,
) -> tuple[list[NDArray[np.uint8]], ExportReport]:
    target = target_of(name, folder)
    report = export(name, target, frames_of(maps), classes, **options)
    return in_our_ids(read_labels(name, target), classes), report


def kept(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a format must keep: void by choice is written as no class."""
    return np.where(labels == 254, np.uint8(255), labels)


def label_maps(classes: int, most: int = 1) -> st.SearchStrategy[NDArray[np.uint8]]:
    """``[t, h, w]``: small maps with holes, single pixels and no class, down to 1 x 1."""
    ids = st.one_of(st.integers(0, min(classes, 4) - 1), st.sampled_from([classes - 1, 254, 255]))
    sides = st.integers(1, 9)
    shapes = st.tuples(st.integers(1, most), sides, sides)
    return hnp.arrays(np.uint8, shapes, elements=ids, fill=st.nothing())
