"""Exact flow and visibility, from where the quads are at two moments."""

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.camera import NEAR, Camera, to_camera, to_world
from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Vector
from stt_core.scenes.quads import Quads
from stt_core.scenes.raster import FAR, NOTHING, Hits, corner

DEPTH_TOLERANCE = 0.02  # of the depth: two hits this near are the same surface


@compiled
def write_flow(
    hits: Hits,
    later: Quads,
    camera: Camera,
    next_camera: Camera,
    flow: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    """Where every pixel's surface point is in the next frame.

    Args:
        hits: what this frame's pixel centres ``[H, W]`` show.
        later: the same quads at the next frame's moment.
        camera: this frame's.
        next_camera: the next frame's.
        flow: receives the shift in pixels, ``[H, W, 2]``.
        depth: receives the points' depth in the next frame, ``[H, W]`` metres.
    """
    for row in range(flow.shape[0]):
        for column in range(flow.shape[1]):
            index = hits.quad[row, column]
            if index == NOTHING:
                i = (column - camera.middle_x) / camera.focal
                j = (camera.middle_y - row) / camera.focal
                point = to_camera(next_camera, to_world(camera, (i, j, 1.0)))
                depth[row, column] = FAR
            else:
                q = later[index]
                x, y = hits.x[row, column] / q.width, hits.y[row, column] / q.height
                point = corner(q, next_camera, x, y)
                depth[row, column] = point[2]
            u, v = _image_point(next_camera, point)
            flow[row, column, 0] = u - column
            flow[row, column, 1] = v - row


@compiled
def _image_point(camera: Camera, point: Vector) -> tuple[float, float]:
    """Image coordinates of a point in camera axes; one behind the camera is taken as near."""
    scale = camera.focal / max(point[2], NEAR)
    return camera.middle_x + scale * point[0], camera.middle_y - scale * point[1]


@compiled
def write_visible(
    hits: Hits,
    now: Quads,
    later_hits: Hits,
    flow: NDArray[np.float32],
    depth: NDArray[np.float32],
    visible: NDArray[np.bool_],
) -> None:
    """Whether the next frame's nearest pixel shows the same thing at the depth expected there."""
    height, width = visible.shape
    for row in range(height):
        for column in range(width):
            x = int(np.floor(column + flow[row, column, 0] + 0.5))
            y = int(np.floor(row + flow[row, column, 1] + 0.5))
            if x < 0 or y < 0 or x >= width or y >= height or depth[row, column] < NEAR:
                visible[row, column] = False
                continue
            here, there = hits.quad[row, column], later_hits.quad[y, x]
            if here == there:
                visible[row, column] = True
                continue
            same = here >= 0 and there >= 0 and now[here].key == now[there].key
            same = same and now[here].label == now[there].label
            gap = abs(later_hits.depth[y, x] - depth[row, column])
            visible[row, column] = same and gap < DEPTH_TOLERANCE * depth[row, column]
