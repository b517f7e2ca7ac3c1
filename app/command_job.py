"""One of our own commands on the open project, as a job: it reads what is on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.jobs import Jobs, Process


class CommandJob(QObject):
    """One at a time, in a process of its own.

    Args:
        jobs: runs it.
        name: of the command and of the job.
        unit: what its progress counts.
    """

    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well

    def __init__(self, jobs: Jobs, name: str, unit: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._name, self._unit = name, unit
        self._process: Process | None = None
        self._busy = self._cancelled = False

    @property
    def busy(self) -> bool:
        return self._busy

    def start(self, project: Path, words: list[str], title: str) -> None:
        """Run it.

        Args:
            project: its folder.
            words: options of the command.
            title: of the job.
        """
        self._busy, self._cancelled = True, False
        self.job_started.emit(self._name, title)
        # The lane is first in, first out: by then every stroke is on the disk.
        self._jobs.write(lambda: None, on_done=lambda _: self._run(project, words))

    def cancel(self) -> None:
        self._cancelled = True
        if self._process is not None:
            self._process.cancel()

    def tell(self, told: dict[str, Any]) -> str:
        """What to say of a run that went well, of what the command told."""
        raise NotImplementedError

    def _run(self, project: Path, words: list[str]) -> None:
        if self._cancelled:
            self._on_done({"error": "cancelled", "cancelled": True})
            return
        self._process = self._jobs.run_command(
            [self._name, str(project), *words],
            None,
            on_progress=lambda done, total: self.job_updated.emit(
                self._name, done, total, f"{done} of {total} {self._unit}"
            ),
            on_done=self._on_done,
        )

    def _on_done(self, told: dict[str, Any]) -> None:
        self._process, self._busy = None, False
        if "error" in told:
            self.job_finished.emit(self._name, told["error"], bool(told.get("cancelled")))
        else:
            self.job_finished.emit(self._name, self.tell(told), True)
