"""One HDF5 file of labels.

labels         uint8 [t, h, w], compressed, a chunk for each frame; 255 for no class
frames         int64 [t], frame numbers
names          text [t]
class_names    text [n], by id
class_colors   uint8 [n, 3]
attributes     format, version, provenance (JSON; a dataset of that name where it is long)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import as_json
from stt_core.formats.exchange import ExportFrame, ExportOptions, LabelWriter, ReadSet
from stt_core.formats.stacks import (
    FORMAT_NAME,
    VERSION,
    StackRows,
    checked_labels,
    checked_shape,
    stack_set,
)
from stt_core.formats.untrusted import Limits, malformed
from stt_core.labels import IGNORED

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LONGEST_ATTRIBUTE = 60_000  # HDF5 allows 64 KiB for all that an object's header holds
_LONGEST_TEXT = 1 << 16


@contextmanager
def hdf5_writer(path: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    with _PatientFile(path, "w+") as disk:
        with h5py.File(disk, "w") as file:
            yield Hdf5Writer(file, disk, options)
        disk.check()


class Hdf5Writer:
    def __init__(self, file: h5py.File, disk: _PatientFile, options: ExportOptions) -> None:
        self._file, self._disk, self._options = file, disk, options
        self._rows = StackRows()

    def add(self, frame: ExportFrame) -> None:
        self._rows.add(frame)
        if len(self._rows.names) == 1:
            self._file.create_dataset(
                "labels",
                shape=(self._options.total, *frame.size),
                chunks=(1, *frame.size),
                dtype=np.uint8,
                compression="gzip",
                compression_opts=4,
                fillvalue=IGNORED,
            )
        self._file["labels"][len(self._rows.names) - 1] = frame.labels
        self._disk.check()

    def finish(self) -> Sequence[str]:
        file, classes = self._file, self._options.classes
        file["frames"] = np.array(self._rows.numbers, np.int64)
        file.create_dataset("names", data=self._rows.names, dtype=h5py.string_dtype())
        names = [c.name.replace("\0", "_") for c in classes]  # HDF5 would cut them there
        file.create_dataset("class_names", data=names, dtype=h5py.string_dtype())
        file["class_colors"] = np.array([c.color for c in classes], np.uint8)
        file.attrs["format"], file.attrs["version"] = FORMAT_NAME, VERSION
        provenance = as_json(self._options.provenance)
        if len(provenance.encode()) <= _LONGEST_ATTRIBUTE:
            file.attrs["provenance"] = provenance
        else:
            file["provenance"] = provenance
        return ()


class _PatientFile(io.FileIO):
    """Keeps the first error of writing until it is asked for.

    The library cannot close a file once a write has failed: it would stay open, and complain to the
    end of the process.
    """

    _error: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error


def read_hdf5(path: Path, limits: Limits) -> ReadSet:
    """Read such a file; only `labels` must be there.

    Raises:
        FormatError: it is none, or what it holds lies in other files.
    """
    with _opened(path) as file:
        labels = _dataset(file, "labels", path)
        if labels is None:
            raise FormatError(f"{path} has no labels: a dataset of that name is asked for.")
        checked_shape(labels.shape, labels.dtype, path, limits)
        if labels.chunks is not None and int(np.prod(labels.chunks)) > limits.pixels:
            raise FormatError(f"{path} has chunks of more than {limits.pixels} pixels, the limit.")
        length = len(labels)
        numbers = _numbers(_table(file, "frames", path, limits), length, path)
        names = _texts(_table(file, "names", path, limits), limits.files, path)
        class_names = _texts(_table(file, "class_names", path, limits), 256, path)
        colors = _table(file, "class_colors", path, limits)
        classes = None
        if class_names is not None and colors is not None:
            if colors.shape != (len(class_names), 3):
                raise FormatError(f"{path} has {len(class_names)} classes, {colors.shape} colours.")
            classes = (class_names, np.asarray(colors[:]))
    count = None if classes is None else len(classes[0])
    return stack_set(
        path,
        length,
        lambda i: partial(_load, path, i, count, limits),
        numbers=numbers,
        names=names,
        classes=classes,
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise FormatError(f"{path} cannot be read as HDF5: {error}.") from error


def _dataset(file: h5py.File, name: str, path: Path) -> Any:
    """A dataset whose data lie in this very file; None where it is missing."""
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise FormatError(f"{path} has {name} as a link to elsewhere. Do not trust this file.")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise FormatError(f"{path} has {name} as a group: a dataset is asked for.")
    if found.external is not None or found.is_virtual:
        raise FormatError(f"{path} keeps {name} in another file. Do not trust this file.")
    return found


def _table(file: h5py.File, name: str, path: Path, limits: Limits) -> Any:
    """A dataset that will be read whole."""
    found = _dataset(file, name, path)
    if found is not None and found.nbytes > limits.file_bytes:
        raise FormatError(f"{path} has {name} of more than {limits.file_bytes} bytes, the limit.")
    return found


def _numbers(dataset: Any, length: int, path: Path) -> NDArray[np.int64] | None:
    if dataset is None:
        return None
    if dataset.shape != (length,) or dataset.dtype.kind not in "iu":
        raise FormatError(f"{path} has {length} frames, but frame numbers of {dataset.shape}.")
    return np.asarray(dataset[:], np.int64)


def _texts(dataset: Any, most: int, path: Path) -> list[str] | None:
    if dataset is None:
        return None
    if dataset.ndim != 1 or len(dataset) > most or h5py.check_string_dtype(dataset.dtype) is None:
        raise FormatError(f"{path} has {dataset.name} of another kind than a list of texts.")
    with malformed(path, "a file of labels"):
        return [str(text)[:_LONGEST_TEXT] for text in dataset.asstr()[:]]


def _load(path: Path, place: int, classes: int | None, limits: Limits) -> NDArray[np.uint8]:
    with _opened(path) as file:
        labels = _dataset(file, "labels", path)
        if labels is None or place >= len(labels):
            raise FormatError(f"{path} has changed since it was opened. Open it again.")
        checked_shape(labels.shape, labels.dtype, path, limits)
        return checked_labels(np.asarray(labels[place]), classes, f"frame {place} of {path}")
