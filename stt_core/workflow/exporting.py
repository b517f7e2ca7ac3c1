"""Exporting labels and pseudo-labels of a project in any label format."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stt_core.errors import LabelError, OutputError, ProjectError
from stt_core.formats.cityscapes import cityscapes_names
from stt_core.formats.class_files import same_word
from stt_core.formats.exchange import (
    ExportFrame,
    ExportMedium,
    ExportOptions,
    ExportReport,
    group_names,
)
from stt_core.formats.label_formats import label_format, write_labels
from stt_core.formats.renaming import RenamedClass, Renaming, known_things, rename_classes
from stt_core.labels import IGNORED, LabelClass
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project
from stt_core.versions import versions
from stt_core.workflow.export_parts import ExportChoice, ExportPart

_CITYSCAPES = "cityscapes"
_OWN = frozenset(("labels", "predictions", "backups", "aside", "cache", "project.json"))
_JOURNAL = "journal.sqlite"  # and what SQLite keeps beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What a person wants exported, and where to."""

    format: str
    target: Path
    media: tuple[MediaEntry, ...]
    choice: ExportChoice = field(default_factory=ExportChoice)
    split: str = "train"
    classes: Mapping[str, str | None] = field(default_factory=dict)
    """What classes of the project are called there, None to leave one out. In Cityscapes others are
    found by name, or as its table of CamVid's classes says."""
    things: frozenset[str] | None = None
    """Names of countable classes; None for those that the tables of Cityscapes and CamVid know."""


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """A frame was looked at, to see how sure the model is of each class, or written."""

    doing: Literal["survey", "write"]
    done: int
    total: int
    """Of steps of both kinds."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and what a person should know of it."""

    report: ExportReport
    provenance: dict[str, object]
    notes: tuple[str, ...]
    classes: tuple[RenamedClass, ...] = ()
    """What classes became, where it was asked or the format has classes of its own."""


def export_target(name: str, target: Path, media: int = 1) -> Path:
    """Where an export in a format goes.

    With its suffix, where it is a file; without, where it is a folder with a file of each of
    several media.

    Raises:
        ValueError: there is no such format.
    """
    suffix = label_format(name).suffix
    if not suffix:
        return target
    ends = target.suffix.lower() == suffix
    if media > 1:
        return target.with_suffix("") if ends else target
    return target if ends else target.with_name(target.name + suffix)


def refuse_own_folders(project: Project, target: Path) -> None:
    """See that nothing is written among what the project keeps.

    Raises:
        OutputError: `target` lies in its labels, predictions or another folder of its own.
    """
    home, wanted = project.folder.resolve(), target.resolve()
    if not wanted.is_relative_to(home):
        return
    first = wanted.relative_to(home).parts[:1]
    if not first or first[0].casefold() in _OWN or first[0].casefold().startswith(_JOURNAL):
        raise OutputError(
            f"{target} lies in what the project keeps for itself. Choose a place in "
            f"{home / 'exports'}, or outside of the project."
        )


def export_project(
    project: Project, request: ExportRequest
) -> Generator[ExportProgress, None, Exported]:
    """Write labels and pseudo-labels in a format; everything appears at the end, or nothing.

    Raises:
        ValueError: there is no such format.
        ProjectError: there is nothing to export, or a medium is missing that is needed.
        LabelError: classes do not fit, a threshold or a name for a class is of one that does not
            exist, or attention is to be tested where all predictions were imported.
        OutputError: something stands in the way, or it cannot be written.
    """
    export_target(request.format, request.target)
    refuse_own_folders(project, request.target)
    renaming = _renaming(project, request)
    things = _things(project, request, renaming)
    with ExitStack() as stack:
        every = [ExportPart(project, entry, request.choice, stack) for entry in request.media]
        parts = [part for part in every if part.frames]
        if not parts:
            raise ProjectError(_nothing(project, request))
        _refuse_untested(parts)
        target = export_target(request.format, request.target, len(parts))
        _refuse_taken(target)
        names = group_names([Path(part.entry.name).stem for part in parts])
        called = names if len(parts) > 1 else [""] * len(parts)
        frames = sum(len(part.frames) for part in parts)
        total, done = frames + sum(part.looks for part in parts), 0
        for part in parts:
            for _ in part.survey():
                done += 1
                yield ExportProgress("survey", done, total)
        provenance = _provenance(project, request, renaming)
        options = ExportOptions(
            classes=renaming.classes,
            total=frames,
            provenance=provenance,
            split=request.split,
            place=names[0],
            things=things,
            media=tuple(
                ExportMedium(name, len(part.frames))
                for name, part in zip(called, parts, strict=True)
                if name
            ),
        )
        made = stack.enter_context(closing(_frames(parts, called, renaming, provenance)))
        steps = stack.enter_context(closing(write_labels(request.format, target, made, options)))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                notes = tuple(note for part in every for note in part.notes)
                rows = renaming.rows if _tells_classes(request) else ()
                return Exported(end.value, provenance, notes, rows)
            done += 1
            yield ExportProgress("write", done, total)


def _frames(
    parts: Sequence[ExportPart],
    called: Sequence[str],
    renaming: Renaming,
    provenance: dict[str, object],
) -> Generator[ExportFrame, None, None]:
    """All frames, one after the other; the record is complete when the last was taken."""
    for part, name in zip(parts, called, strict=True):
        for frame, labels in part.labels():
            yield part.export_frame(frame, renaming.apply(labels), name)
    # formats write it after their last frame
    provenance["media"] = [
        {**part.facts(), **({"called": name} if name else {})}
        for part, name in zip(parts, called, strict=True)
    ]


def _renaming(project: Project, request: ExportRequest) -> Renaming:
    known = cityscapes_names() if request.format == _CITYSCAPES else None
    return rename_classes(project.classes, request.classes, known)


def _tells_classes(request: ExportRequest) -> bool:
    return request.format == _CITYSCAPES or bool(request.classes)


def _things(project: Project, request: ExportRequest, renaming: Renaming) -> frozenset[int]:
    """Ids as exported, of things by their names here or there."""
    if request.things is None:
        ours = known_things(project.classes)
        more = known_things(renaming.classes)
    else:
        ours = _called(request.things, project.classes)
        more = _called(request.things, renaming.classes)
        known = [same_word(c.name) for c in (*project.classes, *renaming.classes)]
        strange = [name for name in sorted(request.things) if same_word(name) not in known]
        if strange:
            raise LabelError(
                f"there is no class '{strange[0]}' that could be a thing: the classes are "
                f"{', '.join(c.name for c in project.classes)}"
            )
    there = frozenset(int(renaming.table[i]) for i in ours) - {IGNORED}
    return there | more


def _called(names: Collection[str], classes: Sequence[LabelClass]) -> frozenset[int]:
    words = {same_word(name) for name in names}
    return frozenset(i for i, c in enumerate(classes) if same_word(c.name) in words)


def _refuse_untested(parts: Sequence[ExportPart]) -> None:
    """Where nothing at all can be tested by attention, the wish was a mistake."""
    predicted = [part for part in parts if part.predicted]
    if predicted and all(part.untested for part in predicted):
        names = ", ".join(part.entry.name for part in predicted)
        raise LabelError(
            f"the predictions of {names} were imported and have no attention to be tested by: "
            "leave that test out, or choose the predictions of a model"
        )


def _provenance(project: Project, request: ExportRequest, renaming: Renaming) -> dict[str, object]:
    rows = renaming.rows if _tells_classes(request) else ()
    return {
        "project": {"id": project.manifest.id, "name": project.folder.absolute().name},
        "format": request.format,
        "source": request.choice.source,
        "only": request.choice.only,
        "class_names": [
            {"ours": row.ours, "theirs": row.theirs, "found_by": row.found_by} for row in rows
        ],
        "media": [],
        "versions": versions(),
    }


def _nothing(project: Project, request: ExportRequest) -> str:
    names = ", ".join(entry.name for entry in request.media)
    if request.choice.only is not None:
        return (
            f"{project.folder} has nothing to export: no frame of {names} that is "
            f"{request.choice.only} has a label or a prediction."
        )
    return (
        f"{project.folder} has nothing to export: {names} is neither labelled nor predicted. "
        "Paint something, or make predictions with 'stt-studio segment --project'."
    )


def _refuse_taken(target: Path) -> None:
    """Before frames are looked through for long; what writes sees to it again."""
    if target.is_file() or (target.is_dir() and _holds_something(target)):
        raise OutputError(f"{target} exists already and is not empty. Choose another name.")


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # told when it is written to
        return False
