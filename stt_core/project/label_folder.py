"""A folder of painted label maps: labels/NNNNNN.png, each replaced whole when it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass, LabelStore, read_label_png, write_label_png


def label_path(folder: Path, frame: int) -> Path:
    """Where the labels of a frame lie."""
    return folder / f"{frame:06d}.png"


def read_label_folder(folder: Path, size: tuple[int, int], num_classes: int) -> LabelStore:
    """Read all painted maps of a video.

    Args:
        folder: may be missing, which means that nothing is painted.
        size: height and width of the video.
        num_classes: of the class list they were painted with.

    Raises:
        LabelError: a map is damaged, of another size, or holds ids outside the class table.
    """
    store = LabelStore(size)
    for path in sorted(folder.glob("*.png")):
        if path.stem.isdecimal():
            store.set(int(path.stem), read_label_png(path, num_classes))
    return store


def write_labels(
    folder: Path, frame: int, labels: NDArray[np.uint8], classes: tuple[LabelClass, ...]
) -> Path:
    """Write the labels of one frame in one step; return the file.

    Raises:
        OutputError: it could not be written; the file before it is untouched.
    """
    path = label_path(folder, frame)
    write_label_png(path, labels, classes)
    return path
