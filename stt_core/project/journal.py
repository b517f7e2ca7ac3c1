"""journal.sqlite: the truth about a project's labels, in transactions that survive a crash."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stt_core.errors import ProjectError
from stt_core.files import writing

NAME = "journal.sqlite"

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE media(
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    entry TEXT NOT NULL,      -- a MediaEntry, JSON
    times BLOB,               -- of a video: pts of every frame, seconds, zlib of float64
    listed TEXT               -- how it looked when it was last known to have this content
);
CREATE TABLE images(          -- of folders
    media INTEGER NOT NULL,
    number INTEGER NOT NULL,  -- given once, never changed: labels hang on it
    place INTEGER,            -- index of the frame now; NULL while the file is gone
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY(media, number)
) WITHOUT ROWID;
CREATE INDEX images_place ON images(media, place);

CREATE TABLE frames(          -- with labels, a review state or a bookmark, now or once
    number INTEGER PRIMARY KEY,
    media INTEGER NOT NULL,
    key INTEGER NOT NULL,     -- of a video the index, of a folder images.number
    pts REAL,                 -- of a video, seconds
    review TEXT NOT NULL DEFAULT 'todo',
    version INTEGER NOT NULL DEFAULT 0,   -- grows with every change of the map
    painted INTEGER NOT NULL DEFAULT 0,   -- pixels with a class
    labelled INTEGER NOT NULL DEFAULT 0,  -- pixels with a class or void
    png_version INTEGER,      -- the version its PNG shows; NULL where that is of other classes
    png_size INTEGER, png_mtime INTEGER, png_digest BLOB,  -- NULL where no PNG was left
    UNIQUE(media, key)
);
CREATE INDEX frames_stale ON frames(media) WHERE version > 0 AND png_version IS NOT version;
CREATE TABLE counts(frame INTEGER PRIMARY KEY, pixels BLOB NOT NULL);  -- int32 [256], by slot

CREATE TABLE steps(           -- what undo takes back at once; done where number <= position
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL, author TEXT NOT NULL, model TEXT NOT NULL, note TEXT NOT NULL,
    time REAL NOT NULL,       -- for people: order is by number
    table_before TEXT, table_after TEXT  -- of changes of the classes
);
CREATE TABLE edits(
    number INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    y INTEGER NOT NULL, x INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    before BLOB NOT NULL, after BLOB NOT NULL  -- zlib of uint8 slots
);
CREATE INDEX edits_frame ON edits(frame, number);
CREATE INDEX edits_step ON edits(step);
CREATE TABLE bases(           -- whole maps after a step, so that replaying stays short
    frame INTEGER NOT NULL, step INTEGER NOT NULL, edit INTEGER NOT NULL, map BLOB NOT NULL,
    PRIMARY KEY(frame, step)
);
CREATE TABLE bookmarks(frame INTEGER PRIMARY KEY, note TEXT NOT NULL);
"""


_NO_FILE_BESIDE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


class DamagedJournal(ProjectError):
    """The journal's file is not, or no longer, a sound database."""


class Journal:
    """One connection. For one thread at a time, whichever.

    Args:
        path: of the file, which must exist.
        read_only: read what another process may be writing.

    Raises:
        ProjectError: it cannot be opened.
        DamagedJournal: it is no sound database.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        with self._told():
            self.connection = self._read() if read_only else self._write()
        self._inode = _inode(path)

    @classmethod
    def create(cls, path: Path, fill: Callable[[Journal], None]) -> Journal:
        """Make a journal; with what `fill` puts into it, it appears whole or not at all.

        Raises:
            OutputError, ProjectError: it cannot be made.
        """
        draft = path.with_name(f".{path.name}.new")
        remove_journal(draft)
        with writing(draft):
            draft.touch()
        journal = cls(draft)
        try:
            with journal._told():
                journal.connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            fill(journal)
        finally:
            journal.close()
        remove_journal(path)  # a log left beside an older file would be read into the new one
        with writing(path):
            draft.replace(path)
        return cls(path)

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing, on the disk when it ends; within another, part of that.

        Raises:
            ProjectError: the disk is full or fails; nothing of the block happened.
        """
        if self.in_transaction:
            yield
            return
        with self._told():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.refuse_moved()
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have rolled back already
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The block sees one state, whatever another process writes meanwhile."""
        if self.in_transaction:
            yield
            return
        with self._told():
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.execute("COMMIT")

    def refuse_moved(self) -> None:
        """See that what is written can be found again.

        Raises:
            ProjectError: the file was deleted, moved or replaced since it was opened.
        """
        if _inode(self.path) != self._inode:
            raise ProjectError(
                f"{self.path} was deleted, moved or replaced while it was open, so nothing can be "
                "saved there. Put the project's folder back in its place, or open it where it is "
                "now."
            )

    def run(self, sql: str, *values: Any) -> int:
        """Execute a change; return the number of the row inserted last."""
        with self._told():
            return self.connection.execute(sql, values).lastrowid or 0

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._told():
            self.connection.executemany(sql, rows)

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row, None where there is none."""
        with self._told():
            row: tuple[Any, ...] | None = self.connection.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._told():
            return self.connection.execute(sql, values).fetchall()

    def get(self, key: str) -> Any:
        """A single fact of the project; None where it is not told."""
        row = self.one("SELECT value FROM meta WHERE key = ?", key)
        return row[0] if row else None

    def put(self, key: str, value: str | int) -> None:
        self.run("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", key, value)

    def problems(self, *, quick: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; empty where it is sound. Reads all of it."""
        check = "quick_check" if quick else "integrity_check"
        try:
            found = [str(row[0]) for row in self.connection.execute(f"PRAGMA {check}(20)")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def backup(self, target: Path) -> None:
        """Copy all that is committed into a new file.

        Raises:
            ProjectError: it cannot be written.
        """
        with self._told():
            copy = sqlite3.connect(target)
            try:
                self.connection.backup(copy)
            finally:
                copy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. The last to do so folds the write-ahead log into it."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _write(self) -> sqlite3.Connection:
        connection = _connect(f"{self.path.absolute().as_uri()}?mode=rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _read(self) -> sqlite3.Connection:
        """Read-only; where the folder takes no file, from the file alone or a copy of it."""
        address = self.path.absolute().as_uri()
        try:
            return _tried(f"{address}?mode=ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _NO_FILE_BESIDE:
                raise
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.exists() or not log.stat().st_size:
            return _tried(f"{address}?immutable=1")
        self._copy = tempfile.TemporaryDirectory()
        for file in (self.path, log):
            shutil.copyfile(file, Path(self._copy.name) / file.name)
        return _tried((Path(self._copy.name) / self.path.name).as_uri() + "?mode=rw")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _in_words(self.path, error) from error


def remove_journal(path: Path) -> None:
    """Remove a journal with what SQLite keeps beside it."""
    for file in _files(path):
        file.unlink(missing_ok=True)


def move_journal(path: Path, folder: Path) -> None:
    """Move a journal with what SQLite keeps beside it into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in _files(path):
        if file.exists():
            file.replace(folder / file.name)


def _files(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(path.name + end) for end in ("", "-wal", "-shm"))


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file has a name; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _connect(address: str) -> sqlite3.Connection:
    # Jobs hand a project from thread to thread; SQLite itself is safe to use so.
    return sqlite3.connect(
        address, uri=True, timeout=10, isolation_level=None, check_same_thread=False
    )


def _tried(address: str) -> sqlite3.Connection:
    connection = _connect(address)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _in_words(path: Path, error: sqlite3.Error) -> ProjectError:
    code = getattr(error, "sqlite_errorcode", None)  # not every error comes from the library
    kind = code & 0xFF if isinstance(code, int) else None
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedJournal(
            f"{path} is damaged ({error}). Close the project and open it again, or run "
            "'stt-studio project check': it is rebuilt from the label files."
        )
    reasons = {
        sqlite3.SQLITE_FULL: "the disk is full. Free some space and try again.",
        sqlite3.SQLITE_IOERR: f"{error}. The disk may be full or failing.",
        sqlite3.SQLITE_READONLY: "permission denied. Choose a folder you may write to.",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check the folder and its permissions.",
        sqlite3.SQLITE_BUSY: "another program keeps it locked. Close that and try again.",
    }
    reason = reasons.get(kind, f"{error}.") if kind is not None else f"{error}."
    return ProjectError(f"cannot use {path}: {reason} Nothing that was saved is lost.")
