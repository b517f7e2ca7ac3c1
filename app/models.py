"""Which model computes, and how: the session is brought to what is wanted, on its lane."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.facts import MediaFacts, ModelChoice, ModelFacts
from app.jobs import Jobs, Lane, Slot
from app.lanes import InferLane, SetUp
from stt_core.config import Precision
from stt_core.project.predictions.key import PredictionKey


class Models(QObject):
    """Stays with the model there was where another cannot be loaded.

    Args:
        jobs: runs it.
        infer: has the session.
    """

    loading = Signal(str)  # its name
    replaced = Signal(object)  # ModelFacts: another model, device or precision computes
    stayed = Signal(object)  # ModelFacts: the wish failed
    devices_changed = Signal(object)  # tuple[str, ...]
    ready = Signal()  # set up for the medium, or as far as it went

    def __init__(self, jobs: Jobs, infer: InferLane, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._infer = jobs, infer
        self.model: ModelFacts | None = None
        self.choice = self._in_use = ModelChoice("")
        self._media: MediaFacts | None = None
        self.key: PredictionKey | None = None
        """What is stored of the medium must be of this to be shown."""

    def load(self, choice: ModelChoice) -> None:
        """Compute with another model, device or precision from here on."""
        self.choice = choice
        self.loading.emit(Path(choice.name).stem)
        self._set_up()

    def choose_model(self, name: str) -> None:
        self.load(replace(self.choice, name=name, key_frames=None))

    def choose_device(self, device: str) -> None:
        self.load(replace(self.choice, device=device))

    def choose_precision(self, precision: Precision) -> None:
        self.load(replace(self.choice, precision=precision))

    def choose_key_frames(self, count: int) -> None:
        if self.model is None or self.model.key_frames != count:
            self.load(replace(self.choice, key_frames=count))

    def work_on(self, media: MediaFacts) -> None:
        """Compute on another medium from here on."""
        self._media = media
        if self.choice.name:
            self._set_up()

    def _set_up(self) -> None:
        """Ask for the model and the medium that are wanted now; a newer wish replaces this one."""
        self._jobs.start(
            Lane.INFER,
            Slot.SETUP,
            partial(self._infer.set_up, self.choice, self._media),
            on_done=partial(self._on_set_up, self.choice),
            on_failed=self._on_failed,
        )

    def _on_set_up(self, choice: ModelChoice, ready: SetUp) -> None:
        self._in_use, self.key = choice, ready.key
        self.devices_changed.emit(ready.devices)
        if ready.model != self.model:
            self.model = ready.model
            self.replaced.emit(ready.model)
        self.ready.emit()

    def _on_failed(self, error: Exception) -> None:
        self.choice = self._in_use
        if self.model is not None:
            self.stayed.emit(self.model)
        self.ready.emit()
        self._jobs.failed.emit(error)
