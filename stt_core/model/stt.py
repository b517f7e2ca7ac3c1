"""The sparse temporal transformer block on a PSPNet's bottleneck.

Dimensions: B batch, d channels, h rows, w columns, N = h * w, Q selected queries, H heads,
F key frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.config import SttConfig
from stt_core.model.attention.ops import attention_weights, sparse_attention
from stt_core.model.pspnet import Decoded, Encoded, PspNet
from stt_core.model.selection import neighbouring_similarity, select_queries


class Focus(NamedTuple):
    """What one position read, and what follows from it."""

    weights: Tensor  # [H, F, rows, cols], each head summing to 1
    logits: Tensor  # [classes] of this position, with that attention


class SttBlock(nn.Module):
    """One post-norm transformer layer for the selected queries of a frame (Fig. 2, Eq. 6)."""

    def __init__(self, config: SttConfig) -> None:
        super().__init__()
        width = config.pspnet.width
        self.config = config
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.ffn_factor * width),
            nn.ReLU(),
            nn.Linear(config.ffn_factor * width, width),
        )
        self.dropout = nn.Dropout(config.dropout)
        self._start_as_similarity()

    @torch.no_grad()
    def _start_as_similarity(self) -> None:
        """Begin as a mean of the past weighted by likeness (our choice; the paper is silent).

        From random projections a short training hardly leaves the uniform mean over 407 keys.
        """
        starts = ((self.q_proj, 2**0.5), (self.k_proj, 2**0.5), (self.v_proj, 1.0))
        for layer, gain in (*starts, (self.o_proj, 0.5)):
            layer.weight.normal_(std=0.02).add_(gain * torch.eye(layer.in_features))
            layer.bias.zero_()

    def attend(self, rows: Tensor, positions: Tensor, memory: Sequence[Encoded]) -> Tensor:
        """The block for queries ``[B, Q, d]`` at `positions` ``[B, Q]``: ``[B, Q, d]``."""
        key, value = _stack(memory)
        context = sparse_attention(
            self.q_proj(rows),
            key,
            value,
            positions,
            size=memory[0].size,
            radii=self.config.radii[: len(memory)],
            heads=self.config.heads,
        )
        y = self.norm1(rows + self.dropout(self.o_proj(context)))
        return self.norm2(y + self.dropout(self.ffn(y)))

    def weights(self, rows: Tensor, positions: Tensor, memory: Sequence[Encoded]) -> Tensor:
        """What :meth:`attend` reads: ``[B, H, Q, F, rows, cols]``."""
        return attention_weights(
            self.q_proj(rows),
            _stack(memory)[0],
            positions,
            size=memory[0].size,
            radii=self.config.radii[: len(memory)],
            heads=self.config.heads,
        )

    def bypass(self, rows: Tensor) -> Tensor:
        """Unselected positions ``[..., d]``: unchanged in content, on the classifier's scale."""
        return self.norm2(rows) if self.config.bypass_norm else rows


class SttPspNet(PspNet):
    """A PSPNet whose complex positions read the frames before."""

    config: SttConfig

    def __init__(self, config: SttConfig) -> None:
        super().__init__(config.pspnet)
        self.config = config
        self.stt = SttBlock(config)

    def project(self, features: Tensor) -> Encoded:
        rows = _rows(features)
        return Encoded(features, self.stt.k_proj(rows), self.stt.v_proj(rows))

    def decode(self, current: Encoded, memory: Sequence[Encoded]) -> Decoded:
        """Logits of a frame, its complex positions having read `memory`.

        Args:
            current: the frame.
            memory: its key frames, newest first, as many as there are up to config.key_frames.
                With none, every position takes the bypass.
        """
        rows = _rows(current.features)  # [B, N, d]
        out = self.stt.bypass(rows)
        memory = memory[: self.config.key_frames]
        if memory:
            need = neighbouring_similarity(
                current.features, self.config.neighbour_radius, scale=self.config.nsm_scale
            )
            queries = select_queries(need, self.config.query_ratio)  # [B, Q]
            where = queries[..., None].expand(-1, -1, rows.shape[-1])
            asked = self.stt.attend(rows.gather(1, where), queries, memory)
            out = out.scatter(1, where, asked.to(out.dtype))
        else:
            need = torch.zeros(rows.shape[:2], device=rows.device)
            queries = torch.zeros(rows.shape[0], 0, dtype=torch.long, device=rows.device)
        logits = self.classify(out.transpose(1, 2).unflatten(2, current.size))
        return Decoded(logits, queries, need)

    def focus(self, current: Encoded, memory: Sequence[Encoded], position: int) -> Focus:
        """What `position` reads of `memory`, selected or not.

        Args:
            current: a frame, B = 1.
            memory: its key frames, newest first; at least one.
            position: index into the map's N.
        """
        memory = memory[: self.config.key_frames]
        where = torch.tensor([[position]], device=current.features.device)
        row = _rows(current.features)[:, position : position + 1]
        out = self.stt.attend(row, where, memory)  # [1, 1, d]
        logits = self.classify(out.transpose(1, 2)[..., None])[0, :, 0, 0]
        return Focus(self.stt.weights(row, where, memory)[0, :, 0], logits)


def upsample(logits: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Bilinear ``[B, classes, h, w]`` to ``[B, classes, *size]``."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)


def _rows(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)  # [B, N, d]


def _stack(memory: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Keys and values of the key frames, each ``[B, F, N, d]``."""
    keys = [m.key for m in memory if m.key is not None]
    values = [m.value for m in memory if m.value is not None]
    if not len(keys) == len(values) == len(memory):
        raise ValueError("a key frame was encoded by a network without a temporal block")
    return torch.stack(keys, 1), torch.stack(values, 1)
