"""The label formats by name, and writing and reading any of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stt_core.errors import LabelError, OutputError
from stt_core.files import writing
from stt_core.formats.apart import WriterOfEach, read_each
from stt_core.formats.camvid import (
    CamvidIndexWriter,
    CamvidWriter,
    read_camvid,
    read_camvid_index,
)
from stt_core.formats.cityscapes import CityscapesWriter, read_cityscapes
from stt_core.formats.class_files import PROVENANCE_FILE, as_json, write_json
from stt_core.formats.coco_panoptic import coco_panoptic_writer, read_coco_panoptic
from stt_core.formats.coco_rle import coco_rle_writer, read_coco_rle
from stt_core.formats.cvat import cvat_writer, read_cvat
from stt_core.formats.datumaro import datumaro_writer, read_datumaro
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    ExportReport,
    ExportStep,
    LabelWriter,
    ReadSet,
    RenamingWriter,
)
from stt_core.formats.hdf5 import hdf5_writer, read_hdf5
from stt_core.formats.mmseg import MmsegWriter, read_mmseg
from stt_core.formats.npz import npz_writer, read_npz
from stt_core.formats.origins import origin_rows, with_origins
from stt_core.formats.palette import PaletteWriter, read_palette
from stt_core.formats.png import PngWriter, read_png
from stt_core.formats.staging import staged
from stt_core.formats.untrusted import LIMITS, Limits
from stt_core.formats.voc import VocWriter, read_voc
from stt_core.formats.yolo_seg import YoloSegWriter, read_yolo_seg
from stt_core.labels import IGNORED, VOID

OpenWriter = Callable[[Path, ExportOptions], AbstractContextManager[LabelWriter]]


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """How labels are written and read in one format."""

    opens: OpenWriter
    """Begins an export in a folder that exists, or in the file of that name."""
    read: Callable[[Path, Limits], ReadSet]
    loses: str
    """What it can never keep, in a sentence; empty when it keeps all labels."""
    suffix: str = ""
    """Of formats that are one file; empty for folders. Of several media each has a file then, in a
    folder."""
    foldered: bool = False
    """Whether media have folders of their own; else the names of frames begin with theirs."""


def _folder(writer: Callable[[Path, ExportOptions], LabelWriter]) -> OpenWriter:
    return lambda folder, options: nullcontext(writer(folder, options))


LABEL_FORMATS: dict[str, LabelFormat] = {
    "cityscapes": LabelFormat(
        _folder(CityscapesWriter),
        read_cityscapes,
        "Only classes of Cityscapes are kept, found by name. Colours are those of Cityscapes, and "
        "frames are called CITY_SEQ_FRAME.",
        foldered=True,
    ),
    "camvid": LabelFormat(
        _folder(CamvidWriter),
        read_camvid,
        "Classes need colours of their own, and names without spaces; others are changed.",
    ),
    "camvid-index": LabelFormat(_folder(CamvidIndexWriter), read_camvid_index, ""),
    "voc": LabelFormat(
        _folder(VocWriter), read_voc, "Images become JPEG, which changes their pixels slightly."
    ),
    "palette": LabelFormat(
        _folder(PaletteWriter),
        read_palette,
        "Frames of videos are called by their numbers. Images become JPEG, which changes their "
        "pixels slightly.",
        foldered=True,
    ),
    "coco-panoptic": LabelFormat(
        coco_panoptic_writer,
        read_coco_panoptic,
        "Things are not told apart where they touch. Images become JPEG, which changes their "
        "pixels slightly.",
    ),
    "coco-rle": LabelFormat(
        coco_rle_writer,
        read_coco_rle,
        "Images become JPEG, which changes their pixels slightly.",
    ),
    "cvat": LabelFormat(
        cvat_writer,
        read_cvat,
        "Images are left out, since CVAT has them. Classes need colours of their own; others are "
        "changed.",
        ".zip",
    ),
    "datumaro": LabelFormat(
        datumaro_writer, read_datumaro, "Images become JPEG, which changes their pixels slightly."
    ),
    "yolo-seg": LabelFormat(
        _folder(YoloSegWriter),
        read_yolo_seg,
        "A polygon has no holes: what lies in one is kept only if it is a class, and only by "
        "programs that draw polygons in order.",
    ),
    "hdf5": LabelFormat(
        hdf5_writer, read_hdf5, "Images are left out. All frames must have one size.", ".h5"
    ),
    "npz": LabelFormat(
        npz_writer, read_npz, "Images are left out. All frames must have one size.", ".npz"
    ),
    "mmseg": LabelFormat(
        _folder(MmsegWriter),
        read_mmseg,
        "Images become JPEG, which changes their pixels slightly.",
    ),
    "png": LabelFormat(_folder(PngWriter), read_png, ""),
}


def label_format(name: str) -> LabelFormat:
    """ValueError for a name that there is not."""
    if name not in LABEL_FORMATS:
        raise ValueError(f"there is no label format '{name}': use {', '.join(LABEL_FORMATS)}")
    return LABEL_FORMATS[name]


def write_labels(
    name: str, target: Path, frames: Iterable[ExportFrame], options: ExportOptions
) -> Generator[ExportStep, None, ExportReport]:
    """Write frames in a format, and yield each one that is done.

    Nothing is to be seen under `target` before all is written; closing the generator removes what
    was.

    Args:
        name: of the format.
        target: a folder that does not exist or is empty; of formats with a suffix, and of one
            medium, a file that does not exist.
        frames: made one at a time, as they are asked for.
        options: what they share.

    Raises:
        ValueError: there is no such format, or there are more or fewer frames than was said.
        LabelError: a frame has an id without a class.
        OutputError: something stands in the way, or two frames would have one name.
    """
    form = label_format(name)
    as_json(options.provenance)  # before anything is written
    as_file = bool(form.suffix) and not options.media
    names: set[str] = set()
    origins: dict[str, object] = {}
    with staged(target, as_file=as_file) as part, writing(target):
        with ExitStack() as stack:
            writer = _open(form, part / target.name if as_file else part, options, stack)
            for frame in frames:
                writer.add(_checked(frame, options, names, form))
                yield ExportStep(frame.index, len(names), options.total)
            if not names:
                raise OutputError(f"{target} was not written: there was no frame to put into it.")
            if len(names) != options.total:
                raise ValueError(f"{options.total} frames were announced, got {len(names)}")
            losses = tuple(writer.finish())
            if isinstance(writer, RenamingWriter) and (renamed := writer.renamed()):
                origins = {"frames": origin_rows(renamed)}
        if not as_file:
            write_json(part / PROVENANCE_FILE, {**options.provenance, **origins})
        sizes = [path.stat().st_size for path in part.rglob("*") if path.is_file()]
    return ExportReport(target, len(names), len(sizes), sum(sizes), losses)


def read_labels(name: str, path: Path, limits: Limits = LIMITS) -> ReadSet:
    """Find the frames and classes at `path`, which is not trusted.

    Where the record of an export lies there, frames are called what they were before it.

    Raises:
        ValueError: there is no such format.
        FormatError: `path` does not hold it, is damaged, asks for too much or leads elsewhere.
    """
    form = label_format(name)
    found = read_each(path, form.suffix, form.read, limits) if form.suffix else None
    return with_origins(form.read(path, limits) if found is None else found, path, limits)


def _open(form: LabelFormat, place: Path, options: ExportOptions, stack: ExitStack) -> LabelWriter:
    if form.suffix and options.media:
        return WriterOfEach(form.opens, place, form.suffix, options, stack)
    return stack.enter_context(form.opens(place, options))


def _checked(
    frame: ExportFrame, options: ExportOptions, names: set[str], form: LabelFormat
) -> ExportFrame:
    """The frame with 255 for all that has no class, called as its format tells media apart."""
    if frame.medium and not (form.suffix or form.foldered):
        frame = replace(frame, name=f"{frame.medium}_{frame.name}")
    # Two names that differ in case alone are one file on other systems.
    key = f"{frame.medium}/{frame.name}".casefold()
    if key in names:
        raise OutputError(
            f"two frames are called {frame.name}, and their files would be one. Rename an image."
        )
    if len(names) == options.total:
        raise ValueError(f"{options.total} frames were announced, and there are more")
    names.add(key)
    labels = np.where(frame.labels >= VOID, np.uint8(IGNORED), frame.labels)
    wrong = np.unique(labels[(labels >= len(options.classes)) & (labels != IGNORED)])
    if wrong.size:
        raise LabelError(
            f"the labels of frame {frame.name} hold the ids {wrong.tolist()}, but there are "
            f"{len(options.classes)} classes"
        )
    return replace(frame, labels=labels)
