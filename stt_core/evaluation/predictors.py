"""Where predictions come from: a model at work, or a folder of label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.device import describe_device, precision_name
from stt_core.errors import DataError
from stt_core.evaluation.frame_files import Frames, find_frame_files
from stt_core.evaluation.results import Latency
from stt_core.labels import LabelClass, read_classes, read_label_png
from stt_core.network import Network
from stt_core.stream import Stream

WARM_UP = 6
"""Frames of a run that are not timed, as TDNet has it (method, 3.3)."""


class Mapper(Protocol):
    """Goes through the frames of one sequence in order. Belongs to one thread."""

    def see(self, index: int, image: NDArray[np.uint8]) -> None:
        """Take frame `index`, ``[H, W, 3]`` RGB, only as a past of the next."""
        ...

    def predict(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``[H, W]`` ids in the order of the data set's classes; others are of no class."""
        ...


class Predictor(Protocol):
    """Says which class each pixel of a data set's frames has."""

    name: str

    @property
    def past(self) -> int:
        """How many frames before a frame it reads."""
        ...

    @property
    def latency(self) -> Latency | None:
        """Of the frames predicted since :meth:`prepare`."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its figures should know, one sentence each."""
        ...

    def prepare(self, data: DataSet, wanted: Frames) -> None:
        """Get ready to predict these frames of each sequence.

        Raises:
            DataError: it cannot.
        """
        ...

    def start(self, data: DataSet, sequence: int) -> Mapper:
        """Begin one of the sequences."""
        ...


class ModelPredictor:
    """A model, streaming through each sequence: the frames before a frame are its key frames.

    Where neighbours are none in a video, every frame is a first frame.
    """

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self._order: NDArray[np.uint8] | None = None
        self._seconds: list[float] = []

    @property
    def past(self) -> int:
        return self.network.key_frames * self.network.key_spacing

    @property
    def latency(self) -> Latency | None:
        times = np.array(self._seconds[WARM_UP:]) * 1000
        if not times.size:
            return None
        middle, high = np.percentile(times, (50, 95)).tolist()
        device = f"{describe_device(self.network.device)}, {precision_name(self.network.dtype)}"
        return Latency(float(times.mean()), middle, high, times.size, device)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.network.notes)

    def prepare(self, data: DataSet, wanted: Frames) -> None:
        self._order = class_order(f"the model {self.name}", self.network.header.classes, data)
        self._seconds.clear()

    def start(self, data: DataSet, sequence: int) -> Mapper:
        return _Streaming(self, video=data.sequences[sequence].video)

    def finish(self, labels: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        """Note what a map took and put its ids into the data set's order."""
        self._seconds.append(seconds)
        return labels if self._order is None else self._order[labels]


class _Streaming:
    def __init__(self, predictor: ModelPredictor, *, video: bool) -> None:
        self._predictor, self._network = predictor, predictor.network
        self._stream = Stream(predictor.network)
        self._video = video
        self._next = 0

    def see(self, index: int, image: NDArray[np.uint8]) -> None:
        self._go_to(index)
        self._stream.remember(image)

    def predict(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._go_to(index)
        self._network.settle(image)  # once a run, and not to be timed
        self._network.synchronise()
        start = perf_counter()
        labels = self._stream.push(image).segmentation.labels
        self._network.synchronise()
        return self._predictor.finish(labels, perf_counter() - start)

    def _go_to(self, index: int) -> None:
        if not self._video:
            self._stream.reset()
        elif index != self._next:
            self._stream.reset(index)
        self._next = index + 1


class FolderPredictor:
    """Maps that something wrote: 8-bit class ids, grey or with a palette, as PNG.

    They are named by the frames' names or numbers; they lie in the folder itself or in labels/ in
    it, as `segment` writes them, or there in a folder for each sequence.

    Args:
        name: for tables.
        folder: where the maps lie.
        classes: what their ids mean. Ids beyond are of no class.
    """

    past = 0
    latency: Latency | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, folder: Path, classes: tuple[LabelClass, ...]) -> None:
        self.name = name
        self.folder = folder
        self.classes = classes
        self._order: NDArray[np.uint8] | None = None
        self._files: dict[tuple[int, int], Path] = {}

    def prepare(self, data: DataSet, wanted: Frames) -> None:
        self._order = class_order(f"the maps in {self.folder}", self.classes, data)
        roots = (self.folder, self.folder / "labels")
        found = find_frame_files(data, wanted, roots, ".png")
        self._files = found.files
        total = sum(map(len, wanted))
        if total and not self._files:
            raise DataError(
                f"{self.folder} holds no label map of {data.spec}: there should be {total}, named "
                f"by frame or by number, the first of them {found.missing[0].name}"
            )
        if found.missing:
            raise DataError(
                f"{self.folder} lacks {len(found.missing)} of {total} label maps, the first of "
                f"them {found.missing[0]}"
            )

    def start(self, data: DataSet, sequence: int) -> Mapper:
        return _Reading(self, sequence)

    def read(self, sequence: int, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The map of a frame, in the data set's order.

        Raises:
            LabelError: it is no map of 8-bit ids.
            DataError: it is not of `size` (height, width).
        """
        path = self._files[sequence, index]
        labels = read_label_png(path, 256)
        if labels.shape != size:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (labels.shape, size)]
            raise DataError(f"{path} is {sizes[0]} pixels, but its frame is {sizes[1]}")
        return labels if self._order is None else self._order[labels]


class _Reading:
    def __init__(self, predictor: FolderPredictor, sequence: int) -> None:
        self._predictor = predictor
        self._sequence = sequence

    def see(self, index: int, image: NDArray[np.uint8]) -> None:
        pass

    def predict(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self._predictor.read(self._sequence, index, (image.shape[0], image.shape[1]))


def folder_classes(folder: Path) -> tuple[LabelClass, ...] | None:
    """The classes of a folder that `segment` wrote, as its run.json tells them; None of others.

    Raises:
        LabelError: the run.json tells none.
    """
    places = (folder, folder.parent) if folder.name == "labels" else (folder,)
    runs = [place / "run.json" for place in places if (place / "run.json").is_file()]
    return read_classes(runs[0]) if runs else None


def class_order(what: str, have: Sequence[LabelClass], data: DataSet) -> NDArray[np.uint8] | None:
    """``[256]`` the data set's id of each id of a prediction; None where they are the same.

    Args:
        what: had these classes, for the message.
        have: classes of the prediction, by id.
        data: whose classes are wanted, by name; case does not count.

    Raises:
        DataError: they are not the same classes.
    """
    old, new = ([c.name.casefold() for c in classes] for classes in (have, data.classes))
    if old == new:
        return None
    if sorted(old) != sorted(new):
        raise DataError(
            f"{what} cannot be measured on {data.spec}: {_difference(have, data.classes)}. They "
            f"must have the same classes, in whatever order"
        )
    order = np.arange(256, dtype=np.uint8)
    order[np.argsort(old, kind="stable")] = np.argsort(new, kind="stable")
    return order


def _difference(have: Sequence[LabelClass], wanted: Sequence[LabelClass]) -> str:
    lacking, beyond = _without(wanted, have), _without(have, wanted)
    told = [f"it has {len(have)} classes and the data set {len(wanted)}"]
    told += [f"it lacks {_list(lacking)}"] if lacking else []
    told += [f"the data set lacks its {_list(beyond)}"] if beyond else []
    return "; ".join(told)


def _without(classes: Sequence[LabelClass], others: Sequence[LabelClass]) -> list[str]:
    known = {c.name.casefold() for c in others}
    return [c.name for c in classes if c.name.casefold() not in known]


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
