"""The sparse temporal transformer on a per-frame network.

Dimensions: B batch, d channels of the block, h rows, w columns, N = h * w, Q selected queries,
F key frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stt_core.config import SttConfig
from stt_core.model.attention.ops import (
    NOTHING_MUTED,
    Ablation,
    attention_weights,
    pack_keys,
    pack_values,
    sparse_attention,
)
from stt_core.model.backends import Backend
from stt_core.model.frame import FrameNet, Stages
from stt_core.model.selection import select_queries
from stt_core.model.similarity.ops import neighbouring_similarity
from stt_core.model.video import Decoded, Encoded, Extracted, Focus, Refined, VideoModel


class Norm(nn.LayerNorm):
    """A LayerNorm that computes in the precision of its own weights, whatever comes in."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class SttBlock(nn.Module):
    """One post-norm transformer layer for the selected queries of a frame (Fig. 2, Eq. 6)."""

    def __init__(self, config: SttConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.backend: Backend = "auto"
        self.chunk = 1 << 30
        """Queries that attend at once; less where memory is short."""
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)
        if config.norm == "layer":
            self.norm1 = Norm(width)
            self.norm2 = Norm(width)
        else:
            self.gate = nn.Parameter(torch.zeros(()))
        self.ffn = nn.Sequential(
            nn.Linear(width, config.ffn_factor * width),
            nn.ReLU(inplace=True),
            nn.Linear(config.ffn_factor * width, width),
        )
        self.dropout = nn.Dropout(config.dropout)
        if config.attention == "distance":
            self.log_sharpness = nn.Parameter(torch.empty(config.heads))
        self._start_as_similarity()
        self.start_on_scale(0.0, 1.0)

    @torch.no_grad()
    def _start_as_similarity(self) -> None:
        """Begin as a mean of the past weighted by likeness (our choice; the paper is silent).

        From random projections a short training hardly leaves the uniform mean over 407 keys.
        Distances tell what is alike well enough to begin with that the past may count for 9/10;
        dot products favour keys that are large, so there it counts for 1/3.
        """
        distance = self.config.attention == "distance"
        noise, scale, past = (0.0, 1.0, 9.0) if distance else (0.02, 2**0.5, 0.5)
        if distance:
            for weight in self.ffn[2].parameters():
                nn.init.zeros_(weight)
        if self.config.norm == "gate":
            self.gate.fill_(math.log(past))  # of which the sigmoid is the share, past / (past + 1)
            past = 1.0
        starts = ((self.q_proj, scale), (self.k_proj, scale), (self.v_proj, 1.0))
        for layer, gain in (*starts, (self.o_proj, past)):
            layer.weight.normal_(std=noise).add_(gain * torch.eye(layer.in_features))
            layer.bias.zero_()

    @torch.no_grad()
    def start_on_scale(self, mean: float, std: float) -> None:
        """Fit a fresh block to rows whose channels have this mean and spread.

        The last LayerNorm gives such rows, which are what the classifier knows. What is compared
        by distance counts as alike within about four channels' worth of the spread.
        """
        if self.config.norm == "layer":
            self.norm2.weight.fill_(std)
            self.norm2.bias.fill_(mean)
        if self.config.attention == "distance":
            self.log_sharpness.fill_(math.log(self.config.heads / (4 * std**2)))

    def project(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value maps ``[B, d, h, w]`` of the block's input ``[B, d, h, w]``."""
        rows = to_rows(features)
        size = features.shape[2:]
        keys = self._keys(rows)
        return (
            pack_keys(to_map(keys, size)),
            pack_values(to_map(self.v_proj(rows), size)),
        )

    def ask(self, rows: Tensor) -> Tensor:
        """Queries ``[B, Q, d]`` of rows ``[B, Q, d]``, for scaled products with the keys."""
        queries = self.q_proj(rows)
        if self.config.attention == "dot":
            return queries
        parts = queries.unflatten(2, (self.config.heads, -1))  # [B, Q, H, d / H]
        ones = torch.ones_like(parts[..., :1])
        factor = self.log_sharpness.exp() * math.sqrt(parts.shape[3])
        asked = torch.cat([parts[..., :-1], ones], 3) * factor[:, None]
        return asked.flatten(2).to(queries.dtype)

    def _keys(self, rows: Tensor) -> Tensor:
        """Keys ``[B, n, d]`` of rows ``[B, n, d]``.

        A distance is a product in disguise: -|q - k|^2 / 2 is q k - |k|^2 / 2 but for a term that
        all keys of a query share. So the last channel of each head's keys holds the second term,
        and that of its queries a one.
        """
        keys = self.k_proj(rows)
        if self.config.attention == "dot":
            return keys
        parts = keys.unflatten(2, (self.config.heads, -1))[..., :-1]
        exact = torch.promote_types(parts.dtype, torch.float32)  # a sum of squares, so not halves
        lengths = parts.to(exact).square().sum(3, keepdim=True)
        return torch.cat([parts, (-0.5 * lengths).to(keys.dtype)], 3).flatten(2)

    def attend(
        self,
        rows: Tensor,
        positions: Tensor,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Tensor:
        """The block for queries ``[B, Q, d]`` at `positions` ``[B, Q]``: ``[B, Q, d]``."""
        if rows.shape[1] > self.chunk:
            pieces = zip(rows.split(self.chunk, 1), positions.split(self.chunk, 1), strict=True)
            return torch.cat([self.attend(r, p, memory, ablation) for r, p in pieces], 1)
        return self.conclude(rows, self.context(rows, positions, memory, ablation))

    def context(
        self,
        rows: Tensor,
        positions: Tensor,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Tensor:
        """What the queries of :meth:`attend` read, a head beside the other: ``[B, Q, d]``."""
        keys, values = _maps(memory)
        return sparse_attention(
            self.ask(rows),
            keys,
            values,
            positions,
            radii=self.config.radii[: len(memory)],
            heads=self.config.heads,
            ablation=ablation,
            backend=self.backend,
        )

    def conclude(self, rows: Tensor, context: Tensor) -> Tensor:
        """What queries ``[B, Q, d]`` become by what they read, ``[B, Q, d]``: ``[B, Q, d]``."""
        read = self.dropout(self.o_proj(context))
        if self.config.norm == "gate":
            y = rows.lerp(read.to(rows.dtype), self.gate.sigmoid().to(rows.dtype))
            return y + self.dropout(self.ffn(y))
        y = self.norm1(rows + read)
        return self.norm2(y + self.dropout(self.ffn(y)))

    def weights(
        self,
        rows: Tensor,
        positions: Tensor,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Tensor:
        """What :meth:`attend` reads: ``[B, H, Q, F, rows, cols]``."""
        return attention_weights(
            self.ask(rows),
            _maps(memory)[0],
            positions,
            radii=self.config.radii[: len(memory)],
            heads=self.config.heads,
            ablation=ablation,
        )

    def bypass(self, rows: Tensor) -> Tensor:
        """Unselected positions ``[..., d]``: unchanged in content, on the classifier's scale."""
        return self.norm2(rows) if self.config.changes_bypass else rows


class Stt(VideoModel):
    """A per-frame network whose complex positions read the frames before.

    With `insert` "bottleneck" the block refines what is classified. With "backbone" it works on
    the backbone's map, by a 1x1 convolution down to its width and one back up whose result is
    added: every part of the per-frame network keeps its shape and its weights, and since the way
    up starts at zero, the model starts as that network.
    """

    config: SttConfig

    def __init__(self, config: SttConfig, frame: FrameNet) -> None:
        super().__init__()
        self.config = config
        self.frame = frame
        self.stt = SttBlock(config)
        if config.insert == "backbone":
            self.reduce = nn.Conv2d(config.per_frame.deep_width, config.width, 1)
            self.expand = nn.Conv2d(config.width, config.per_frame.deep_width, 1)
            nn.init.zeros_(self.expand.weight)
            nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        stages = self.frame.trunk.stages(image)
        logits = self.frame.aux_logits(stages) if aux else None
        if self.config.insert == "backbone":
            return Extracted(stages.deep, stages.shallow, logits)
        return Extracted(self.frame.bottleneck(stages), aux=logits)

    def project(self, extracted: Extracted) -> Encoded:
        key, value = self.stt.project(self._input(extracted.features))
        return Encoded(extracted.features, key, value, shallow=extracted.shallow)

    def refine(self, current: Encoded, memory: Sequence[Encoded]) -> Refined:
        """Let the complex positions of a frame read `memory`.

        With no key frame every position takes the bypass: through the last LayerNorm where
        `bypass_norm` is on.
        """
        return self._refine(current, self._read(current, memory))

    def classify(self, refined: Refined) -> Tensor:
        if self.config.insert == "bottleneck":
            return self.frame.classify(refined.features)
        # what the auxiliary head reads is not needed any more
        stages = Stages(refined.features, refined.features, refined.shallow)
        return self.frame.classify(self.frame.bottleneck(stages))

    def decode_without(
        self, current: Encoded, memory: Sequence[Encoded], ablation: Ablation
    ) -> Decoded:
        """Logits as they would be without some heads, key frames or keys."""
        refined = self._refine(current, self._read(current, memory), ablation)
        return Decoded(self.classify(refined), refined.queries, refined.need)

    def focus(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        position: int,
        ablation: Ablation = NOTHING_MUTED,
    ) -> Focus:
        """What `position` reads of `memory`, selected or not.

        Args:
            current: a frame, B = 1.
            memory: its key frames, newest first; at least one.
            position: index into the map's N.
            ablation: what to leave out.
        """
        memory = self._read(current, memory)
        if not memory:
            raise ValueError("a position can only read key frames, and there are none")
        where = torch.tensor([[position]], device=current.features.device)
        features = self._input(current.features)
        row = to_rows(features)[:, position : position + 1]
        weights = self.stt.weights(row, where, memory, ablation)[0, :, 0]
        if self.config.insert == "bottleneck":
            out = self.stt.attend(row, where, memory, ablation)  # [1, 1, d]
            logits = self.frame.classify(out.transpose(1, 2)[..., None])[0, :, 0, 0]
            return Focus(weights, logits)
        # behind the backbone everything depends on everything: the whole frame, this one asking too
        whole = self.classify(self._refine(current, memory, ablation, also=where))[0]
        rows, cols = current.size
        y, x = position // cols, position % cols
        at = whole[:, y * whole.shape[1] // rows, x * whole.shape[2] // cols]
        return Focus(weights, at)

    def inputs(self, current: Encoded) -> Tensor:
        """What the block sees of a frame: ``[B, N, d]``."""
        return to_rows(self._input(current.features))

    def measure_need(self, current: Encoded, radius: int) -> Tensor:
        """D_NSM ``[B, N]`` (Eq. 4) with an r that need not be the model's own."""
        return self._measure_need(self._input(current.features), radius)

    def rejoin(self, current: Encoded, rows: Tensor, queries: Tensor, asked: Tensor) -> Tensor:
        """A frame whose queries have read, all its other positions having passed by.

        Args:
            current: the frame.
            rows: its :meth:`inputs`.
            queries: ``[B, Q]`` long, who read; Q may be 0.
            asked: ``[B, Q, d]``, what they became.

        Returns:
            ``[B, C, h, w]``, to be classified.
        """
        out = self.stt.bypass(rows)  # under autocast not in the dtype of rows
        if queries.shape[1]:
            where = queries[..., None].expand(-1, -1, rows.shape[-1])
            out = out.scatter(1, where, asked.to(out.dtype))
        refined = to_map(out, current.size)
        if self.config.insert == "backbone":
            refined = current.features + self.expand(refined)
        return refined

    def learning_parts(self) -> Sequence[nn.Module]:
        parts = [self.stt, self.frame.classifier]
        return [*parts, self.reduce, self.expand] if self.config.insert == "backbone" else parts

    def _refine(
        self,
        current: Encoded,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
        also: Tensor | None = None,
    ) -> Refined:
        features = self._input(current.features)
        rows = to_rows(features)  # [B, N, d]
        if memory:
            need = self._measure_need(features, self.config.neighbour_radius)
            queries = select_queries(need, self.config.query_ratio, also=also)  # [B, Q]
            where = queries[..., None].expand(-1, -1, rows.shape[-1])
            asked = self.stt.attend(rows.gather(1, where), queries, memory, ablation)
        else:
            need = torch.zeros(rows.shape[:2], device=rows.device)
            queries = torch.zeros(rows.shape[0], 0, dtype=torch.long, device=rows.device)
            asked = rows[:, :0]
        refined = self.rejoin(current, rows, queries, asked)
        return Refined(refined, queries, need, current.shallow)

    def _measure_need(self, features: Tensor, radius: int) -> Tensor:
        scale = self.config.nsm_scale
        return neighbouring_similarity(features, radius, scale=scale, backend=self.stt.backend)

    def _read(self, current: Encoded, memory: Sequence[Encoded]) -> Sequence[Encoded]:
        """As many of the key frames as the model reads."""
        memory = memory[: self.config.key_frames]
        if any(m.size != current.size for m in memory):
            raise ValueError(
                f"key frames must have the size of the frame that reads them, {current.size}, "
                f"got {[m.size for m in memory]}"
            )
        return memory

    def _input(self, features: Tensor) -> Tensor:
        return self.reduce(features) if self.config.insert == "backbone" else features


def to_rows(features: Tensor) -> Tensor:
    """``[B, d, h, w]`` to ``[B, N, d]``, a view."""
    return features.flatten(2).transpose(1, 2)


def to_map(rows: Tensor, size: Sequence[int]) -> Tensor:
    """``[B, N, d]`` to ``[B, d, *size]``, a view."""
    return rows.transpose(1, 2).unflatten(2, tuple(size))


def _maps(memory: Sequence[Encoded]) -> tuple[list[Tensor], list[Tensor]]:
    """Key and value maps of the key frames, each ``[B, d, h, w]``."""
    keys = [m.key for m in memory if m.key is not None]
    values = [m.value for m in memory if m.value is not None]
    if not len(keys) == len(values) == len(memory):
        raise ValueError("a key frame was encoded by a network without a temporal block")
    return keys, values
