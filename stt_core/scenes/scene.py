"""A drive through a street, made up from a seed: picture, exact labels, exact flow.

H, W: height and width of the image. Class ids are those of CamVid with 11 classes: 0 sky,
1 building, 2 pole, 3 road (with its markings), 4 pavement, 5 tree, 6 sign, 7 fence, 8 car,
9 pedestrian, 10 bicyclist.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.camera import Camera, camera_at, distance_driven
from stt_core.scenes.cars import put_cars
from stt_core.scenes.furniture import PLACE, put_furniture, put_signals
from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector, make_look, packed
from stt_core.scenes.motion import write_flow, write_visible
from stt_core.scenes.noise import mix_key, noise_table
from stt_core.scenes.picture import antialias, develop
from stt_core.scenes.quads import QUAD, SKY, Quads
from stt_core.scenes.raster import NOTHING, Hits, draw_quads, empty_hits
from stt_core.scenes.shade import light_quads, shade_centres, shade_corners
from stt_core.scenes.street import CELL, put_blocks, put_ground, put_skyline
from stt_core.scenes.traffic import (
    put_bicyclists,
    put_crossing_bicyclists,
    put_crossing_people,
    put_people,
)

CLASS_COUNT = 11
MAX_QUADS = 8000
START_SECONDS = 1000.0  # frame 0 is here, so that frames before it exist as well


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """One frame of a scene with all that is known about it.

    Attributes:
        image: uint8 ``[H, W, 3]`` RGB.
        labels: uint8 ``[H, W]``, the class at each pixel's centre.
        flow: float32 ``[H, W, 2]``; the surface point at (x, y) is at (x + u, y + v) pixels in the
            next frame. Defined for points that get hidden or leave the image as well.
        visible: bool ``[H, W]``; that point is inside the next frame and not hidden there.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    flow: NDArray[np.float32]
    visible: NDArray[np.bool_]


class Motion(NamedTuple):
    """Where what one frame shows is in another."""

    flow: NDArray[np.float32]
    """``[H, W, 2]``; the surface point at (x, y) is at (x + u, y + v) pixels in the other frame."""
    visible: NDArray[np.bool_]
    """``[H, W]``; that point is inside the other frame and not hidden there."""


class Scene:
    """The drive of one seed; any frame can be asked for, in any order."""

    def __init__(
        self,
        seed: int,
        size: tuple[int, int] = (480, 360),
        fps: float = 15.0,
        *,
        motion: float = 1.0,
    ) -> None:
        """Decide how the street of `seed` looks.

        Args:
            seed: any whole number.
            size: width and height of the image, pixels.
            fps: frames a second.
            motion: how fast time runs; 0 freezes it, the sensor noise excepted.

        Raises:
            ValueError: a size below 8 pixels, or `fps` not above 0.
        """
        if min(size) < 8 or not fps > 0:
            raise ValueError(f"need a size of at least 8 x 8 and fps above 0, got {size=} {fps=}")
        self.seed, self.size, self.fps, self.motion = seed, size, fps, motion
        self._look = make_look(seed)
        self._packed = packed(self._look)
        self._table = noise_table()

    def frame(self, index: int, *, with_flow: bool = True) -> SceneFrame:
        """Frame `index`.

        Args:
            index: 0 is the start of the drive.
            with_flow: False saves a third of the time; nothing is `visible` then, and `flow` is
                right all the same.

        Returns:
            The frame; equal for equal arguments.
        """
        now = self._moment(index)
        later = self._moment(index + 1)
        quads, next_quads = self._quads(now, now), self._quads(now, later)
        camera = camera_at(self._look, now, self.size)
        next_camera = camera_at(self._look, later, self.size)
        hits = self._hits(quads, camera)
        flow, depth = self._flow(hits, next_quads, camera, next_camera)
        visible = np.zeros(depth.shape, np.bool_)
        if with_flow:
            next_hits = self._hits(next_quads, next_camera)
            write_visible(hits, quads, next_hits, flow, depth, visible)
        image = self._image(index, quads, hits, camera, flow)
        return SceneFrame(image, _labels(hits, quads), flow, visible)

    def flow(self, index: int, to: int) -> Motion:
        """Where the points of frame `index` are in frame `to`, before or after it.

        Exact for any `to`. Whether a point is visible there is only known for neighbours, since
        of what hides it there only the things near the camera at `index` are looked at.
        """
        now, then = self._moment(index), self._moment(to)
        quads, then_quads = self._quads(now, now), self._quads(now, then)
        camera = camera_at(self._look, now, self.size)
        then_camera = camera_at(self._look, then, self.size)
        hits = self._hits(quads, camera)
        flow, depth = self._flow(hits, then_quads, camera, then_camera)
        visible = np.zeros(depth.shape, np.bool_)
        then_hits = self._hits(then_quads, then_camera)
        write_visible(hits, quads, then_hits, flow, depth, visible)
        return Motion(flow, visible)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Only the labels of frame `index`, uint8 ``[H, W]``."""
        now = self._moment(index)
        quads = self._quads(now, now)
        return _labels(self._hits(quads, camera_at(self._look, now, self.size)), quads)

    def _moment(self, index: int) -> float:
        return START_SECONDS + self.motion * index / self.fps

    def _empty(self, channels: int) -> NDArray[np.float32]:
        width, height = self.size
        return np.empty((height, width, channels), np.float32)

    def _quads(self, chosen_at: float, seconds: float) -> Quads:
        """The quads at a time, of the things near the camera at the time `chosen_at`.

        The same `chosen_at` gives the same things in the same order at any time.
        """
        quads = np.empty(MAX_QUADS, QUAD)
        driven = distance_driven(self._look, chosen_at)
        now = (chosen_at, seconds, distance_driven(self._look, seconds))
        return quads[: _put_all(quads, self._packed, driven, now)]

    def _hits(self, quads: Quads, camera: Camera) -> Hits:
        width, height = self.size
        hits = empty_hits(height, width)
        draw_quads(hits, quads, camera, 0.0, self._table)
        return hits

    def _flow(
        self, hits: Hits, then_quads: Quads, camera: Camera, then_camera: Camera
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flow to another moment, and the points' depth there."""
        flow, depth = self._empty(2), self._empty(1)[..., 0]
        write_flow(hits, then_quads, camera, then_camera, flow, depth)
        return flow, depth

    def _image(
        self, index: int, quads: Quads, hits: Hits, camera: Camera, flow: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """Shade pixel centres and pixel corners, and develop their mean."""
        width, height = self.size
        look, table = self._packed, self._table
        light_quads(quads, look, camera)
        centres, mean = self._empty(3), self._empty(3)
        shade_centres(hits, quads, camera, look, table, centres)
        corner_hits = empty_hits(height + 1, width + 1)
        draw_quads(corner_hits, quads, camera, -0.5, table)
        corners = np.empty((height + 1, width + 1, 3), np.float32)
        shade_corners(corner_hits, quads, camera, look, table, hits.quad, centres, corners)
        antialias(centres, corners, mean)
        image = np.empty((height, width, 3), np.uint8)
        develop(mean, flow, self._packed, mix_key(self._look.key, index), image)
        return image


@compiled
def _put_all(quads: Quads, look: Look, driven: float, now: Vector) -> int:
    """Everything near a camera that has driven so far; the ground comes first."""
    n = put_ground(quads, 0, look, math.floor(driven / CELL) * CELL - CELL, 700.0)
    block = math.floor(driven / CELL)
    n = put_cars(quads, n, look, driven - 8.0, driven + 140.0, now)
    n = put_bicyclists(quads, n, look, driven - 4.0, driven + 100.0, now)
    n = put_people(quads, n, look, driven - 2.0, driven + 90.0, now)
    n = put_crossing_people(quads, n, look, block, block + 2, now)
    n = put_crossing_bicyclists(quads, n, look, block, block + 2, now)
    place = math.floor(driven / PLACE)
    n = put_furniture(quads, n, look, place - 1, place + 20)
    n = put_signals(quads, n, look, block, block + 3)
    n = put_blocks(quads, n, look, block - 1, block + 5)
    return put_skyline(quads, n, look, now[2] + 600.0)


@compiled
def _label_samples(hits: Hits, quads: Quads, labels: NDArray[np.uint8]) -> None:
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            index = hits.quad[row, column]
            labels[row, column] = SKY if index == NOTHING else quads[index].label


def _labels(hits: Hits, quads: Quads) -> NDArray[np.uint8]:
    labels = np.empty(hits.quad.shape, np.uint8)
    _label_samples(hits, quads, labels)
    return labels
