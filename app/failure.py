"""Our own faults: recorded in a log file, told in one sentence."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_log_path


def record_failure(error: BaseException) -> str:
    """Write the traceback to a log file and return the sentence that says so."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    try:
        path = _log_file()
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError as refused:
        return f"this is our fault: {what} (and no log could be written: {refused})"
    return f"this is our fault: {what}. The details are in {path}; please report them."


def _log_file() -> Path:
    folder = user_log_path("stt-studio", appauthor=False, ensure_exists=True)
    return folder / f"failure-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.log"
