"""Finding the stored predictions of a medium, and reading them as classes of the project."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import CheckpointError, LabelError, ProjectError
from stt_core.files import file_hash
from stt_core.formats.exchange import ReadClass, ReadSet
from stt_core.formats.mapping import ClassMapping, propose_mapping
from stt_core.formats.model_file import bundled_models, find_model
from stt_core.labels import LabelClass
from stt_core.project.manifest import MediaEntry
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project

_HASH_PART = re.compile(r"[0-9a-f]{6,64}")


def stored_predictions(project: Project, entry: MediaEntry) -> tuple[Path, ...]:
    """Folders with predictions of the medium as it is now, the last used first.

    Those of what the medium was before are left out: they are stale. So are all while something
    else lies in its place.
    """
    if project.replaced(entry.id) is not None:
        return ()
    return tuple(
        each.path for each in project.predictions.all() if each.key.media_hash == entry.hash
    )


def find_predictions(
    project: Project, entry: MediaEntry, model: str | None = None
) -> tuple[PredictionReader | None, tuple[str, ...]]:
    """The predictions of a medium: those that were used last, of any model or of one.

    Finding them counts as their use.

    Args:
        project: open, if only for reading.
        entry: the medium.
        model: a model file, a bundled model's name, or the first letters of the hash of either or
            of imported maps.

    Returns:
        None where there is no frame, and sentences on why, or what else could have been meant.

    Raises:
        CheckpointError: there is no such model.
        FormatError: predictions are damaged, or a newer version wrote them.
    """
    wanted = "" if model is None else model_hash(model)
    readers = [PredictionReader(path) for path in stored_predictions(project, entry)]
    readers = [r for r in readers if len(r) and r.manifest.model_hash.startswith(wanted)]
    if not readers:
        other = project.replaced(entry.id)
        return None, (() if other is None else (project.problem(entry.id),))
    others = [f"{model_name(r.manifest.model_hash)} ({len(r)} frames)" for r in readers[1:]]
    chosen = readers[0]
    chosen.hold()
    project.predictions.use(chosen.folder)
    told = (
        (
            f"of {entry.name} the predictions of {model_name(chosen.manifest.model_hash)} were "
            f"taken, which were used last; there are others too: {', '.join(others)}",
        )
        if others
        else ()
    )
    return chosen, told


def need_predictions(
    project: Project, entry: MediaEntry, model: str | None = None
) -> tuple[PredictionReader, tuple[str, ...]]:
    """As :func:`find_predictions`.

    Raises:
        ProjectError: there are none, or they are of what the medium was before.
    """
    reader, told = find_predictions(project, entry, model)
    if reader is None:
        if project.replaced(entry.id) is not None:
            raise ProjectError(project.problem(entry.id))
        whose = "" if model is None else f" of {model}"
        raise ProjectError(
            f"{project.folder} holds no predictions{whose} for {entry.name} as it is now. "
            "Make some with 'stt-studio segment --project'."
        )
    return reader, told


def model_hash(model: str) -> str:
    """The hash of a model's file, or what stands for it: the hash itself, or its beginning.

    Raises:
        CheckpointError: there is no such model.
    """
    try:
        return _hash_of(find_model(model))
    except CheckpointError:
        if _HASH_PART.fullmatch(model):
            return model
        raise


def model_name(sha256: str) -> str:
    """A bundled model's name, else the beginning of the hash."""
    names = {_hash_of(path): name for name, path in bundled_models().items()}
    return names.get(sha256, sha256[:12])


@cache
def _hash_of(path: Path) -> str:
    return file_hash(path)


class MappedPredictions:
    """Stored predictions in the classes of the project (:class:`stt_core.pseudo.sources`).

    Raises:
        LabelError: none of the model's classes is one of the project's.
    """

    def __init__(self, reader: PredictionReader, classes: Sequence[LabelClass]) -> None:
        self._reader = reader
        self._same = reader.manifest.classes == tuple(classes)
        self.mapping = map_classes(reader.manifest.classes, classes)
        self.frames: list[int] = reader.frames.tolist()
        if not any(row.ours is not None for row in self.mapping.rows):
            theirs = ", ".join(c.name for c in reader.manifest.classes)
            raise LabelError(
                f"the predictions in {reader.folder} have none of the project's classes: theirs "
                f"are {theirs}. Give the project classes of these names."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on classes that the project does not have, or has under another name."""
        if self._same:
            return ()
        rows = self.mapping.rows
        lost = [row.theirs.name or "" for row in rows if row.ours is None]
        guessed = [row.theirs.name or "" for row in rows if row.found_by == "colour"]
        told = []
        if lost:
            told.append(f"the project lacks these classes of the model: {', '.join(lost)}")
        if guessed:
            told.append(f"these classes were matched by their colours: {', '.join(guessed)}")
        return tuple(told)

    def labels(self, frame: int) -> NDArray[np.uint8]:
        labels = self._reader.labels(frame)
        return labels if self._same else self.mapping.apply(labels)

    def confidence(self, frame: int) -> NDArray[np.uint8]:
        return self._reader.confidence(frame)


def map_classes(theirs: Sequence[LabelClass], ours: Sequence[LabelClass]) -> ClassMapping:
    """Classes of a model or of a folder of maps as ours: by name, else by colour."""
    classes = tuple(ReadClass(i, c.name, c.color) for i, c in enumerate(theirs))
    return propose_mapping(ReadSet(classes, (), ids_are_classes=False), ours)
