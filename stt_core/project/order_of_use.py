"""predictions/index.sqlite: which folders were used in which order, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from stt_core.errors import OutputError
from stt_core.files import writing

NAME = "index.sqlite"


class OrderOfUse:
    """Numbers that grow with every use. No times: clocks go back.

    Args:
        path: of the file, which is made at the first use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, name: str) -> None:
        """A folder was used just now. Where that cannot be noted, nothing can be evicted either."""
        with suppress(OutputError), self._index() as index, index:
            index.execute(
                "INSERT OR REPLACE INTO uses(name, number) "
                "SELECT ?, COALESCE(MAX(number), 0) + 1 FROM uses", (name,),
            )  # fmt: skip

    def all(self) -> dict[str, int]:
        """The number of the last use of each folder; empty where nothing is known."""
        if not self._path.exists():
            return {}
        try:
            with self._index() as index:
                return dict(index.execute("SELECT name, number FROM uses"))
        except OutputError:
            return {}  # read-only: nothing can be evicted anyway

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        path = self._path
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
