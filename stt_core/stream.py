"""Segmenting frames as they come: a ring of past features, one encoder pass a frame."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.model.pspnet import Decoded, Encoded
from stt_core.network import Network
from stt_core.preprocess import Segmentation


class Streamed(NamedTuple):
    """One frame's answer."""

    segmentation: Segmentation
    decoded: Decoded


class Stream:
    """Feeds a network with consecutive frames. Belongs to one thread.

    The ring is emptied by :meth:`reset`, to be called at each clip's start, and by a frame of
    another size.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._past: deque[Encoded] = deque(maxlen=max(1, network.key_frames * network.key_spacing))
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """How many past frames are remembered."""
        return len(self._past)

    def reset(self) -> None:
        """Forget the past: the next frame starts a clip."""
        self._past.clear()

    def remember(self, image: NDArray[np.uint8]) -> None:
        """Take ``[H, W, 3]`` RGB as a past frame without segmenting it."""
        self._notice_size(image)
        self._past.appendleft(self._network.encode(image))

    def push(self, image: NDArray[np.uint8]) -> Streamed:
        """Segment ``[H, W, 3]`` RGB, the frame after the one pushed before."""
        self._notice_size(image)
        current = self._network.encode(image)
        step = self._network.key_spacing
        memory = list(self._past)[step - 1 :: step]
        decoded = self._network.decode(current, memory)
        self._past.appendleft(current)
        return Streamed(self._network.finish(decoded, (image.shape[0], image.shape[1])), decoded)

    def _notice_size(self, image: NDArray[np.uint8]) -> None:
        if image.shape != self._size:
            self.reset()
            self._size = image.shape
