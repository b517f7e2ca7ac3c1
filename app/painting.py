"""What is painted on the open medium: kept in a folder, undone, and trained on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.facts import MediaFacts, ModelFacts
from app.jobs import Jobs, Process
from app.settings import labels_folder, runs_folder
from stt_core.labels import LabelClass, LabelStore, Stroke
from stt_core.project.label_folder import read_label_folder, write_labels

TRAIN_JOB = "train"


class Painting(QObject):
    """The labels of one medium. Every stroke is on disk a moment after it ends."""

    changed = Signal(object)  # [H, W] ids of the shown frame, or None where nothing is painted
    frames_changed = Signal(object)  # list of painted frames
    saved = Signal(str)  # path of the file that was written
    failed = Signal(Exception)
    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.recipe = "fine-tune"
        """What fine-tuning follows: a shipped recipe's name, or the path of one."""
        self._jobs = jobs
        self._media: MediaFacts | None = None
        self._classes: tuple[LabelClass, ...] = ()
        self._store: LabelStore | None = None
        self._frame = 0
        self._process: Process | None = None
        self._training = False

    @property
    def folder(self) -> Path | None:
        """Where the label maps of this medium lie."""
        return None if self._media is None else labels_folder(self._media.sha256)

    def open(self, media: MediaFacts) -> None:
        """Show the labels of another medium."""
        self._media, self._store = media, None
        self._read()

    def set_classes(self, classes: tuple[LabelClass, ...]) -> None:
        """The classes of the model, which are those that can be painted."""
        self._classes = classes
        self._read()

    def show(self, frame: int) -> None:
        """Say what is painted on a frame."""
        self._frame = frame
        painted = self._store is not None and frame in self._store
        self.changed.emit(self._store.get(frame) if self._store and painted else None)

    def paint(self, stroke: Stroke) -> None:
        """Paint on the shown frame."""
        if self._store is not None:
            self._store.apply(self._frame, stroke)
            self._write(self._frame)

    def undo(self) -> None:
        """Take back the newest stroke, on whichever frame it was."""
        self._move(LabelStore.undo)

    def redo(self) -> None:
        """Paint again what was taken back last."""
        self._move(LabelStore.redo)

    def fine_tune(
        self, media: MediaFacts, model: ModelFacts, *, on_model: Callable[[str], None]
    ) -> None:
        """Train on what is painted, in a process of its own.

        Args:
            media: what it was painted on.
            model: to start from.
            on_model: told the file of the trained model.
        """
        if self._training:
            return
        self._training = True
        # The lane is first in, first out: by then the labels are read and every stroke is on disk.
        start = partial(self._start_training, media, model, on_model)
        self._jobs.write(lambda: None, on_done=lambda _: start())

    def cancel_training(self) -> None:
        if self._process is not None:
            self._process.cancel()

    def _start_training(
        self, media: MediaFacts, model: ModelFacts, on_model: Callable[[str], None]
    ) -> None:
        painted = len(self._store.snapshot()) if self._store is not None else 0
        if media is not self._media or not painted:
            self._training = False
            self.job_started.emit(TRAIN_JOB, "Fine-tune")
            self.job_finished.emit(TRAIN_JOB, "Nothing is painted yet: press B and paint.", False)
            return
        run = runs_folder(media.sha256) / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        data = f"video:{media.path},labels={self.folder}"
        words = ["train", self.recipe, "--data", data, "--init", str(model.path), "--out", str(run)]
        self.job_started.emit(TRAIN_JOB, f"Fine-tune on what is painted (frames: {painted})")
        self._process = self._jobs.run_command(
            words,
            run / "log.jsonl",
            on_lines=self._on_lines,
            on_done=partial(self._on_trained, on_model),
        )

    def _on_lines(self, lines: list[dict[str, Any]]) -> None:
        last = lines[-1]
        text = f"loss {last['loss']:.3f}, {last['seconds']:.1f} s a step"
        self.job_updated.emit(TRAIN_JOB, last["step"], last["steps"], text)

    def _on_trained(self, on_model: Callable[[str], None], told: dict[str, Any]) -> None:
        self._process, self._training = None, False
        if "error" in told:
            self.job_finished.emit(TRAIN_JOB, told["error"], bool(told.get("cancelled")))
            return
        self.job_finished.emit(TRAIN_JOB, f"done, loss {told['loss']:.3f}; now in use", True)
        on_model(told["outputs"]["model"])

    def _move(self, act: Callable[[LabelStore], int | None]) -> None:
        frame = act(self._store) if self._store is not None else None
        if frame is not None:
            self._write(frame)

    def _read(self) -> None:
        if self._media is None or not self._classes:
            return
        size = (self._media.height, self._media.width)
        folder, count = labels_folder(self._media.sha256), len(self._classes)
        self._jobs.write(
            partial(read_label_folder, folder, size, count),
            on_done=partial(self._on_read, self._media),
        )

    def _on_read(self, media: MediaFacts, store: LabelStore) -> None:
        if media is self._media:
            self._store = store
            self.frames_changed.emit(list(store))
            self.show(self._frame)

    def _write(self, frame: int) -> None:
        if self._store is None or self.folder is None:
            return
        labels = self._store.get(frame)
        act = partial(write_labels, self.folder, frame, labels, self._classes)
        self._jobs.write(act, on_done=lambda path: self.saved.emit(str(path)))
        self.frames_changed.emit(list(self._store))
        if frame == self._frame:
            self.changed.emit(labels)
