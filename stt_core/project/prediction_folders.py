"""Where predictions lie: a folder for each medium x model x settings, under a budget of bytes.

What is in such a folder is the business of who writes it. Passes and windows of several processes
may use these folders at once, whoever holds the project: each folder has a lock of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stt_core.errors import OutputError, ProjectError
from stt_core.files import write_text, writing
from stt_core.project.lock import read_holder, take_lock

PREDICTIONS = "predictions"
CACHE = "cache"
_KEY = "key.json"
_INDEX = "index.sqlite"
_LOCKS = "locks"
_TRASH = ".trash-"


@dataclass(frozen=True, slots=True)
class PredictionKey:
    """What a prediction depends on. Another of any of the three is another prediction."""

    media_hash: str
    model_hash: str
    settings: str
    """By :func:`settings_digest`."""

    @property
    def folder(self) -> str:
        """A name for it, the same on every machine."""
        text = f"{self.media_hash}\n{self.model_hash}\n{self.settings}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class PredictionSet:
    """A folder of predictions."""

    key: PredictionKey
    path: Path
    bytes: int
    last_use: int
    """Grows with every use of any; 0 where it is not known. No time: clocks go back."""

    def stale(
        self, media_hashes: Collection[str], model_hash: str | None, settings: str | None
    ) -> tuple[str, ...]:
        """Why it must not be shown as of now: what differs, in a word each; empty where nothing.

        Args:
            media_hashes: of the project's media now.
            model_hash: of the model in use; None not to ask.
            settings: digest of those in use; None not to ask.
        """
        reasons = []
        if self.key.media_hash not in media_hashes:
            reasons.append("media")
        if model_hash is not None and self.key.model_hash != model_hash:
            reasons.append("model")
        if settings is not None and self.key.settings != settings:
            reasons.append("settings")
        return tuple(reasons)


def settings_digest(settings: Mapping[str, object]) -> str:
    """A name for settings that does not depend on their order."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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
        path = self._predictions / key.folder
        return path if _read_key(path) == key else None

    @contextmanager
    def claim(self, key: PredictionKey) -> Iterator[Path]:
        """The folder of a key, made where there is none, for this pass alone to write.

        Raises:
            OutputError: it cannot be made.
            ProjectError: another pass is writing it.
        """
        path = self._predictions / key.folder
        lock_path = self._lock_path(path)
        with writing(lock_path):
            lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(lock_path)
        if lock is None:
            raise ProjectError(
                f"{path} is being written by {read_holder(lock_path) or 'another program'}. Wait "
                "for that pass to end, or stop it."
            )
        try:
            if _read_key(path) != key:
                with writing(path):
                    path.mkdir(exist_ok=True)
                write_text(path / _KEY, json.dumps(asdict(key), indent=2) + "\n")
            self.use(path)
            yield path
        finally:
            lock.release()

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
        """Note that a folder was used just now: it becomes the last to be evicted.

        Raises:
            OutputError: that could not be written.
        """
        name = self._name(path)
        with self._index() as index, index:
            index.execute(
                "INSERT OR REPLACE INTO uses(name, number) "
                "SELECT ?, COALESCE(MAX(number), 0) + 1 FROM uses", (name,),
            )  # fmt: skip

    def all(self) -> tuple[PredictionSet, ...]:
        """All folders that say what they are of, the last used first."""
        uses = self._uses()
        sets = []
        for path in _entries(self._predictions):
            key = _read_key(path)
            if key is not None:
                used = uses.get(self._name(path), 0)
                sets.append(PredictionSet(key, path, byte_size(path), used))
        return tuple(sorted(sets, key=lambda s: (-s.last_use, s.path.name)))

    def unusable(self) -> tuple[Path, ...]:
        """Folders that do not say what they are of."""
        paths = _entries(self._predictions)
        return tuple(p for p in paths if (key := _read_key(p)) is None or key.folder != p.name)

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
        lock_path = self._lock_path(path)
        with writing(lock_path):
            lock_path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(lock_path)
        if lock is None:
            return False
        try:
            with writing(path):
                # Renamed first: killed in the middle, it is never taken for a whole one.
                trash = path.with_name(_TRASH + secrets.token_hex(6))
                os.replace(path, trash)
                _remove(trash)
        finally:
            lock.release()
        return True

    def _empty_trash(self) -> None:
        for place in (self._predictions, self._cache):
            for path in place.glob(f"{_TRASH}*"):
                with writing(path):
                    _remove(path)

    def _evictable(self) -> list[Path]:
        return [*_entries(self._predictions), *_entries(self._cache)]

    def _name(self, path: Path) -> str:
        return f"{path.parent.name}/{path.name}"

    def _lock_path(self, path: Path) -> Path:
        # Beside the folders, and never removed: a lock that can go is no lock.
        return self._predictions / _LOCKS / f"{path.parent.name}-{path.name}.lock"

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


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    own = (_LOCKS, _INDEX)
    return sorted(
        p for p in folder.iterdir() if not p.name.startswith((".", _INDEX)) and p.name not in own
    )


def _read_key(path: Path) -> PredictionKey | None:
    try:
        raw = json.loads((path / _KEY).read_text(encoding="utf-8"))
        return PredictionKey(str(raw["media_hash"]), str(raw["model_hash"]), str(raw["settings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
