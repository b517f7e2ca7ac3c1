"""What a :class:`stt_core.project.store.Project` does with its media."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from stt_core.errors import ProjectError
from stt_core.project.labelling import Labelling
from stt_core.project.manifest import MediaEntry
from stt_core.project.media import Relinked
from stt_core.project.media_table import MediaTable


class ProjectMedia(ABC):
    """Base of the project: its media."""

    _media: MediaTable
    _labels: Labelling

    def add_media(self, path: Path | str) -> MediaEntry:
        """Note a medium; reads all images of a folder once.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is in the project already, or its name cannot be stored.
        """
        self._must_write()
        return self._media.add(Path(path))

    def media_path(self, media_id: str) -> Path | None:
        """Where a medium is now; None where it is missing, or a video replaced by another.

        Reads of a video only what looks another than it did; of a folder nothing.
        """
        self._labels.medium(media_id)
        return self._media.path(media_id)

    def missing_media(self) -> tuple[MediaEntry, ...]:
        """Those that are nowhere, and videos in whose place another lies."""
        return self._media.missing()

    def replaced(self, media_id: str) -> Path | None:
        """Where other content lies in the place of a medium; None where it is missing or itself.

        Its predictions are stale then, and of a video the labels cannot be changed. Of a folder,
        this looks at every image.
        """
        self._labels.medium(media_id)
        return self._media.replaced(media_id)

    def problem(self, media_id: str) -> str:
        """Why a medium cannot be used, in a sentence; empty where it can."""
        self._labels.medium(media_id)
        return self._media.problem(media_id)

    def refresh_media(self, media_id: str) -> None:
        """Follow images added, renamed or removed; the first use of a medium does so by itself."""
        self._must_write()
        self._media.refresh(media_id)

    def accept_media(self, media_id: str) -> MediaEntry:
        """Take what lies in the place of a medium as that medium; labels stay with their frames.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is missing or in the project already, or labels do not fit it.
        """
        self._must_write()
        return self._media.accept(media_id)

    def relink(self, media_id: str, path: Path | str) -> None:
        """Say where a medium is now.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is another one.
        """
        self._must_write()
        self._media.relink(media_id, Path(path))

    def relink_below(self, folder: Path | str) -> tuple[Relinked, ...]:
        """Look for all missing media by content, in a folder and those below it."""
        self._must_write()
        return self._media.relink_below(Path(folder))

    def relink_prefix(self, old: str, new: Path | str) -> tuple[Relinked, ...]:
        """Where the paths of missing media began with `old`, look below `new`."""
        self._must_write()
        return self._media.relink_prefix(old, Path(new))

    def _found(self, media_id: str) -> Path:
        path = self.media_path(media_id)
        if path is None:
            raise ProjectError(self.problem(media_id))
        return path.absolute()

    @abstractmethod
    def _must_write(self) -> None:
        """Raises ProjectError where the project cannot be changed."""
