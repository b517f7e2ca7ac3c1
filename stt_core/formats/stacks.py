"""What HDF5 and NPZ share: frames of one size on top of each other.

T: number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError, OutputError
from stt_core.formats.class_files import checked_classes, color_from
from stt_core.formats.exchange import (
    ExportFrame,
    ReadClass,
    ReadFrame,
    ReadSet,
    plain_name,
)
from stt_core.formats.label_png import few
from stt_core.formats.untrusted import Limits, checked_size
from stt_core.labels import IGNORED, VOID

FORMAT_NAME = "stt-studio labels"
VERSION = 1


class StackRows:
    """Names and numbers of the frames, which must all have one size."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: list[int] = []
        self.size: tuple[int, int] | None = None

    def add(self, frame: ExportFrame) -> None:
        """OutputError where the frame has another size."""
        if self.size is not None and frame.size != self.size:
            own, first = (f"{s[1]} x {s[0]}" for s in (frame.size, self.size))
            raise OutputError(
                f"frame {frame.name} is {own} pixels and the first is {first}: this format holds "
                "frames of one size. Choose one with a file for each frame."
            )
        self.size = frame.size
        self.names.append(frame.name)
        self.numbers.append(frame.index)


def checked_shape(shape: Sequence[int], kind: object, path: Path, limits: Limits) -> None:
    """FormatError where an array cannot be labels ``[T, H, W]``."""
    if len(shape) != 3 or kind != np.uint8:
        raise FormatError(
            f"{path} holds labels of {kind} {tuple(shape)}: uint8 [t, h, w] is asked."
        )
    checked_size(int(shape[1]), int(shape[2]), path, limits)
    if shape[0] > limits.files:
        raise FormatError(f"{path} holds {shape[0]} frames, more than the limit {limits.files}.")


def stack_set(
    path: Path,
    length: int,
    load: Callable[[int], Callable[[], NDArray[np.uint8]]],
    *,
    numbers: NDArray[np.int64] | None,
    names: Sequence[str] | None,
    classes: tuple[Sequence[str], NDArray[np.uint8]] | None,
) -> ReadSet:
    """The set of a stack, whose side tables must fit it.

    Args:
        path: the file.
        length: T.
        load: makes what loads a frame.
        numbers: ``[T]`` frame numbers, if the file has them.
        names: of the frames, likewise.
        classes: names, and colours ``[n, 3]``.

    Raises:
        FormatError: a table has another length.
    """
    numbers = np.arange(length) if numbers is None else numbers
    names = [f"{int(n):06d}" for n in numbers] if names is None else names
    if len(names) != length or numbers.shape != (length,) or (numbers < 0).any():
        raise FormatError(f"{path} has {length} frames, but its tables are of other lengths.")
    frames = [
        ReadFrame(plain_name(name), int(number), load(i))
        for i, (name, number) in enumerate(zip(names, numbers, strict=True))
    ]
    if classes is None:
        note = f"{path} has no class table, so its classes are numbers without names."
        return ReadSet(None, frames, (note,))
    class_names, colors = classes
    if colors.shape != (len(class_names), 3) or colors.dtype != np.uint8:
        raise FormatError(f"{path} has {len(class_names)} classes, but {colors.shape} colours.")
    rows = enumerate(zip(class_names, colors.tolist(), strict=True))
    table = [ReadClass(i, name, color_from(color)) for i, (name, color) in rows]
    return ReadSet(checked_classes(table, path), frames)


def checked_labels(labels: NDArray[np.uint8], classes: int | None, what: str) -> NDArray[np.uint8]:
    """Labels of a stack, 254 read as IGNORED; FormatError where an id has no class."""
    if classes is None:
        return labels
    labels = np.where(labels == VOID, np.uint8(IGNORED), labels)
    wrong = np.unique(labels[(labels >= classes) & (labels != IGNORED)]).tolist()
    if wrong:
        raise FormatError(f"{what} holds the ids {few(wrong)}, but there are {classes} classes.")
    return labels
