"""What is in a project, as plain values, and whether all of it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stt_core.errors import FormatError, OutputError, ProjectError
from stt_core.project.checking import Finding
from stt_core.project.frames import REVIEWS
from stt_core.project.manifest import MediaEntry
from stt_core.project.prediction_folders import IMPORTED, PredictionSet, byte_size
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.repair import repair as mend
from stt_core.project.store import Project
from stt_core.workflow.stored import model_name


def project_facts(project: Project) -> dict[str, object]:
    """Classes, media with their labels and review states, and predictions."""
    pixels = project.notes.all_pixels()
    return {
        "project": str(project.folder),
        "id": project.manifest.id,
        "classes": [
            {"name": c.name, "color": list(c.color), "pixels": int(pixels[i])}
            for i, c in enumerate(project.classes)
        ],
        "media": [_medium_facts(project, entry) for entry in project.media],
        "predictions": [
            *(_set_facts(project, each) for each in project.predictions.all()),
            *(_unusable_facts(*each) for each in project.predictions.unusable().items()),
        ],
        "cache_bytes": project.predictions.bytes(),
        "cache_budget": project.predictions.budget,
        "recovered": list(project.recovered),
    }


def check_all(project: Project, *, repair: bool) -> Iterator[Finding]:
    """Verify labels, media and every stored prediction; yield what is wrong as it is found.

    Raises:
        ProjectError: something is to be repaired, and the project is read-only.
    """
    yield from project.check(repair=repair)
    for each in project.predictions.all():
        yield from _check_set(each, repair=repair)


def _medium_facts(project: Project, entry: MediaEntry) -> dict[str, object]:
    path = project.media_path(entry.id)
    return {
        "id": entry.id,
        "name": entry.name,
        "kind": entry.kind,
        "path": None if path is None else str(path),
        "problem": project.problem(entry.id) or None,
        "frames": entry.frames,
        "size": [entry.width, entry.height],
        "labelled": len(project.labelled(entry.id)),
        "painted": len(project.painted(entry.id)),
        "review": {
            state: len(project.notes.frames_in(entry.id, state))
            for state in REVIEWS
            if state != "todo"  # which is all the others
        },
    }


def _set_facts(project: Project, each: PredictionSet) -> dict[str, object]:
    now = {e.hash: e.id for e in project.media if project.replaced(e.id) is None}
    of = now.get(each.key.media_hash)
    settings = each.manifest.settings
    model = model_name(each.key.model_hash)
    if IMPORTED in settings:
        model = f"{settings[IMPORTED]} (imported)"
    facts: dict[str, object] = {
        "folder": str(each.path),
        "media": of,
        "model": model,
        "model_hash": each.key.model_hash,
        "bytes": each.bytes,
        "stale": list(each.stale(now, None, None)),
        "frames": 0,
        "settings": settings,
        "problem": None,
    }
    try:
        facts["frames"] = len(PredictionReader(each.path))
    except (FormatError, OutputError) as error:
        facts["problem"] = str(error)
    return facts


def _unusable_facts(path: Path, problem: str) -> dict[str, object]:
    return {
        "folder": str(path),
        "media": None,
        "model": None,
        "model_hash": None,
        "bytes": byte_size(path),
        "stale": [],
        "frames": 0,
        "settings": {},
        "problem": problem,
    }


def _check_set(each: PredictionSet, *, repair: bool) -> Iterator[Finding]:
    try:
        if repair:
            for problem in mend(each.path):
                yield Finding(f"{problem}.", "It was dropped; segment again to have it back.")
            return
        for problem in PredictionReader(each.path).verify():
            yield Finding(f"{problem}.")
    except (FormatError, OutputError, ProjectError) as error:  # damaged, or being written
        yield Finding(str(error))
