"""The pass over the whole video, whose results go into the store of the project."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from time import perf_counter

from PySide6.QtCore import QObject, Signal

from app.facts import PassProgress
from app.jobs import Jobs, Lane, Slot

PASS_JOB = "pass"

MakeSteps = Callable[[Path, tuple[range, ...]], Generator[PassProgress | None, None, None]]


class WholePass(QObject):
    """One pass at a time, on the INFER lane. What it stored before it was cancelled is kept.

    Args:
        jobs: runs it.
        make_steps: of a project's folder and runs of frames; called on the INFER lane.
    """

    stored = Signal(int)  # one more frame that can be read
    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, make_steps: MakeSteps, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._make_steps = make_steps
        self._begun: float | None = None
        self._done = self._total = 0

    def start(self, title: str, folder: Path, runs: tuple[range, ...], missing: int) -> None:
        """Segment what is missing of these frames into the store of a project's folder."""
        self._begun, self._done, self._total = perf_counter(), 0, missing
        self.job_started.emit(PASS_JOB, title)
        self._jobs.start(
            Lane.INFER,
            Slot.PASS,
            partial(self._make_steps, folder, runs),
            on_step=self._on_step,
            on_done=lambda _: self._end("done", True),
            on_failed=lambda error: self._end(str(error), False),
        )
        self.job_updated.emit(PASS_JOB, 0, missing, "starting")

    def cancel(self) -> None:
        self._jobs.cancel(Lane.INFER, Slot.PASS)
        if self._begun is not None:
            self._end("cancelled; what was done is kept", True)

    def _on_step(self, step: PassProgress) -> None:
        if self._begun is None:
            return
        self._done += 1
        self.stored.emit(step.frame)
        fps = self._done / max(1e-6, perf_counter() - self._begun)
        left = (self._total - self._done) / fps
        text = f"{fps:.1f} fps, {left:.0f} s left"
        self.job_updated.emit(PASS_JOB, self._done, self._total, text)

    def _end(self, text: str, ok: bool) -> None:
        self._begun = None
        self.job_finished.emit(PASS_JOB, text, ok)
