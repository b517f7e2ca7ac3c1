"""What a result was computed with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """What a result was computed with."""
    names = ("stt-studio", "torch", "numpy", "av", "opencv-python-headless", "safetensors")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "run from a checkout" if name == "stt-studio" else "missing"
    return found
