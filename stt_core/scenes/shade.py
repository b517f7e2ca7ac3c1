"""The colour of a sample: surface, light, haze; and the sky."""

import math

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.camera import Camera, cross, dot, to_world
from stt_core.scenes.ground import ground_light, pavement_colour, road_colour
from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector
from stt_core.scenes.noise import Colour, Table, blend, clamp01, dim, value_noise
from stt_core.scenes.quads import (
    ASPHALT,
    BICYCLIST,
    CAR,
    CURB,
    FACADE,
    FENCE,
    FLANK,
    FOLIAGE,
    GABLE,
    PAVING,
    PEDESTRIAN,
    POST,
    ROOF,
    SIGN,
    SKYLINE,
    Quad,
    Quads,
)
from stt_core.scenes.raster import NOTHING, Hits
from stt_core.scenes.things import car_colour, person_colour, sign_colour
from stt_core.scenes.walls import (
    facade_colour,
    fence_colour,
    flank_colour,
    leaves_colour,
    post_colour,
    roof_colour,
    skyline_colour,
    wall_texture,
)

Colours = NDArray[np.float32]  # [h, w, 3]


@compiled
def shade_centres(
    hits: Hits, quads: Quads, camera: Camera, look: Look, table: Table, colours: Colours
) -> None:
    """Write the colour of every pixel centre to `colours`, float32 ``[H, W, 3]``."""
    index, depth, x, y, light = hits  # by name: each look-up in a tuple counts references
    step = 1.0 / camera.focal
    for row in range(index.shape[0]):
        for column in range(index.shape[1]):
            ray = _ray(camera, column, row)
            at = (float(x[row, column]), float(y[row, column]), float(depth[row, column]))
            number, sun = index[row, column], float(light[row, column])
            red, green, blue = _colour(quads, number, at, sun, ray, step, look, table)
            colours[row, column, 0] = red
            colours[row, column, 1] = green
            colours[row, column, 2] = blue


@compiled
def shade_corners(
    hits: Hits,
    quads: Quads,
    camera: Camera,
    look: Look,
    table: Table,
    centre_index: NDArray[np.int32],
    centres: Colours,
    colours: Colours,
) -> None:
    """Write the colour of every pixel corner to `colours`, float32 ``[H + 1, W + 1, 3]``.

    A corner in the middle of one quad takes the mean of the centres around it: textures are
    smoothed by their own functions, only the edges between quads need more samples.
    """
    index, depth, x, y, light = hits
    step = 1.0 / camera.focal
    height, width = centre_index.shape
    for row in range(height + 1):
        top, bottom = max(0, row - 1), min(height - 1, row)
        for column in range(width + 1):
            left, right = max(0, column - 1), min(width - 1, column)
            here = index[row, column]
            same = centre_index[top, left] == here and centre_index[top, right] == here
            same = same and centre_index[bottom, left] == here
            if same and centre_index[bottom, right] == here:
                for c in range(3):
                    total = centres[top, left, c] + centres[top, right, c]
                    total += centres[bottom, left, c] + centres[bottom, right, c]
                    colours[row, column, c] = 0.25 * total
            else:
                ray = _ray(camera, column - 0.5, row - 0.5)
                at = (float(x[row, column]), float(y[row, column]), float(depth[row, column]))
                sun = float(light[row, column])
                colour = _colour(quads, here, at, sun, ray, step, look, table)
                for c in range(3):
                    colours[row, column, c] = colour[c]


@compiled
def _ray(camera: Camera, column: float, row: float) -> Vector:
    """World direction through an image point, of length 1 along the view axis."""
    i, j = (column - camera.middle_x) / camera.focal, (camera.middle_y - row) / camera.focal
    return to_world(camera, (i, j, 1.0))


@compiled
def _colour(
    quads: Quads,
    index: int,
    at: Vector,
    sun: float,
    ray: Vector,
    step: float,
    look: Look,
    table: Table,
) -> Colour:
    """Surface, light and haze of one sample, or the sky.

    Args:
        quads: all quads.
        index: the one the sample shows, or NOTHING.
        at: place on the quad and depth, metres.
        sun: 1, less in a cast shadow.
        ray: world direction of the sample.
        step: size of a pixel at a depth of 1 m, metres.
        look: the scene.
        table: white noise.
    """
    if index == NOTHING:
        return sky_colour(look, ray, table)
    q = quads[index]
    x, y, depth = at
    fx, fy = _footprint(q, ray, depth * step)
    colour = surface_colour(q, look, x, y, fx, fy, table)
    strength = sun * _cast(q, look, x, y, table)
    colour = (colour[0] * q.light_red, colour[1] * q.light_green, colour[2] * q.light_blue)
    return blend(dim(colour, strength), look.horizon, 1.0 - math.exp(-look.haze * depth))


@compiled
def surface_colour(
    q: Quad, look: Look, x: float, y: float, fx: float, fy: float, table: Table
) -> Colour:
    """The unlit colour of a quad at (x, y), metres on it, where a pixel spans (fx, fy)."""
    kind, label = q.kind, q.label
    if kind == ASPHALT:
        return road_colour(look, q.ox + x, q.oz + y, fx, fy, table)
    if kind == PAVING:
        across = q.ox + x if q.ux > 0.0 else q.ox - x
        return pavement_colour(look, across, q.oz + y, fx, fy, table)
    if kind == CURB:
        return dim((q.red, q.green, q.blue), 0.8 + 0.3 * value_noise(table, (q.oz + x) * 1.1, 0.5))
    if kind == FACADE:
        return facade_colour(q, look, x, y, fx, fy, table)
    if kind == FLANK:
        return flank_colour(q, look, x, y, fx, fy, table)
    if kind == FOLIAGE:
        return leaves_colour(q, look, x, y, fx, table)
    if kind == POST:
        return post_colour(q, x, y, fy, table)
    if label == CAR:
        return car_colour(q, look, x, y, max(fx, fy), table)
    if label in (PEDESTRIAN, BICYCLIST):
        return person_colour(q, x, y, fx, table)
    if label == SIGN:
        return sign_colour(q, x, y, fx, table)
    if label == FENCE:
        return fence_colour(q, x, y, fx, table)
    return _other(q, x, y, fx, fy, table)


@compiled
def _other(q: Quad, x: float, y: float, fx: float, fy: float, table: Table) -> Colour:
    """Roofs, gables and the skyline."""
    if q.kind == ROOF:
        return roof_colour(q, x, y, fx, fy, table)
    if q.kind == GABLE:
        return wall_texture(q, x, y, fx, fy, table)
    if q.kind == SKYLINE:
        return skyline_colour(q, x, y, table)
    return (q.red, q.green, q.blue)


@compiled
def _footprint(q: Quad, ray: Vector, size: float) -> tuple[float, float]:
    """How many metres of a quad, along its width and its height, a pixel of `size` spans."""
    squared = dot(ray, ray)
    a = dot((q.ux, q.uy, q.uz), ray) / q.width
    b = dot((q.vx, q.vy, q.vz), ray) / q.height
    narrow_x = math.sqrt(max(1.0 - a * a / squared, 1e-5))
    narrow_y = math.sqrt(max(1.0 - b * b / squared, 1e-5))
    return size / narrow_x, size / narrow_y


@compiled
def _cast(q: Quad, look: Look, x: float, y: float, table: Table) -> float:
    """Shadow of the buildings on the ground."""
    if q.kind == ASPHALT:
        return ground_light(look, q.ox + x, q.oz + y, table)
    if q.kind == PAVING:
        across = q.ox + x if q.ux > 0.0 else q.ox - x
        return ground_light(look, across, q.oz + y, table)
    return 1.0


@compiled
def light_quads(quads: Quads, look: Look, camera: Camera) -> None:
    """Set the light that falls on every quad's side that faces the camera."""
    for index in range(quads.shape[0]):
        q = quads[index]
        normal = cross((q.ux, q.uy, q.uz), (q.vx, q.vy, q.vz))
        place = camera.place
        view = (q.ox - place[0], q.oy - place[1], q.oz - place[2])
        facing = -1.0 if dot(normal, view) > 0.0 else 1.0
        size = math.sqrt(dot(normal, normal)) + 1e-12
        sun = max(0.0, facing * dot(normal, look.sun) / size)
        if q.kind == FOLIAGE or q.kind == SKYLINE or q.kind == POST:
            sun = 0.5 + 0.3 * look.sun[2] * facing
        upward = 0.9 + 0.16 * facing * normal[1] / size
        ambient, direct = look.ambient * upward, look.direct * sun
        q.light_red = ambient + direct * look.sunlight[0]
        q.light_green = ambient + direct * look.sunlight[1]
        q.light_blue = ambient + direct * look.sunlight[2]


@compiled
def sky_colour(look: Look, ray: Vector, table: Table) -> Colour:
    """The sky in a world direction: a gradient and clouds on a plane far above."""
    size = math.sqrt(dot(ray, ray))
    rise = max(0.0, ray[1] / size)
    colour = blend(look.horizon, look.zenith, clamp01(1.9 * rise) ** 0.7)
    x, z = 2.2 * ray[0] / (ray[1] + 0.25 * size), 2.2 * ray[2] / (ray[1] + 0.25 * size)
    cloud = value_noise(table, x, z) + 0.5 * value_noise(table, 2.1 * x + 9.0, 2.1 * z)
    cloud += 0.25 * value_noise(table, 4.3 * x, 4.3 * z + 5.0)
    cover = clamp01((cloud / 1.75 - 0.75 + 0.55 * look.clouds) * 3.5) * clamp01(6.0 * rise + 0.1)
    white = dim(look.horizon, 1.05 - 0.25 * cover * cover)
    return blend(colour, white, 0.8 * cover)
