"""Finding and dropping what is damaged, so that it can be predicted again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stt_core.errors import Problem
from stt_core.project.lock import need_folder_lock
from stt_core.project.predictions.codec import Damaged, unpack
from stt_core.project.predictions.folding import fold, remove_leftovers
from stt_core.project.predictions.index import Index
from stt_core.project.predictions.manifest import ARRAYS, Manifest, read_manifest
from stt_core.project.predictions.rows import Source, read_parts


def repair(folder: Path) -> tuple[Problem, ...]:
    """Drop damaged frames and files; return what was wrong. All other frames are kept.

    Raises:
        FormatError: the manifest is damaged, or a newer version wrote it.
        ProjectError: someone writes there.
        OutputError: the disk is full; nothing is lost then.
    """
    manifest = read_manifest(folder)
    lock = need_folder_lock(folder)
    try:
        index = Index(folder, manifest.frames)
        remove_leftovers(folder, index)
        dropped: list[Problem] = []
        for source in [*index.sources.values()]:
            bad = dict(damaged_frames(manifest, index, source))
            if bad or source.problems:
                fold(folder, manifest, index, [source], without=bad)
                dropped += [*source.problems, *bad.values()]
        return tuple(dropped)
    finally:
        lock.release()


def damaged_frames(
    manifest: Manifest, index: Index, source: Source
) -> Iterator[tuple[int, Problem]]:
    """Read the frames of a source; yield those that cannot be, each once."""
    kinds = manifest.arrays()
    for row in index.live(source):
        frame = int(row["frame"])
        for name, kind in kinds.items():
            try:
                (data,) = read_parts(source.path, row, [ARRAYS.index(name)])
                unpack(data, kind)
            except FileNotFoundError:
                return  # folded since the last look
            except (OSError, Damaged) as error:
                what = f"is damaged: the {name} of frame {frame} are lost ({error})"
                yield frame, Problem(source.path, what)
                break
