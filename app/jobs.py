"""The only place in the application that owns threads and processes.

Work is written as plain generators that yield what happened so far (None for a mere pause). A lane
is one worker thread with a latest-wins slot for each kind of request: a newer request takes the
place of the older one of its kind, and between two steps the most urgent slot goes first. To cancel
is to stop calling `next`: the generator is closed on its own thread, so its `finally` and `with`
blocks run where its file handles and tensors live. Listeners run on the GUI thread.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, IntEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Qt, Signal

logger = logging.getLogger(__name__)

Step = TypeVar("Step")
Result = TypeVar("Result")

_IN_FLIGHT = 4  # steps a job may be ahead of the screen
_TERMINATE_MS = 2000
_SAID_BYTES = 4096
_BAR = re.compile(rb"\| (\d+)/(\d+) \[")  # as tqdm draws it


class Lane(Enum):
    """One worker thread each."""

    DECODE = "decode"  # owns a media reader: pictures never wait for the network
    INFER = "infer"  # owns the model and its memory


class Slot(IntEnum):
    """Kinds of request, the most urgent first."""

    SETUP = 0
    LOOKUP = 1  # what is stored of the medium
    INSPECTION = 2
    FRAME = 3
    PREDICTION = 4
    LISTING = 5  # of what is stored, to choose from
    PREFETCH = 6
    PASS = 7
    IMPORT = 8


class Job:
    """A generator being pumped. Not a QObject, so that no thread can destroy one."""

    def __init__(
        self,
        make_steps: Callable[[], Generator[Any, None, Any]],
        on_step: Callable[[Any], None],
        on_done: Callable[[Any], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.make_steps = make_steps
        self.on_step = on_step
        self.on_done = on_done
        self.on_failed = on_failed
        self.steps: Generator[Any, None, Any] | None = None
        self.cancelled = threading.Event()
        self.in_flight = 0  # guarded by the lane's condition

    def cancel(self) -> None:
        """Deliver nothing more, and close the generator before its next step."""
        self.cancelled.set()


class Jobs(QObject):
    """Starts jobs, tells of every failure nobody listened for, and at the end waits for all."""

    failed = Signal(Exception)
    _arrived = Signal(object)  # a call to make on the GUI thread

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._arrived.connect(self._call, Qt.ConnectionType.QueuedConnection)
        self._lanes = {lane: _Worker(lane.value, self._arrived.emit) for lane in Lane}
        self._writer = ThreadPoolExecutor(1, "write")
        self._processes: set[Process] = set()
        self._over = False

    def start(
        self,
        lane: Lane,
        slot: Slot,
        make_steps: Callable[[], Generator[Step | None, None, Result]],
        *,
        on_step: Callable[[Step], None] = lambda _: None,
        on_done: Callable[[Result], None] = lambda _: None,
        on_failed: Callable[[Exception], None] | None = None,
    ) -> Job:
        """Pump the generator that `make_steps` makes, on the lane's thread.

        Listeners are arguments, not signals to connect afterwards: a fast job would be over
        before the caller had connected. The job that held the slot is cancelled.
        """
        job = Job(make_steps, on_step, on_done, on_failed or self.failed.emit)
        self._lanes[lane].submit(slot, job)
        return job

    def cancel(self, lane: Lane, slot: Slot) -> None:
        """Cancel what holds a slot, if anything does."""
        self._lanes[lane].cancel(slot)

    def write(
        self,
        act: Callable[[], Result],
        *,
        on_done: Callable[[Result], None] = lambda _: None,
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run an act on the writer thread, which owns the project; in order, none ever dropped."""
        fail = on_failed or self.failed.emit

        def written(done: Future[Result]) -> None:
            error = done.exception()
            if isinstance(error, Exception):
                logger.error("write failed", exc_info=error)
                self._arrived.emit(partial(fail, error))
            elif error is None:
                self._arrived.emit(partial(on_done, done.result()))

        self._writer.submit(act).add_done_callback(written)

    def teller(self, listener: Callable[[Step], None]) -> Callable[[Step], None]:
        """What calls `listener` on the GUI thread, for an act to tell how far it is."""
        return lambda step: self._arrived.emit(partial(listener, step))

    def run_command(
        self,
        words: list[str],
        log: Path | None,
        *,
        on_done: Callable[[dict[str, Any]], None],
        on_lines: Callable[[list[dict[str, Any]]], None] = lambda _: None,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> Process:
        """Run one of our own commands with --json in a process of its own.

        Args:
            words: the command and its arguments.
            log: a file of JSON lines the command writes as it goes, where it writes one.
            on_done: told the JSON object the command ended with; `error` in it means failure.
            on_lines: told the new lines of `log`, a few times a second.
            on_progress: told how far its progress bar is: done, total.
        """
        process = Process(words, log, on_lines, on_progress, on_done, self)
        self._processes.add(process)
        process.over.connect(partial(self._processes.discard, process))
        return process

    def shutdown(self) -> None:
        """Cancel everything but writes, and wait until no thread or process is left."""
        for process in list(self._processes):
            process.cancel(wait=True)
        for worker in self._lanes.values():
            worker.end()
        for worker in self._lanes.values():
            worker.join()
        self._writer.shutdown()
        self._over = True

    def _call(self, call: Callable[[], None]) -> None:
        if not self._over:  # nobody is left to be told
            call()


class _Worker:
    """A lane's thread: always steps the most urgent job that may run."""

    def __init__(self, name: str, post: Callable[[object], None]) -> None:
        self._post = post
        self._ready = threading.Condition()
        self._slots: dict[Slot, Job] = {}
        self._replaced: list[Job] = []
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}")
        self._thread.start()

    def submit(self, slot: Slot, job: Job) -> None:
        with self._ready:
            self._drop(slot)
            self._slots[slot] = job
            self._ready.notify()

    def cancel(self, slot: Slot) -> None:
        with self._ready:
            self._drop(slot)
            self._ready.notify()

    def end(self) -> None:
        with self._ready:
            self._ending = True
            for slot in list(self._slots):
                self._drop(slot)
            self._ready.notify()

    def join(self) -> None:
        self._thread.join()

    def _drop(self, slot: Slot) -> None:
        job = self._slots.pop(slot, None)
        if job is not None:
            job.cancel()
            self._replaced.append(job)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not (self._replaced or self._next() or self._ending):
                    self._ready.wait()
                replaced, self._replaced = self._replaced, []
                chosen = self._next()
                ending = self._ending
            for job in replaced:
                self._close(job)
            if ending:
                return
            if chosen is not None:
                self._step(*chosen)

    def _next(self) -> tuple[Slot, Job] | None:
        for slot in sorted(self._slots):
            if self._slots[slot].in_flight < _IN_FLIGHT:
                return slot, self._slots[slot]
        return None

    def _step(self, slot: Slot, job: Job) -> None:
        if job.cancelled.is_set():
            self._retire(slot, job)
            return
        try:
            if job.steps is None:
                job.steps = job.make_steps()
            step = next(job.steps)
        except StopIteration as end:
            self._retire(slot, job)
            self._post(partial(_finish, job, end.value))
        except Exception as error:
            self._retire(slot, job)
            self._post(partial(_fail, job, error))
        else:
            if step is not None:
                with self._ready:
                    job.in_flight += 1
                self._post(partial(self._deliver, job, step))

    def _retire(self, slot: Slot, job: Job) -> None:
        with self._ready:
            if self._slots.get(slot) is job:
                del self._slots[slot]
        self._close(job)

    def _close(self, job: Job) -> None:
        if job.steps is None:
            return
        try:
            job.steps.close()
        except Exception as error:
            self._post(partial(_fail, job, error))

    def _deliver(self, job: Job, step: Any) -> None:
        with self._ready:
            job.in_flight -= 1
            self._ready.notify()
        if not job.cancelled.is_set():
            job.on_step(step)


class Process(QObject):
    """One of our own commands in a process of its own. Make it with Jobs.run_command."""

    over = Signal()

    def __init__(
        self,
        words: list[str],
        log: Path | None,
        on_lines: Callable[[list[dict[str, Any]]], None],
        on_progress: Callable[[int, int], None],
        on_done: Callable[[dict[str, Any]], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._log = log
        self._read_to = 0
        self._on_lines, self._on_progress, self._on_done = on_lines, on_progress, on_done
        self._said = b""  # the end of what it wrote to stderr
        self._cancelled = False
        self._process = QProcess(self)
        self._process.setProgram(sys.executable)
        self._process.setArguments(["-m", "app.cli", *words, "--json"])
        self._process.setProcessEnvironment(_environment())
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)
        self._timer = self.startTimer(250)
        self._process.start()

    def cancel(self, *, wait: bool = False) -> None:
        """Ask the process to end, and make it."""
        self._cancelled = True
        self._process.terminate()
        if wait and not self._process.waitForFinished(_TERMINATE_MS):
            self._process.kill()
            self._process.waitForFinished(_TERMINATE_MS)

    def timerEvent(self, _event: object) -> None:
        self._tell_lines()
        self._hear()

    def _hear(self) -> None:
        """Read stderr, where progress bars are drawn over and over."""
        said = self._said + bytes(self._process.readAllStandardError().data())
        if bars := _BAR.findall(said[len(self._said) :]):
            self._on_progress(*map(int, bars[-1]))
        self._said = said[-_SAID_BYTES:]

    def _tell_lines(self) -> None:
        if self._log is None:
            return
        try:
            with self._log.open("rb") as file:
                file.seek(self._read_to)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        if whole:
            self._on_lines([json.loads(line) for line in whole.splitlines()])

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self._end({"error": f"could not start {sys.executable}", "exit_code": 1})

    def _on_finished(self, code: int, _status: QProcess.ExitStatus) -> None:
        self._tell_lines()
        self._hear()
        lines = bytes(self._process.readAllStandardOutput().data()).splitlines()
        if self._cancelled:
            self._end({"error": "cancelled", "exit_code": code, "cancelled": True})
            return
        try:
            self._end(json.loads(lines[-1]))
        except (IndexError, ValueError):
            said = self._said.decode(errors="replace")
            last = said.strip().splitlines()[-1:] or ["it said nothing"]
            self._end({"error": f"the process ended with code {code}: {last[0]}", "exit_code": 1})

    def _end(self, told: dict[str, Any]) -> None:
        self.killTimer(self._timer)
        self._on_done(told)
        self.over.emit()
        self.deleteLater()


def _finish(job: Job, result: Any) -> None:
    if not job.cancelled.is_set():
        job.on_done(result)


def _fail(job: Job, error: Exception) -> None:
    logger.error("job failed", exc_info=error)
    if not job.cancelled.is_set():
        job.on_failed(error)


def _environment() -> QProcessEnvironment:
    """Ours, with the place this package was imported from."""
    environment = QProcessEnvironment.systemEnvironment()
    root = str(Path(__file__).resolve().parent.parent)
    before = environment.value("PYTHONPATH")
    environment.insert("PYTHONPATH", os.pathsep.join([root, before]) if before else root)
    return environment
