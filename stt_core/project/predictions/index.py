"""Which frames a folder holds, and where each lies."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import OutputError, Problem
from stt_core.project.predictions import segment, spool
from stt_core.project.predictions.rows import Rows, Source, serial_of

_TRIES = 100


class Place(NamedTuple):
    """Where a frame lies."""

    path: Path
    row: np.void


class Index:
    """The newest place of each frame. Opening reads no pixels, look-up takes no search.

    Args:
        folder: of the predictions.
        frames: of the medium.

    Raises:
        OutputError: the folder cannot be read.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self._folder = folder
        self.sources: dict[str, Source] = {}
        self._forget(frames)
        self.refresh()

    @property
    def present(self) -> NDArray[np.bool_]:
        """``[frames]`` which are there."""
        return self._number >= 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(each for source in self.sources.values() for each in source.problems)

    def find(self, frame: int) -> Place | None:
        """Where a frame lies; None where it is not there."""
        number = int(self._number[frame])
        if number < 0:
            return None
        source = self.sources[self._names[number]]
        return Place(source.path, source.rows[self._row[frame]])

    def live(self, source: Source) -> Rows:
        """The rows of a source that no newer file has replaced."""
        frames, number = source.rows["frame"], self._numbers[source.path.name]
        rows: Rows = source.rows[
            (self._number[frames] == number) & (self._row[frames] == np.arange(len(frames)))
        ]
        return rows

    @property
    def next_serial(self) -> int:
        return max(map(serial_of, self.sources), default=-1) + 1

    def missing(self, frames: range | None = None) -> list[range]:
        """Runs of frames of a range, or of all, that are not there; rising.

        Raises:
            ValueError: the range does not rise, or leaves the medium.
        """
        count = len(self._number)
        frames = range(count) if frames is None else frames
        if frames and not (0 <= frames[0] <= frames[-1] < count):
            raise ValueError(f"the frames must rise within 0 to {count - 1}, got {frames}")
        wanted = np.array(frames)[~self.present[frames.start : frames.stop : frames.step]]
        if not wanted.size:
            return []
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        edges = pairwise([0, *breaks.tolist(), wanted.size])
        return [range(int(wanted[a]), int(wanted[b - 1]) + 1) for a, b in edges]

    def refresh(self) -> bool:
        """See what was written since; True where anything is new.

        Raises:
            OutputError: the folder cannot be read.
        """
        for _ in range(_TRIES):
            names = self._listed()
            try:
                return self._take(names)
            except FileNotFoundError:
                continue  # folded between the listing and the look
            except OSError as error:
                raise self._unreadable(error) from error
        raise OutputError(f"{self._folder} changes too fast to be read. Try again.")

    def add(self, source: Source) -> None:
        """Take a source whose frames replace all older ones, or one that has grown."""
        name, first = source.path.name, 0
        if name in self.sources:
            first = len(self.sources[name].rows)
        else:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        ours = source.rows["frame"] < len(self._number)  # someone may have copied files here
        self.sources[name] = replace(source, rows=source.rows[ours])
        rows = self.sources[name].rows[first:]
        self._number[rows["frame"]] = self._numbers[name]
        self._row[rows["frame"]] = np.arange(first, first + len(rows))
        self.entropy[rows["frame"]] = rows["entropy"]
        self.flicker[rows["frame"]] = rows["flicker"]

    def drop(self, source: Source) -> None:
        """Forget a source whose frames have all been replaced."""
        del self.sources[source.path.name]

    def _take(self, names: list[str]) -> bool:
        there = set(names)
        gone = [name for name in self.sources if name not in there]
        changed = [source for name in names if (source := self._changed(name)) is not None]
        newest = max(map(serial_of, self.sources), default=-1)
        in_order = all(
            source.path.name in self.sources or serial_of(source.path.name) > newest
            for source in changed
        )
        for source in changed if in_order else ():
            self.add(source)
        for name in gone:
            del self.sources[name]
        lost = {self._numbers[name] for name in gone}
        if not in_order or (lost and np.isin(self._number, [*lost]).any()):
            self._build([*self.sources.values(), *changed])
        return bool(changed or gone)

    def _changed(self, name: str) -> Source | None:
        """What is now known of a file; None where that is nothing new."""
        known = self.sources.get(name)
        if name.endswith(segment.SUFFIX):
            return None if known is not None else segment.read_segment(self._folder / name)
        found = spool.scan_spool(self._folder / name, known)
        return None if known is not None and found.end == known.end else found

    def _build(self, sources: list[Source]) -> None:
        by_name = {source.path.name: source for source in sources}  # the last of a name is newest
        self.sources = {}
        self._forget(len(self._number))
        for name in sorted(by_name):
            self.add(by_name[name])

    def _forget(self, frames: int) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._number = np.full(frames, -1, np.int32)
        self._row = np.zeros(frames, np.int32)
        self.entropy = np.full(frames, np.nan, np.float32)
        self.flicker = np.full(frames, np.nan, np.float32)

    def _listed(self) -> list[str]:
        """What is in the folder when two looks agree.

        A name that is given while a folder is read may not be seen, and that of the file it
        replaces may be gone.
        """
        before = None
        for _ in range(_TRIES):
            try:
                names = listed(self._folder)
            except OSError as error:
                raise self._unreadable(error) from error
            if names == before:
                break
            before = names
        return names

    def _unreadable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the predictions in {self._folder} cannot be read: {error.strerror or error}. "
            "Check its permissions, or whether its disk is connected."
        )


def listed(folder: Path) -> list[str]:
    """Names of all files that hold frames, oldest first."""
    ends = (segment.SUFFIX, spool.SUFFIX)
    return sorted(n for n in os.listdir(folder) if n[:8].isdecimal() and n.endswith(ends))
