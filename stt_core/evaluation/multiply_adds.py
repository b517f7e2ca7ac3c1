"""Multiply-adds of one frame, counted from the config: no weights, no data, no device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from stt_core.config import ModelConfig, SttConfig, reach
from stt_core.model.build import build_model
from stt_core.model.video import VideoModel


@dataclass(frozen=True, slots=True)
class MultiplyAdds:
    """Multiply-adds of one frame; of matrix products and convolutions, as is customary."""

    first: int
    """Of a frame that has no past."""
    steady: int
    """Of a frame that has its whole past, whose features were kept."""


def multiply_adds(config: ModelConfig, size: tuple[int, int]) -> MultiplyAdds:
    """Count them for a network input of `size` (height, width).

    The temporal block's are counted as in method 1.7, every window whole: whichever kernel runs,
    and what it skips beyond the border or adds in padding, the figure is the same.
    """
    with torch.device("meta"):
        model = build_model(config).eval()
    first = _counted(model, size, [])
    if not isinstance(config, SttConfig):
        paths = reach(config).paths
        past = [-lag % paths for lag in range(1, reach(config).key_frames + 1)]
        return MultiplyAdds(first, _counted(model, size, past) if past else first)
    rows, cols = (math.ceil(side / 8) for side in size)
    return MultiplyAdds(first, first + block_multiply_adds(config, rows * cols))


def block_multiply_adds(config: SttConfig, positions: int) -> int:
    """What reading the whole past adds to a frame of so many feature positions (method, 1.7).

    The projections to keys and values are not in it: every frame pays them as it is encoded.
    """
    if not config.key_frames:
        return 0
    queries, width = math.floor(config.query_ratio * positions + 1e-9), config.width
    selection = (2 * config.neighbour_radius + 1) ** 2 * positions * width
    attention = 2 * queries * keys_per_query(config) * width
    projections, feed_forward = 2 * queries * width**2, 2 * config.ffn_factor * queries * width**2
    return selection + attention + projections + feed_forward


def keys_per_query(config: SttConfig) -> int:
    """Positions one query reads where no window reaches beyond the border: 407 in the paper."""
    return sum((2 * radius + 1) ** 2 for radius in config.radii)


@torch.inference_mode()
def _counted(model: VideoModel, size: tuple[int, int], past: list[int]) -> int:
    """Those of a frame of path 0 that reads frames of the paths `past`, newest first."""
    image = torch.empty(1, 3, *size, device="meta")
    memory = [model.encode(image, path) for path in past]
    with FlopCounterMode(display=False) as counter:
        model.decode(model.encode(image, 0), memory)
    return int(counter.get_total_flops()) // 2
