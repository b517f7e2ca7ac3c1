"""Files that are in the way but may be somebody's work: kept under another name, never deleted."""

from __future__ import annotations

import os
from pathlib import Path

from stt_core.files import writing

FOLDER = "aside"


def set_aside(project: Path, path: Path) -> Path:
    """Move a file into the project's `aside` folder, its place kept; return where it is now.

    Raises:
        OutputError: it could not be moved.
    """
    target = unused(project / FOLDER / path.relative_to(project))
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    return target


def unused(path: Path) -> Path:
    """The path, or with a number before its suffix where that name is taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
