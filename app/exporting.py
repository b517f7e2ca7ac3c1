"""Exporting labels of the open project, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.jobs import Jobs, Process

EXPORT_JOB = "export"


class Exporting(QObject):
    """One export at a time, by the command of that name: it reads what is on the disk."""

    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._process: Process | None = None
        self._busy = False

    @property
    def busy(self) -> bool:
        return self._busy

    def start(self, project: Path, words: list[str], title: str) -> None:
        """Export.

        Args:
            project: its folder.
            words: options of the command.
            title: of the job.
        """
        self._busy = True
        self.job_started.emit(EXPORT_JOB, title)
        # The lane is first in, first out: by then every stroke is on the disk.
        self._jobs.write(lambda: None, on_done=lambda _: self._run(project, words))

    def cancel(self) -> None:
        if self._process is not None:
            self._process.cancel()

    def _run(self, project: Path, words: list[str]) -> None:
        self._process = self._jobs.run_command(
            ["export", str(project), *words],
            None,
            on_progress=lambda done, total: self.job_updated.emit(
                EXPORT_JOB, done, total, f"{done} of {total} frames"
            ),
            on_done=self._on_done,
        )

    def _on_done(self, told: dict[str, Any]) -> None:
        self._process, self._busy = None, False
        if "error" in told:
            self.job_finished.emit(EXPORT_JOB, told["error"], bool(told.get("cancelled")))
            return
        text = f"{told['frames']} frames in {told['outputs']['export']}"
        notes = [*told["notes"], *told["losses"]]
        self.job_finished.emit(EXPORT_JOB, ". ".join([text, *notes]), True)
