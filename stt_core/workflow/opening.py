"""Opening a project for work that does not change it, and finding a medium in it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stt_core.errors import MediaError, ProjectError
from stt_core.media.folder import image_files
from stt_core.media.source import media_hash
from stt_core.project.manifest import MediaEntry
from stt_core.project.store import Project


def open_to_read(folder: Path) -> Project:
    """Open a project for reading, whoever has it open for writing.

    What only a writer can put right (an older version, damage, images that were added to a folder)
    is put right first, where nobody else has it open.

    Raises:
        ProjectError: there is none, it is of a newer version, or it must be converted and cannot.
    """
    try:
        project = Project.open(folder, write=False)
        if not any(_has_changed(project, entry) for entry in project.media):
            return project
        project.close()
    except ProjectError:
        pass  # the writer says why, or puts it right
    with Project.open(folder) as writer:
        if writer.read_only is None:
            for entry in writer.media:
                writer.refresh_media(entry.id)
    return Project.open(folder, write=False)


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
    path = project.media_path(entry.id)
    if path is None:
        raise ProjectError(
            f"{entry.absolute} is missing. Say where it is now with 'stt-studio project relink'."
        )
    if not entry.hash or media_hash(path) == entry.hash:
        return path
    if entry.kind == "folder":
        raise ProjectError(
            f"the images of {path} have changed, and {project.folder} does not know it yet. Close "
            "the project where it is open for writing, and try again."
        )
    raise ProjectError(
        f"{path} is not what it was when it was added to the project: its content differs. "
        "Bring the old file back, or add this one as another medium."
    )


def image_stems(project: Project, entry: MediaEntry) -> list[str]:
    """Names of a folder's images without suffix; none of a video, or where it is missing.

    Raises:
        ProjectError: the images have changed, and the project does not know it yet.
    """
    if entry.kind == "video" or project.media_path(entry.id) is None:
        return []
    path = present_path(project, entry)
    return [file.stem for file in (image_files(path) if path.is_dir() else (path,))]


def _has_changed(project: Project, entry: MediaEntry) -> bool:
    """Whether an image folder is no longer what the project knows."""
    path = project.media_path(entry.id)
    if entry.kind == "video" or path is None:
        return False
    with suppress(MediaError):  # it has no image any more, which is told when it is used
        return media_hash(path) != entry.hash
    return False


def _listed(project: Project) -> str:
    return ", ".join(entry.name for entry in project.media) or "none"
