"""Colours of the road and the pavements, from their place in the world."""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look
from stt_core.scenes.noise import (
    Colour,
    Table,
    blend,
    chance,
    clamp01,
    comb,
    dim,
    fade,
    grain,
    mix_key,
    stripe,
    value_noise,
)
from stt_core.scenes.street import CELL, building_line, crossing_place


@compiled
def road_colour(look: Look, x: float, z: float, fx: float, fz: float, table: Table) -> Colour:
    """Asphalt with wear, patches, cracks and white markings; `fx`, `fz` is the pixel's size."""
    wear = value_noise(table, x * 0.45, z * 0.11) - 0.5 + 0.5 * grain(table, x, z, 1.3, fz)
    fine = grain(table, x, z, 0.22, fz) + 1.1 * grain(table, x + 9.0, z, 0.06, fz)
    lane = x / look.lane - math.floor(x / look.lane) - 0.5
    track = -0.06 * stripe(abs(lane) - 0.24, 0.1, 0.12)
    value = 1.0 + 0.3 * wear + 0.38 * fine + track
    value *= 1.0 - 0.22 * _patch(look, x, z, fx, fz)
    crack = abs(value_noise(table, x * 0.9 + 5.0, z * 0.5) - 0.5)
    value *= 1.0 - 0.3 * stripe(crack, 0.008, 0.02) * fade(fz, 0.25)
    paint = _markings(look, x, z, fx, fz) * clamp01(0.75 + 1.2 * fine + 0.5 * wear)
    return blend(dim(look.road, value), (0.86, 0.86, 0.83), 0.85 * paint)


@compiled
def _patch(look: Look, x: float, z: float, fx: float, fz: float) -> float:
    """Coverage by a rectangle of newer asphalt, in some stretches of 9 m."""
    stretch = math.floor(z / 9.0)
    key = mix_key(look.key, 40_000 + int(stretch))
    if chance(key, 0) > 0.4:
        return 0.0
    middle = (chance(key, 1) - 0.5) * 1.6 * look.half_road
    along = stripe(z - 9.0 * stretch - 4.5, 1.0 + 2.5 * chance(key, 2), fz)
    return along * stripe(x - middle, 0.3 + 1.1 * chance(key, 3), fx)


@compiled
def _markings(look: Look, x: float, z: float, fx: float, fz: float) -> float:
    """Coverage by paint: middle line, edge lines, parking places, zebra crossings."""
    place = crossing_place(look, math.floor(z / CELL))
    if abs(z - place - 1.6) < 5.0:
        zebra = stripe(z - place - 1.6, 1.6, fz) * comb(x, 1.0, 0.5, fx)
        stop = stripe(z - place + 1.6, 0.2, fz) * (x * look.hand > 0.1)
        return max(zebra, stop)
    dashed = stripe(x, 0.07, fx) * comb(z, 6.0, 3.2, fz)
    edge = abs(x) - look.lane
    if look.parking > 0.0:
        bay = comb(z - 3.3, 6.6, 0.12, fz) * (edge > 0.0)
        return max(dashed, max(bay, stripe(edge, 0.06, fx) * comb(z, 2.0, 1.0, fz)))
    return max(dashed, stripe(edge - 0.12, 0.06, fx))


@compiled
def pavement_colour(look: Look, x: float, z: float, fx: float, fz: float, table: Table) -> Colour:
    """Slabs with joints, each of its own tone; a kerb stone along the road."""
    size = look.slab
    row = math.floor(z / size)
    shifted = x + 0.5 * size * (row - 2.0 * math.floor(0.5 * row))
    column = math.floor(shifted / size)
    tone = (table[int(row) & 255, int(column) & 255] - 0.5) * fade(fz, size)
    joint = max(comb(z, size, 0.035, fz), comb(shifted, size, 0.035, fx))
    fine = grain(table, x, z, 0.11, fz) + grain(table, x, z, 0.5, fz)
    stain = value_noise(table, x * 0.7, z * 0.25) - 0.5
    value = (1.0 + 0.26 * tone + 0.2 * fine + 0.22 * stain) * (1.0 - 0.5 * joint)
    kerb = stripe(abs(x) - look.half_road, 0.16, fx)
    return blend(dim(look.paving, value), (0.62, 0.61, 0.6), 0.55 * kerb * (1.0 - joint))


@compiled
def ground_light(look: Look, x: float, z: float, table: Table) -> float:
    """1 in the sun, less where the buildings of the sunny side cast their shadow."""
    across, height = look.sun[0], look.sun[1]
    row = value_noise(table, math.floor(z / 12.0) * 3.7, 0.5) * 8.0 + 5.0
    reach = row * abs(across) / height
    from_wall = building_line(look) - x * (1.0 if across > 0.0 else -1.0)
    shaded = clamp01((reach - from_wall) / 0.4)
    return 1.0 - shaded * look.direct / (look.direct + look.ambient)
