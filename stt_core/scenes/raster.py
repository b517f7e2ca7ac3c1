"""Drawing quads into a depth buffer: which quad each sample shows, and where on it.

A sample of column c and row r looks through the image point (c + offset, r + offset); offset 0
gives pixel centres.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.camera import NEAR, Camera, cross, dot, to_camera
from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Vector
from stt_core.scenes.noise import Table, clamp01
from stt_core.scenes.quads import FIRST_CUT_OUT, SHADOW, Quad, Quads
from stt_core.scenes.shapes import covers
from stt_core.scenes.street import GROUND_QUADS

FAR = 1e9
NOTHING = -1  # the quad of a sample that shows the sky


class Hits(NamedTuple):
    """What the samples ``[h, w]`` show."""

    quad: NDArray[np.int32]  # index, or NOTHING
    depth: NDArray[np.float32]  # metres along the view axis
    x: NDArray[np.float32]  # metres on the quad; anything where there is none
    y: NDArray[np.float32]
    light: NDArray[np.float32]  # 1, less in cast shadows


class Plane(NamedTuple):
    """A quad seen from the camera, and the box of samples it may cover.

    The ray (i, j, 1) in camera axes meets it at depth = distance / (normal . ray), at the part
    depth * (across . ray) - across_start of its width; likewise for the height.
    """

    normal: Vector
    distance: float
    across: Vector
    across_start: float
    up: Vector
    up_start: float
    column_start: int
    column_stop: int
    row_start: int
    row_stop: int


def empty_hits(height: int, width: int) -> Hits:
    """Samples that show nothing yet."""
    shape = (height, width)
    return Hits(
        np.full(shape, NOTHING, np.int32),
        np.full(shape, FAR, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.ones(shape, np.float32),
    )


@compiled
def draw_quads(hits: Hits, quads: Quads, camera: Camera, offset: float, table: Table) -> None:
    """Draw all quads, then the shadows on the ground."""
    for index in range(quads.shape[0]):
        if quads[index].kind != SHADOW:
            plane = _plane(quads[index], camera, offset, hits.quad.shape[0], hits.quad.shape[1])
            _draw(hits, quads[index], index, plane, camera, offset, table)
    for index in range(quads.shape[0]):
        if quads[index].kind == SHADOW:
            plane = _plane(quads[index], camera, offset, hits.quad.shape[0], hits.quad.shape[1])
            _draw_shadow(hits, quads[index], plane, camera, offset)


@compiled
def corner(q: Quad, camera: Camera, part_x: float, part_y: float) -> Vector:
    """A point of a quad, named by parts of its edges, in camera axes."""
    place = (
        q.ox + part_x * q.ux + part_y * q.vx - camera.place[0],
        q.oy + part_x * q.uy + part_y * q.vy - camera.place[1],
        q.oz + part_x * q.uz + part_y * q.vz - camera.place[2],
    )
    return to_camera(camera, place)


@compiled
def _plane(q: Quad, camera: Camera, offset: float, height: int, width: int) -> Plane:
    """Prepare a quad for drawing; its box of samples is empty if it is out of sight."""
    origin = corner(q, camera, 0.0, 0.0)
    across = to_camera(camera, (q.ux, q.uy, q.uz))
    up = to_camera(camera, (q.vx, q.vy, q.vz))
    normal = cross(across, up)
    a, b = cross(up, normal), cross(normal, across)
    a_scale, b_scale = 1.0 / dot(across, a), 1.0 / dot(up, b)
    a = (a[0] * a_scale, a[1] * a_scale, a[2] * a_scale)
    b = (b[0] * b_scale, b[1] * b_scale, b[2] * b_scale)
    left, right, top, bottom = _box(q, camera)
    return Plane(
        normal,
        dot(origin, normal),
        a,
        dot(origin, a),
        b,
        dot(origin, b),
        max(0, math.ceil(left - offset)),
        min(width, math.floor(right - offset) + 1),
        max(0, math.ceil(top - offset)),
        min(height, math.floor(bottom - offset) + 1),
    )


@compiled
def _box(q: Quad, camera: Camera) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a quad's part in front of the camera, image coordinates."""
    left, right, top, bottom = 1e6, -1e6, 1e6, -1e6
    previous = corner(q, camera, 0.0, 1.0)
    for number in range(4):
        part_x = 1.0 if number == 1 or number == 2 else 0.0
        point = corner(q, camera, part_x, 1.0 if number >= 2 else 0.0)
        if (point[2] >= NEAR) != (previous[2] >= NEAR):
            part = (NEAR - previous[2]) / (point[2] - previous[2])
            i = (previous[0] + part * (point[0] - previous[0])) / NEAR
            j = (previous[1] + part * (point[1] - previous[1])) / NEAR
            left, right, top, bottom = min(left, i), max(right, i), min(top, -j), max(bottom, -j)
        if point[2] >= NEAR:
            i, j = point[0] / point[2], point[1] / point[2]
            left, right, top, bottom = min(left, i), max(right, i), min(top, -j), max(bottom, -j)
        previous = point
    left, right = (
        camera.middle_x + _limited(left, camera),
        camera.middle_x + _limited(right, camera),
    )
    top, bottom = (
        camera.middle_y + _limited(top, camera),
        camera.middle_y + _limited(bottom, camera),
    )
    return (left, right, top, bottom)


@compiled
def _limited(slope: float, camera: Camera) -> float:
    """A slope in pixels, within what an integer can hold."""
    return min(1e6, max(-1e6, slope * camera.focal))


@compiled
def _draw(
    hits: Hits, q: Quad, index: int, plane: Plane, camera: Camera, offset: float, table: Table
) -> None:
    """Draw one quad where it is nearer than what was drawn before."""
    quads_seen, depths, xs, ys, _ = hits  # by name: each look-up in a tuple counts references
    cut_out = q.kind >= FIRST_CUT_OUT
    step = 1.0 / camera.focal
    n, a, b = plane.normal, plane.across, plane.up
    for row in range(plane.row_start, plane.row_stop):
        j = (camera.middle_y - row - offset) * step
        n_row, a_row, b_row = n[1] * j + n[2], a[1] * j + a[2], b[1] * j + b[2]
        for column in range(plane.column_start, plane.column_stop):
            i = (column + offset - camera.middle_x) * step
            depth = plane.distance / (n[0] * i + n_row)
            if not (NEAR <= depth < depths[row, column]):
                continue
            part_x = depth * (a[0] * i + a_row) - plane.across_start
            part_y = depth * (b[0] * i + b_row) - plane.up_start
            if part_x < 0.0 or part_x > 1.0 or part_y < 0.0 or part_y > 1.0:
                continue
            x, y = part_x * q.width, part_y * q.height
            if cut_out and not covers(q, x, y, depth * step, table):
                continue
            quads_seen[row, column] = index
            depths[row, column] = depth
            xs[row, column] = x
            ys[row, column] = y


@compiled
def _draw_shadow(hits: Hits, q: Quad, plane: Plane, camera: Camera, offset: float) -> None:
    """Darken the ground under a shadow quad, softly towards its edge."""
    step = 1.0 / camera.focal
    n, a, b = plane.normal, plane.across, plane.up
    for row in range(plane.row_start, plane.row_stop):
        j = (camera.middle_y - row - offset) * step
        n_row, a_row, b_row = n[1] * j + n[2], a[1] * j + a[2], b[1] * j + b[2]
        for column in range(plane.column_start, plane.column_stop):
            quad = hits.quad[row, column]
            if quad < 0 or quad >= GROUND_QUADS:
                continue
            i = (column + offset - camera.middle_x) * step
            depth = plane.distance / (n[0] * i + n_row)
            x = 2.0 * (depth * (a[0] * i + a_row) - plane.across_start) - 1.0
            y = 2.0 * (depth * (b[0] * i + b_row) - plane.up_start) - 1.0
            edge = math.sqrt(x * x + y * y) if q.b > 0.5 else max(abs(x), abs(y))
            hits.light[row, column] *= 1.0 - q.a * clamp01((1.0 - edge) * 2.5)
