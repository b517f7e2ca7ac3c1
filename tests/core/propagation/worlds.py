"""Videos in memory for the tests of propagation, whose motion is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import UNLABELLED
from stt_core.media.frame import Frame
from stt_core.media.medium import Medium
from stt_core.media.source import MediaSource
from stt_core.scenes.scene import Scene

Labels = NDArray[np.uint8]


class Pictures(Medium):
    """A :class:`MediaSource` of arrays ``[H, W, 3]``."""

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self.path, self.fps, self.warnings = Path("pictures"), 10.0, ()
        self._images = images
        self.height, self.width = images[0].shape[:2]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Frame:
        self._require(index)
        return Frame(index, self._images[index], index / self.fps, "")

    def time_of(self, index: int) -> float:
        return index / self.fps

    def close(self) -> None:
        pass


def texture(size: tuple[int, int] = (48, 64), seed: int = 0) -> NDArray[np.uint8]:
    """Random blocks of 4 pixels, ``[H, W, 3]``."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
    return np.kron(small, np.ones((4, 4, 1), np.uint8))


def still(count: int) -> Pictures:
    return Pictures([texture()] * count)


class Steady:
    """A motion: everything moves by the same from each frame to the next."""

    def __init__(self, right: float, down: float = 0.0) -> None:
        self._step = np.array([right, down], np.float32)

    def __call__(self, media: MediaSource, frame: int, other: int) -> NDArray[np.float32]:
        flow = np.empty((media.height, media.width, 2), np.float32)
        flow[:] = self._step * (other - frame)
        return flow


def unknown(media: MediaSource, frame: int, other: int) -> NDArray[np.float32]:
    """A motion nobody knows."""
    return np.full((media.height, media.width, 2), np.nan, np.float32)


class SceneWorld:
    """Some frames of a generated scene, with all that is known about them."""

    def __init__(self, seed: int, count: int, size: tuple[int, int] = (160, 120)) -> None:
        self.scene = Scene(seed, size)
        frames = [self.scene.frame(i, with_flow=False) for i in range(count)]
        self.media = Pictures([f.image for f in frames])
        self.labels = [f.labels for f in frames]

    def motion(self, media: MediaSource, frame: int, other: int) -> NDArray[np.float32]:
        """Exact, and unknown where the other frame hides the point."""
        flow, visible = self.scene.flow(frame, other)
        return np.where(visible[..., None], flow, np.float32(np.nan))


def halves(size: tuple[int, int] = (48, 64), left: int = 1, right: int = 2) -> Labels:
    labels = np.full(size, left, np.uint8)
    labels[:, size[1] // 2 :] = right
    return labels


def nothing(size: tuple[int, int] = (48, 64)) -> Labels:
    return np.full(size, UNLABELLED, np.uint8)
