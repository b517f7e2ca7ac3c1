"""Whether an open project is still where it was opened: a deleted file can be written for hours."""

from __future__ import annotations

from pathlib import Path

from stt_core.errors import ProjectError
from stt_core.project.journal import NAME
from stt_core.project.store import Project


class Presence:
    """Remembers which file the journal of a project was.

    Args:
        project: just opened.
    """

    def __init__(self, project: Project) -> None:
        self._path = project.folder.absolute() / NAME
        self._was = _identity(self._path)

    def is_there(self) -> bool:
        """Whether the journal that is open is the one that is on the disk."""
        now = _identity(self._path)
        return now is not None and now == self._was

    def check(self) -> None:
        """Raise before what is written goes nowhere, and after, since it may just have.

        Raises:
            ProjectError: the project's folder was deleted, moved or replaced.
        """
        if self.is_there():
            return
        folder = self._path.parent
        if self._path.exists():
            raise ProjectError(
                f"{folder} was replaced by another copy while it was open, so nothing can be "
                "written there. Undo what is not saved, and open it again."
            )
        raise ProjectError(
            f"{folder} is gone: it was deleted, moved, or its drive was taken away while it was "
            "open. Bring it back under this name."
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
