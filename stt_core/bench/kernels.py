"""The kernels by themselves: sparse attention against what it replaces, and query selection.

Feature width 128, 8 heads, a map of 64 x 128, half of its positions, 7 key frames, float32.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor

from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import Act, median_ms
from stt_core.config import key_radii
from stt_core.model.attention.ops import pack_keys, pack_values, sparse_attention
from stt_core.model.attention.windows import window_mask
from stt_core.model.selection import select_queries
from stt_core.model.similarity.ops import neighbouring_similarity

GROUP = "kernels"
_HEADS = 8
_RADII = key_radii(7, start=1, end=4, step=1)
_NEIGHBOURS = 5
_DENSE_CHUNK = 256
"""Queries of dense attention at a time; its mask alone would take 230 MB at once."""


@torch.inference_mode()
def measure(
    note: Note, *, size: tuple[int, int] = (64, 128), width: int = 128, repeats: int = 7
) -> list[Row]:
    """Measure on the CPU.

    Args:
        note: told what is being measured.
        size: rows and columns of the map.
        width: channels.
        repeats: of the fast ones; what takes seconds is measured three times.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (1, width, *size)
    keys, values = ([torch.randn(shape, generator=generator) for _ in _RADII] for _ in range(2))
    features = torch.randn(shape, generator=generator)
    places = torch.randperm(size[0] * size[1], generator=generator)
    positions = places[: len(places) // 2].sort().values[None]
    query = torch.randn(1, positions.shape[1], width, generator=generator)
    packed = [pack_keys(k) for k in keys], [pack_values(v) for v in values]
    attend = partial(sparse_attention, positions=positions, radii=_RADII, heads=_HEADS)
    acts: dict[str, Act] = {
        "attention, numba": lambda: attend(query, *packed, backend="cpu"),
        "attention, numba, bf16 keys": _narrow(attend, query, keys, values),
        "query selection": lambda: select_queries(
            neighbouring_similarity(features, _NEIGHBOURS, backend="cpu"), 0.5
        ),
        "attention, tiled torch": lambda: attend(query, keys, values, backend="tiled"),
    }
    note("Attention and query selection ...")
    with _plain_loop(query, keys, values, positions, note) as plain:
        if plain is not None:
            acts["attention, plain C++ loop"] = plain
        taken = dict(zip(acts, median_ms(list(acts.values()), repeats=repeats), strict=True))
    note("What they replace: this takes a minute ...")
    slow: dict[str, Act] = {
        "attention, gathered": lambda: attend(query, keys, values, backend="reference"),
        "attention, dense": lambda: _dense(query, keys, values, positions, size),
    }
    taken |= dict(zip(slow, median_ms(list(slow.values()), repeats=3), strict=True))
    rows = [row(GROUP, name, ms, "ms") for name, ms in taken.items()]
    ours = taken["attention, numba"]
    rows += [
        row(
            GROUP,
            "gathered / ours",
            taken["attention, gathered"] / ours,
            "x",
            target=60,
            least=True,
        ),
        row(GROUP, "dense / ours", taken["attention, dense"] / ours, "x", target=150, least=True),
        row(GROUP, "selection / attention", taken["query selection"] / ours, "x", target=1),
    ]
    if "attention, plain C++ loop" in taken:
        ratio = ours / taken["attention, plain C++ loop"]
        rows.append(row(GROUP, "ours / plain C++ loop", ratio, "x", target=2))
    return rows


def _narrow(
    attend: Callable[..., Tensor], query: Tensor, keys: list[Tensor], values: list[Tensor]
) -> Act:
    packed = [pack_keys(k.bfloat16()) for k in keys], [pack_values(v.bfloat16()) for v in values]
    return lambda: attend(query.bfloat16(), *packed, backend="cpu")


def _dense(
    query: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    positions: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Torch's own attention to all positions of all key frames, under the window mask."""
    q, k, v = (
        x.unflatten(-1, (_HEADS, -1)).transpose(1, 2)
        for x in (
            query,
            *(
                torch.cat([m.flatten(2) for m in maps], 2).transpose(1, 2)
                for maps in (keys, values)
            ),
        )
    )
    parts = [
        F.scaled_dot_product_attention(
            part, k, v, attn_mask=window_mask(where, size, _RADII)[:, None]
        )
        for part, where in zip(
            q.split(_DENSE_CHUNK, 2), positions.split(_DENSE_CHUNK, 1), strict=True
        )
    ]
    return torch.cat(parts, 2)


@contextmanager
def _plain_loop(
    query: Tensor, keys: list[Tensor], values: list[Tensor], positions: Tensor, note: Note
) -> Iterator[Act | None]:
    """The C++ loop beside this file, as an act; None where there is no compiler for it."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        note("No C++ compiler here: the plain loop is not measured.")
        yield None
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = Path(folder) / "plain.so"
        source = Path(__file__).with_name("plain_attention.cpp")
        compiled = library.with_suffix(".o")
        flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC", "-c"]
        # -ffast-math is left out in linking: there it would flush small numbers in all the process
        for words in (
            [*flags, str(source), "-o", str(compiled)],
            ["-fopenmp", "-shared", str(compiled), "-o", str(library)],
        ):
            built = subprocess.run([compiler, *words], capture_output=True, text=True)
            if built.returncode:
                break
        if built.returncode:
            note(f"{compiler} cannot build the plain loop: {built.stderr.strip()[:200]}")
            yield None
            return
        memory = [
            torch.stack([m[0].flatten(1).T for m in maps]).contiguous() for maps in (keys, values)
        ]
        out = torch.empty_like(query)
        shape = (positions.shape[1], query.shape[2], _HEADS, *keys[0].shape[2:], len(keys))
        numbers = [positions, torch.tensor(_RADII)]
        held = [query, *memory, *numbers, out, torch.tensor(shape)]
        places = [ctypes.c_void_p(t.data_ptr()) for t in held]
        attend = ctypes.CDLL(str(library)).attend
        attend(*places)
        _expect_same(
            out,
            sparse_attention(query, keys, values, positions, radii=_RADII, heads=_HEADS),
        )
        yield lambda: attend(*places)


def _expect_same(theirs: Tensor, ours: Tensor) -> None:
    """What computes something else must not be compared."""
    difference = float((theirs - ours).abs().max())
    if difference > 1e-3:
        raise RuntimeError(f"the plain loop and the kernel differ by {difference:.2g}")
