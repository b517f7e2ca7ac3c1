"""Copying a project to another place."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from stt_core.files import writing
from stt_core.project.journal import NAME as JOURNAL
from stt_core.project.journal import Journal
from stt_core.project.opening import LOCK
from stt_core.project.prediction_folders import CACHE


def copy_project(folder: Path, target: Path) -> None:
    """Copy a project, also one that another program is changing; whole or not at all.

    The journal is copied as of one moment. Label files that differ from it are put right when
    their frame is touched, as always.

    Args:
        folder: of the project.
        target: a new folder, or an empty one.

    Raises:
        OutputError, ProjectError: it cannot be written.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    leave = shutil.ignore_patterns(f"{JOURNAL}*", LOCK, "locks", CACHE, ".*")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(folder, draft, ignore=leave)
            with Journal(folder / JOURNAL, read_only=True) as journal:
                journal.backup(draft / JOURNAL)
            if target.exists():
                target.rmdir()  # empty
            os.replace(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
