"""A video or a folder of images, with label PNGs named by frame number or without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.class_tables import ClassTable, camvid_classes, class_table, read_class_table
from stt_core.data.folder import CLASS_LIST
from stt_core.data.label_codes import LabelCode, read_labels
from stt_core.data.problems import refuse
from stt_core.data.project import VideoSequence, data_set_of, misfit
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec
from stt_core.errors import DataError, Problem
from stt_core.labels import VOID, LabelClass

VIDEO_OPTIONS = ("labels", "ignore")


@dataclass(frozen=True, slots=True)
class LabelFolder:
    """Label PNGs of some frames: a :class:`stt_core.data.project.LabelledVideo`."""

    media: Path
    classes: tuple[LabelClass, ...]
    maps: Mapping[int, Path]
    """Of frames with at least one pixel that has a class."""
    code: LabelCode

    @property
    def painted(self) -> Sequence[int]:
        return sorted(self.maps)

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        return read_labels(self.maps[frame], self.code) if frame in self.maps else None


def open_video(spec: Spec, classes: tuple[LabelClass, ...] | None) -> DataSet:
    """Open a video with the labels of some frames, or with none.

    Its label maps are always read, since one where all was erased again is none.

    Args:
        spec: of the kind video.
        classes: of the labels; by default those of classes.json beside them, else CamVid's.

    Raises:
        DataError: nothing is painted, a map does not fit the video or the classes, or
            classes.json has others than those asked for.
        MediaError: the video cannot be read.
    """
    if "labels" not in spec.options:
        table = class_table(classes or camvid_classes())
        return data_set_of(LabelFolder(spec.path, table.classes, {}, table.code), spec=spec.text)
    folder = Path(spec.options["labels"]).expanduser()
    if not folder.is_dir():
        raise spec.error(f"there is no folder {folder}")
    table = _table(folder, classes, spec.ignored())
    maps = _painted(spec, folder, table)
    return data_set_of(LabelFolder(spec.path, table.classes, maps, table.code), spec=spec.text)


def _table(
    folder: Path, classes: tuple[LabelClass, ...] | None, ignored: frozenset[int]
) -> ClassTable:
    listed = folder / CLASS_LIST
    if not listed.is_file():
        return class_table(classes or camvid_classes(), ignored)
    table = read_class_table(listed, ignored)
    if classes is not None:
        own, asked = ([c.name for c in some] for some in (table.classes, classes))
        if own != asked:  # ids would mean something else
            raise DataError(
                f"the labels in {folder} are of the classes {', '.join(own)} ({CLASS_LIST}), but "
                f"those of {', '.join(asked)} are wanted"
            )
    return table


def _painted(spec: Spec, folder: Path, table: ClassTable) -> dict[int, Path]:
    """The maps with something on them, by frame."""
    sequence = VideoSequence(LabelFolder(spec.path, table.classes, {}, table.code))
    maps: dict[int, Path] = {}
    problems = []
    for path in sorted(folder.glob("[!.]*.png")):
        if not path.stem.isdecimal():
            problems.append(Problem(path, "is not named by a frame's number, as 000042.png is"))
            continue
        try:
            labels = read_labels(path, table.code)
        except DataError as error:
            problems += error.problems
            continue
        frame = int(path.stem)
        erased = not (labels < VOID).any()
        what = None if erased else misfit(sequence, frame, labels)
        if frame in maps:
            what = f"labels the same frame as {maps[frame].name}: take one of them out"
        if what is not None:
            problems.append(Problem(path, what))
        elif not erased:
            maps[frame] = path
    refuse(spec.text, problems)
    if not maps:
        raise DataError(f"nothing is painted in {folder}: paint at least one stroke on one frame")
    return maps
