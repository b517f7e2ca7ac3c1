"""Colours of cars, signs, pedestrians and bicyclists.

Coordinates are metres on the quad; `f` is the size of a pixel there.
"""

import math

from stt_core.scenes.cars import roofline
from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look
from stt_core.scenes.noise import (
    Colour,
    Table,
    any_colour,
    blend,
    chance,
    clamp01,
    dim,
    fade,
    grain,
    hue_colour,
    stripe,
    value_noise,
)
from stt_core.scenes.quads import (
    BOARD,
    CAR_FRONT,
    CAR_GLASS,
    CAR_REAR,
    CAR_SIDE,
    HEAD,
    LIMB,
    RING,
    ROUND_SIGN,
    SIGNAL,
    TORSO,
    TRIANGLE,
    TYRE,
    WHEEL,
    Quad,
)

RED, WHITE, BLACK = (0.72, 0.1, 0.1), (0.84, 0.84, 0.82), (0.06, 0.06, 0.07)


@compiled
def car_colour(q: Quad, look: Look, x: float, y: float, f: float, table: Table) -> Colour:
    """Any part of a car."""
    kind = q.kind
    paint = (q.red, q.green, q.blue)
    if kind == CAR_SIDE:
        return _car_side(q, look, paint, x, y, f, table)
    if kind in (CAR_REAR, CAR_FRONT):
        return _car_end(q, paint, x, y, f, kind == CAR_REAR)
    if kind == CAR_GLASS:
        edge = min(min(x, q.width - x), min(y, q.height - y))
        glass = blend((0.1, 0.11, 0.13), look.horizon, 0.12 + 0.35 * y / q.height)
        seat = stripe(abs(x - 0.5 * q.width) - 0.35, 0.14, f) * (y < 0.6 * q.height)
        return blend(paint, dim(glass, 1.0 - 0.5 * seat), clamp01((edge - 0.07) / f + 0.5))
    if kind == WHEEL:
        return _wheel(2 * x / q.width - 1, 2 * y / q.height - 1, f / q.width, q.a)
    if kind == TYRE:
        return BLACK
    return dim(paint, 1.12 + 0.1 * (value_noise(table, x, y) - 0.5))


@compiled
def _car_side(
    q: Quad, look: Look, paint: Colour, x: float, y: float, f: float, table: Table
) -> Colour:
    """Doors, windows under the roofline, dark sill, a little sky on the shoulder."""
    along, tall = x / q.width, y / q.height
    belt = 0.62 if q.a < 0.75 else 0.56
    value = 0.82 + 0.35 * clamp01(tall / belt) - 0.5 * stripe(tall - 0.2, 0.05, f / q.height)
    door = min(abs(along - 0.3), min(abs(along - 0.47), abs(along - 0.66))) * q.width
    value *= 1.0 - 0.5 * stripe(door, 0.015, f) * (tall < belt + 0.3) * fade(f, 0.1)
    handle = stripe(tall - belt + 0.06, 0.02, f / q.height) * (abs(along % 0.19 - 0.11) < 0.02)
    body = dim(paint, value * (1.0 - 0.4 * handle))
    if q.a >= 0.93:
        panes = (along % 0.16 > 0.02) and 0.52 < tall < 0.86 and chance(q.key, 9) < 0.6
    else:
        room = roofline(q.a, along) - 0.1 - tall
        panes = room > 0.0 and tall > belt + 0.04 and 0.1 < along < 0.74
        panes = panes and abs(along - 0.47) * q.width > 0.06
    if not panes:
        return body
    glass = blend((0.09, 0.1, 0.12), look.horizon, 0.1 + 0.5 * clamp01((tall - belt) * 1.2))
    return dim(glass, 0.8 + 0.4 * value_noise(table, x * 2.0, y * 2.0))


@compiled
def _car_end(q: Quad, paint: Colour, x: float, y: float, f: float, rear: bool) -> Colour:
    """Rear or front: lights at the corners, a plate, a dark bumper or grille."""
    side, tall = abs(x / q.width - 0.5) * 2.0, y / q.height
    if tall < 0.22:
        return dim((0.16, 0.16, 0.17), 0.8 + 0.5 * tall)
    edge = f / q.width * 2.0
    plate = stripe(side, 0.28, edge) * stripe(tall - (0.52 if rear else 0.4), 0.11, f / q.height)
    colour = dim(paint, 0.8 + 0.3 * tall)
    lamp = stripe(side - 0.84, 0.13, edge) * stripe(tall - 0.76, 0.16, f / q.height)
    if rear:
        braking = 0.62 + 0.38 * (chance(q.key, 12) < 0.3)
        colour = blend(colour, (braking, 0.07, 0.06), lamp)
    else:
        grille = stripe(side, 0.56, edge) * stripe(tall - 0.66, 0.13, f / q.height)
        colour = blend(blend(colour, (0.1, 0.1, 0.11), grille), (0.9, 0.9, 0.86), lamp)
    colour = blend(colour, (0.85, 0.84, 0.7), plate)
    bumper = stripe(tall - 0.3, 0.06, f / q.height)
    return dim(colour, 1.0 - 0.35 * bumper)


@compiled
def _wheel(x: float, y: float, f: float, style: float) -> Colour:
    """A tyre around a rim with spokes."""
    radius = math.sqrt(x * x + y * y)
    rim = stripe(radius, 0.62, 2.0 * f)
    spokes = 0.5 + 0.5 * math.cos((5.0 if style < 0.5 else 7.0) * math.atan2(y, x))
    return blend((0.06, 0.06, 0.065), dim((0.62, 0.62, 0.64), 0.5 + 0.5 * spokes), rim * 0.8)


@compiled
def sign_colour(q: Quad, x: float, y: float, f: float, table: Table) -> Colour:
    """Any sign or traffic light."""
    if q.kind == SIGNAL:
        return _signal(q, x, y, f)
    if q.kind == BOARD:
        return _board(q, x, y, f, table)
    paint = (q.red, q.green, q.blue)
    dx, dy = 2 * x / q.width - 1, 2 * y / q.height - 1
    inside = math.sqrt(dx * dx + dy * dy)
    if q.kind == TRIANGLE:
        inside = max(-dy, 2.0 * abs(dx) + dy) if q.a < 2.0 else inside
    edge = 2.0 * f / q.width
    glyph = _glyph(q, dx, dy + 0.25 * (q.kind == TRIANGLE), edge)
    if q.kind == ROUND_SIGN and q.a < 0.4:
        return blend(blend(WHITE, paint, stripe(inside, 0.92, edge)), WHITE, glyph)
    ground = WHITE if q.a < 0.85 else (0.8, 0.66, 0.1)
    limit = 0.7 if q.kind == ROUND_SIGN else 0.52
    return blend(RED, blend(ground, BLACK, glyph), stripe(inside, limit, edge))


@compiled
def _glyph(q: Quad, dx: float, dy: float, edge: float) -> float:
    """A mark in the middle of a sign: a bar, an arrow or a figure."""
    if q.b < 0.33:
        return stripe(dx, 0.42, edge) * stripe(dy, 0.12, edge)
    if q.b < 0.66:
        head = stripe(abs(dx) + dy - 0.35, 0.22, edge) * (dy > -0.1)
        return max(stripe(dx, 0.1, edge) * stripe(dy, 0.45, edge), head)
    return stripe(abs(dx) - 0.2, 0.1, edge) * stripe(dy, 0.34, edge)


@compiled
def _board(q: Quad, x: float, y: float, f: float, table: Table) -> Colour:
    """A board with a rim and lines of writing."""
    paint = (q.red, q.green, q.blue)
    ink = BLACK if q.red + q.green + q.blue > 1.6 else WHITE
    margin = min(min(x, q.width - x), min(y, q.height - y))
    rim = stripe(margin - 0.05, 0.018, f)
    line = y / 0.26
    row = math.floor(line)
    letters = table[int(row * 31 + q.b * 200) & 255, math.floor(x / 0.07) & 255] > 0.35
    words = value_noise(table, x * 2.2 + 17.0 * row, q.b * 99.0) > 0.38
    writing = stripe((line - row - 0.5) * 0.26, 0.075, f) * (letters and words and margin > 0.1)
    return blend(paint, ink, max(rim, 0.9 * writing))


@compiled
def _signal(q: Quad, x: float, y: float, f: float) -> Colour:
    """A traffic light: three lamps in a dark box, one of them lit."""
    place = y / q.height * 3.0
    lamp = int(min(2.0, place))
    dx, dy = x - 0.5 * q.width, (place - lamp - 0.5) * q.height / 3.0
    disc = stripe(math.sqrt(dx * dx + dy * dy), 0.115, f)
    lit = 0 if q.a < 0.5 else (2 if q.a < 0.85 else 1)
    colour = hue_colour(0.4 - 0.19 * lamp + 0.01 * (lamp == 2), 0.85, 1.0 if lamp == lit else 0.22)
    rim = stripe(min(min(x, q.width - x), min(y, q.height - y)), 0.025, f)
    return blend(blend((q.red, q.green, q.blue), (0.5, 0.5, 0.5), 0.6 * rim), colour, disc)


@compiled
def person_colour(q: Quad, x: float, y: float, f: float, table: Table) -> Colour:
    """Any part of a pedestrian or a bicyclist."""
    cloth = (q.red, q.green, q.blue)
    across = 2 * x / q.width - 1
    if q.kind == HEAD:
        return _head(q, cloth, across, y / q.height)
    if q.kind == RING:
        return dim(cloth, 0.9)
    folds = grain(table, x * 1.5 + 60 * chance(q.key, 6), y, 0.12, f)
    value = (1.06 - 0.35 * across * across) * (1.0 + 0.5 * folds)
    if q.kind == TORSO:
        return _coat(q, dim(cloth, value), across, y / q.height)
    if q.kind == LIMB and q.a > 0.5 and y > 0.84 * q.height:
        skin = hue_colour(0.06, 0.4, 0.35 + 0.4 * chance(q.key, 41))
        return (0.09, 0.08, 0.08) if q.a < 1.5 else skin
    return dim(cloth, value)


@compiled
def _coat(q: Quad, cloth: Colour, across: float, tall: float) -> Colour:
    """A torso's clothes: an open jacket, stripes, a strap or a backpack."""
    second = any_colour(q.key, 90)
    if q.a < 0.2 and abs(across) < 0.22:
        return second
    if q.a > 0.8 and tall % 0.2 < 0.1:
        return second
    if q.b < 0.3 and abs(across) < 0.52 and 0.28 < tall < 0.84:
        return dim(second, 0.75 + 0.2 * (tall % 0.3 > 0.05))
    if q.b > 0.75 and abs(across - 1.6 * tall + 0.9) < 0.12:
        return dim(second, 0.6)
    return dim(cloth, 0.6) if tall < 0.12 else cloth


@compiled
def _head(q: Quad, skin: Colour, across: float, tall: float) -> Colour:
    """A face under hair; some heads are all hair, seen from behind."""
    hair = hue_colour(0.07, 0.4, 0.08 + 0.5 * q.a * q.a)
    if q.a > 0.75:
        hair = any_colour(q.key, 94)
    if tall > q.b or abs(across) > 0.8:
        return hair
    if tall < 0.12:
        return dim(skin, 0.8)
    return skin
