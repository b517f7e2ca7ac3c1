"""The media of a project in its journal: adding, finding again, and following image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stt_core.errors import MediaError, ProjectError
from stt_core.project.facts import insert_medium, publish, revise, stored_times
from stt_core.project.frames import Medium, read_media
from stt_core.project.images import (
    changed_images,
    hash_of_images,
    list_images,
    read_images,
    store_images,
)
from stt_core.project.journal import Journal
from stt_core.project.looks import holds, looks_same, store_look, take_look
from stt_core.project.manifest import MediaEntry
from stt_core.project.media import (
    Relinked,
    byte_size,
    describe,
    find_below,
    moved,
    places,
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
        self._refuse_known(path, entry)
        look = take_look(path, entry.hash)
        images = list_images(path).images if entry.kind == "folder" else ()
        with self._journal.transaction():
            number = insert_medium(self._journal, entry, times)
            store_images(self._journal, number, images)
            store_look(self._journal, number, look)
            revise(self._journal)
        self._changed()
        return entry

    def path(self, media_id: str) -> Path | None:
        """Where a medium is now; None where it is missing, or a video replaced by another.

        Reads of a video only what looks another than it did; of a folder nothing.
        """
        medium = self[media_id]
        found = places(medium.entry, self._folder)
        if medium.entry.kind == "folder":
            return next(iter(found), None)
        return next((path for path in found if holds(self._journal, medium, path)), None)

    def replaced(self, media_id: str) -> Path | None:
        """Where other content lies in the place of a medium; None where it is missing or itself.

        Of a folder, which :meth:`refresh` follows, this looks at every image.
        """
        medium = self[media_id]
        found = places(medium.entry, self._folder)
        if medium.entry.kind == "folder":
            found = found[:1]
        if any(holds(self._journal, medium, path) for path in found):
            return None
        return next(iter(found), None)

    def refuse_replaced(self, media_id: str) -> None:
        """Raises ProjectError where a video was replaced: its labels are of what was there."""
        medium = self[media_id]
        if medium.entry.kind == "video" and self.replaced(media_id) is not None:
            raise ProjectError(self.problem(media_id))

    def problem(self, media_id: str) -> str:
        """Why a medium cannot be used, in a sentence; empty where it can."""
        entry, other = self[media_id].entry, self.replaced(media_id)
        if other is not None and entry.kind == "folder":
            return (
                f"the images of {other} have changed, and {self._folder} does not know it yet. "
                "Close the project where it is open for writing, and try again."
            )
        if other is not None:
            return (
                f"{other} is not what it was when it was added to the project: its content "
                "differs. Its labels and predictions are kept. Bring the old file back, find it "
                "with 'stt-studio project relink', or take the new one in its place with "
                "'stt-studio project refresh'."
            )
        if self.path(media_id) is None:
            return (
                f"{entry.absolute} is missing. Relink it first: say where it is now with "
                "'stt-studio project relink'."
            )
        return ""

    def accept(self, media_id: str) -> MediaEntry:
        """Take what lies in the place of a medium as that medium; labels stay with their frames.

        Raises:
            MediaError: it cannot be opened.
            ProjectError: it is missing or in the project already, or labels do not fit it.
        """
        medium, path = self[media_id], self.replaced(media_id)
        if medium.entry.kind == "folder":
            self.refresh(media_id)
            return self[media_id].entry
        if path is None:
            problem = self.problem(media_id)
            if problem:
                raise ProjectError(problem)
            return medium.entry
        look = take_look(path, "")
        found, times = describe(path, self._folder, media_id)
        self._refuse_known(path, found)
        self._refuse_unfit(medium, found)
        with self._journal.transaction():
            self._journal.run(
                "UPDATE media SET times = ? WHERE number = ?", stored_times(times), medium.number
            )
            if times is not None:
                rows = self._journal.all("SELECT key FROM frames WHERE media = ?", medium.number)
                self._journal.run_many(
                    "UPDATE frames SET pts = ? WHERE media = ? AND key = ?",
                    [(float(times[key]), medium.number, key) for (key,) in rows],
                )
            self._store(medium, found)
            same = look == take_look(path, "")
            store_look(self._journal, medium.number, take_look(path, found.hash) if same else None)
        self._changed()
        return found

    def refresh(self, media_id: str, *, thorough: bool = False) -> int:
        """Follow what happened to an image folder since it was listed last.

        Quick where nothing did. A folder that is missing or cannot be read stays as it was.

        Args:
            media_id: of the medium.
            thorough: read all images, whatever they look like.

        Returns:
            How many images have another content than before.
        """
        medium = self[media_id]
        path = self.path(media_id)
        if medium.entry.kind == "video" or path is None:
            return 0
        if not thorough and looks_same(self._journal, medium, path):
            return 0
        known = read_images(self._journal, medium.number)
        look = take_look(path, "")
        try:
            listing = list_images(path, known, thorough=thorough)
            size = byte_size(path)
        except MediaError as error:
            self._tell(f"{error} Its labels are kept.")
            return 0
        count = sum(image.place is not None for image in listing.images)
        digest = hash_of_images(listing, path)
        entry = medium.entry.model_copy(update={"frames": count, "hash": digest, "bytes": size})
        same = look == take_look(path, "")  # nothing happened while it was read
        with self._journal.transaction():
            store_images(self._journal, medium.number, listing.images)
            store_look(self._journal, medium.number, take_look(path, digest) if same else None)
            self._store(medium, entry)
        for message in listing.messages:
            self._tell(message)
        if entry != medium.entry:
            self._changed()
        return changed_images(known, listing)

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
        """Those that are nowhere, and videos that were replaced."""
        return tuple(m.entry for m in self.by_id.values() if self.path(m.entry.id) is None)

    def _follow(self, entry: MediaEntry, path: Path | None, otherwise: str) -> Relinked:
        if path is None:
            return Relinked(entry.id, None, f"{entry.name} {otherwise}.")
        with self._journal.transaction():
            self._store(self[entry.id], moved(entry, path, self._folder))
        self._changed()
        return Relinked(entry.id, path, f"{entry.name} is now {path}.")

    def _refuse_known(self, path: Path, entry: MediaEntry) -> None:
        for other in self.by_id.values():
            if other.entry.hash == entry.hash and other.entry.id != entry.id:
                raise ProjectError(
                    f"{path} is in the project already, as {other.entry.name}: both have the same "
                    "content. Use that one."
                )

    def _refuse_unfit(self, medium: Medium, found: MediaEntry) -> None:
        """Labels are of frames of one size, and of frames that there are."""
        row = self._journal.one(
            "SELECT MAX(key) FROM frames WHERE media = ?", medium.number
        )  # with a review state or a bookmark, too
        last = row[0] if row else None
        if last is None:
            return
        size = found.height, found.width
        if found.kind != medium.entry.kind or size != medium.size or last >= found.frames:
            height, width = medium.size
            raise ProjectError(
                f"{found.absolute} has {found.frames} frames of {found.width} x {found.height} "
                f"pixels, but {medium.entry.name} has labels or notes up to frame {last}, of "
                f"{width} x {height}. Add it as another medium."
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
