"""What the panels of a comparison video show: stored predictions, labels, or folders of maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.formats.frame_names import MapName, Rule, find_frames
from stt_core.formats.mapping import ClassMapping
from stt_core.labels import UNLABELLED, VOID, LabelClass, read_classes, read_label_png
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
    void_ids: frozenset[int] = frozenset()
    """Ids that say nothing in folders of maps, besides 254, 255 and those that a folder tells."""
    rule: Rule | None = None
    """How the names of such maps are meant; None to find out."""


def make_panel(shown: Shown, text: str, opacity: float) -> tuple[Panel, Sequence[str]]:
    """The panel of a word, ``WHAT`` or ``TITLE=WHAT``, with sentences on what was assumed.

    Of a folder of maps there may be more sentences once its maps were shown.

    Raises:
        LabelError: it is nothing that can be shown.
        ProjectError: there are no predictions of that model.
    """
    title, what = split_title(text)
    if what == IMAGE:
        return Panel(title), ()
    if what not in (LABELS, PREDICTIONS) and Path(what).is_dir():
        labels = MapFolder(
            Path(what), shown.media, shown.classes, void_ids=shown.void_ids, rule=shown.rule
        )
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
    found = _class_list(folder)
    return None if found is None else read_classes(found)


def _class_list(folder: Path) -> Path | None:
    places = (folder, folder.parent) if folder.name == "labels" else (folder,)
    lists = [place / name for place in places for name in _CLASS_LISTS]
    return next((path for path in lists if path.is_file()), None)


class MapFolder:
    """Label maps in a folder, or in labels/ in it, named by frame number or by image.

    The id after the last class says nothing, as 11 does in CamVid, which is told once it occurs.

    Args:
        folder: of 8-bit PNGs.
        media: whose frames they are of.
        classes: what is shown; ids mean these where the folder does not tell its own.
        void_ids: others that say nothing; 254 and 255 always do, and what the folder tells.
        rule: how the names of the maps are meant; None to find out.

    Raises:
        LabelError: no map belongs to a frame, it is not clear to which, or no class to ours.
    """

    def __init__(
        self,
        folder: Path,
        media: MediaSource,
        classes: Sequence[LabelClass],
        *,
        void_ids: frozenset[int] = frozenset(),
        rule: Rule | None = None,
    ) -> None:
        self._folder = folder
        self._size = media.height, media.width
        self._mapping: ClassMapping | None = None
        self.notes: list[str] = []
        """Sentences on classes that are not shown, and on ids that were taken for void."""
        self._files = self._find(media, rule)
        if not self._files:
            raise LabelError(
                f"{folder} holds no map of a frame of {media.path}: they are 8-bit PNGs, named by "
                "frame number (000042.png) or by image"
            )
        told = folder_classes(folder)
        self._count = len(told or classes)
        self._void = void_ids | _told_void(folder)
        if told is not None and told != tuple(classes):
            self._mapping = map_classes(told, classes)
            lost = [row.theirs.name or "" for row in self._mapping.rows if row.ours is None]
            if len(lost) == len(told):
                raise LabelError(f"{folder} has none of the classes that are shown")
            if lost:
                self.notes.append(f"{folder}: not shown are {', '.join(lost)}")

    def __call__(self, frame: int) -> NDArray[np.uint8]:
        """``[H, W]`` ids; nothing where there is no map.

        Raises:
            LabelError: it holds an id without a class.
        """
        path = self._files.get(frame)
        if path is None:
            return _nothing(self._size)
        labels = self._without_void(read_label_png(path, VOID), path)
        return labels if self._mapping is None else self._mapping.apply(labels)

    def _find(self, media: MediaSource, rule: Rule | None) -> dict[int, Path]:
        """The map of each frame that has one."""
        inner = self._folder / "labels"
        files = sorted((inner if inner.is_dir() else self._folder).glob("*.png"))
        stems = [file.stem for file in image_files(media.path)] if media.path.is_dir() else []
        found = find_frames([MapName(file.stem) for file in files], stems, len(media), rule)
        self.notes += [f"{self._folder}: {note}" for note in found.notes]
        return {frame: files[i] for i, frame in found.frames.items()}

    def _without_void(self, labels: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """The ids of classes, nothing for those that say nothing."""
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()
        others = [i for i in present if self._count <= i < VOID]
        void = self._void.intersection(present)
        if self._count in others and self._count not in void:
            void |= {self._count}
            note = (
                f"{self._folder}: the id {self._count}, the first after the {self._count} classes, "
                "was taken for void"
            )
            if note not in self.notes:
                self.notes.append(note)
        wrong = sorted(set(others) - void)
        if wrong:
            raise LabelError(
                f"{path} holds the ids {wrong}, but there are {self._count} classes (0 to "
                f"{self._count - 1}). Say with --void-id which ids say nothing, or with --classes "
                "which classes there are"
            )
        return np.where(np.isin(labels, [*void]), np.uint8(UNLABELLED), labels) if void else labels


def _told_void(folder: Path) -> frozenset[int]:
    """The `ignore_id` of the class list, where it tells one."""
    found = _class_list(folder)
    told = None if found is None else json.loads(found.read_text(encoding="utf-8")).get("ignore_id")
    return frozenset([told]) if type(told) is int else frozenset()


def _nothing(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full(size, UNLABELLED, np.uint8)
