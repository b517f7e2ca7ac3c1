"""Writing predictions: a frame that was added is on the disk, whatever happens next."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import FormatError, Problem
from stt_core.files import make_folder
from stt_core.labels import VOID
from stt_core.project.lock import need_folder_lock
from stt_core.project.predictions.codec import pack
from stt_core.project.predictions.folding import (
    count_spooled,
    fold_spools,
    is_full,
    remove_leftovers,
)
from stt_core.project.predictions.index import Index, listed
from stt_core.project.predictions.manifest import (
    ARRAYS,
    NAME,
    Manifest,
    difference,
    read_manifest,
    write_manifest,
)
from stt_core.project.predictions.rows import sync_folder
from stt_core.project.predictions.spool import SpoolWriter


class PredictionWriter:
    """Adds frames to a folder of predictions, which is begun where there is none.

    Each frame goes into a spool that is synced before :meth:`add` returns; full spools, and all
    at the end of the ``with`` block, become segments. Readers see frames from then on that they
    were added.

    Args:
        folder: for these predictions only.
        manifest: what they are of; an existing folder must hold the same.

    Attributes:
        manifest: as given; of a folder that was there, its own.
        recovered: how many frames of a killed writer were still in a spool.
        problems: what was found damaged on opening; those frames are missing again.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.recovered = 0
        self.problems: tuple[Problem, ...] = ()
        self._kinds = manifest.arrays()
        self._held = ExitStack()
        self._spool: SpoolWriter | None = None
        self._open = False

    def __enter__(self) -> Self:
        """Open or begin the folder.

        Raises:
            ProjectError: another writer is at work.
            OutputError: the folder cannot be written to.
            FormatError: it holds other predictions, is damaged, or a newer version wrote it.
        """
        with ExitStack() as stack:
            stack.callback(need_folder_lock(self.folder).release)
            make_folder(self.folder)  # not before: whoever deletes it holds the lock
            self._claim()
            self._index = Index(self.folder, self.manifest.frames)
            self.problems = self._index.problems
            remove_leftovers(self.folder, self._index)
            self.recovered = count_spooled(self._index)
            self._fold()
            self._held = stack.pop_all()
        self._open = True
        return self

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < self.manifest.frames and self._index.find(frame) is not None

    def missing(self, frames: range | None = None) -> list[range]:
        """What is still to be predicted of a range, or of all frames: runs, rising.

        Raises:
            ValueError: a frame of the range is not in the medium.
        """
        return self._index.missing(frames)

    def add(
        self,
        frame: int,
        labels: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        *,
        entropy: float,
        flicker: float | None = None,
        probabilities: NDArray[np.float16] | None = None,
        features: NDArray[np.float16] | None = None,
    ) -> None:
        """Write a frame; when this returns, it is on the disk. A frame that is there is replaced.

        Args:
            frame: its index in the medium.
            labels: ``[H, W]`` class ids.
            confidence: ``[H, W]`` highest class probability, 255 for 1.
            entropy: mean over the pixels.
            flicker: share of pixels that changed class; None where no frame came before.
            probabilities: ``[C, h, w]``, where the manifest has them.
            features: ``[d, h, w]``, where the manifest has them.

        Raises:
            ValueError: something does not fit the manifest.
            OutputError: the disk is full or gone; all frames before are safe.
        """
        given = dict(zip(ARRAYS, (labels, confidence, probabilities, features), strict=True))
        self._check(frame, entropy, flicker, given)
        parts = [
            None if array is None else pack(array, self._kinds[name])
            for name, array in given.items()
        ]
        if self._spool is None or self._spool.closed:
            self._spool = SpoolWriter(self.folder, self._index.next_serial)
            self._index.add(self._spool.source)
        self._spool.append(frame, entropy, math.nan if flicker is None else flicker, parts)
        self._index.add(self._spool.source)
        if is_full(len(self._spool.source.rows), self._spool.source.end):
            self._fold()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Fold what is spooled, except after an error: the next writer does it then."""
        self._open = False
        with self._held:
            if error is None:
                self._fold()
            elif self._spool is not None:
                self._spool.close()

    def _claim(self) -> None:
        """See that the folder is for these predictions, or make it so."""
        if (self.folder / NAME).exists():
            stored = read_manifest(self.folder)
            what = difference(stored, self.manifest)
            if what is None:
                self.manifest = stored
            else:
                raise FormatError(
                    f"{self.folder} holds predictions with other {what}. Choose another folder, "
                    "or delete this one."
                )
        elif listed(self.folder):
            raise FormatError(
                f"{self.folder} holds predictions, but nobody knows of what: {NAME} is missing. "
                "Delete the folder and compute them again."
            )
        else:
            write_manifest(self.folder, self.manifest)
            sync_folder(self.folder)

    def _fold(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        fold_spools(self.folder, self.manifest, self._index)

    def _check(
        self,
        frame: int,
        entropy: float,
        flicker: float | None,
        given: dict[str, NDArray[Any] | None],
    ) -> None:
        if not self._open:
            raise ValueError(f"{self.folder} is not open: add inside of the with block")
        if not 0 <= frame < self.manifest.frames:
            raise ValueError(f"frames are 0 to {self.manifest.frames - 1}, got {frame}")
        if not math.isfinite(entropy) or not (flicker is None or 0 <= flicker <= 1):
            raise ValueError(f"need a finite entropy, flicker in 0..1, got {entropy=} {flicker=}")
        for name, array in given.items():
            kind = self._kinds.get(name)
            wanted = None if kind is None else (kind.dtype, kind.shape)
            got = None if array is None else (array.dtype, array.shape)
            if got != wanted:
                raise ValueError(f"the manifest wants {wanted} for {name}, got {got}")
        labels = given["labels"]
        assert labels is not None
        count = len(self.manifest.classes)
        if labels.max() >= count and ((labels >= count) & (labels < VOID)).any():
            raise ValueError(f"labels must be ids of {count} classes, got up to {labels.max()}")
