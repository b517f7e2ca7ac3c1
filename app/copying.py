"""Copying a project to another place."""

from __future__ import annotations

import shutil
from pathlib import Path

from stt_core.files import writing
from stt_core.formats.staging import staged
from stt_core.project.journal import NAME as JOURNAL
from stt_core.project.journal import Journal
from stt_core.project.lock import FOLDER_LOCKS
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
    leave = shutil.ignore_patterns(f"{JOURNAL}*", LOCK, FOLDER_LOCKS, CACHE, ".*")
    with staged(target, as_file=False) as draft, writing(target):
        shutil.copytree(folder, draft, ignore=leave, dirs_exist_ok=True)
        with Journal(folder / JOURNAL, read_only=True) as journal:
            journal.backup(draft / JOURNAL)
