"""The encoder as a captured CUDA graph: one launch a frame in place of some hundred.

A graph replays fixed work on fixed memory, so there is one for each input shape and path, and what
it leaves behind is copied out before the next replay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stt_core.model.video import Encoded, VideoModel

_WARM_UPS = 3
"""Passes before capture, in which libraries choose their algorithms."""
_MOST_GRAPHS = 4
"""Kept at once: each holds the memory of a whole pass."""


class CapturedEncoder:
    """Encodes as `model` does, on CUDA. Belongs to one thread."""

    def __init__(self, model: VideoModel) -> None:
        self._model = model
        self._graphs: dict[
            tuple[torch.Size, int], tuple[torch.cuda.CUDAGraph, Tensor, Encoded]
        ] = {}

    def encode(self, image: Tensor, path: int) -> Encoded:
        """``[1, 3, H, W]`` to what is kept of the frame.

        Raises:
            RuntimeError: the model cannot be captured.
        """
        key = image.shape, path
        if key not in self._graphs:
            if len(self._graphs) >= _MOST_GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = self._capture(image, path)
        graph, place, left = self._graphs[key]
        place.copy_(image)
        graph.replay()
        return left.clone()

    def _capture(self, image: Tensor, path: int) -> tuple[torch.cuda.CUDAGraph, Tensor, Encoded]:
        place = image.clone(memory_format=torch.channels_last)
        side = torch.cuda.Stream(image.device)
        side.wait_stream(torch.cuda.current_stream(image.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._model.encode(place, path)
        torch.cuda.current_stream(image.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            left = self._model.encode(place, path)
        return graph, place, left
