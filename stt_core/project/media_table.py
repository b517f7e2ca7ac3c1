"""The media of a project in its journal: adding, finding again, and following image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stt_core.errors import MediaError, ProjectError
from stt_core.media.source import media_hash
from stt_core.project.facts import insert_medium, publish, revise, stored_times
from stt_core.project.frames import Medium, read_media
from stt_core.project.images import (
    list_images,
    read_images,
    settled_mtime,
    store_images,
)
from stt_core.project.journal import Journal
from stt_core.project.manifest import MediaEntry
from stt_core.project.media import (
    Relinked,
    byte_size,
    describe,
    find_below,
    locate,
    moved,
    same_content,
    with_prefix,
)


class MediaTable:
    """Changes the media of a project.

    Args:
        folder: of the project.
        journal: its journal.
        tell: takes a sentence for the person about what was found and done.
    """

    def __init__(self, folder: Path, journal: Journal, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._journal = journal
        self._tell = tell
        self.by_id = read_media(journal)

    def reload(self) -> None:
        self.by_id = read_media(self._journal)

    def __getitem__(self, media_id: str) -> Medium:
        try:
            return self.by_id[media_id]
        except KeyError:
            raise ValueError(
                f"the project has the media {list(self.by_id)}, got {media_id=}"
            ) from None

    def add(self, path: Path) -> MediaEntry:
        """Note a medium. Reads all images of a folder once.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is in the project already, or its name cannot be stored.
        """
        entry, times = describe(path, self._folder)
        for other in self.by_id.values():
            if other.entry.hash == entry.hash:
                raise ProjectError(
                    f"{path} is in the project already, as {other.entry.name}: both have the same "
                    "content. Use that one."
                )
        images = list_images(path).images if entry.kind == "folder" else ()
        with self._journal.transaction():
            number = insert_medium(self._journal, entry, times)
            store_images(self._journal, number, images)
            self._note_listing(number, path)
            revise(self._journal)
        self._changed()
        return entry

    def path(self, media_id: str) -> Path | None:
        """Where a medium is now; None where it is missing."""
        return locate(self[media_id].entry, self._folder)

    def refresh(self, media_id: str) -> None:
        """Follow what happened to an image folder since it was listed last.

        Quick where nothing did. A folder that is missing or cannot be read stays as it was.
        """
        medium = self[media_id]
        path = self.path(media_id)
        if medium.entry.kind == "video" or path is None or not self._may_differ(medium, path):
            return
        try:
            listing = list_images(path, read_images(self._journal, medium.number))
            digest = media_hash(path)
        except MediaError as error:
            self._tell(f"{error} Its labels are kept.")
            return
        count = sum(image.place is not None for image in listing.images)
        entry = medium.entry.model_copy(
            update={"frames": count, "hash": digest, "bytes": byte_size(path)}
        )
        with self._journal.transaction():
            store_images(self._journal, medium.number, listing.images)
            self._note_listing(medium.number, path)
            self._store(medium, entry)
        for message in listing.messages:
            self._tell(message)
        if entry != medium.entry:
            self._changed()

    def relink(self, media_id: str, path: Path) -> None:
        """Say where a medium is now.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is another one.
        """
        medium = self[media_id]
        found, times = describe(path, self._folder, media_id)
        old = medium.entry
        known = old.hash or old.kind != found.kind
        if old.hash != found.hash if known else medium.size != (found.height, found.width):
            raise ProjectError(
                f"{path} is not {old.name}: its content differs. Choose the same file under its "
                "new name, or add this one to the project."
            )
        with self._journal.transaction():
            if not old.hash:
                self._journal.run(
                    "UPDATE media SET times = ? WHERE number = ?",
                    stored_times(times), medium.number,
                )  # fmt: skip
            self._store(medium, found)
        self._changed()
        self.refresh(media_id)

    def relink_below(self, folder: Path) -> tuple[Relinked, ...]:
        """Look for all missing media by content in a folder and those below it."""
        missing = self.missing()
        found = find_below(folder, missing)
        return tuple(
            self._follow(entry, found.get(entry.id), f"was not found in {folder}")
            for entry in missing
        )

    def relink_prefix(self, old: str, new: Path) -> tuple[Relinked, ...]:
        """Where paths of missing media began with `old`, look below `new`."""
        results = []
        for entry in self.missing():
            path = with_prefix(entry, old, new)
            if path is None:
                results.append(Relinked(entry.id, None, f"{entry.absolute} is not below {old}."))
            elif not path.exists():
                results.append(Relinked(entry.id, None, f"{path} does not exist."))
            elif not same_content(entry, path):
                results.append(Relinked(entry.id, None, f"{path} has another content."))
            else:
                results.append(self._follow(entry, path, ""))
        return tuple(results)

    def missing(self) -> tuple[MediaEntry, ...]:
        entries = (medium.entry for medium in self.by_id.values())
        return tuple(entry for entry in entries if locate(entry, self._folder) is None)

    def _follow(self, entry: MediaEntry, path: Path | None, otherwise: str) -> Relinked:
        if path is None:
            return Relinked(entry.id, None, f"{entry.name} {otherwise}.")
        with self._journal.transaction():
            self._store(self[entry.id], moved(entry, path, self._folder))
        self._changed()
        return Relinked(entry.id, path, f"{entry.name} is now {path}.")

    def _may_differ(self, medium: Medium, path: Path) -> bool:
        row = self._journal.one("SELECT listed FROM media WHERE number = ?", medium.number)
        return path.is_file() or row is None or row[0] != path.stat().st_mtime_ns

    def _note_listing(self, number: int, path: Path) -> None:
        if path.is_dir():
            self._journal.run(
                "UPDATE media SET listed = ? WHERE number = ?", settled_mtime(path), number
            )

    def _store(self, medium: Medium, entry: MediaEntry) -> None:
        self._journal.run(
            "UPDATE media SET entry = ? WHERE number = ?", entry.model_dump_json(), medium.number
        )
        if entry != medium.entry:
            revise(self._journal)

    def _changed(self) -> None:
        self.reload()
        publish(self._folder, self._journal)
