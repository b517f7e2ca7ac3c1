"""Predictions of the open medium: held in memory, read from the store, or computed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.facts import Notice, ShownPrediction, StoredPrediction
from app.jobs import Jobs, Lane, Slot
from app.lanes import DecodeLane, InferLane
from app.stored import StoredFacts
from stt_core.cache import ByteCache
from stt_core.project.predictions.key import PredictionKey

_BYTES = 512 << 20


class _Store(NamedTuple):
    folder: Path
    key: PredictionKey


class Predictions(QObject):
    """See the module's docstring. Nothing is shown before it is known what is stored.

    Args:
        jobs: runs everything slow.
        decoder: reads what is stored.
        infer: computes the rest.
    """

    changed = Signal(object)  # ShownPrediction of the shown frame, or None while there is none
    present_changed = Signal(object)  # bool [frames]
    others_changed = Signal(object)  # bool [frames]: those of another model that are stored
    looked_up = Signal()  # it is known now what is stored
    noticed = Signal(object)  # Notice
    failed = Signal(Exception)

    def __init__(
        self, jobs: Jobs, decoder: DecodeLane, infer: InferLane, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._jobs, self._decoder, self._infer = jobs, decoder, infer
        self.present = self.stored = np.zeros(0, np.bool_)
        """``[frames]``: which need not be computed, and which of them are in the store."""
        self._held: ByteCache[ShownPrediction] = ByteCache(_BYTES)
        self._store: _Store | None = None
        self._ready = False
        self._frame = 0

    def begin(self, frames: int) -> None:
        """Forget all, for another medium or another model."""
        for slot in (Slot.PREDICTION, Slot.PREFETCH, Slot.INSPECTION):
            self._jobs.cancel(Lane.INFER, slot)
        for slot in (Slot.PREDICTION, Slot.LOOKUP):
            self._jobs.cancel(Lane.DECODE, slot)
        self._held.clear()
        self.present, self.stored = np.zeros(frames, np.bool_), np.zeros(frames, np.bool_)
        self._ready = False
        self.present_changed.emit(self.present)
        self.others_changed.emit(np.zeros(frames, np.bool_))

    def look_up(self, folder: Path | None, key: PredictionKey | None) -> None:
        """Find out what the store of a project's folder has; where there is no key, nothing."""
        self._store = None
        if folder is None or key is None:
            self._ready = True
            self.looked_up.emit()
            return
        self._store = _Store(folder, key)
        self._jobs.start(
            Lane.DECODE,
            Slot.LOOKUP,
            partial(self._decoder.stored.find, folder, key, len(self.present)),
            on_done=partial(self._on_looked_up, self._store),
            on_failed=self._on_look_up_failed,
        )

    def show(self, frame: int) -> None:
        """Tell the prediction of a frame, from wherever it is soonest."""
        self._frame = frame
        held = self._held.get(frame)
        self.changed.emit(held)
        if held is not None:
            self._jobs.cancel(Lane.INFER, Slot.PREDICTION)
            self._prefetch()
        elif self._ready and self.stored[frame] and self._store is not None:
            self._jobs.cancel(Lane.INFER, Slot.PREDICTION)
            self._jobs.start(
                Lane.DECODE,
                Slot.PREDICTION,
                partial(self._decoder.stored.read, *self._store, frame),
                on_done=partial(self._on_read, frame),
            )
        elif self._ready:
            self._compute()

    def compute(self) -> None:
        """Compute the shown frame although its prediction is stored: a store keeps no selection."""
        if isinstance(self._held.get(self._frame), StoredPrediction):
            self._compute()

    def take_stored(self, frame: int) -> None:
        """A pass has stored one more; the shown one is not computed twice."""
        self.stored[frame] = self.present[frame] = True
        self.present_changed.emit(self.present)
        if frame == self._frame and frame not in self._held:
            self.show(frame)

    def _compute(self) -> None:
        self._jobs.start(
            Lane.INFER,
            Slot.PREDICTION,
            partial(self._infer.predict, self._frame),
            on_done=self._on_prediction,
        )

    def _prefetch(self) -> None:
        after = self._frame + 1
        if after < len(self.present) and not self.present[after]:
            self._jobs.start(
                Lane.INFER,
                Slot.PREFETCH,
                partial(self._infer.predict, after),
                on_done=self._keep,
            )

    def _on_looked_up(self, store: _Store, found: StoredFacts) -> None:
        if store is not self._store or len(found.present) != len(self.present):
            return
        self.stored = found.present
        self.present |= found.present
        self.present_changed.emit(self.present)
        self.others_changed.emit(found.others)
        self._tell_stale(found.stale)
        self._ready = True
        self.looked_up.emit()

    def _on_look_up_failed(self, error: Exception) -> None:
        self._ready = True
        self.looked_up.emit()
        self.failed.emit(error)

    def _tell_stale(self, stale: tuple[str, ...]) -> None:
        more = f", and {len(stale) - 1} more" if len(stale) > 1 else ""
        text = f"Not shown, being stale: {stale[0]}{more}." if stale else ""
        self.noticed.emit(Notice("stale", text, stale if more else ()))

    def _on_read(self, frame: int, found: StoredPrediction | None) -> None:
        if found is not None:
            self._on_prediction(found)
            return
        self.stored[frame] = False  # damaged or evicted
        if frame == self._frame:
            self._compute()

    def _on_prediction(self, prediction: ShownPrediction) -> None:
        self._keep(prediction)
        if prediction.frame == self._frame:
            self.changed.emit(prediction)
            self._prefetch()

    def _keep(self, prediction: ShownPrediction) -> None:
        gone = self._held.put(prediction.frame, prediction, prediction.nbytes)
        self.present[gone] = self.stored[gone]
        self.present[prediction.frame] = True
        self.present_changed.emit(self.present)
