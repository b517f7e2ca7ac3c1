"""Finds the files that ship with the program."""

from __future__ import annotations

from pathlib import Path

SAMPLE_MODEL = "stt-lite0"
"""Name of the bundled model."""
SAMPLE_CLIP = "sample/street.mp4"
SAMPLE_LABELS = "sample/labels"
SAMPLE_CLASSES = "classes/camvid11.json"

_HERE = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Where a shipped file lies, in a checkout and in an installed wheel alike.

    Args:
        name: path inside `resources/`, with forward slashes.

    Raises:
        FileNotFoundError: neither place holds it, so the installation is incomplete.
    """
    for root in (_HERE / "_resources", _HERE.parent / "resources"):
        found = root / name
        if found.exists():
            return found
    raise FileNotFoundError(
        f"the program's own file resources/{name} is missing; install stt-studio again"
    )
