"""The street: ground, buildings and skyline.

Each function writes what stands between two distances along the street, always in the same order,
and returns how many quads there are now. `side` is +1 on the right and -1 on the left.
"""

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look
from stt_core.scenes.noise import any_colour, between, chance, dim, hue_colour, mix_key, wall_colour
from stt_core.scenes.quads import (
    ASPHALT,
    BUILDING,
    CURB,
    FACADE,
    FENCE,
    FLANK,
    GABLE,
    MESH,
    PAVEMENT,
    PAVING,
    PLANKS,
    RAILING,
    ROAD,
    ROOF,
    SKYLINE,
    TREE,
    Quads,
    put,
)

CELL = 48.0  # length of a block of the street, metres
CURB_HEIGHT = 0.13
GROUND_QUADS = 5  # the first quads are ground and receive shadows


@compiled
def building_line(look: Look) -> float:
    """Distance of the facades from the middle of the road."""
    return look.half_road + look.pavement + look.setback


@compiled
def crossing_place(look: Look, cell: int) -> float:
    """Where the zebra crossing of a block is, or -1e9 for none."""
    key = mix_key(look.key, 9_000_000 + cell)
    if chance(key, 0) > 0.7:
        return -1e9
    return cell * CELL + between(key, 1, 8.0, 38.0)


@compiled
def put_ground(quads: Quads, n: int, look: Look, start: float, length: float) -> int:
    """The road, two pavements and two curbs: the first five quads."""
    half, wide = look.half_road, 90.0
    along, zero = (0.0, 0.0, length), (0.0, 0.0, 0.0)
    origin, across = (-half, 0.0, start), (2 * half, 0.0, 0.0)
    n = put(quads, n, ASPHALT, ROAD, look.key, origin, across, along, look.road, zero)
    for side in (-1.0, 1.0):
        inner = (side * half, CURB_HEIGHT, start)
        outwards = (side * wide, 0.0, 0.0)
        n = put(quads, n, PAVING, PAVEMENT, look.key, inner, outwards, along, look.paving, zero)
    for side in (-1.0, 1.0):
        low, up = (side * half, 0.0, start), (0.0, CURB_HEIGHT, 0.0)
        pale = dim(look.paving, 0.85)
        n = put(quads, n, CURB, PAVEMENT, look.key, low, along, up, pale, zero)
    return n


@compiled
def put_skyline(quads: Quads, n: int, look: Look, far: float) -> int:
    """Distant trees and houses that close the view; they stand at `far` and move along."""
    for layer in range(2):
        key = mix_key(look.key, 77 + layer)
        tall = between(key, 1, 12.0, 22.0) + 14.0 * layer
        origin = (-500.0, -2.0, far + 30.0 * layer)
        label = TREE if layer == 0 else BUILDING
        colour = dim(look.leaf, 1.0) if layer == 0 else wall_colour(key, 5)
        shape = (float(layer), chance(key, 2) * 200, 0.0)
        across, up = (1000.0, 0.0, 0.0), (0.0, tall, 0.0)
        n = put(quads, n, SKYLINE, label, key, origin, across, up, colour, shape)
    return n


@compiled
def put_blocks(quads: Quads, n: int, look: Look, first: int, last: int) -> int:
    """The buildings of the blocks `first` to `last`, both sides."""
    for cell in range(first, last + 1):
        for side in (-1.0, 1.0):
            key = mix_key(look.key, 1000 + 2 * cell + int(side > 0))
            n = _put_row(quads, n, look, key, side, cell * CELL)
            n = _put_back_row(quads, n, look, key, side, cell * CELL)
    return n


@compiled
def _put_row(quads: Quads, n: int, look: Look, key: int, side: float, start: float) -> int:
    """One block of buildings, with gaps closed by fences."""
    at, end = start, start + CELL
    for number in range(8):
        house = mix_key(key, number)
        length = between(house, 0, 6.5, 16.0)
        if end - at - length < 5.0:
            length = end - at
        if chance(house, 1) < 0.26 and length < 13.0:
            n = _put_gap(quads, n, look, house, side, at, 0.6 * length)
            at += 0.6 * length
        else:
            n = _put_house(quads, n, look, house, side, at, length)
            at += length
        if end - at < 1.0:
            break
    return n


@compiled
def _put_house(
    quads: Quads, n: int, look: Look, key: int, side: float, start: float, length: float
) -> int:
    """A building: the facade to the street, the flank towards the camera, a roof."""
    line = side * (building_line(look) + (between(key, 2, 0.0, 1.2) if chance(key, 3) < 0.3 else 0))
    floors = int(between(key, 4, 2.0, 5.6) * look.tallness)
    floor = between(key, 5, 2.8, 3.6)
    height = floors * floor + between(key, 6, 0.6, 1.6)
    colour = wall_colour(key, 10)
    shape = (between(key, 7, 1.7, 3.4), floor, chance(key, 8))
    deep, up = (side * 11.0, 0.0, 0.0), (0.0, height, 0.0)
    corner = (line, 0.0, start)
    n = put(quads, n, FACADE, BUILDING, key, corner, (0.0, 0.0, length), up, colour, shape)
    n = put(quads, n, FLANK, BUILDING, key, corner, deep, up, dim(colour, 0.92), shape)
    if chance(key, 9) < 0.6:
        n = _put_roof(quads, n, key, side, line, height, start, length)
    return n


@compiled
def _put_roof(
    quads: Quads,
    n: int,
    key: int,
    side: float,
    line: float,
    height: float,
    start: float,
    length: float,
) -> int:
    """A pitched roof along the street, its gable and perhaps a chimney."""
    rise = between(key, 20, 2.2, 4.5)
    zero = (0.0, 0.0, 0.0)
    tiles = hue_colour(
        between(key, 21, 0.0, 0.1), 0.5 * chance(key, 22), between(key, 23, 0.2, 0.5)
    )
    corner, slope = (line - side * 0.3, height, start), (side * 5.8, rise, 0.0)
    n = put(quads, n, ROOF, BUILDING, key, corner, (0.0, 0.0, length), slope, tiles, zero)
    wall = dim(wall_colour(key, 10), 0.92)
    foot = (line, height, start)
    across, up = (side * 11.0, 0.0, 0.0), (0.0, rise, 0.0)
    n = put(quads, n, GABLE, BUILDING, key, foot, across, up, wall, zero)
    if chance(key, 24) < 0.7:
        base = (line + side * 3.0, height + 0.5 * rise, start + length * between(key, 25, 0.1, 0.8))
        tall = (0.0, rise * 0.5 + 1.4, 0.0)
        n = put(quads, n, ROOF, BUILDING, key, base, (side * 0.9, 0.0, 0.0), tall, wall, zero)
        n = put(quads, n, ROOF, BUILDING, key, base, (0.0, 0.0, 0.9), tall, wall, zero)
    return n


@compiled
def _put_back_row(quads: Quads, n: int, look: Look, key: int, side: float, start: float) -> int:
    """A building behind the row, seen over low roofs and through gaps."""
    house = mix_key(key, 50)
    line = side * (building_line(look) + between(house, 0, 20.0, 30.0))
    height = between(house, 1, 6.0, 17.0) * look.tallness
    shape = (2.6, 3.1, chance(house, 2))
    corner, up = (line, 0.0, start + 6.0), (0.0, height, 0.0)
    colour = wall_colour(house, 10)
    n = put(quads, n, FACADE, BUILDING, house, corner, (0.0, 0.0, 38.0), up, colour, shape)
    return put(quads, n, FLANK, BUILDING, house, corner, (side * 16.0, 0.0, 0.0), up, colour, shape)


@compiled
def _put_gap(
    quads: Quads, n: int, look: Look, key: int, side: float, start: float, length: float
) -> int:
    """A fence along a gap and one across it, further back, both facing the camera somewhat."""
    line = side * (building_line(look) - 0.2)
    front = (line, CURB_HEIGHT, start)
    n = put_fence(quads, n, key, front, (0.0, 0.0, length), between(key, 30, 1.3, 2.0))
    back = (line, CURB_HEIGHT, start + 0.7 * length)
    return put_fence(quads, n, key, back, (side * 12.0, 0.0, 0.0), between(key, 31, 1.5, 2.2))


@compiled
def put_fence(
    quads: Quads,
    n: int,
    key: int,
    origin: tuple[float, float, float],
    along: tuple[float, float, float],
    height: float,
) -> int:
    """A fence from `origin` along a vector: railing, wire mesh or planks."""
    style = chance(key, 40)
    kind = RAILING if style < 0.5 else (MESH if style < 0.65 else PLANKS)
    shape = (between(key, 41, 0.13, 0.22), between(key, 42, 0.3, 0.5), chance(key, 43))
    up, colour = (0.0, height, 0.0), any_colour(key, 44)
    return put(quads, n, kind, FENCE, key, origin, along, up, colour, shape)
