"""Opening a project for work that does not change it, and finding a medium in it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from stt_core.errors import ProjectError
from stt_core.media.folder import image_files
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project


def open_to_read(folder: Path) -> Project:
    """Open a project for reading, whoever has it open for writing.

    What only a writer can put right (an older version, damage, images that were added to a folder)
    is put right first, where nobody else has it open, and told in
    :attr:`~stt_core.project.store.Project.recovered`.

    Raises:
        ProjectError: there is none, it is of a newer version, or it must be converted and cannot.
    """
    with suppress(ProjectError), ExitStack() as stack:  # the writer says why, or puts it right
        project = stack.enter_context(Project.open(folder, write=False))
        if not any(_has_changed(project, entry) for entry in project.media):
            stack.pop_all()
            return project
    with Project.open(folder) as writer:
        if writer.read_only is None:
            for entry in writer.media:
                writer.refresh_media(entry.id)
        told = writer.recovered
    project = Project.open(folder, write=False)
    project.tell(told)
    return project


def find_medium(project: Project, wanted: str) -> MediaEntry:
    """The medium of an id, a name, or a name without its suffix.

    Raises:
        ProjectError: there is none, or there are several.
    """
    tests = (
        lambda entry: entry.id == wanted,
        lambda entry: entry.name == wanted,
        lambda entry: Path(entry.name).stem == wanted,
    )
    for test in tests:
        found = [entry for entry in project.media if test(entry)]
        if len(found) > 1:
            ids = ", ".join(entry.id for entry in found)
            raise ProjectError(f"several media are called {wanted}: choose one by its id ({ids})")
        if found:
            return found[0]
    raise ProjectError(f"{project.folder} has no medium {wanted}: it has {_listed(project)}")


def chosen_media(project: Project, wanted: str | None) -> tuple[MediaEntry, ...]:
    """The medium that was asked for, or all.

    Raises:
        ProjectError: there is none.
    """
    if wanted is not None:
        return (find_medium(project, wanted),)
    if not project.media:
        raise ProjectError(
            f"{project.folder} has no media. Add some with 'stt-studio project add'."
        )
    return project.media


def only_medium(project: Project, wanted: str | None) -> MediaEntry:
    """The medium that was asked for, or the only one there is.

    Raises:
        ProjectError: there is none, or there are several to choose from.
    """
    found = chosen_media(project, wanted)
    if len(found) > 1:
        raise ProjectError(
            f"{project.folder} has several media: choose one with --media ({_listed(project)})"
        )
    return found[0]


def present_path(project: Project, entry: MediaEntry) -> Path:
    """Where a medium is.

    Raises:
        ProjectError: it is missing, or another one has taken its place.
    """
    path, problem = project.media_path(entry.id), project.problem(entry.id)
    if path is None or problem:
        raise ProjectError(problem)
    return path


def image_stems(project: Project, entry: MediaEntry) -> list[str]:
    """Names of a folder's images without suffix; none of a video, or where it is missing.

    Raises:
        ProjectError: the images have changed, and the project does not know it yet; or another
            video lies in the place of this one, so that what is known is of none there is.
    """
    if project.replaced(entry.id) is not None:
        raise ProjectError(project.problem(entry.id))
    path = project.media_path(entry.id)
    if entry.kind == "video" or path is None:
        return []
    return [file.stem for file in (image_files(path) if path.is_dir() else (path,))]


def _has_changed(project: Project, entry: MediaEntry) -> bool:
    """Whether an image folder is no longer what the project knows."""
    return entry.kind == "folder" and project.replaced(entry.id) is not None


def _listed(project: Project) -> str:
    return ", ".join(entry.name for entry in project.media) or "none"
