"""Compiling the CPU's kernels before they are needed, in a process of its own.

Numba compiles for half a minute, once on a machine, and holds the interpreter while it does: in the
window's own process that would be felt. What is compiled is kept beside the code (or where numba
keeps such things if that cannot be written to).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from time import sleep

import numba
import platformdirs
import torch
from llvmlite import binding

from stt_core.model.attention import cpu as attention
from stt_core.model.attention.ops import pack_keys, pack_values, sparse_attention
from stt_core.model.similarity import cpu as similarity
from stt_core.model.similarity.ops import neighbouring_similarity

_POLL_SECONDS = 0.05


def is_compiled() -> bool:
    """Whether this machine has the kernels already."""
    return _stamp().exists()


def compile_steps() -> Generator[None, None, None]:
    """Compile what is not compiled yet, yielding while that lasts; closing this ends it.

    Where it fails, nothing is lost: the kernels are then compiled when they are first called.
    """
    if is_compiled():
        return
    command = [sys.executable, "-m", "stt_core.model.compiling"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            sleep(_POLL_SECONDS)
            yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def compile_first(note: Callable[[str], None]) -> None:
    """Compile what is not compiled yet, having said so: for programs that may wait."""
    if not is_compiled():
        note("Compiling the CPU's kernels: half a minute, once on this machine ...")
        deque(compile_steps(), 0)


def compile_kernels() -> None:
    """Compile all kernels, or load what is compiled already."""
    for dtype in (torch.float32, torch.bfloat16):
        maps = torch.zeros(1, 16, 2, 2, dtype=dtype)
        query, positions = torch.zeros(1, 1, 16), torch.zeros(1, 1, dtype=torch.long)
        keys, values = [pack_keys(maps)], [pack_values(maps)]
        sparse_attention(query, keys, values, positions, radii=(1,), heads=1, backend="cpu")
        neighbouring_similarity(maps, 1, backend="cpu")


def _stamp() -> Path:
    """Stands where what is compiled is kept, by the name of all it depends on."""
    sources = [Path(str(module.__file__)) for module in (attention, similarity)]
    told = [numba.__version__, binding.get_host_cpu_name(), str(sys.version_info[:2])]
    told += [str(source.stat().st_mtime_ns) for source in sources]
    name = f"kernels-{hashlib.sha256(' '.join(told).encode()).hexdigest()[:16]}"
    kept = sources[0].parent / "__pycache__"
    mine = Path(platformdirs.user_cache_dir("stt-studio", appauthor=False))
    return (kept if kept.is_dir() else mine) / name


def main() -> None:
    """Compile, and leave a stamp."""
    compile_kernels()
    stamp = _stamp()
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError:
        return  # the next start looks again, and finds the kernels compiled


if __name__ == "__main__":
    main()
