"""Finding a file for each frame of a data set, in the ways that folders of results are laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stt_core.data.sequences import DataSet, FrameSequence

Frames = Sequence[Sequence[int]]
"""Frames of each sequence of a data set."""

_IMAGE_ENDING = "_leftImg8bit"
"""Stands in the names of Cityscapes' images, and in those of the maps other programs make."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Which files the frames have."""

    files: dict[tuple[int, int], Path]
    """By sequence and frame."""
    missing: tuple[Path, ...]
    """Those that should be there as well."""


def find_frame_files(
    data: DataSet, frames: Frames, roots: Sequence[Path], suffix: str
) -> FoundFiles:
    """Look below `roots` for a file of every frame.

    It has the frame's name, or is called NNNNNN by the frame's index in its sequence. It lies in
    a root or in a folder of the sequence's name; or anywhere below, if only one file has its
    name. Names that several sequences share, and numbers where there are several, count in the
    sequence's own folder only. Of each sequence the layout that finds most is taken.
    """
    names = [s.frame_name(i) for s, wanted in _each(data, frames) for i in wanted]
    unique, alone = len(set(names)) == len(names), len(data.sequences) == 1
    tree = _tree(roots, suffix) if unique else {}
    files: dict[tuple[int, int], Path] = {}
    missing: list[Path] = []
    for which, (sequence, wanted) in enumerate(_each(data, frames)):
        named = [f"{sequence.frame_name(i)}{suffix}" for i in wanted]
        numbered = [f"{i:06d}{suffix}" for i in wanted]
        layouts = [[tree.get(name, roots[0] / name) for name in named]]
        for root in roots:
            own = root / sequence.name
            layouts += [[own / name for name in names] for names in (named, numbered)]
            layouts += [[root / name for name in named]] if unique else []
            layouts += [[root / name for name in numbered]] if alone else []
        best = max(layouts, key=lambda paths: sum(path.is_file() for path in paths))
        for index, path in zip(wanted, best, strict=True):
            if path.is_file():
                files[which, index] = path
            else:
                missing.append(path)
    return FoundFiles(files, tuple(missing))


def _each(data: DataSet, frames: Frames) -> Iterator[tuple[FrameSequence, Sequence[int]]]:
    return zip(data.sequences, frames, strict=True)


def _tree(roots: Sequence[Path], suffix: str) -> dict[str, Path]:
    """Files anywhere below the roots, by names that only one of them has."""
    paths = {path for root in roots for path in root.rglob(f"*{suffix}")}
    known: dict[str, Path] = {}
    shared: set[str] = set()
    for path in sorted(paths):
        name = path.name.removesuffix(suffix).removesuffix(_IMAGE_ENDING) + suffix
        if name in known:
            shared.add(name)
        known[name] = path
    return {name: path for name, path in known.items() if name not in shared}
