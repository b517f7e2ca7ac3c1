"""What is done about the media of an open project: adding, finding again, and telling of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.facts import MediumFacts, ProjectFacts
from stt_core.errors import ProjectError, SttError
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project


def relink_medium(project: Project, media_id: str, path: Path) -> list[str]:
    """Say where a medium is now; of a folder without it, what is below is searched.

    Returns:
        Sentences on what else was found.

    Raises:
        MediaError, ProjectError: it is not there.
    """
    entry = next(e for e in project.media if e.id == media_id)
    if not (path.is_dir() and entry.hash):
        project.relink(media_id, path)
        return []
    found = project.relink_below(path)
    if project.media_path(media_id) is None:
        raise ProjectError(
            f"{entry.name} was not found in {path} or below. Choose another folder, or the file "
            "itself."
        )
    return [r.message for r in found if r.path is not None]


def search_media(project: Project, folder: Path) -> list[str]:
    """Look for all missing media below a folder; return sentences on those that are there.

    Raises:
        ProjectError: none of them is.
    """
    found = project.relink_below(folder)
    if found and not any(r.path is not None for r in found):
        raise ProjectError(
            f"none of the {len(found)} missing media was found in {folder} or below. Choose "
            "another folder."
        )
    return [r.message for r in found if r.path is not None]


def add_media(project: Project, paths: Sequence[Path]) -> tuple[str, list[str]]:
    """Add media, each that can be.

    Returns:
        The id of the first that was added, and why others were not.

    Raises:
        SttError: none could be added.
    """
    added: list[str] = []
    refused: list[SttError] = []
    for path in paths:
        try:
            added.append(project.add_media(path).id)
        except SttError as error:
            refused.append(error)
    if not added:
        raise refused[0]
    return added[0], [str(error) for error in refused]


def project_facts(project: Project, *, own: bool) -> ProjectFacts:
    """A project as the window shows it.

    Args:
        project: open.
        own: whether the window keeps it for a bare medium.
    """
    return ProjectFacts(
        project.folder,
        own,
        project.read_only,
        project.classes,
        tuple(_medium_facts(project, entry) for entry in project.media),
    )


def _medium_facts(project: Project, entry: MediaEntry) -> MediumFacts:
    """A video with another content is there: whoever opens it sees that its hash differs."""
    follows = entry.kind == "folder"
    path = project.media_path(entry.id)
    if path is None and not follows:
        path = project.replaced(entry.id)
    seen = None if path is None else path.absolute()
    shape = (entry.frames, entry.height, entry.width)
    return MediumFacts(entry.id, entry.name, seen, entry.absolute, entry.hash, follows, shape)
