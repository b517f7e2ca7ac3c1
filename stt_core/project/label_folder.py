"""A plain folder of label maps, NNNNNN.png: what versions before projects painted into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass, write_label_png


def label_path(folder: Path, frame: int) -> Path:
    """Where the labels of a frame lie."""
    return folder / f"{frame:06d}.png"


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
