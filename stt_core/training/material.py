"""What a run makes of its data: clips as its model reads them, and how rare each class is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stt_core.config import reach
from stt_core.data.clip_sources import clips_of
from stt_core.data.clips import ClipSource
from stt_core.data.sequences import DataSet
from stt_core.errors import TrainingError
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import VOID
from stt_core.training.config import TrainConfig

_COUNTED = 400
"""Label maps that class frequencies are told from, at most."""
_RAREST = 1e-4
"""Share of the pixels below which a class is not weighed up any further."""


def clips_for(
    data: Sequence[DataSet], config: TrainConfig, model: ModelHeader, *, unlabelled: bool = False
) -> list[ClipSource]:
    """The clips of each data set, with as long a past as the model and the losses look back."""
    reached = reach(model.config)
    before = 0  # past frames that a loss compares with, and which have a past of their own
    if config.motion is not None:
        before = 1
    if config.distill is not None:
        before = 2 if config.distill.multi else 1
    return [
        clips_of(
            part,
            key_frames=reached.key_frames + before,
            key_spacing=reached.key_spacing,
            past=config.past,
            unlabelled=unlabelled,
            jitter_gap=config.jitter_gap,
            flow=config.motion is not None,
        )
        for part in data
    ]


def seen_config(config: TrainConfig, model: ModelHeader) -> TrainConfig:
    """The recipe, with the size at which its model sees images."""
    side = model.preprocess.short_side
    return replace(config, augment=replace(config.augment, short_side=side))


def class_weights(data: Sequence[DataSet], config: TrainConfig) -> Tensor | None:
    """Weight of each class, frequency to the power of -class_balance, mean 1 over pixels.

    Every data set counts alike, since clips are drawn from each in equal share.

    Raises:
        TrainingError: no pixel that was looked at has a label.
    """
    if not config.class_balance:
        return None
    rng = np.random.default_rng(config.seed)
    share = np.mean([_class_shares(part, rng) for part in data], axis=0)
    if not share.any():
        raise TrainingError("class_balance finds no labelled pixel to tell frequencies from")
    weights = np.maximum(share, _RAREST) ** -config.class_balance
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def _class_shares(data: DataSet, rng: np.random.Generator) -> np.ndarray:
    frames = [(s, i) for s in data.sequences for i in s.labelled]
    chosen = rng.permutation(len(frames))[: max(1, _COUNTED)]
    count = np.zeros(256)
    for k in chosen:
        sequence, index = frames[k]
        labels = sequence.labels(index)
        if labels is not None:
            count += np.bincount(labels.ravel(), minlength=256)
    return count[: len(data.classes)] / max(count[:VOID].sum(), 1)
