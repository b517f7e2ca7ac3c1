"""Strokes on their way to the disk, in the order of painting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stt_core.errors import LabelError, SttError
from stt_core.labels import UNLABELLED, Stroke, covered_by
from stt_core.project.store import Project


@dataclass(frozen=True, slots=True)
class Painted:
    """A stroke on a frame."""

    number: int
    media: str
    """Hash of the medium."""
    frame: int
    stroke: Stroke


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of the strokes that were not on the disk yet."""

    done: tuple[int, ...]
    """Numbers of those that are on the disk now."""
    refused: tuple[tuple[int, str], ...]
    """Those that can never be applied, and why: as on a locked frame."""
    failed: str
    """Why the others are still not on the disk; empty where there are none."""


class StrokeQueue:
    """Strokes that are not on the disk yet: each stays until it is there or can never be."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Painted]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, media_id: str, painted: Painted) -> None:
        """Append a stroke; the id is empty for a bare medium that is in no project yet."""
        self._waiting.append((media_id, painted))

    def drop(self, number: int) -> None:
        """Give up a stroke."""
        self._waiting = deque(pair for pair in self._waiting if pair[1].number != number)

    def save(self, apply: Callable[[str, Painted], str]) -> Saved:
        """Apply them in order, until one fails.

        Args:
            apply: puts a stroke into the journal; returns why it can never go there.
        """
        done: list[int] = []
        refused: list[tuple[int, str]] = []
        while self._waiting:
            media_id, painted = self._waiting[0]
            try:
                why = apply(media_id, painted)
            except (LabelError, IndexError) as error:
                why = str(error)
            except SttError as error:
                return Saved(tuple(done), tuple(refused), str(error))
            self._waiting.popleft()
            if why:
                refused.append((painted.number, why))
            else:
                done.append(painted.number)
        return Saved(tuple(done), tuple(refused), "")


def apply_stroke(project: Project, media_id: str, painted: Painted) -> str:
    """Put a stroke into the journal; return why it can never go there.

    Raises:
        ProjectError: it could not be written.
    """
    if project.notes.review(media_id, painted.frame) == "locked":
        return f"Frame {painted.frame} is locked, so its labels cannot be changed."
    entry = next(e for e in project.media if e.id == media_id)
    where, covered = covered_by(painted.stroke, (entry.height, entry.width))
    if not covered.any():
        return ""
    labels = project.labels(media_id, painted.frame)
    after = np.full(covered.shape, UNLABELLED, np.uint8) if labels is None else labels[where].copy()
    after[covered] = painted.stroke.class_id
    project.apply(media_id, painted.frame, (where[0].start, where[1].start), after)
    return ""
