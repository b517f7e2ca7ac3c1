"""The arithmetic of looking into the model: what positions read, and what follows from it.

Of each query only its own windows are gathered, so a question about one costs no more on a large
frame than on a small one. Dimensions: B = 1, Q queries, H heads, D channels of a head, d = H * D,
K keys of a query in the order of :func:`stt_core.inspection.places.key_offsets`, A alternatives,
F key frames, N = h * w positions of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.model.attention.windows import KeyIndex, Offsets, key_index, window_offsets
from stt_core.model.stt import Stt
from stt_core.model.video import Encoded, Refined
from stt_core.network import Network

CHUNK = 64
"""Queries whose keys are gathered at once: 27 MB of 407 keys of 256 channels."""


class Gathered(NamedTuple):
    """The keys of some queries, in float32."""

    scores: Tensor  # [Q, H, K], scaled
    places: KeyIndex

    @property
    def inside(self) -> Tensor:
        """``[Q, K]``: whether the key is there."""
        return self.places.valid[0]


def read_weights(
    network: Network, current: Encoded, memory: Sequence[Encoded], positions: NDArray[np.intp]
) -> NDArray[np.float32]:
    """The weights ``[Q, H, K]`` of the queries at `positions` ``[Q]``, at most :data:`CHUNK`.

    Each head sums to 1; keys beyond the border weigh 0. Positions need not be selected.
    """

    def look(model: Stt) -> NDArray[np.float32]:
        gathered = _gather(model, current, memory, positions)
        weights = _softmax(gathered.scores, gathered.inside[:, None])
        return weights.cpu().numpy()

    return network.examine(look)


class Probe:
    """One position and its keys, to be asked what it would be if it read otherwise.

    Args:
        network: what computes.
        current: the frame.
        memory: the key frames it reads, newest first; at least one.
        position: ``row * w + col``.
        queries: ``[1, Q]`` who attends in the frame; the position may be another.
        usual: the key frames that all others read.
    """

    def __init__(
        self,
        network: Network,
        current: Encoded,
        memory: Sequence[Encoded],
        position: int,
        queries: Tensor,
        usual: Sequence[Encoded],
    ) -> None:
        self._network = network
        self._current, self._usual = current, usual
        self._position = position
        self._queries = queries
        where = np.array([position])

        def look(model: Stt) -> tuple[Gathered, Tensor]:
            gathered = _gather(model, current, memory, where)
            values = _windows([m.value for m in memory], gathered.places, model, current)
            return gathered, values

        self._gathered, self._values = network.examine(look)

    def weights(self, heard: NDArray[np.bool_]) -> NDArray[np.float32]:
        """``[A, H, K]`` where of each head only the keys `heard` ``[A, H, K]`` are read."""
        return self._network.examine(lambda model: self._weights(heard)).cpu().numpy()

    def probabilities(self, heard: NDArray[np.bool_]) -> NDArray[np.float32]:
        """``[A, classes]`` of the position, where it alone reads so; every other one as ever.

        On a model whose block stands behind the backbone the whole frame is decoded each time.
        """

        def look(model: Stt) -> Tensor:
            values = self._values[0].unflatten(1, (model.config.heads, -1))  # [K, H, D]
            context = torch.einsum("ahk,khd->ahd", self._weights(heard), values)
            current = self._current.cast(dtype_of(model))
            rows = model.inputs(current)
            row = rows[:, self._position : self._position + 1].expand(-1, len(heard), -1)
            asked = model.stt.conclude(row, context.flatten(1)[None].to(row.dtype))  # [1, A, d]
            if model.config.insert == "bottleneck":
                return model.frame.classify(asked.transpose(1, 2)[..., None])[0, :, :, 0].T
            return self._within_frame(model, current, rows, asked)

        logits = self._network.examine(look)
        return logits.float().softmax(1).cpu().numpy()

    def _weights(self, heard: NDArray[np.bool_]) -> Tensor:
        scores = self._gathered.scores
        allowed = torch.from_numpy(heard).to(scores.device) & self._gathered.inside[:, None]
        return _softmax(scores, allowed)

    def _within_frame(self, model: Stt, current: Encoded, rows: Tensor, asked: Tensor) -> Tensor:
        """``[A, classes]``: each of `asked` ``[1, A, d]`` put in its place among the others."""
        memory = [m.cast(dtype_of(model)) for m in self._usual]
        place = torch.tensor([[self._position]], device=rows.device)
        others = self._queries[:, self._queries[0] != self._position]
        theirs = model.stt.attend(rows_at(rows, others), others, memory)
        (h, w), row, col = current.size, *divmod(self._position, current.size[1])
        found = []
        for one in asked[0]:
            queries = torch.cat([others, place], 1)
            all_asked = torch.cat([theirs, one[None, None]], 1)
            features = model.rejoin(current, rows, queries, all_asked)
            logits = classify(model, current, features, queries)[0]
            found.append(logits[:, row * logits.shape[1] // h, col * logits.shape[2] // w])
        return torch.stack(found)


def queries_of(network: Network, current: Encoded, positions: NDArray[np.intp]) -> Tensor:
    """``[Q, d]`` in float32: what positions ``[Q]`` compare keys with."""

    def look(model: Stt) -> Tensor:
        rows = model.inputs(current.cast(dtype_of(model)))
        return model.stt.ask(rows[:, torch.from_numpy(positions)])[0].float()

    return network.examine(look)


def at_cells(maps: Tensor, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.float32]:
    """``[n, C]`` of ``[1, C, h, w]``, at n cells."""
    return maps[0][:, torch.from_numpy(rows), torch.from_numpy(cols)].T.float().cpu().numpy()


def dtype_of(model: Stt) -> torch.dtype:
    """Of what the block computes with."""
    return model.stt.q_proj.weight.dtype


def rows_at(rows: Tensor, positions: Tensor) -> Tensor:
    """``[1, Q, d]`` of rows ``[1, N, d]`` at positions ``[1, Q]``."""
    return rows.gather(1, positions[..., None].expand(-1, -1, rows.shape[-1]))


def classify(model: Stt, current: Encoded, features: Tensor, queries: Tensor) -> Tensor:
    """Logits ``[1, classes, ...]`` of what :meth:`Stt.rejoin` gave."""
    need = features.new_zeros(1, 0)
    return model.classify(Refined(features, queries, need, current.shallow))


def _gather(
    model: Stt, current: Encoded, memory: Sequence[Encoded], positions: NDArray[np.intp]
) -> Gathered:
    heads = model.config.heads
    where = torch.from_numpy(positions).to(current.features.device)
    asked = model.stt.ask(model.inputs(current.cast(dtype_of(model)))[:, where])[0]  # [Q, d]
    index = _index(model, current, len(memory), positions)
    keys = _windows([m.key for m in memory], index, model, current)
    query = asked.float().unflatten(1, (heads, -1))  # [Q, H, D]
    scores = torch.einsum("qhd,qkhd->qhk", query, keys.unflatten(2, (heads, -1)))
    return Gathered(scores * query.shape[2] ** -0.5, index)


def _windows(
    maps: Sequence[Tensor | None], index: KeyIndex, model: Stt, current: Encoded
) -> Tensor:
    """``[Q, K, d]`` float32: the windows of queries in keys or values, packed or not."""
    (rows, cols), first, parts = current.size, 0, []
    for lag, one in enumerate(maps):
        if one is None:
            raise ValueError("a key frame was encoded by a network without a temporal block")
        last = first + (2 * model.config.radii[lag] + 1) ** 2
        place = index.places[0, :, first:last] - lag * rows * cols  # [Q, k]
        # [h, w, d], or [h, w, d / 16, 16]: a view, of which whole rows are taken
        part = one[0].movedim((-2, -1), (0, 1))[place // cols, place % cols]
        parts.append(part.flatten(2).float())
        first = last
    return torch.cat(parts, 1)


def _index(model: Stt, current: Encoded, frames: int, positions: NDArray[np.intp]) -> KeyIndex:
    device = current.features.device
    where = torch.from_numpy(positions)[None].to(device)
    return key_index(where, current.size, _offsets(model.config.radii[:frames], device))


@lru_cache(maxsize=8)
def _offsets(radii: tuple[int, ...], device: torch.device) -> Offsets:
    return window_offsets(radii, device)


def _softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Over the keys that are allowed; 0 where none is."""
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    return weights.masked_fill(~allowed.any(-1, keepdim=True), 0)
