"""One NPZ file of labels, for numpy.load, with the arrays of the HDF5 form.

    labels         uint8 [t, h, w]; 255 for no class
    frames         int64 [t], frame numbers
    names          text [t]
    class_names    text [n], by id
    class_colors   uint8 [n, 3]
    provenance     a text of JSON

Nothing in it is pickled, and nothing is ever unpickled.
"""

from __future__ import annotations

import io
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.class_files import as_json
from stt_core.formats.exchange import ExportFrame, ExportOptions, LabelWriter, ReadSet
from stt_core.formats.stacks import StackRows, checked_labels, checked_shape, stack_set
from stt_core.formats.untrusted import Archive, Limits, malformed

_LABELS = "labels.npy"


@contextmanager
def npz_writer(path: Path, options: ExportOptions) -> Iterator[LabelWriter]:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        member = archive.open(_LABELS, "w", force_zip64=True)
        writer = NpzWriter(archive, member, options)
        try:
            yield writer
        finally:
            member.close()


class NpzWriter:
    def __init__(self, archive: zipfile.ZipFile, member: IO[bytes], options: ExportOptions) -> None:
        self._archive, self._member, self._options = archive, member, options
        self._rows = StackRows()

    def add(self, frame: ExportFrame) -> None:
        self._rows.add(frame)
        if len(self._rows.names) == 1:
            shape = (self._options.total, *frame.size)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(self._member, header)
        self._member.write(np.ascontiguousarray(frame.labels).tobytes())

    def finish(self) -> Sequence[str]:
        self._member.close()
        classes = self._options.classes
        arrays = {
            "frames": np.array(self._rows.numbers, np.int64),
            "names": np.array(self._rows.names),
            "class_names": np.array([c.name for c in classes]),
            "class_colors": np.array([c.color for c in classes], np.uint8),
            "provenance": np.array(as_json(self._options.provenance)),
        }
        for name, array in arrays.items():
            data = io.BytesIO()
            npy.write_array(data, array, allow_pickle=False)
            self._archive.writestr(f"{name}.npy", data.getvalue(), zipfile.ZIP_DEFLATED)
        return ()


def read_npz(path: Path, limits: Limits) -> ReadSet:
    """Read such a file; only `labels` must be there.

    Raises:
        FormatError: it is none, or holds Python objects.
    """
    # Labels may be longer than any other file, as they are read a frame at a time.
    wide = Limits(limits.pixels, limits.total_bytes, limits.total_bytes, limits.files)
    archive = Archive(path, wide)
    stack = _Stack(path, limits)
    tables = {
        name: _table(archive, f"{name}.npy", path, limits)
        for name in ("frames", "names", "class_names", "class_colors")
        if f"{name}.npy" in archive
    }
    names, numbers = _texts(tables, "names", path), tables.get("frames")
    class_names = _texts(tables, "class_names", path)
    classes = None
    if class_names is not None and "class_colors" in tables:
        classes = (class_names, np.asarray(tables["class_colors"]))
    if numbers is not None and numbers.dtype.kind not in "iu":
        raise FormatError(f"{path} has frame numbers of {numbers.dtype}: whole numbers are asked.")
    count = None if class_names is None or classes is None else len(class_names)
    return stack_set(
        path,
        stack.length,
        lambda i: partial(_load, stack, i, count),
        numbers=None if numbers is None else numbers.astype(np.int64),
        names=names,
        classes=classes,
    )


class _Stack:
    """Reads frames of the compressed labels; in order each is unpacked once.

    Raises:
        FormatError: there are none, or they are no uint8 [t, h, w].
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        with malformed(path, "an NPZ file of labels"), _unpacking(path):
            archive = zipfile.ZipFile(path)
            weakref.finalize(self, archive.close)
            if _LABELS not in archive.namelist():
                raise FormatError(f"{path} has no labels: an array of that name is asked for.")
            size = archive.getinfo(_LABELS).file_size
            self._member = archive.open(_LABELS)
            weakref.finalize(self, self._member.close)
            shape, fortran, kind = _header(self._member)
        checked_shape(shape, kind, path, limits)
        if fortran:
            raise FormatError(f"{path} keeps its labels by column. Save them in C order.")
        self._start = self._member.tell()
        if size - self._start != prod(shape):
            raise FormatError(f"{path} is cut off: it says it holds labels of {shape}.")
        self.length, *rest = shape
        self._size = (rest[0], rest[1])

    def frame(self, place: int) -> NDArray[np.uint8]:
        pixels = prod(self._size)
        with _unpacking(self._path):
            self._member.seek(self._start + place * pixels)
            data = self._member.read(pixels)
        if len(data) != pixels:
            raise FormatError(f"{self._path} ends within frame {place}.")
        return np.frombuffer(data, np.uint8).reshape(self._size)


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise FormatError(f"{path} is damaged: {error}.") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"its arrays are of the version {version}")


def _table(archive: Archive, name: str, path: Path, limits: Limits) -> NDArray[np.generic]:
    """A small array, once its header is known to ask for no more than there is."""
    if archive.size_of(name) > limits.file_bytes:
        raise FormatError(f"{name} in {path} unpacks to more than {limits.file_bytes} bytes.")
    data = archive.read(name)
    with malformed(f"{name} in {path}", "a plain array"):
        shape, _, kind = _header(io.BytesIO(data))
        if kind.hasobject:
            raise ValueError("it holds Python objects, which are not read: they could run code")
        if prod(shape) * kind.itemsize > len(data):
            raise ValueError("it is cut off")
        return npy.read_array(io.BytesIO(data), allow_pickle=False)


def _texts(tables: Mapping[str, NDArray[np.generic]], name: str, path: Path) -> list[str] | None:
    if name not in tables:
        return None
    array = tables[name]
    if array.dtype.kind != "U" or array.ndim != 1:
        raise FormatError(f"{path} has {name} of another kind than a list of texts.")
    return [str(text) for text in array]


def _load(stack: _Stack, place: int, classes: int | None) -> NDArray[np.uint8]:
    return checked_labels(stack.frame(place), classes, f"frame {place}")
