"""What the panels of a comparison video show: stored predictions, labels, or folders of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.formats.exchange import number_in
from stt_core.formats.mapping import ClassMapping
from stt_core.labels import UNLABELLED, LabelClass, read_classes, read_label_png
from stt_core.media.folder import image_files
from stt_core.media.source import MediaSource
from stt_core.pictures.video import Labels, Panel
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project
from stt_core.workflow.stored import (
    MappedPredictions,
    find_predictions,
    map_classes,
    need_predictions,
)

IMAGE, LABELS, PREDICTIONS = "image", "labels", "predictions"
"""Words for what a panel shows; any other is a folder of maps or a model."""
_CLASS_LISTS = ("run.json", "classes.json")


@dataclass(frozen=True, slots=True)
class Shown:
    """Where panels come from."""

    media: MediaSource
    classes: tuple[LabelClass, ...]
    project: Project | None = None
    entry: MediaEntry | None = None
    """Of the medium in the project."""


def make_panel(shown: Shown, text: str, opacity: float) -> tuple[Panel, tuple[str, ...]]:
    """The panel of a word, ``WHAT`` or ``TITLE=WHAT``, with sentences on what was assumed.

    Raises:
        LabelError: it is nothing that can be shown.
        ProjectError: there are no predictions of that model.
    """
    title, what = split_title(text)
    if what == IMAGE:
        return Panel(title), ()
    if what not in (LABELS, PREDICTIONS) and Path(what).is_dir():
        labels = MapFolder(Path(what), shown.media, shown.classes)
        return Panel(title, labels, opacity), labels.notes
    if shown.project is None or shown.entry is None:
        raise LabelError(
            f"'{what}' cannot be shown: without a project a panel is '{IMAGE}' or a folder of maps"
        )
    if what == LABELS:
        return Panel(title, painted(shown.project, shown.entry), opacity), ()
    model = None if what == PREDICTIONS else what
    reader, told = need_predictions(shown.project, shown.entry, model)
    mapped = MappedPredictions(reader, shown.classes)
    present, size = frozenset(mapped.frames), (shown.entry.height, shown.entry.width)

    def predicted(frame: int) -> NDArray[np.uint8]:
        return mapped.labels(frame) if frame in present else _nothing(size)

    return Panel(title, predicted, opacity), (*told, *mapped.notes)


def default_panel(project: Project, entry: MediaEntry) -> str:
    """What to show where nobody says: predictions, else labels."""
    return LABELS if find_predictions(project, entry)[0] is None else PREDICTIONS


def split_title(text: str) -> tuple[str, str]:
    """Title and what is meant; a path with an equals sign that exists has no title."""
    title, equals, what = text.partition("=")
    return (title, what) if equals and what and not Path(text).exists() else ("", text)


def painted(project: Project, entry: MediaEntry) -> Labels:
    """The labels of a medium, nothing where nobody painted."""

    def labels(frame: int) -> NDArray[np.uint8]:
        own = project.labels(entry.id, frame)
        return _nothing((entry.height, entry.width)) if own is None else own

    return labels


def folder_classes(folder: Path) -> tuple[LabelClass, ...] | None:
    """The classes of a folder of maps, as what wrote them tells; None where it does not.

    Raises:
        LabelError: the list is none.
    """
    places = (folder, folder.parent) if folder.name == "labels" else (folder,)
    lists = [place / name for place in places for name in _CLASS_LISTS]
    found = next((path for path in lists if path.is_file()), None)
    return None if found is None else read_classes(found)


class MapFolder:
    """Label maps in a folder, or in labels/ in it, named by frame number or by image.

    Args:
        folder: of 8-bit PNGs.
        media: whose frames they are of.
        classes: what is shown; ids mean these where the folder does not tell its own.

    Raises:
        LabelError: no map belongs to a frame, or no class to ours.
    """

    def __init__(self, folder: Path, media: MediaSource, classes: Sequence[LabelClass]) -> None:
        self._size = media.height, media.width
        self._mapping: ClassMapping | None = None
        self.notes: tuple[str, ...] = ()
        """Sentences on classes that are not shown."""
        self._files = _files_of(folder, media)
        if not self._files:
            raise LabelError(
                f"{folder} holds no map of a frame of {media.path}: they are 8-bit PNGs, named by "
                "frame number (000042.png) or by image"
            )
        told = folder_classes(folder)
        self._count = len(told or classes)
        if told is not None and told != tuple(classes):
            self._mapping = map_classes(told, classes)
            lost = [row.theirs.name or "" for row in self._mapping.rows if row.ours is None]
            if len(lost) == len(told):
                raise LabelError(f"{folder} has none of the classes that are shown")
            self.notes = (f"{folder}: not shown are {', '.join(lost)}",) if lost else ()

    def __call__(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` ids; nothing where there is no map."""
        path = self._files.get(frame)
        if path is None:
            return _nothing(self._size)
        labels = read_label_png(path, self._count)
        return labels if self._mapping is None else self._mapping.apply(labels)


def _files_of(folder: Path, media: MediaSource) -> dict[int, Path]:
    """The map of each frame that has one."""
    inner = folder / "labels"
    files = sorted((inner if inner.is_dir() else folder).glob("*.png"))
    by_name = {file.stem: file for file in files}
    stems = [file.stem for file in image_files(media.path)] if media.path.is_dir() else []
    named = {i: by_name[stem] for i, stem in enumerate(stems) if stem in by_name}
    numbered = {number_in(file.stem): file for file in files}
    return named or {i: file for i, file in numbered.items() if i is not None and i < len(media)}


def _nothing(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full(size, UNLABELLED, np.uint8)
