"""TDNet: networks that take turns and hand their features on by attention (Hu et al. 2020).

Frame n runs path n mod P. What past frames kept, at a coarser stride, is passed from each to the
next by full attention and reaches the current frame last. Dimensions: B batch, h x w = stride 8,
h' x w' the memory's, V value channels, K = 64 key channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.config import TdnetConfig
from stt_core.model.frame import Head, Trunk, start_weights
from stt_core.model.video import Encoded, Extracted, Refined, VideoModel, unselective


class SpatialNorm(nn.Module):
    """LayerNorm over each channel's plane, with a weight and a bias of each position.

    The learnt maps belong to one training size; for another they are resized bilinearly, as
    TDNet's author advises.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        weight, bias = (_resized(p, size) for p in (self.weight, self.bias))
        return F.layer_norm(x.float(), size, weight.float(), bias.float()).to(x.dtype)


class Path(nn.Module):
    """One of the networks: its trunk, the encodings of its features, its own head."""

    def __init__(self, config: TdnetConfig, trunk: Trunk, group: int) -> None:
        super().__init__()
        frame = config.per_frame
        self.group = group
        self.trunk = trunk
        width = trunk.context_width(halved=True)
        self.to_query = _encoding(width, config.key_width)
        self.to_key = _encoding(width, config.key_width)
        self.to_value = nn.Conv2d(width, config.value_width, 1)
        self.norm = SpatialNorm(config.norm_size)
        for part in (self.to_query, self.to_key, self.to_value):
            start_weights(part)
        self.head = Head(config.value_width, frame.width, frame)
        self.aux = Head(trunk.middle_width, frame.aux_width, frame)


class Tdnet(VideoModel):
    """TD2 and TD4 on any per-frame network.

    Args:
        config: of the model.
        trunks: one a path.
    """

    config: TdnetConfig

    def __init__(self, config: TdnetConfig, trunks: Sequence[Trunk]) -> None:
        super().__init__()
        self.config = config
        self.paths = nn.ModuleList(
            Path(config, trunk, group=p % 2) for p, trunk in enumerate(trunks)
        )
        # what path p does to the values that came by way of path q
        self.propagate = nn.ModuleDict(
            {
                f"{p}_{q}": nn.Conv2d(config.value_width, config.value_width, 1)
                for p in range(config.paths)
                for q in range(config.paths)
                if p != q
            }
        )
        start_weights(self.propagate)
        self.dropout = nn.Dropout(config.dropout)

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        here = self._path(path)
        stages = here.trunk.stages(image)
        logits = here.aux(stages.middle) if aux else None
        return Extracted(here.trunk.context(stages, here.group), aux=logits, path=path)

    def project(self, extracted: Extracted) -> Encoded:
        here = self._path(extracted.path)
        features = extracted.features
        # projecting first and striding after is the same for 1x1 convolutions
        return Encoded(
            here.to_value(features),
            key=here.to_key(features[..., :: self._stride, :: self._stride]),
            query=here.to_query(features),
            path=extracted.path,
        )

    def refine(self, current: Encoded, memory: Sequence[Encoded]) -> Refined:
        """Add what the past hands on; without all P - 1 key frames nothing."""
        own = current.features
        past = list(memory[: self.config.paths - 1])
        expected = [(current.path - lag) % self.config.paths for lag in range(1, len(past) + 1)]
        if [m.path for m in past] != expected:
            raise ValueError(
                f"a frame of path {current.path} reads frames of paths {expected}, newest first, "
                f"got {[m.path for m in past]}: are the frames consecutive?"
            )
        if len(past) == self.config.paths - 1:
            own = own + self._handed_on(current, past[::-1])
        return unselective(own, path=current.path)

    def classify(self, refined: Refined) -> Tensor:
        here = self._path(refined.path)
        return here.head(here.norm(refined.features))

    def sub_logits(self, current: Encoded) -> Tensor:
        """Logits ``[B, classes, h, w]`` of what a path sees alone, whatever the past hands on."""
        return self.classify(unselective(current.features, path=current.path))

    def learning_parts(self) -> Sequence[nn.Module]:
        paths = [self._path(p) for p in range(self.config.paths)]
        own = [(p.to_query, p.to_key, p.to_value, p.norm, p.head) for p in paths]
        return [self.propagate, *chain.from_iterable(own)]

    def _path(self, index: int) -> Path:
        return cast(Path, self.paths[index])

    def _handed_on(self, current: Encoded, past: Sequence[Encoded]) -> Tensor:
        """``[B, V, h, w]``: what `past`, oldest first, passes on to `current`."""
        step = self._stride
        carried: Tensor | None = None
        for source, reader in zip(past, (*past[1:], current), strict=True):
            assert source.key is not None
            assert reader.query is not None
            values = source.features[..., ::step, ::step]
            values = values if carried is None else values + carried
            query = reader.query if reader is current else reader.query[..., ::step, ::step]
            mixed = _attend(query, source.key, values)
            layer = self.propagate[f"{current.path}_{source.path}"]
            carried = self.dropout(layer(mixed))
        assert carried is not None
        return carried

    @property
    def _stride(self) -> int:
        return self.config.training_stride if self.training else self.config.memory_stride


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One head over the whole map: ``[B, K, h, w]``, ``[B, K, h', w']``, ``[B, V, h', w']``."""
    q, k, v = (x.flatten(2).transpose(1, 2) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).unflatten(2, query.shape[2:])


def _encoding(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 1),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.01),
        nn.Conv2d(width, width, 1),
    )


def _resized(plane: Tensor, size: torch.Size) -> Tensor:
    if plane.shape == size:
        return plane
    return F.interpolate(plane[None, None].float(), size, mode="bilinear", align_corners=True)[0, 0]
