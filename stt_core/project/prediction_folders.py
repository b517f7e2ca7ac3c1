"""Where predictions lie: a folder for each medium x model x settings, under a budget of bytes.

Passes and windows of several processes may use these folders at once, whoever holds the project:
each folder has a lock of its own.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stt_core.errors import FormatError, OutputError
from stt_core.files import is_temporary, writing
from stt_core.project.lock import FOLDER_LOCKS, take_folder_lock
from stt_core.project.predictions.key import PredictionKey, Settings
from stt_core.project.predictions.manifest import Manifest, read_manifest
from stt_core.project.predictions.writer import PredictionWriter

PREDICTIONS = "predictions"
CACHE = "cache"
_INDEX = "index.sqlite"
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
        self._predictions = folder / PREDICTIONS
        self._cache = folder / CACHE

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

    def cache_folder(self, name: str) -> Path:
        """A folder for what can be made again, such as thumbnails; eviction may take it.

        Raises:
            ValueError: the name is no plain one.
            OutputError: it cannot be made.
        """
        if not name.isidentifier():
            raise ValueError(f"a cache is named like an identifier, got {name=}")
        path = self._cache / name
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        self.use(path)
        return path

    def use(self, path: Path) -> None:
        """Note that a folder was used just now, read or written: it is the last to be evicted.

        Where that cannot be noted, as in a read-only project, nothing can be evicted either.
        """
        name = self._name(path)
        with suppress(OutputError), self._index() as index, index:
            index.execute(
                "INSERT OR REPLACE INTO uses(name, number) "
                "SELECT ?, COALESCE(MAX(number), 0) + 1 FROM uses", (name,),
            )  # fmt: skip

    def all(self) -> tuple[PredictionSet, ...]:
        """All folders that say what they are of, the last used first."""
        uses = self._uses()
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
        """What predictions and caches take."""
        return sum(byte_size(path) for path in self._evictable())

    def evict(self, budget: int, keep: Collection[Path] = ()) -> tuple[Path, ...]:
        """Delete what was not used for longest until predictions and caches fit a budget.

        Nothing else of the project is ever touched.

        Args:
            budget: bytes.
            keep: folders in use; those being written are kept anyway.

        Returns:
            What was deleted.

        Raises:
            OutputError: something could not be deleted.
        """
        self._empty_trash()
        uses = self._uses()
        sizes = {path: byte_size(path) for path in self._evictable()}
        held, gone = sum(sizes.values()), []
        for path in sorted(sizes, key=lambda p: (uses.get(self._name(p), 0), p.name)):
            if held <= budget:
                break
            if path not in keep and self._delete(path):
                held -= sizes[path]
                gone.append(path)
        return tuple(gone)

    def _delete(self, path: Path) -> bool:
        lock = take_folder_lock(path)
        if lock is None:
            return False
        try:
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
        return [*_entries(self._predictions), *_entries(self._cache)]

    def _name(self, path: Path) -> str:
        return f"{path.parent.name}/{path.name}"

    def _uses(self) -> dict[str, int]:
        if not (self._predictions / _INDEX).exists():
            return {}
        try:
            with self._index() as index:
                return dict(index.execute("SELECT name, number FROM uses"))
        except OutputError:
            return {}  # read-only: nothing can be evicted anyway

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        path = self._predictions / _INDEX
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(_open_index(path)) as index:
                yield index
        except sqlite3.Error as error:
            raise OutputError(
                f"cannot write {path}: {error}. Check that the disk has room and the folder may be "
                "written to."
            ) from error


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


def _open_index(path: Path) -> sqlite3.Connection:
    """The index holds only the order of use, so a damaged one is begun anew."""
    index = sqlite3.connect(path, timeout=10)
    try:
        index.execute("CREATE TABLE IF NOT EXISTS uses(name TEXT PRIMARY KEY, number INTEGER)")
    except sqlite3.DatabaseError as error:
        index.close()
        if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        path.unlink()
        return _open_index(path)
    return index


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
        if not p.name.startswith((".", _INDEX)) and p.name != FOLDER_LOCKS
    )


def _manifest(path: Path) -> Manifest | None:
    try:
        manifest = read_manifest(path)
    except FormatError:
        return None  # told by `unusable`
    return manifest if manifest.key.digest == path.name else None


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
