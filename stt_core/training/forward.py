"""One pass of a batch through a model that learns: targets, their past, and logits of both.

Dimensions: B clips, T past frames, C classes, h x w the map that is classified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as recompute

from stt_core.config import reach
from stt_core.model.video import Encoded, Extracted, Refined, VideoModel, together

_FRAMES_AT_ONCE = 16
"""Past frames encoded together: bounds what their activations take."""


@dataclass(frozen=True, slots=True)
class Modes:
    """What of a model learns, and from what."""

    detach_keys: bool = True
    freeze_encoder: bool = False
    freeze_norms: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says of the newest frames of each clip, the target first."""

    logits: tuple[Tensor, ...]  # [B, C, h, w] each
    aux: Tensor | None  # [B, C, ...] of the target, where the backbone learns
    current: Encoded | None  # the target, where the model keeps something of it


def look(
    model: VideoModel,
    images: Tensor,
    past: Tensor,
    lengths: Sequence[int],
    *,
    path: int = 0,
    live: int = 1,
    modes: Modes,
) -> Seen:
    """Run clips through a model in training.

    Past frames go through the encoder as at inference, with running statistics; those among the
    `live` newest as the target does.

    Args:
        model: on the device of the images.
        images: ``[B, 3, H, W]`` normalised targets.
        past: ``[B, T, 3, H, W]``, newest first.
        lengths: past frames of each clip; those behind are padding.
        path: of the targets.
        live: how many of the newest frames, target included, get logits and pass on gradients.
        modes: what learns.
    """
    paths, keys = reach(model.config).paths, reach(model.config).key_frames
    set_modes(model, modes)
    encode = _encoder(model, modes)
    live = min(live, 1 + past.shape[1])
    newest = [images, *(past[:, t] for t in range(live - 1))]
    if paths == 1:
        extracted = encode(torch.cat(newest), 0, aux=True)
        encoded = model.project(extracted)
        count = len(images)
        frames = [encoded.some(slice(t * count, (t + 1) * count)) for t in range(live)]
        aux = None if extracted.aux is None else extracted.aux[:count]
    else:
        parts = [encode(x, (path - t) % paths, aux=t == 0) for t, x in enumerate(newest)]
        frames = [model.project(part) for part in parts]
        aux = parts[0].aux
    needed = min(keys + live - 1, past.shape[1])
    frames += [
        _remember(model, past[:, t], (path - 1 - t) % paths, modes) for t in range(live - 1, needed)
    ]
    logits = [
        model.classify(_refine(model, frames[t : t + 1 + keys], [n - t for n in lengths]))
        for t in range(live)
    ]
    return Seen(tuple(logits), aux, frames[0])


def set_modes(model: VideoModel, modes: Modes) -> None:
    """Training mode, less what keeps the running statistics or does not learn at all."""
    model.train()
    if modes.freeze_encoder:
        model.eval()
        for part in model.learning_parts():
            part.train()
    if modes.freeze_norms:
        _freeze_norms(model)


def _encoder(model: VideoModel, modes: Modes) -> Callable[..., Extracted]:
    def encode(x: Tensor, path: int, *, aux: bool) -> Extracted:
        if modes.freeze_encoder:
            with torch.no_grad():
                return model.extract(x, path)
        return model.extract(x, path, aux=aux)

    return encode


def _remember(model: VideoModel, images: Tensor, path: int, modes: Modes) -> Encoded:
    """Past frames of one lag, encoded as at inference."""

    def extract(piece: Tensor) -> Tensor:  # sets the mode itself: it may run again going backward
        model.eval()
        try:
            return model.extract(piece, path).features
        finally:
            set_modes(model, modes)

    pieces = images.split(_FRAMES_AT_ONCE)
    if modes.detach_keys or modes.freeze_encoder:
        with torch.no_grad():
            features = [extract(piece) for piece in pieces]
    else:
        features = [recompute(extract, piece, use_reentrant=False) for piece in pieces]
    return model.project(Extracted(torch.cat(features), path=path))


def _refine(model: VideoModel, frames: Sequence[Encoded], lengths: Sequence[int]) -> Refined:
    """The first of `frames`, having read as many of the others as each clip has."""
    current, memory = frames[0], frames[1:]
    held = [min(max(n, 0), len(memory)) for n in lengths]
    if len(set(held)) == 1:
        return model.refine(current, memory[: held[0]])
    return together(
        [model.refine(current.one(i), [m.one(i) for m in memory[:n]]) for i, n in enumerate(held)]
    )


def _freeze_norms(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, _BatchNorm):  # synchronised ones too
            part.eval()
