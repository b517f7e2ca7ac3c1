"""Segmenting frames as they come: a ring of past features, one encoder pass a frame."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.media.shots import is_cut, thumbnail
from stt_core.model.video import Decoded, Encoded
from stt_core.network import Network
from stt_core.preprocess import Segmentation


class Streamed(NamedTuple):
    """One frame's answer."""

    segmentation: Segmentation
    decoded: Decoded
    encoded: Encoded


class Stream:
    """Feeds a network with consecutive frames. Belongs to one thread.

    The ring is emptied by :meth:`reset`, to be called at each clip's start, by a frame of another
    size, and by a cut.

    Args:
        network: what computes.
        start: index of the first frame in its video: models of several paths take turns by it.
        cuts: whether to look for cuts; to be off in training and evaluation.
    """

    def __init__(self, network: Network, *, start: int = 0, cuts: bool = False) -> None:
        self._network = network
        self._past: deque[Encoded] = deque(maxlen=network.key_frames * network.key_spacing)
        self._next = start
        self._cuts = cuts
        self._size: tuple[int, ...] | None = None
        self._before: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """How many past frames are remembered."""
        return len(self._past)

    def reset(self, start: int = 0) -> None:
        """Forget the past: the next frame starts a clip, at this index of its video."""
        self._past.clear()
        self._before = None
        self._next = start

    def remember(self, image: NDArray[np.uint8]) -> None:
        """Take ``[H, W, 3]`` RGB as a past frame without segmenting it."""
        self._past.appendleft(self._encode(image))

    def push(self, image: NDArray[np.uint8], *, entropy: bool = False) -> Streamed:
        """Segment ``[H, W, 3]`` RGB, the frame after the one pushed before."""
        step = self._network.key_spacing
        current = self._encode(image)
        decoded = self._network.decode(current, [*self._past][step - 1 :: step])
        self._past.appendleft(current)
        size = image.shape[0], image.shape[1]
        found = self._network.finish(decoded, size, entropy=entropy)
        return Streamed(found, decoded, current)

    def _encode(self, image: NDArray[np.uint8]) -> Encoded:
        """Encode the next frame; the ring then holds frames of its own shot only."""
        if image.shape != self._size:
            self._size = image.shape
            self._past.clear()
            self._before = None
        if self._cuts:
            now = thumbnail(image)
            if self._before is not None and is_cut(self._before, now):
                self._past.clear()
            self._before = now
        encoded = self._network.encode(image, self._next)
        self._next += 1
        return encoded
