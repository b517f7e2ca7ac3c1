"""Exporting labels and pseudo-labels of a project in any label format."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stt_core.errors import OutputError, ProjectError
from stt_core.formats.exchange import ExportFrame, ExportOptions, ExportReport, plain_name
from stt_core.formats.label_formats import label_format, write_labels
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project
from stt_core.versions import versions
from stt_core.workflow.export_parts import ExportChoice, ExportPart


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What a person wants exported, and where to."""

    format: str
    target: Path
    media: tuple[MediaEntry, ...]
    choice: ExportChoice = field(default_factory=ExportChoice)
    split: str = "train"


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


def export_target(name: str, target: Path) -> Path:
    """Where an export in a format goes: with its suffix, where it is a file.

    Raises:
        ValueError: there is no such format.
    """
    suffix = label_format(name).suffix
    if not suffix or target.suffix.lower() == suffix:
        return target
    return target.with_name(target.name + suffix)


def export_project(
    project: Project, request: ExportRequest
) -> Generator[ExportProgress, None, Exported]:
    """Write labels and pseudo-labels in a format; everything appears at the end, or nothing.

    Raises:
        ValueError: there is no such format.
        ProjectError: there is nothing to export, or a medium is missing that is needed.
        LabelError: classes do not fit, or a threshold names one that does not exist.
        OutputError: something stands in the way, or it cannot be written.
    """
    target = export_target(request.format, request.target)
    _refuse_taken(target)
    with ExitStack() as stack:
        parts = [ExportPart(project, entry, request.choice, stack) for entry in request.media]
        notes = tuple(note for part in parts for note in part.notes)
        parts = [part for part in parts if part.frames]
        if not parts:
            raise ProjectError(_nothing(project, request))
        frames = sum(len(part.frames) for part in parts)
        total, done = frames + sum(part.looks for part in parts), 0
        for part in parts:
            for _ in part.survey():
                done += 1
                yield ExportProgress("survey", done, total)
        provenance = _provenance(project, request)
        options = ExportOptions(
            classes=project.classes,
            total=frames,
            provenance=provenance,
            split=request.split,
            place=plain_name(Path(parts[0].entry.name).stem),
            video=parts[0].entry.kind == "video",
        )
        made = stack.enter_context(closing(_frames(parts, provenance)))
        steps = stack.enter_context(closing(write_labels(request.format, target, made, options)))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return Exported(end.value, provenance, notes)
            done += 1
            yield ExportProgress("write", done, total)


def _frames(
    parts: Sequence[ExportPart], provenance: dict[str, object]
) -> Generator[ExportFrame, None, None]:
    """All frames, one after the other; the record is complete when the last was taken."""
    for part in parts:
        prefix = f"{plain_name(Path(part.entry.name).stem)}_" if len(parts) > 1 else ""
        for frame, labels in part.labels():
            yield part.export_frame(frame, labels, prefix)
    # formats write it after their last frame
    provenance["media"] = [part.facts() for part in parts]


def _provenance(project: Project, request: ExportRequest) -> dict[str, object]:
    return {
        "project": {"id": project.manifest.id, "name": project.folder.absolute().name},
        "format": request.format,
        "source": request.choice.source,
        "only": request.choice.only,
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
