"""A folder of images and label PNGs of the same names, with a class list."""

from __future__ import annotations

from pathlib import Path

from stt_core.data.class_tables import ClassTable, class_table, read_class_table
from stt_core.data.files import FileSequence, digest_of, pair_by_name, without_labels
from stt_core.data.problems import check_sequences, refuse
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec
from stt_core.errors import MediaError, Problem
from stt_core.labels import LabelClass
from stt_core.media.folder import image_files

FOLDER_OPTIONS = ("split", "video", "ignore")
CLASS_LIST = "classes.json"


def open_folder(spec: Spec, classes: tuple[LabelClass, ...] | None, *, check: bool) -> DataSet:
    """Open images/ and labels/, as a whole or by a split's name.

    Args:
        spec: of the kind folder.
        classes: for a folder without a class list.
        check: whether to look into the files.

    Raises:
        DataError: something is wrong with it.
    """
    folder = spec.path
    split = spec.options.get("split", "")
    images, labels = folder / "images" / split, folder / "labels" / split
    if not images.is_dir() or not labels.is_dir():
        missing = labels if images.is_dir() else images
        raise spec.error(f"there is no folder {missing}")
    video = spec.choice("video", ("no", "yes")) == "yes"
    table = _table(spec, classes)
    sequences, problems = [], []
    for name, image_folder, label_folder in _parts(split or folder.name, images, labels):
        frames, wrong = pair_by_name(image_folder, label_folder)
        problems += wrong if video else wrong + without_labels(frames, label_folder)
        sequences.append(FileSequence(name, frames, table.code, video=video))
    refuse(spec.text, problems + _orphans(images, labels))
    if check:
        refuse(spec.text, check_sequences(folder, sequences))
    listed = [folder / CLASS_LIST] if (folder / CLASS_LIST).is_file() else []
    digest = digest_of(spec, sequences, listed)
    return DataSet(spec.text, table.classes, "", digest, tuple(sequences))


def _table(spec: Spec, classes: tuple[LabelClass, ...] | None) -> ClassTable:
    listed = spec.path / CLASS_LIST
    if listed.is_file() or classes is None:
        return read_class_table(listed, spec.ignored())
    return class_table(classes, spec.ignored())


def _parts(whole: str, images: Path, labels: Path) -> list[tuple[str, Path, Path]]:
    """Name, images and labels of every sequence: the subfolders, or else the whole."""
    subfolders = _subfolders(images)
    if not subfolders:
        return [(whole, images, labels)]
    return [(name, images / name, labels / name) for name in subfolders]


def _orphans(images: Path, labels: Path) -> list[Problem]:
    """What lies where it would be overlooked."""
    names = _subfolders(images)
    if not names:
        return []
    what = f"lies beside the subfolders {', '.join(names[:3])}: put it into one"
    loose = [Problem(path, what) for path in _images(images)]
    strange = [labels / name for name in _subfolders(labels) if name not in names]
    return loose + [Problem(path, f"has no folder of its name in {images}") for path in strange]


def _images(folder: Path) -> tuple[Path, ...]:
    try:
        return image_files(folder)
    except MediaError:  # there is none
        return ()


def _subfolders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
