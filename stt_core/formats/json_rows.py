"""JSON files with one long list, written a row at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class JsonRows:
    """An object whose last written key is a list."""

    def __init__(self, file: TextIO, head: Mapping[str, object], key: str) -> None:
        self._file, self._first = file, True
        self._file.write(_packed(head)[:-1] + f"{', ' if head else ''}{json.dumps(key)}: [")

    def append(self, row: Mapping[str, object]) -> None:
        self._file.write(("\n" if self._first else ",\n") + _packed(row))
        self._first = False

    def finish(self, tail: Mapping[str, object]) -> None:
        """End the list, and write the other keys."""
        self._file.write("\n]" + (f", {_packed(tail)[1:]}" if tail else "}") + "\n")


@contextmanager
def json_rows(path: Path, head: Mapping[str, object], key: str) -> Iterator[JsonRows]:
    """Begin a JSON file of `head` and a list `key`; it is closed at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield JsonRows(file, head, key)


def _packed(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
