"""A program whose acts stop where a file is half-written: run by test_leftovers.py.

Reads lines "act signal folder", does the act in a child that sends itself the signal there, and
answers "stopped" or "killed". A child that was only stopped is killed at the next line.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from stt_core import files
from stt_core.formats import staging
from stt_core.labels import LabelClass
from stt_core.media.writer import VideoWriter
from stt_core.project import journal as journals
from stt_core.project import recovery
from stt_core.project.store import Project
from stt_core.training.run import RunFolder
from stt_core.workflow.exporting import ExportRequest, export_project
from tests.core.predictions.stores import MANIFEST, add
from tests.core.project.material import HEIGHT, WIDTH, whole

_signal = signal.SIGKILL


def _stop(*_: object, **__: object) -> None:
    os.kill(os.getpid(), _signal)


def _stop_before(module: ModuleType, name: str) -> None:
    """Stop in the middle of what the writers do."""
    meant = getattr(module, name)

    def stopping(*words: object) -> object:
        _stop()
        return meant(*words)

    setattr(module, name, stopping)


def _flush(folder: Path) -> None:
    project = Project.open(folder)
    project.apply(project.media[0].id, 1, (0, 0), whole(1))
    _stop_before(files, "_sync")
    project.flush()


def _rename_class(folder: Path) -> None:
    project = Project.open(folder)
    _stop_before(files, "_sync")
    project.add_class(LabelClass("another", (1, 2, 3)))


def _rebuild(folder: Path) -> None:
    (folder / journals.NAME).unlink()
    _stop_before(recovery, "fill_journal")
    Project.open(folder)


def _begin_pass(folder: Path) -> None:
    _stop_before(files, "_sync")
    with Project.open(folder, write=False) as project, project.predictions.writer(MANIFEST):
        pass


def _fold(folder: Path) -> None:
    with (
        Project.open(folder, write=False) as project,
        project.predictions.writer(MANIFEST) as writer,
    ):
        add(writer, 0)
        _stop_before(files, "_sync")


def _evict(folder: Path) -> None:
    with Project.open(folder, write=False) as project:
        with project.predictions.writer(MANIFEST) as writer:
            add(writer, 0)
        shutil.copytree(writer.folder, folder / "cache" / "thumbnails" / "some")
        Path.unlink = _stop  # type: ignore[method-assign, assignment]
        project.predictions.evict(0)


def _export_to(name: str, format_: str) -> Callable[[Path], None]:
    def export(folder: Path) -> None:
        with Project.open(folder, write=False) as project:
            target = folder / "exports" / name
            request = ExportRequest(format=format_, target=target, media=project.media)
            _stop_before(staging, "_sync_all")
            list(export_project(project, request))

    return export


def _export_video(folder: Path) -> None:
    (folder / "exports").mkdir()
    with VideoWriter(folder / "exports" / "overlay.mp4", (WIDTH, HEIGHT), 10) as writer:
        writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        _stop()


def _train(folder: Path) -> None:
    _stop_before(files, "_sync")
    run = folder / "runs" / "1"
    run.mkdir(parents=True)
    RunFolder(run).save_state({"weights": torch.zeros(3)})


def _snapshot(folder: Path) -> None:
    with Project.open(folder, write=False) as project:
        _stop_before(files, "_sync")
        project.snapshot(project.media[0].id, folder / "runs" / "1" / "labels")


def _back_up(folder: Path) -> None:
    _stop_before(files, "_sync")
    Project.open(folder)


ACTS: dict[str, Callable[[Path], None]] = {
    "flush": _flush,
    "rename-class": _rename_class,
    "rebuild": _rebuild,
    "back-up": _back_up,
    "begin-pass": _begin_pass,
    "fold": _fold,
    "evict": _evict,
    "export": _export_to("voc", "voc"),
    "export-deep": _export_to("today/png", "png"),
    "export-file": _export_to("a.zip", "cvat"),
    "export-video": _export_video,
    "train": _train,
    "snapshot": _snapshot,
}


def _answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _run(lines: Iterable[str]) -> None:
    global _signal
    child = 0
    for line in lines:
        name, number, folder = line.rstrip("\n").split(" ", 2)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        child = 0
        if name == "none":
            _answer("none")
            continue
        _signal = signal.Signals(int(number))
        child = os.fork()
        if not child:
            ACTS[name](Path(folder))
            os._exit(1)
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            _answer("stopped")
            continue
        child = 0
        _answer("killed" if os.WIFSIGNALED(status) else "failed")


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    _run(sys.stdin)
