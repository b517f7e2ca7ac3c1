"""What stands along the street: lamps, bollards, signs, traffic lights, fences and trees."""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector
from stt_core.scenes.noise import Colour, any_colour, between, chance, dim, hue_colour, mix_key
from stt_core.scenes.quads import (
    BOARD,
    FOLIAGE,
    POLE,
    POST,
    ROUND_SIGN,
    SHADOW,
    SIGN,
    SIGNAL,
    TREE,
    TRIANGLE,
    Quads,
    put,
)
from stt_core.scenes.street import CURB_HEIGHT, building_line, crossing_place, put_fence

PLACE = 8.0  # along each side there is a place for something every so many metres


@compiled
def put_furniture(quads: Quads, n: int, look: Look, first: int, last: int) -> int:
    """Everything on the places `first` to `last` of both sides."""
    for place in range(first, last + 1):
        for side in (-1.0, 1.0):
            key = mix_key(look.key, 500_000 + 2 * place + int(side > 0))
            z = place * PLACE
            n = _put_fences(quads, n, look, side, place)
            n = _put_trees(quads, n, look, key, side, z)
            n = _put_posts(quads, n, look, key, side, z, place)
            n = _put_sign_place(quads, n, look, key, side, z)
    return n


@compiled
def put_signals(quads: Quads, n: int, look: Look, first: int, last: int) -> int:
    """Traffic lights at the crossings of the blocks `first` to `last`."""
    for cell in range(first, last + 1):
        z = crossing_place(look, cell)
        for side in (-1.0, 1.0):
            key = mix_key(look.key, 700_000 + 2 * cell + int(side > 0))
            if z < -1e8 or chance(key, 0) < 0.35:
                continue
            x = side * (look.half_road + 0.45)
            n = put_post(quads, n, key, x, z + 2.0, 3.6, 0.12, hue_colour(0.3, 0.1, 0.3))
            dark = hue_colour(0.3, 0.1, 0.13)
            for level in (2.55, 3.0):
                box = (x - 0.17 - 0.1 * (level < 2.9), level, z + 1.9)
                across, up = (0.36, 0.0, 0.0), (0.0, 0.9, 0.0)
                n = put(
                    quads, n, SIGNAL, SIGN, key, box, across, up, dark, (chance(key, 2), 0.0, 0.0)
                )
    return n


@compiled
def put_post(
    quads: Quads, n: int, key: int, x: float, z: float, height: float, width: float, colour: Colour
) -> int:
    """An upright post on the ground."""
    origin, across = (x - 0.5 * width, 0.0, z), (width, 0.0, 0.0)
    up, zero = (0.0, height, 0.0), (0.0, 0.0, 0.0)
    return put(quads, n, POST, POLE, key, origin, across, up, colour, zero)


@compiled
def _put_posts(
    quads: Quads, n: int, look: Look, key: int, side: float, z: float, place: int
) -> int:
    """A lamp every third place, wooden poles and bollards at some."""
    x = side * (look.half_road + 0.5)
    metal = hue_colour(chance(look.key, 3), 0.15, between(look.key, 4, 0.15, 0.7))
    if (place + int(side > 0)) % 3 == 0:
        n = _put_lamp(quads, n, look, key, side, x, z + 1.0, metal)
    elif chance(key, 50) < 0.14:
        wood = hue_colour(0.08, 0.3, between(key, 51, 0.25, 0.5))
        n = put_post(quads, n, key, x + side * 0.5, z + 3.0, 8.5, 0.26, wood)
    if chance(mix_key(look.key, 60_000 + place // 4), int(side > 0)) < 0.22:
        for number in range(4):
            n = put_post(
                quads, n, key, x - side * 0.1, z + 2.0 * number, 1.05, 0.13, dim(metal, 0.8)
            )
    return n


@compiled
def _put_lamp(
    quads: Quads, n: int, look: Look, key: int, side: float, x: float, z: float, metal: Colour
) -> int:
    """A street lamp with an arm over the road."""
    tall = between(look.key, 5, 5.5, 8.0)
    width = between(look.key, 6, 0.15, 0.24)
    zero = (0.0, 0.0, 0.0)
    n = put_post(quads, n, key, x, z, tall, width, metal)
    n = put_post(quads, n, key, x, z - 0.02, 1.1, 1.5 * width, metal)
    reach = (-side * 1.7, 0.35, 0.0)
    n = put(quads, n, POST, POLE, key, (x, tall - 0.1, z), reach, (0.0, 0.12, 0.0), metal, zero)
    head = (x - side * 1.5, tall + 0.15, z - 0.01)
    hood, up = (-side * 0.7, 0.05, 0.0), (0.0, 0.2, 0.0)
    return put(quads, n, POST, POLE, key, head, hood, up, metal, zero)


@compiled
def _put_fences(quads: Quads, n: int, look: Look, side: float, place: int) -> int:
    """A railing along the curb or a garden fence, for three places at a time."""
    key = mix_key(look.key, 300_000 + 2 * (place // 3) + int(side > 0))
    style = chance(key, 0)
    z, along = place * PLACE, (0.0, 0.0, PLACE)
    if style < 0.24:
        curb = (side * (look.half_road + 0.25), CURB_HEIGHT, z)
        n = put_fence(quads, n, key, curb, along, between(key, 1, 0.9, 1.15))
    if look.setback > 0.4 and chance(key, 2) < 0.7:
        edge = (side * (look.half_road + look.pavement), CURB_HEIGHT, z)
        n = put_fence(quads, n, mix_key(key, 3), edge, along, between(key, 4, 0.9, 1.7))
    return n


@compiled
def _put_sign_place(quads: Quads, n: int, look: Look, key: int, side: float, z: float) -> int:
    """A sign at two of three places, on its post; now and then a large board."""
    kind = chance(key, 70)
    x = side * (look.half_road + between(key, 71, 0.25, 0.7))
    if kind < 0.4:
        return _put_sign(quads, n, key, x, z + 4.6)
    if kind < 0.5:
        return _put_large_board(quads, n, key, x, side, z + 4.6)
    return n


@compiled
def _put_sign(quads: Quads, n: int, key: int, x: float, z: float) -> int:
    """One or two plates on a thin post: a disc, a triangle or a rectangle."""
    size, low = between(key, 72, 0.75, 1.05), between(key, 73, 1.9, 2.5)
    grey = hue_colour(0.6, 0.05, between(key, 74, 0.3, 0.7))
    n = put_post(quads, n, key, x, z, low + size, 0.09, grey)
    style = chance(key, 75)
    kind = ROUND_SIGN if style < 0.4 else (TRIANGLE if style < 0.65 else BOARD)
    plate, across = (x - 0.5 * size, low, z - 0.06), (size, 0.0, 0.0)
    shape = (chance(key, 76), chance(key, 77), 0.0)
    colour = _sign_colour(key)
    n = put(quads, n, kind, SIGN, key, plate, across, (0.0, size, 0.0), colour, shape)
    if chance(key, 78) < 0.4:
        below = (x - 0.42 * size, low - 0.5, z - 0.06)
        wide, shape = (0.84 * size, 0.0, 0.0), (0.9, chance(key, 79), 0.0)
        n = put(quads, n, BOARD, SIGN, key, below, wide, (0.0, 0.42, 0.0), (0.8, 0.8, 0.78), shape)
    return n


@compiled
def _put_large_board(quads: Quads, n: int, key: int, x: float, side: float, z: float) -> int:
    """A direction board on two posts."""
    wide, tall = between(key, 72, 1.5, 2.4), between(key, 73, 0.9, 1.5)
    low = between(key, 74, 1.7, 2.3)
    left = x if side > 0 else x - wide
    grey = hue_colour(0.6, 0.05, 0.5)
    n = put_post(quads, n, key, left + 0.2 * wide, z, low + tall, 0.11, grey)
    n = put_post(quads, n, key, left + 0.8 * wide, z, low + tall, 0.11, grey)
    shape = (chance(key, 76), chance(key, 77), 0.0)
    origin, across, up = (left, low, z - 0.06), (wide, 0.0, 0.0), (0.0, tall, 0.0)
    return put(quads, n, BOARD, SIGN, key, origin, across, up, _sign_colour(key), shape)


@compiled
def _sign_colour(key: int) -> Colour:
    """Blue, green, red, yellow, white or any other paint."""
    style = chance(key, 80)
    if style < 0.3:
        return any_colour(key, 81)
    value = between(key, 85, 0.45, 0.8)
    hue = 0.6 if style < 0.5 else (0.4 if style < 0.65 else (0.0 if style < 0.8 else 0.13))
    return hue_colour(hue, between(key, 86, 0.5, 0.85), value)


@compiled
def _put_trees(quads: Quads, n: int, look: Look, key: int, side: float, z: float) -> int:
    """A street tree or a tree behind the building line."""
    if chance(key, 20) < 0.55 * look.greenery:
        x = side * (look.half_road + between(key, 21, 0.8, 1.5))
        n = _put_tree(quads, n, look, key, (x, 0.0, z + between(key, 22, 5.0, 7.5)))
    if chance(key, 23) < 0.6:
        x = side * (building_line(look) + between(key, 24, 13.0, 18.0))
        n = _put_tree(quads, n, look, mix_key(key, 5), (x, 0.0, z + 4.0))
    return n


@compiled
def _put_tree(quads: Quads, n: int, look: Look, key: int, foot: Vector) -> int:
    """A trunk and a crown of overlapping clumps of leaves."""
    x, _, z = foot
    crown, stem = between(key, 0, 1.5, 2.5), between(key, 1, 2.2, 3.4)
    width = between(key, 2, 0.22, 0.42)
    bark = hue_colour(0.08, between(key, 3, 0.05, 0.35), between(key, 4, 0.18, 0.42))
    origin, across, up = (x - 0.5 * width, 0.0, z), (width, 0.0, 0.0), (0.0, stem + crown, 0.0)
    n = put(quads, n, POST, TREE, key, origin, across, up, bark, (1.0, 0.0, 0.0))
    shade = (-2.0 * crown, 0.0, 0.0)
    under = (x + crown, 0.02, z - crown)
    n = put(quads, n, SHADOW, 0, key, under, shade, (0.0, 0.0, 2 * crown), bark, (0.35, 1.0, 0.0))
    tint = _leaf_colour(look, key)
    for number in range(7):
        angle, ring = 2.4 * number, 0.62 * crown * (number > 0)
        size = crown * between(key, 30 + number, 0.62, 0.8)
        cx = x + ring * math.cos(angle)
        cy = stem + crown * between(key, 40 + number, 0.6, 1.5)
        cz = z + 0.7 * ring * math.sin(angle)
        corner, part = (cx - size, cy - size, cz), (2 * size, 0.0, 0.0)
        shape = (chance(key, 50 + number) * 200, (cy - stem) / (2 * crown), 0.0)
        n = put(quads, n, FOLIAGE, TREE, key, corner, part, (0.0, 2 * size, 0.0), tint, shape)
    return n


@compiled
def _leaf_colour(look: Look, key: int) -> Colour:
    """The leaves of one tree, a little off those of the scene."""
    r, g, b = look.leaf
    value, warm = between(key, 60, 0.75, 1.25), between(key, 61, 0.85, 1.2)
    return (r * value * warm, g * value, b * value / warm)
