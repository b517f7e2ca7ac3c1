"""How much of their attention the queries of a frame pay to keys of their own class.

Dimensions: Q queries that attend, d channels of the block, H heads, D = d / H, h x w feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.cache import ByteCache
from stt_core.checkpoint import Checkpoint
from stt_core.errors import CheckpointError, DeviceError
from stt_core.media.frame import past_frames
from stt_core.media.shots import is_cut, thumbnail
from stt_core.media.source import MediaSource
from stt_core.model.attention.ops import sparse_attention
from stt_core.model.stt import Stt, to_rows
from stt_core.model.video import Decoded, Encoded
from stt_core.network import Network

_FEATURE_BYTES = 1 << 30
_CLASS_BYTES = 16 << 20
_THUMBNAIL_BYTES = 4 << 20
_QUERIES = 4096
"""That attend at once."""


class SameClassAttention:
    """An :class:`stt_core.pseudo.sources.AttentionMass` from a model and a video.

    A position's class is the one with the highest logit there, in each frame with what that frame
    itself read of its past. No weights are kept: the queries attend once more, to values that say
    which class a key has, and what comes out is the mass on it. Made for frames in rising order,
    of which each is then encoded once. Belongs to one thread.

    Args:
        network: runs `checkpoint`.
        checkpoint: an STT model.
        media: the video; not closed here.
        cuts: whether no frame reads across a cut, as when it was segmented.

    Raises:
        CheckpointError: the model has no sparse temporal attention.
        ValueError: `network` runs another model.
    """

    def __init__(
        self,
        network: Network,
        checkpoint: Checkpoint,
        media: MediaSource,
        *,
        cuts: bool = True,
    ) -> None:
        if not isinstance(checkpoint.model, Stt):
            raise CheckpointError(
                "this model has no sparse temporal attention to test pseudo-labels by: "
                "leave that test out, or choose an STT model"
            )
        if (network.sha256, network.header) != (checkpoint.sha256, checkpoint.header):
            raise ValueError(
                f"the network runs another model: {network.sha256=} {checkpoint.sha256=}"
            )
        self._network = network
        self._media = media
        self._cuts = cuts
        self._block = deepcopy(checkpoint.model.stt).to(network.device)
        self._reduce = (
            deepcopy(checkpoint.model.reduce).to(network.device)
            if checkpoint.model.config.insert == "backbone"
            else None
        )
        reads = network.key_frames * network.key_spacing
        self._features: ByteCache[Encoded] = ByteCache(_FEATURE_BYTES, least=reads + 1)
        self._decoded: ByteCache[_Asked] = ByteCache(_CLASS_BYTES, least=reads + 1)
        self._thumbnails: ByteCache[NDArray[np.float32]] = ByteCache(_THUMBNAIL_BYTES)

    @torch.inference_mode()
    def same_class(self, frame: int) -> NDArray[np.float32]:
        """``[h, w]`` in [0, 1], mean over heads; NaN where a position did not attend.

        Raises:
            MediaError: a frame cannot be read.
            DeviceError: the device's memory is full.
        """
        past = self._key_frames(frame)
        key_classes = [self._asked(i).classes for i in reversed(past)][::-1]  # oldest first: cheap
        asked = self._asked(frame)
        mass = torch.full(asked.classes.shape, torch.nan, device=self._network.device)
        if past and len(asked.queries):
            memory = [self._encoded(i) for i in past]
            try:
                found = self._mass(self._encoded(frame), memory, asked, key_classes)
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    f"{self._network.device} has too little memory to test attention: "
                    f"use --device cpu, or leave that test out"
                ) from error
            mass.view(-1)[asked.queries] = found
        return mass.cpu().numpy()

    def _mass(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        asked: _Asked,
        key_classes: Sequence[Tensor],
    ) -> Tensor:
        """``[Q]`` of every query, on keys of its class."""
        keys = [m.key for m in memory if m.key is not None]
        heads = self._block.config.heads
        depth = keys[0].shape[1] // heads
        own = asked.classes.flatten()[asked.queries].long()
        mass = torch.zeros(len(own), device=own.device)
        # a head has room for D classes at a time: those of the queries that attend then
        for first in range(0, int(own.max()) + 1, depth):
            which = ((own >= first) & (own < first + depth)).nonzero()[:, 0]
            if not len(which):
                continue
            values = [_one_hot(c, first, depth, heads).to(keys[0].dtype) for c in key_classes]
            for some in which.split(_QUERIES):
                out = sparse_attention(
                    self._ask(current, asked.queries[some]).to(keys[0].dtype),
                    keys,
                    values,
                    asked.queries[some][None],
                    radii=self._network.reach.radii[: len(memory)],
                    heads=heads,
                )
                shares = out[0].float().unflatten(1, (heads, depth)).mean(1)  # [Q, D]
                mass[some] = shares.gather(1, (own[some] - first)[:, None])[:, 0]
        return mass.clamp(0, 1)

    def _ask(self, current: Encoded, positions: Tensor) -> Tensor:
        """``[1, Q, d]``."""
        features = current.features.float()
        if self._reduce is not None:
            features = self._reduce(features)
        return self._block.ask(to_rows(features)[:, positions])

    def _asked(self, index: int) -> _Asked:
        held = self._decoded.get(index)
        if held is None:
            memory = [self._encoded(i) for i in reversed(self._key_frames(index))][::-1]
            current = self._encoded(index)
            held = _Asked(self._network.decode(current, memory), current.size)
            self._decoded.put(index, held, held.nbytes)
        return held

    def _encoded(self, index: int) -> Encoded:
        held = self._features.get(index)
        if held is None:
            held = self._network.encode(self._media[index].image, index)
            self._features.put(index, held, held.nbytes)
        # where memory became short meanwhile, all are to be of one precision
        return held.cast(self._network.dtype)

    def _key_frames(self, index: int) -> tuple[int, ...]:
        """Those of its shot, newest first."""
        wanted = past_frames(index, self._network.key_frames, self._network.key_spacing)
        if not self._cuts or not wanted:
            return wanted
        first = index
        while first > wanted[-1] and not is_cut(self._thumbnail(first - 1), self._thumbnail(first)):
            first -= 1
        return tuple(i for i in wanted if i >= first)

    def _thumbnail(self, index: int) -> NDArray[np.float32]:
        held = self._thumbnails.get(index)
        if held is None:
            held = thumbnail(self._media[index].image)
            self._thumbnails.put(index, held, held.nbytes)
        return held


class _Asked:
    """Who attended in a frame, and what every position is."""

    def __init__(self, decoded: Decoded, size: tuple[int, int]) -> None:
        logits = decoded.logits[0]
        rows = torch.arange(size[0], device=logits.device) * logits.shape[1] // size[0]
        cols = torch.arange(size[1], device=logits.device) * logits.shape[2] // size[1]
        self.queries = decoded.queries[0]  # [Q]
        self.classes = logits[:, rows][:, :, cols].argmax(0).to(torch.uint8)  # [h, w]

    @property
    def nbytes(self) -> int:
        return self.queries.nbytes + self.classes.nbytes


def _one_hot(classes: Tensor, first: int, depth: int, heads: int) -> Tensor:
    """``[1, d, h, w]``: in every head, channel c is 1 where the class is `first` + c."""
    wanted = torch.arange(first, first + depth, device=classes.device)
    return (classes[None] == wanted[:, None, None]).repeat(heads, 1, 1)[None].float()
