"""Where predictions lie: a folder for each medium x model x settings, under a budget of bytes.

What a model predicted can be predicted again; maps that were imported cannot, and are never
deleted to make room.

Passes and windows of several processes may use these folders at once, whoever holds the project:
each folder has a lock of its own.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stt_core.errors import FormatError, OutputError, ProjectError
from stt_core.files import is_temporary, writing
from stt_core.project import manifest as manifests
from stt_core.project import order_of_use
from stt_core.project.aside import set_aside
from stt_core.project.lock import FOLDER_LOCKS, is_being_read, take_folder_lock
from stt_core.project.order_of_use import OrderOfUse
from stt_core.project.predictions.index import listed
from stt_core.project.predictions.key import PredictionKey, Settings
from stt_core.project.predictions.manifest import FORMAT, NAME, Manifest, read_manifest
from stt_core.project.predictions.writer import PredictionWriter

PREDICTIONS = "predictions"
CACHE = "cache"
"""Beside them, under the same budget: whatever else can be made again."""
DEFAULT_BYTES = 20 * 10**9
"""What predictions may take where nobody said."""
IMPORTED = "imported"
"""The setting that marks maps which no model of ours can make again."""
_TRASH = ".trash-"


@dataclass(frozen=True, slots=True)
class PredictionSet:
    """A folder of predictions."""

    manifest: Manifest
    path: Path
    bytes: int
    last_use: int
    """Grows with every use of any; 0 where it is not known. No time: clocks go back."""

    @property
    def key(self) -> PredictionKey:
        return self.manifest.key

    def stale(
        self, media_hashes: Collection[str], model_hash: str | None, settings: Settings | None
    ) -> tuple[str, ...]:
        """Why it must not be shown as of now: what differs, in a word each; empty where nothing.

        Args:
            media_hashes: of the project's media now.
            model_hash: of the model in use; None not to ask.
            settings: those in use; None not to ask.
        """
        key, reasons = self.key, []
        if key.media_hash not in media_hashes:
            reasons.append("media")
        if model_hash is not None and key.model_hash != model_hash:
            reasons.append("model")
        now = None if settings is None else replace(key, settings=settings)
        if now is not None and now != key:
            reasons.append("settings")
        return tuple(reasons)


class PredictionFolders:
    """Finds, makes and evicts folders of predictions.

    Args:
        folder: of the project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._predictions = folder / PREDICTIONS
        self._cache = folder / CACHE
        self._uses = OrderOfUse(self._predictions / order_of_use.NAME)

    def find(self, key: PredictionKey) -> Path | None:
        """The folder of a key; None where there is none. It may hold part of the frames only."""
        path = self._predictions / key.digest
        return None if _manifest(path) is None else path

    @contextmanager
    def writer(self, manifest: Manifest) -> Iterator[PredictionWriter]:
        """The predictions of a manifest, found or begun, for the block alone to write.

        It needs no right to write the project.

        Raises:
            ProjectError: another pass is writing them.
            OutputError: the disk is full or read-only.
            FormatError: they are damaged, or a newer version wrote them.
        """
        path = self._predictions / manifest.key.digest
        with PredictionWriter(path, manifest) as writer:
            self.use(path)
            yield writer

    def use(self, path: Path) -> None:
        """Note that a folder was used just now, read or written: it is the last to be evicted.

        Where that cannot be noted, as in a read-only project, nothing can be evicted either.
        """
        self._uses.note(self._name(path))

    def all(self) -> tuple[PredictionSet, ...]:
        """All folders that say what they are of, the last used first."""
        uses = self._uses.all()
        sets = []
        for path in _entries(self._predictions):
            manifest = _manifest(path)
            if manifest is not None:
                used = uses.get(self._name(path), 0)
                sets.append(PredictionSet(manifest, path, byte_size(path), used))
        return tuple(sorted(sets, key=lambda s: (-s.last_use, s.path.name)))

    def unusable(self) -> dict[Path, str]:
        """Folders that do not say what they are of, each with a sentence."""
        found = {}
        for path in _entries(self._predictions):
            try:
                manifest = read_manifest(path)
            except FormatError as error:
                if not _is_just_begun(path):
                    found[path] = str(error)
            else:
                if manifest.key.digest != path.name:
                    found[path] = f"{path} does not have the name of what it holds. Delete it."
        return found

    def leftovers(self) -> list[Path]:
        """What killed passes left half-written and killed evictions half-deleted.

        Nothing of a pass that goes on: it holds the lock of its folder.
        """
        left = [*self._predictions.glob(f"{_TRASH}*"), *self._cache.glob(f"{_TRASH}*")]
        for path in _entries(self._predictions):
            if path.is_dir() and not path.is_symlink():
                # Listed before the lock is asked for: what begins after is not among them.
                half = [file for file in _files(path) if is_temporary(file)]
                left += half if half and _is_free(path) else ()
        return left

    def bytes(self) -> int:
        """What predictions and caches take that can be made again."""
        return sum(byte_size(path) for path in self._evictable())

    @property
    def budget(self) -> int:
        """What they may take, by project.json."""
        try:
            said = manifests.read_raw(self._folder / manifests.NAME).get("cache_bytes")
        except ProjectError:
            said = None
        return said if isinstance(said, int) else DEFAULT_BYTES

    def keep_budget(self, keep: Collection[Path] = ()) -> tuple[str, ...]:
        """Evict what is over the budget; return sentences on what was done or could not be."""
        budget = self.budget
        try:
            gone = self.evict(budget, keep)
        except OutputError as error:
            return (f"Predictions take more than {budget / 1e9:g} GB. {error}",)
        if not gone:
            return ()
        return (
            f"{len(gone)} folders of predictions that were not used for longest were deleted, so "
            f"that all take no more than {budget / 1e9:g} GB ('stt-studio project cache').",
        )

    def evict(self, budget: int, keep: Collection[Path] = ()) -> tuple[Path, ...]:
        """Delete what was not used for longest until predictions and caches fit a budget.

        Nothing else of the project is ever touched: no imported maps, nothing of which nobody
        knows what it is, nothing that is being written or read.

        Args:
            budget: bytes.
            keep: folders that stay in any case.

        Returns:
            What was deleted.

        Raises:
            OutputError: something could not be deleted.
        """
        self._empty_trash()
        uses = self._uses.all()
        sizes = {path: byte_size(path) for path in self._evictable()}
        held, gone = sum(sizes.values()), []
        for path in sorted(sizes, key=lambda p: (uses.get(self._name(p), 0), p.name)):
            if held <= budget:
                break
            if path not in keep and self._delete(path):
                held -= sizes[path]
                gone.append(path)
        return tuple(gone)

    def put_away(self, path: Path) -> str:
        """Remove a folder of nobody knows what where it holds no frame, else set it aside.

        Returns:
            What was done, a sentence; empty where nothing could be: a newer version may know it,
            or somebody writes there.

        Raises:
            OutputError: it cannot be moved.
        """
        if _is_newer(path):
            return ""
        lock = take_folder_lock(path)
        if lock is None:
            return ""
        try:
            if path.is_dir() and not listed(path):
                with writing(path):
                    remove_tree(path)
                return "It held no frame and was removed."
            return f"It was moved to {set_aside(self._folder, path)}."
        finally:
            lock.release()

    def _delete(self, path: Path) -> bool:
        lock = take_folder_lock(path)
        if lock is None:
            return False
        try:
            if is_being_read(path):
                return False
            with writing(path):
                # Renamed first: killed in the middle, it is never taken for a whole one.
                trash = path.with_name(_TRASH + secrets.token_hex(6))
                os.replace(path, trash)
                remove_tree(trash)
        finally:
            lock.release()
        return True

    def _empty_trash(self) -> None:
        for place in (self._predictions, self._cache):
            for path in place.glob(f"{_TRASH}*"):
                with writing(path):
                    remove_tree(path)

    def _evictable(self) -> list[Path]:
        found = ((path, _manifest(path)) for path in _entries(self._predictions))
        again = [path for path, known in found if known and IMPORTED not in known.settings]
        return [*again, *_entries(self._cache)]

    def _name(self, path: Path) -> str:
        return f"{path.parent.name}/{path.name}"


def byte_size(path: Path) -> int:
    """Of a file, or of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    stack = [path]
    while stack:
        entry = stack.pop()
        try:
            if entry.is_dir() and not entry.is_symlink():
                stack.extend(entry.iterdir())
            else:
                total += entry.lstat().st_size
        except OSError:
            continue
    return total


def remove_tree(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; another may do so meanwhile.

    Raises:
        OSError: something may not be removed.
    """
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            for entry in path.iterdir():
                remove_tree(entry)
            path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        p
        for p in folder.iterdir()
        if not p.name.startswith((".", order_of_use.NAME)) and p.name != FOLDER_LOCKS
    )


def _manifest(path: Path) -> Manifest | None:
    try:
        manifest = read_manifest(path)
    except FormatError:
        return None  # told by `unusable`
    return manifest if manifest.key.digest == path.name else None


def _is_newer(path: Path) -> bool:
    """Whether a newer version of the program wrote it."""
    try:
        table = json.loads((path / NAME).read_bytes())
        return int(table["format"]) > FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_just_begun(path: Path) -> bool:
    """Whether whoever made the folder was killed before there was anything in it."""
    return path.is_dir() and all(map(is_temporary, _files(path)))


def _files(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []  # gone meanwhile, or nothing that we may look into


def _is_free(path: Path) -> bool:
    try:
        lock = take_folder_lock(path)
    except OutputError:
        return False  # read-only: nothing can be removed there anyway
    if lock is not None:
        lock.release()
    return lock is not None
