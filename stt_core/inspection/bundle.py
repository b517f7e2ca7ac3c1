"""An inspection to take away: a folder that opens without torch.

bundle.json        what it is of: medium, model, settings, classes, frames, pinned queries
arrays.npz         the numbers of the pinned queries, for numpy.load
frames/NNNNNN.png  every frame with a pinned query, and its key frames
labels/NNNNNN.png  what was predicted there: class ids

Nothing in it is pickled, and nothing is ever unpickled. h, w: rows and columns of the feature map.
C: channels of what is kept of a frame. d: of the block. K: keys of a query that are in the map.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stt_core.errors import FormatError
from stt_core.formats.label_png import read_ids, read_rgb, refuse_ids
from stt_core.formats.untrusted import (
    LIMITS,
    Archive,
    Limits,
    checked_size,
    inside,
    is_there,
    malformed,
    read_bytes,
    read_json,
)
from stt_core.inspection.answers import Query
from stt_core.inspection.places import cell_box
from stt_core.labels import LabelClass

FORMAT = "stt-studio inspection bundle"
VERSION = 1
JSON_FILE = "bundle.json"
ARRAYS_FILE = "arrays.npz"

ARRAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "keys": ("int32", ("K", "3")),
    "weights": ("float32", ("heads", "K")),
    "probabilities": ("float32", ("classes",)),
    "key_classes": ("uint8", ("K",)),
    "feature": ("float32", ("C",)),
    "key_features": ("float32", ("K", "C")),
    "query": ("float32", ("d",)),
    "projected_keys": ("float32", ("K", "d")),
}
"""Of every pinned query: kind and shape. In arrays.npz pin 0's are called pin0_keys and so on."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A pinned query with all that its attention was computed from.

    ``weights[h]`` is the softmax over K of the products of the h-th part of `query` with that of
    each of `projected_keys`, divided by the square root of d / heads.
    """

    query_at: Query
    need: float
    """D_NSM there."""
    keys: NDArray[np.int32]
    """``[K, 3]``: lag, row, column; newest frame first, row by row. K = 0 where it read nothing."""
    weights: NDArray[np.float32]
    """``[heads, K]``."""
    probabilities: NDArray[np.float32]
    """``[classes]``."""
    key_classes: NDArray[np.uint8]
    """``[K]``: predicted in each key's cell."""
    feature: NDArray[np.float32]
    """``[C]``: what is kept of the frame in the query's cell."""
    key_features: NDArray[np.float32]
    """``[K, C]``: the same of its keys."""
    query: NDArray[np.float32]
    """``[d]``: what is compared."""
    projected_keys: NDArray[np.float32]
    """``[K, d]``: what it is compared with."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An inspection bundle. Pictures are read when they are asked for."""

    folder: Path
    about: Mapping[str, Any]
    """What bundle.json holds besides: `medium`, `model`, `settings`, `versions`."""
    classes: tuple[LabelClass, ...]
    size: tuple[int, int]
    """Height and width of the frames."""
    grid: tuple[int, int]
    """h, w."""
    frames: tuple[int, ...]
    """Those whose pictures are there."""
    pins: tuple[Pin, ...]

    def image(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W, 3]`` RGB.

        Raises:
            IndexError: the frame is not among :attr:`frames`.
            FormatError: the picture is damaged or of another size.
        """
        path = self._path("frames", frame)
        found = read_rgb(read_bytes(path, LIMITS), path, LIMITS)
        return self._of_size(found, path)

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` predicted classes; errors as of :meth:`image`."""
        path = self._path("labels", frame)
        found = read_ids(read_bytes(path, LIMITS), path, LIMITS).ids
        known = np.arange(256) < len(self.classes)
        refuse_ids(found, known, f"{path}", f"but the bundle has {len(self.classes)} classes.")
        return self._of_size(found, path)

    def _path(self, kind: str, frame: int) -> Path:
        if frame not in self.frames:
            raise IndexError(f"frame {frame} is not in the bundle; these are: {self.frames}")
        return inside(self.folder, picture_name(kind, frame), self.folder)

    def _of_size(self, found: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        if found.shape[:2] != self.size:
            raise FormatError(
                f"{path} is {found.shape[1]} x {found.shape[0]} pixels, but the bundle is of "
                f"{self.size[1]} x {self.size[0]}. Write the bundle again."
            )
        return found


def picture_name(kind: str, frame: int) -> str:
    """Where in the bundle a picture of a frame lies; `kind` is frames or labels."""
    return f"{kind}/{frame:06d}.png"


def array_name(pin: int, name: str) -> str:
    """What an array of :data:`ARRAYS` is called in the file."""
    return f"pin{pin}_{name}"


def read_bundle(folder: Path, limits: Limits = LIMITS) -> Bundle:
    """Read a bundle, and see that all of it is there and fits together.

    Raises:
        FormatError: it is none, is damaged, or was written by a newer version of the program.
    """
    path = folder / JSON_FILE
    if not folder.is_dir() or not is_there(folder, JSON_FILE):
        raise FormatError(f"{folder} is no inspection bundle: it holds no {JSON_FILE}.")
    told = read_json(path, limits)
    if told.get("format") != FORMAT:
        raise FormatError(f"{path} does not say that it is of an inspection bundle.")
    with malformed(path, "an inspection bundle"):
        if int(told["version"]) > VERSION:
            raise FormatError(
                f"{folder} was written by a newer version of the program. Install that version."
            )
        classes = tuple(
            LabelClass(str(c["name"]), (int(c["color"][0]), int(c["color"][1]), int(c["color"][2])))
            for c in told["classes"]
        )
        size, grid = (
            checked_size(told[name][0], told[name][1], path, limits) for name in ("size", "grid")
        )
        frames = tuple(int(frame) for frame in told["frames"])
        queries = [_query(row, grid, size, frames) for row in told["pins"]]
        needs = [float(row["need"]) for row in told["pins"]]
        about = {name: told[name] for name in ("medium", "model", "settings", "versions")}
    for kind in ("frames", "labels"):
        for frame in frames:
            if not is_there(folder, picture_name(kind, frame)):
                raise FormatError(f"{folder} lacks {picture_name(kind, frame)}. Write it again.")
    archive = Archive(inside(folder, ARRAYS_FILE, folder), limits)
    pins = [
        Pin(query, need, **_arrays(archive, i, query, grid, len(classes)))
        for i, (query, need) in enumerate(zip(queries, needs, strict=True))
    ]
    return Bundle(folder, about, classes, size, grid, frames, tuple(pins))


def _query(
    row: Mapping[str, Any], grid: tuple[int, int], size: tuple[int, int], frames: tuple[int, ...]
) -> Query:
    """KeyError, TypeError or ValueError where it is none."""
    y, x, keys = int(row["row"]), int(row["col"]), tuple(int(i) for i in row["key_frames"])
    radii = tuple(int(r) for r in row["radii"])
    frame = int(row["frame"])
    if not (0 <= y < grid[0] and 0 <= x < grid[1]):
        raise ValueError(f"the query at ({y}, {x}) lies outside the {grid[0]}x{grid[1]} map")
    if not {frame, *keys} <= set(frames):
        raise ValueError(f"the frames {sorted({frame, *keys} - set(frames))} are not in it")
    if len(radii) != len(keys):
        raise ValueError(f"there are {len(keys)} key frames, but {len(radii)} radii")
    selected, forced = bool(row["selected"]), bool(row["forced"])
    return Query(frame, y, x, cell_box(y, x, grid, size), selected, forced, keys, radii)


def _arrays(
    archive: Archive, pin: int, query: Query, grid: tuple[int, int], classes: int
) -> dict[str, Any]:
    """All of a pin, of shapes that agree."""
    lengths = {"3": 3, "classes": classes}
    found = {}
    for name, (kind, shape) in ARRAYS.items():
        full = array_name(pin, name)
        array = _array(archive, f"{full}.npy")
        wanted = [lengths.setdefault(d, n) for d, n in zip(shape, array.shape, strict=False)]
        if array.dtype != np.dtype(kind) or array.shape != (*wanted,) or len(wanted) != len(shape):
            told = ", ".join(f"{d}" for d in shape)
            raise FormatError(
                f"{full} in {archive.path} is {array.dtype} {array.shape}, but should be {kind} "
                f"[{told}]. Write the bundle again."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FormatError(f"{full} in {archive.path} holds numbers that are not finite.")
        found[name] = array
    keys = found["keys"]
    most = np.array([len(query.frames), *grid])
    if (keys < 0).any() or (keys >= most).any():
        raise FormatError(f"{array_name(pin, 'keys')} in {archive.path} lie outside of the maps.")
    if (found["key_classes"] >= classes).any():
        raise FormatError(f"{array_name(pin, 'key_classes')} in {archive.path} are no classes.")
    return found


def _array(archive: Archive, name: str) -> NDArray[Any]:
    """An array, once its header is known to ask for no more than there is."""
    data = archive.read(name)
    with malformed(f"{name} in {archive.path}", "a plain array"):
        file = io.BytesIO(data)
        version = npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"it is of the version {version}")
        shape, _, kind = npy.read_array_header_1_0(file)
        if kind.hasobject:
            raise ValueError("it holds Python objects, which are not read: they could run code")
        if prod(shape) * kind.itemsize > len(data):
            raise ValueError("it is cut off")
        return npy.read_array(io.BytesIO(data), allow_pickle=False)
