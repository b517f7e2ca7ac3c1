"""Taking label maps made elsewhere into a project: as labels to edit, or as predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from stt_core.errors import LabelError
from stt_core.formats.class_files import same_word
from stt_core.formats.exchange import ReadSet, counts
from stt_core.formats.frame_names import Rule
from stt_core.formats.mapping import ClassMapping, MappingRow, propose_mapping
from stt_core.labels import IGNORED, LabelClass
from stt_core.project.history import Provenance
from stt_core.project.labelling import LabelEdit
from stt_core.project.manifest import MediaEntry
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.store import Project
from stt_core.workflow.matching import FrameMatch, match_frames

_NOTHING = ("none", "-", "")


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do; nothing has happened yet."""

    entry: MediaEntry
    source: Path
    format: str
    mapping: ClassMapping
    match: FrameMatch
    digest: str
    """SHA-256 of the maps."""
    over: int
    """Frames that have labels already."""
    notes: tuple[str, ...]

    def with_mapping(self, mapping: ClassMapping) -> ImportPlan:
        return replace(self, mapping=mapping)


def plan_import(
    project: Project,
    entry: MediaEntry,
    found: ReadSet,
    source: Path,
    name: str,
    rule: Rule | None = None,
) -> Generator[int, None, ImportPlan]:
    """Look through maps made elsewhere; yield how many frames were read.

    Args:
        project: open, if only for reading.
        entry: the medium they are of.
        found: the maps.
        source: where they lie.
        name: of their format.
        rule: how their names are meant; None to find out.

    Raises:
        ProjectError: no map belongs to a frame, or two to one.
        LabelError: it is not clear which frames they belong to, or one is of another size.
        FormatError: a map is damaged.
    """
    match = match_frames(project, entry, found, rule)
    pixels, digest = np.zeros(256, np.int64), hashlib.sha256(name.encode())
    for done, each in enumerate(match.frames, 1):
        labels = each.theirs.load()
        _check_size(entry, each.theirs.name, labels)
        pixels += counts(labels)
        digest.update(f"{each.frame}\0".encode() + labels.tobytes())
        yield done
    mapping = propose_mapping(found, project.classes).counted(pixels)
    labelled = set(project.labelled(entry.id))
    over = sum(each.frame in labelled for each in match.frames)
    return ImportPlan(
        entry, source, name, mapping, match, digest.hexdigest(), over, (*found.notes, *match.notes)
    )


def with_choices(
    mapping: ClassMapping, choices: Sequence[str], ours: Sequence[LabelClass]
) -> ClassMapping:
    """The mapping with rows set by hand.

    Args:
        mapping: as proposed.
        choices: ``THEIRS=OURS``, each a name or an id; OURS may be ``none``.
        ours: the project's classes.

    Raises:
        ValueError: a choice is not of that form, or names what there is not.
    """
    for choice in choices:
        theirs, equals, own = choice.rpartition("=")
        if not equals:
            raise ValueError(f"'{choice}' is not a choice: say THEIRS=OURS, as in tree=vegetation")
        mapping = mapping.chosen(_find_row(mapping.rows, theirs), _find_class(own, ours))
    return mapping


def import_labels(project: Project, plan: ImportPlan) -> int | None:
    """Take the maps as labels, in one step that undo takes back.

    Where a map says nothing, what was labelled before stays.

    Returns:
        The number of the step; None where the maps brought nothing new.

    Raises:
        ProjectError: read-only, a frame is locked, or the disk is full; nothing was taken.
        FormatError, LabelError: a map changed meanwhile; nothing was taken.
    """

    def edits() -> Iterator[LabelEdit]:
        for place, each in enumerate(plan.match.frames):
            labels = _load(plan, place)
            before = project.labels(plan.entry.id, each.frame)
            if before is not None:
                labels = np.where(labels == IGNORED, before, labels)
            yield LabelEdit(plan.entry.id, each.frame, (0, 0), labels)

    return project.apply_many(edits(), Provenance("import", note=f"{plan.format} {plan.source}"))


def import_predictions(project: Project, plan: ImportPlan) -> Generator[int, None, Path]:
    """Store the maps as the predictions of a model nobody has; yield frames that are stored.

    Their confidence is 1 where they have a class and 0 elsewhere. They take no writer's right.

    Returns:
        The folder they are in.

    Raises:
        ProjectError, OutputError: somebody writes them right now, or the disk is full.
        FormatError, LabelError: a map changed meanwhile.
    """
    settings: dict[str, JsonValue] = {
        "imported": plan.source.name,
        "format": plan.format,
        "classes": [row.ours for row in plan.mapping.rows],
    }
    entry = plan.entry
    manifest = Manifest(
        media_hash=entry.hash,
        model_hash=plan.digest,
        settings=settings,
        frames=entry.frames,
        height=entry.height,
        width=entry.width,
        classes=project.classes,
    )
    with project.predictions.writer(manifest) as writer:
        for place, each in enumerate(plan.match.frames):
            if each.frame not in writer:
                labels = _load(plan, place)
                sure = np.where(labels == IGNORED, np.uint8(0), np.uint8(255))
                writer.add(each.frame, labels, sure, entropy=0.0)
            yield place + 1
    return writer.folder


def mapping_facts(
    mapping: ClassMapping, ours: Sequence[LabelClass]
) -> list[dict[str, str | int | None]]:
    """The mapping's table, as plain values."""
    return [
        {
            "id": row.theirs.id,
            "theirs": row.theirs.name,
            "ours": None if row.ours is None else ours[row.ours].name,
            "found_by": row.found_by,
            "pixels": row.pixels,
        }
        for row in mapping.rows
    ]


def _load(plan: ImportPlan, place: int) -> NDArray[np.uint8]:
    """``[H, W]`` ids of the project."""
    theirs = plan.match.frames[place].theirs
    labels = theirs.load()
    _check_size(plan.entry, theirs.name, labels)
    return plan.mapping.apply(labels)


def _check_size(entry: MediaEntry, name: str, labels: NDArray[np.uint8]) -> None:
    if labels.shape != (entry.height, entry.width):
        height, width = labels.shape
        raise LabelError(
            f"the map {name} is {width} x {height} pixels, but {entry.name} is {entry.width} x "
            f"{entry.height}: choose the medium it was made for"
        )


def _find_row(rows: Sequence[MappingRow], wanted: str) -> int:
    word = same_word(wanted)
    by_name = [i for i, r in enumerate(rows) if r.theirs.name and same_word(r.theirs.name) == word]
    by_id = [i for i, row in enumerate(rows) if str(row.theirs.id) == wanted.strip()]
    found = by_name or by_id
    if len(found) != 1:
        known = ", ".join(row.theirs.name or str(row.theirs.id) for row in rows)
        raise ValueError(f"the maps have no class '{wanted}', or several: they have {known}")
    return found[0]


def _find_class(wanted: str, ours: Sequence[LabelClass]) -> int | None:
    word = same_word(wanted)
    if word in _NOTHING:
        return None
    found = [i for i, c in enumerate(ours) if same_word(c.name) == word]
    if len(found) == 1:
        return found[0]
    if not found and wanted.isdecimal() and int(wanted) < len(ours):
        return int(wanted)
    names = ", ".join(c.name for c in ours)
    raise ValueError(f"the project has no class '{wanted}', or several: it has {names}, or none")
