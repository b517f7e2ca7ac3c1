"""One-file formats with frames of several media: a folder with a file of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from stt_core.errors import FormatError
from stt_core.formats.exchange import (
    ExportFrame,
    ExportOptions,
    LabelWriter,
    ReadFrame,
    ReadMedium,
    ReadSet,
)
from stt_core.formats.untrusted import Limits, files_in


class WriterOfEach:
    """Hands frames on to a writer of their medium.

    Args:
        opens: a writer of one file.
        folder: where files go, named after media.
        suffix: of the files.
        options: of the export as a whole.
        stack: closes the writers.
    """

    def __init__(
        self,
        opens: Callable[[Path, ExportOptions], AbstractContextManager[LabelWriter]],
        folder: Path,
        suffix: str,
        options: ExportOptions,
        stack: ExitStack,
    ) -> None:
        # All stay open to the end: the record of all is written into each.
        self._writers = {
            medium.name: stack.enter_context(
                opens(
                    folder / f"{medium.name}{suffix}",
                    replace(options, total=medium.frames, media=(), place=medium.name),
                )
            )
            for medium in options.media
        }

    def add(self, frame: ExportFrame) -> None:
        self._writers[frame.medium].add(frame)

    def finish(self) -> Sequence[str]:
        told = {name: writer.finish() for name, writer in self._writers.items()}
        # what is the same for all, as a class that is renamed, is said once
        return list(dict.fromkeys(loss for losses in told.values() for loss in losses))


def read_each(
    path: Path, suffix: str, read: Callable[[Path, Limits], ReadSet], limits: Limits
) -> ReadSet | None:
    """The files of a folder as one set, each of a medium; None where there are none.

    Raises:
        FormatError: one is damaged, or they have other classes.
    """
    files = files_in(path, f"*{suffix}", limits) if path.is_dir() else []
    if not files:
        return None
    sets = [read(file, limits) for file in files]
    for file, found in zip(files[1:], sets[1:], strict=True):
        if found.classes != sets[0].classes:
            raise FormatError(f"{file} and {files[0]} have other classes. Open one of them alone.")
    frames: list[ReadFrame] = [
        replace(frame, medium=file.stem)
        for file, found in zip(files, sets, strict=True)
        for frame in found.frames
    ]
    notes = tuple(dict.fromkeys(note for found in sets for note in found.notes))
    media = tuple(ReadMedium(file.stem, file.stem) for file in files)
    return replace(sets[0], frames=frames, notes=notes, media=media)
