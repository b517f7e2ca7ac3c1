"""A program that works on a project and is killed: run by test_killing.py, once for all kills.

Reads lines "seed seconds folder" and answers each with how many acts the child had finished when it
was killed that long after its first. What it does follows from the seed alone, so that the test
can do the same beside it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stt_core.project.labelling import LabelEdit
from stt_core.project.store import Project
from tests.core.project.material import FRAMES, HEIGHT, WIDTH


def acts(seed: int) -> Iterator[tuple[str, Callable[[Project], object]]]:
    """Endless work: strokes on several frames, undo, redo, flushes, changes of the classes."""
    rng = random.Random(seed)

    def stroke(frames: list[int], y: int, x: int, values: int) -> Callable[[Project], object]:
        after = np.random.default_rng(values).integers(0, 3, (8, 10)).astype(np.uint8)

        def act(project: Project) -> object:
            media_id = project.media[0].id
            return project.apply_many([LabelEdit(media_id, f, (y, x), after) for f in frames])

        return act

    while True:
        kind = rng.choices(["stroke", "undo", "redo", "flush", "order"], [8, 3, 2, 2, 1])[0]
        if kind == "stroke":
            frames = rng.sample(range(FRAMES), rng.randint(1, 3))
            place = rng.randrange(HEIGHT - 8), rng.randrange(WIDTH - 10)
            yield kind, stroke(frames, *place, rng.randrange(1000))
        elif kind == "order":
            order = rng.sample(range(3), 3)
            yield kind, lambda project, order=order: project.reorder_classes(order)  # type: ignore[misc]
        else:
            yield kind, lambda project, kind=kind: getattr(project, kind)()  # type: ignore[misc]


def _work(seed: int, folder: str, tell: int) -> None:
    project = Project.open(Path(folder))  # converts it first, where it is of layout 1
    for _, act in acts(seed):
        act(project)
        os.write(tell, b".")


def _kill_one(seed: int, seconds: float, folder: str) -> int:
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        _work(seed, folder, tell)
        os._exit(1)
    os.close(tell)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = 0
    while chunk := os.read(hear, 4096):
        done += len(chunk)
    os.close(hear)
    return done


if __name__ == "__main__":
    for line in sys.stdin:
        seed, seconds, folder = line.rstrip("\n").split(" ", 2)
        sys.stdout.write(f"{_kill_one(int(seed), float(seconds), folder)}\n")
        sys.stdout.flush()
