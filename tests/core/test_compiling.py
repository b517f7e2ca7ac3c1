from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import psutil
import pytest
import torch
from numba.core.dispatcher import Dispatcher

from stt_core.model.attention import cpu as attention
from stt_core.model.compiling import compile_kernels, compile_steps
from stt_core.model.similarity import cpu as similarity
from tests.core.models import checkpoint, stt_config


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version for which nothing was compiled yet."""
    monkeypatch.setattr(numba, "__version__", f"test {os.getpid()} {id(monkeypatch)}")


def _compiled() -> dict[str, int]:
    """How many forms of each kernel were compiled or loaded in this process."""
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in (attention, similarity)
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher)
    }


@torch.no_grad()
def test_what_is_compiled_ahead_is_all_that_inference_needs() -> None:
    compile_kernels()
    ready = _compiled()
    assert sum(ready.values()) > 0
    for dtype in (torch.float32, torch.bfloat16):
        model = checkpoint(stt_config()).model.to(dtype)
        current = model.encode(torch.zeros(1, 3, 64, 96, dtype=dtype))
        model.decode(current, [current] * 7)
    assert _compiled() == ready


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
