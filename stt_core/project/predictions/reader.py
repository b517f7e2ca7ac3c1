"""Reading predictions, also while another process writes them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import Problem
from stt_core.project.lock import mark_reading
from stt_core.project.predictions.codec import Damaged, unpack
from stt_core.project.predictions.folding import unreadable
from stt_core.project.predictions.index import Index
from stt_core.project.predictions.manifest import ARRAYS, Manifest, read_manifest
from stt_core.project.predictions.repair import damaged_frames
from stt_core.project.predictions.rows import read_parts

_TRIES = 3


class PredictionReader:
    """Predictions of one medium by one model under one set of settings.

    Holds no file of them open. From the first frame that is read on they are not deleted to make
    room, as long as this lives. Not thread-safe: each user opens its own.

    Args:
        folder: of the predictions.

    Raises:
        FormatError: it is none, is damaged, or a newer version wrote it.
        OutputError: the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self._kinds = self.manifest.arrays()
        self._index = Index(folder, self.manifest.frames)
        self._marked = False

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < self.manifest.frames and self._index.find(frame) is not None

    def __len__(self) -> int:
        """How many frames are there."""
        return int(self._index.present.sum())

    @property
    def frames(self) -> NDArray[np.intp]:
        """Which frames are there, rising."""
        return np.flatnonzero(self._index.present)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was found wrong without reading pixels; those frames count as missing."""
        return self._index.problems

    @property
    def entropy(self) -> NDArray[np.float32]:
        """``[frames]`` of the medium, NaN where there is none."""
        return self._index.entropy.copy()

    @property
    def flicker(self) -> NDArray[np.float32]:
        """``[frames]`` of the medium, NaN where there is none."""
        return self._index.flicker.copy()

    def missing(self, frames: range | None = None) -> list[range]:
        """What is still to be predicted of a range, or of all frames: runs, rising.

        Raises:
            ValueError: a frame of the range is not in the medium.
        """
        return self._index.missing(frames)

    def refresh(self) -> bool:
        """See the frames that were acknowledged since; True where anything is new.

        Raises:
            OutputError: the folder cannot be read.
        """
        return self._index.refresh()

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` class ids.

        Raises:
            KeyError: the frame is not there.
            FormatError: it is damaged; other frames can be read all the same.
        """
        return self._array("labels", frame)

    def confidence(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` highest class probability, 255 for 1; raises as :meth:`labels`."""
        return self._array("confidence", frame)

    def probabilities(self, frame: int) -> NDArray[np.float16]:
        """``[C, h, w]``; raises as :meth:`labels`, and ValueError where none are stored."""
        return self._array("probabilities", frame)

    def features(self, frame: int) -> NDArray[np.float16]:
        """``[d, h, w]``; raises as :meth:`labels`, and ValueError where none are stored."""
        return self._array("features", frame)

    def verify(self) -> Iterator[Problem]:
        """Read everything and yield what is damaged.

        What a writer folds meanwhile is read where it then lies. To be mended by
        :func:`stt_core.project.predictions.repair.repair`.
        """
        done: set[str] = set()
        self.refresh()
        while todo := [s for name, s in self._index.sources.items() if name not in done]:
            for source in todo:
                yield from source.problems
                for _, problem in damaged_frames(self.manifest, self._index, source):
                    yield problem
                done.add(source.path.name)
            self.refresh()

    def hold(self) -> None:
        """From now on as if a frame had been read."""
        if not self._marked:
            self._marked = True
            mark = mark_reading(self.folder)
            if mark is not None:
                weakref.finalize(self, mark.release)

    def _array(self, name: str, frame: int) -> NDArray[Any]:
        self.hold()
        if name not in self._kinds:
            raise ValueError(f"{self.folder} stores no {name}, only {', '.join(self._kinds)}")
        for left in reversed(range(_TRIES)):
            place = self._index.find(frame) if 0 <= frame < self.manifest.frames else None
            if place is None:
                raise KeyError(frame)
            try:
                (data,) = read_parts(place.path, place.row, [ARRAYS.index(name)])
                return unpack(data, self._kinds[name])
            except FileNotFoundError as error:  # folded since the last look
                if not left:
                    raise unreadable(place.path, frame, "the file is gone") from error
                self.refresh()
            except (OSError, Damaged) as error:
                raise unreadable(place.path, frame, str(error)) from error
        raise AssertionError
