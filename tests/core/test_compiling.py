from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import psutil
import pytest

from stt_core.model.compiling import compile_kernels, compile_steps


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version for which nothing was compiled yet."""
    monkeypatch.setattr(numba, "__version__", f"test {os.getpid()} {id(monkeypatch)}")


def test_all_kernels_compile() -> None:
    compile_kernels()


def test_what_is_compiled_is_not_asked_for_again() -> None:
    list(compile_steps())
    assert list(compile_steps()) == []


@pytest.mark.usefixtures("unknown")
def test_closing_ends_the_process() -> None:
    steps = compile_steps()
    next(steps)
    mine = psutil.Process()
    (child,) = [c for c in mine.children() if "stt_core.model.compiling" in " ".join(c.cmdline())]
    steps.close()
    assert not child.is_running()


@pytest.mark.slow
def test_a_first_start_compiles_into_the_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "stt_core.model.compiling"]
    subprocess.run(command, env=environment, check=True, timeout=280)
    assert list(tmp_path.rglob("*.nbc"))
