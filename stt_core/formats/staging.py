"""Exports and copies appear under their name when they are whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_core.errors import OutputError
from stt_core.files import is_left_behind, temporary_prefix, writing


@contextmanager
def staged(target: Path, *, as_file: bool) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; give it that name when the block ends well.

    Args:
        target: must not exist, or be an empty folder.
        as_file: whether not the folder but the one file of that name in it is the result.

    Raises:
        OutputError: something stands there already, or it cannot be written.
    """
    _refuse_present(target, as_file=as_file)
    part = target.with_name(f"{temporary_prefix(target)}{secrets.token_hex(4)}.part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        part.mkdir()
    try:
        yield part
        with writing(target):
            _sync_all(part)
        _refuse_present(target, as_file=as_file)
        with writing(target):
            if as_file:
                (part / target.name).replace(target)
            else:
                if target.is_dir():
                    target.rmdir()  # where a folder cannot be renamed over an empty one
                part.rename(target)
            _sync_folder(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what exports left in a folder whose process was killed; return what that was.

    Raises:
        OSError: the folder cannot be read.
    """
    left = []
    for path in folder.glob(".*.part"):
        if is_left_behind(path):
            shutil.rmtree(path, ignore_errors=True)
            left.append(path)
    return left


def _refuse_present(target: Path, *, as_file: bool) -> None:
    if target.is_dir() and not as_file:
        with writing(target):
            if any(target.iterdir()):
                raise OutputError(
                    f"{target} is not empty. Choose a new folder: an export never mixes with "
                    "what is there."
                )
    elif os.path.lexists(target):
        kind = "a folder" if target.is_dir() else "a file"
        raise OutputError(f"{target} exists already, as {kind}. Choose another name or remove it.")


def _sync_all(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb+") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    """So that the new names last as well; Windows has no such thing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
