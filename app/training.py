"""Fine-tuning on what is painted, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.facts import ModelFacts
from app.jobs import Jobs, Process
from app.open_project import NothingPainted
from stt_core.project.snapshot import LabelSnapshot

TRAIN_JOB = "train"


class Training(QObject):
    """One run at a time; it learns from a snapshot, so that painting may go on."""

    failed = Signal(Exception)
    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.recipe = "fine-tune"
        """What it follows: a shipped recipe's name, or the path of one."""
        self._jobs = jobs
        self._process: Process | None = None
        self._busy = False

    def start(
        self,
        runs: Path,
        snapshot: Callable[[Path], LabelSnapshot],
        model: ModelFacts,
        *,
        on_model: Callable[[str], None],
    ) -> None:
        """Begin a run.

        Args:
            runs: folder that gets the run's.
            snapshot: freezes the labels below a folder, on the lane that owns the project.
            model: to start from.
            on_model: told the file of the trained model.
        """
        if self._busy:
            return
        self._busy = True
        run = runs / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        # The lane is first in, first out: by then every stroke is on the disk.
        self._jobs.write(
            partial(snapshot, run),
            on_done=partial(self._train, run, model, on_model),
            on_failed=self._refuse,
        )

    def cancel(self) -> None:
        if self._process is not None:
            self._process.cancel()

    def _refuse(self, error: Exception) -> None:
        self._busy = False
        if isinstance(error, NothingPainted):
            self.job_started.emit(TRAIN_JOB, "Fine-tune")
            self.job_finished.emit(TRAIN_JOB, str(error), False)
        else:
            self.failed.emit(error)

    def _train(
        self, run: Path, model: ModelFacts, on_model: Callable[[str], None], labels: LabelSnapshot
    ) -> None:
        title = f"Fine-tune on what is painted (frames: {len(labels.painted)})"
        self.job_started.emit(TRAIN_JOB, title)
        ours, theirs = ([c.name for c in some] for some in (labels.classes, model.classes))
        if ours != theirs:  # ids would mean something else
            self._busy = False
            text = (
                f"The project's classes are {', '.join(ours)}, but those of the model are "
                f"{', '.join(theirs)}. Choose a model with the project's classes."
            )
            self.job_finished.emit(TRAIN_JOB, text, False)
            return
        data = f"video:{labels.media},labels={labels.folder}"
        words = ["train", self.recipe, "--data", data, "--init", str(model.path), "--out", str(run)]
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
        self._process, self._busy = None, False
        if "error" in told:
            self.job_finished.emit(TRAIN_JOB, told["error"], bool(told.get("cancelled")))
            return
        self.job_finished.emit(TRAIN_JOB, f"done, loss {told['loss']:.3f}; now in use", True)
        on_model(told["outputs"]["model"])
