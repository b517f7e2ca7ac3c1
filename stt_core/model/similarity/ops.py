"""The neighbouring similarity measure as the model calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from stt_core.model.backends import Backend, choose
from stt_core.model.similarity.reference import reference_similarity
from stt_core.model.similarity.tiled import tiled_similarity


@torch.no_grad()
def neighbouring_similarity(
    features: Tensor, radius: int, *, scale: float = 1.0, backend: Backend = "auto"
) -> Tensor:
    """D_NSM of every position: how unlike its neighbours it is (paper, Eq. 1-4).

    D_KL is taken as the positive KL(uniform || softmax), in its closed form
    ``logsumexp(z) - mean(z) - log n``: the paper prints the ratio inverted, which would select
    the simple regions. Only neighbours inside the map count, so borders are not "complex".

    Args:
        features: ``[B, C, h, w]``.
        radius: r; a neighbourhood has (2r+1)^2 positions, its centre included.
        scale: factor on the dot products; 1 as printed.
        backend: how it is computed; the result is the same.

    Returns:
        ``[B, N]`` float32, at least 0 up to rounding. No gradient flows.
    """
    features = features.detach()
    backend = choose(backend, features)
    with torch.autocast(features.device.type, enabled=False):  # ranks are decided in float32
        if backend == "cpu":
            from stt_core.model.similarity.cpu import cpu_similarity

            return cpu_similarity(features, radius, scale=scale)
        if backend == "triton":
            from stt_core.model.similarity.fused import fused_similarity

            return fused_similarity(features, radius, scale=scale)
        if backend == "reference":
            return reference_similarity(features, radius, scale=scale)
        return tiled_similarity(features, radius, scale=scale)
