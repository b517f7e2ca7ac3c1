"""A whole frame whose queries read otherwise."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.inspection.change import Change
from stt_core.inspection.probing import classify, dtype_of, rows_at
from stt_core.model.attention.ops import Ablation
from stt_core.model.stt import Stt
from stt_core.model.video import Decoded, Encoded
from stt_core.network import Network

_EXACT = 256
"""Queries without some single keys, between pauses."""


def decode_changed(
    network: Network, current: Encoded, memory: Sequence[Encoded], queries: Tensor, change: Change
) -> Generator[None, None, Decoded]:
    """A frame whose queries ``[1, Q]`` all read as `change` says; swaps are to be in `memory`.

    Only queries that reach a single muted key go the exact way of the reference, which is slow.
    """
    keys = change.all_keys(current.size)
    near = torch.from_numpy(_reach(keys, network.reach.radii, current.size)).to(queries.device)
    exactly = near[queries[0]]
    parts = [(frozenset[tuple[int, int, int]](), queries[:, ~exactly])]
    parts += [(keys, some) for some in queries[:, exactly].split(_EXACT, 1)]
    order, asked = [], []
    for muted, some in parts:
        if some.shape[1]:
            ways = _ways(change, muted, network.reach.heads)
            asked.append(network.examine(partial(_read_so, current, memory, some, ways)))
            order.append(some)
            yield
    place = torch.cat([queries[:, :0], *order], 1)

    def look(model: Stt) -> Tensor:
        now = current.cast(dtype_of(model))
        rows = model.inputs(now)
        outcome = torch.cat([rows[:, :0], *(part.to(rows.dtype) for part in asked)], 1)
        return classify(model, now, model.rejoin(now, rows, place, outcome), place)

    need = torch.zeros(1, current.size[0] * current.size[1])  # nobody was selected here
    return Decoded(network.examine(look), queries, need)


def _read_so(
    current: Encoded,
    memory: Sequence[Encoded],
    queries: Tensor,
    ways: Mapping[Ablation, list[int]],
    model: Stt,
) -> Tensor:
    """``[1, Q, d]``: what queries become whose heads do without this and that."""
    heads, dtype = model.config.heads, dtype_of(model)
    past = [m.cast(dtype) for m in memory]
    rows = model.inputs(current.cast(dtype))
    asked = []
    for some in queries.split(min(model.stt.chunk, queries.shape[1]), 1):
        mine = rows_at(rows, some)
        context = torch.zeros_like(mine).unflatten(2, (heads, -1))  # [1, Q, H, D]
        for ablation, those in ways.items():
            read = model.stt.context(mine, some, past, ablation).unflatten(2, (heads, -1))
            context[:, :, those] = read[:, :, those]
        asked.append(model.stt.conclude(mine, context.flatten(2)))
    return torch.cat(asked, 1)


def _ways(
    change: Change, keys: frozenset[tuple[int, int, int]], heads: int
) -> dict[Ablation, list[int]]:
    """What the heads that read do without, and which heads that is said of."""
    ways: dict[Ablation, list[int]] = {}
    for head in sorted(set(range(heads)) - change.heads):
        own = {lag for h, lag in change.pairs if h == head}
        ways.setdefault(Ablation(frames=change.frames | own, keys=keys), []).append(head)
    return ways


def _reach(
    keys: Iterable[tuple[int, int, int]], radii: tuple[int, ...], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """``[N]``: who has one of the keys in a window."""
    near = np.zeros(grid, np.bool_)
    for lag, row, col in keys:
        if 0 <= lag < len(radii):
            r = radii[lag]
            near[max(0, row - r) : max(0, row + r + 1), max(0, col - r) : max(0, col + r + 1)] = (
                True
            )
    return near.ravel()
