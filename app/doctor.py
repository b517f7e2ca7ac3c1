"""What is installed, which devices there are, and what is missing: in words, for a bug report."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import psutil

from app.qt_check import check_qt
from stt_core.errors import SttError
from stt_core.formats.model_file import bundled_models
from stt_core.resources import SAMPLE_CLIP, SAMPLE_MODEL, resource_path

_PACKAGES = (
    "torch",
    "PySide6-Essentials",
    "pyqtgraph",
    "av",
    "opencv-python-headless",
    "numpy",
    "numba",
    "h5py",
    "safetensors",
    "pydantic",
    "typer",
)
_OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def examine() -> tuple[dict[str, Any], list[str]]:
    """Facts for a program, and sentences for a person."""
    computing, torch_problems = _examine_torch()
    problems = [
        *_missing_packages(),
        *torch_problems,
        *_opencv_problems(),
        *_qt_problems(),
        *_file_problems(),
    ]
    facts: dict[str, Any] = {
        "program": _version("stt-studio") or "run from a checkout",
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "free_disk_bytes": shutil.disk_usage(Path.cwd()).free,
        "packages": {name: _version(name) for name in _PACKAGES},
        **computing,
        "problems": problems,
    }
    return facts, _sentences(facts)


def _sentences(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"stt-studio {facts['program']}, Python {facts['python']} ({sys.executable})",
        f"{facts['system']}, {facts['cores']} cores, "
        f"{facts['memory_bytes'] / 2**30:.1f} GiB memory, "
        f"{facts['free_disk_bytes'] / 2**30:.1f} GiB of disk free here",
        *(f"  {name} {number or 'is missing'}" for name, number in facts["packages"].items()),
        *(_device_sentences(facts) if facts["device"] else ()),
    ]
    problems = facts["problems"]
    return [*lines, *(f"Problem: {p}" for p in problems)] if problems else [*lines, "All is well."]


def _device_sentences(facts: dict[str, Any]) -> list[str]:
    fast = " and has fast bf16." if facts["fast_bf16"] else "; bf16 is not fast there."
    return [f"It computes on {facts['device']}{fast}", f"CUDA: {facts['cuda']}."]


def _examine_torch() -> tuple[dict[str, Any], list[str]]:
    """The device that computes, without values where torch is missing or broken, and problems."""
    try:
        from stt_core.device import (
            best_device,
            describe_device,
            find_device,
            has_fast_bf16,
            why_no_cuda,
        )
    except (ImportError, OSError) as error:  # OSError: a library of torch's does not load
        nothing = dict.fromkeys(("device", "fast_bf16", "cuda"))
        return nothing, [f"torch cannot be loaded: {error}"]
    device = find_device(best_device())
    return {
        "device": describe_device(device),
        "fast_bf16": has_fast_bf16(device),
        "cuda": why_no_cuda() or "usable",
    }, []


def _missing_packages() -> list[str]:
    return [
        f"the package {name} is missing: pip install {name}"
        for name in _PACKAGES
        if _version(name) is None and name != "opencv-python-headless"
    ]


def _opencv_problems() -> list[str]:
    found = [name for name in _OPENCVS if _version(name)]
    if len(found) == 1 and importlib.util.find_spec("cv2"):
        return []
    if not found:
        return ["OpenCV is missing: pip install opencv-python-headless"]
    return [
        f"{' and '.join(found)} are installed together and overwrite each other's folder cv2: "
        f"pip uninstall {' '.join(found)}, then pip install opencv-python-headless"
    ]


def _qt_problems() -> list[str]:
    try:
        check_qt()
    except SttError as error:
        return [str(error)]
    return []


def _file_problems() -> list[str]:
    try:
        resource_path(SAMPLE_CLIP)
    except FileNotFoundError as error:
        return [str(error)]
    return [] if SAMPLE_MODEL in bundled_models() else ["the bundled model is missing"]


def _version(name: str) -> str | None:
    try:
        distribution(name)
    except PackageNotFoundError:
        return None
    return version(name)
