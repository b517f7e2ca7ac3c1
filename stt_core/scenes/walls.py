"""Colours of buildings, roofs, the skyline, trees and fences.

Coordinates are metres on the quad; `fx` and `fy` say how much of it a pixel spans.
"""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look
from stt_core.scenes.noise import (
    Colour,
    Table,
    any_colour,
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
from stt_core.scenes.quads import Quad

SHOP = 3.6  # height of a ground floor with shops, metres


@compiled
def facade_colour(
    q: Quad, look: Look, x: float, y: float, fx: float, fy: float, table: Table
) -> Colour:
    """A wall with rows of windows over a ground floor with doors or shops."""
    wall = wall_texture(q, x, y, fx, fy, table)
    if y > q.height - 0.55:
        return dim(wall, 0.72 + 0.5 * (y > q.height - 0.35))
    shops = chance(q.key, 61) < 0.45
    ground = SHOP if shops else 0.9
    if y < ground and shops:
        return _shop(q, look, wall, x, y, fx, fy, table)
    if y < 0.5:
        return dim(wall, 0.7)
    if not shops and y < 2.6 and x % 6.0 < 1.1 and q.width > 6.0:
        return dim(any_colour(q.key, 70), 0.5 + 0.3 * (x % 0.5 > 0.06))
    return _windows(q, look, wall, x, y - ground, fx, fy, table)


@compiled
def wall_texture(q: Quad, x: float, y: float, fx: float, fy: float, table: Table) -> Colour:
    """Bricks, slabs of concrete or plaster, weathered."""
    style = q.c
    weather = value_noise(table, x * 0.22 + 31.0 * style, y * 0.35) - 0.5
    rough = grain(table, x + 7.0 * style, y, 0.3, fx) + grain(table, x, y, 0.08, fx)
    value = 1.0 + 0.22 * weather + 0.14 * rough
    if style < 0.55:
        row = math.floor(y / 0.15)
        joint = max(comb(y, 0.15, 0.03, fy), comb(x + 0.2 * (row % 2), 0.4, 0.03, fx))
        brick = table[int(row) & 255, math.floor(x / 0.4) & 255] - 0.5
        value *= 1.0 + 0.35 * brick * fade(fx, 0.3)
        return blend(dim((q.red, q.green, q.blue), value), (0.6, 0.58, 0.55), 0.45 * joint)
    if style > 0.85:
        value *= 1.0 - 0.35 * max(comb(y, 1.5, 0.06, fy), comb(x, 2.4, 0.06, fx))
    return dim((q.red, q.green, q.blue), value)


@compiled
def _windows(
    q: Quad, look: Look, wall: Colour, x: float, y: float, fx: float, fy: float, table: Table
) -> Colour:
    """A grid of framed windows with sills on a wall."""
    bay, floor = q.a, q.b
    column, row = math.floor(x / bay), math.floor(y / floor)
    dx, dy = x - (column + 0.5) * bay, y - (row + 0.5) * floor
    wide, tall = bay * (0.2 + 0.16 * chance(q.key, 62)), floor * (0.24 + 0.1 * chance(q.key, 63))
    if (column + 1.0) * bay > q.width or y < 0.0:
        return wall
    strength = fade(fx, 2.0 * bay)
    frame = stripe(dx, wide + 0.13, fx) * stripe(dy, tall + 0.13, fy) * strength
    glass = stripe(dx, wide, fx) * stripe(dy, tall, fy) * strength
    sill = stripe(dx, wide + 0.22, fx) * stripe(dy + tall + 0.16, 0.07, fy) * strength
    bars = max(stripe(dx, 0.04, fx), stripe(dy - 0.2 * tall, 0.04, fy)) * fade(fx, 0.5)
    edge = any_colour(mix_key(q.key, 3), 0) if chance(q.key, 64) < 0.4 else (0.78, 0.77, 0.74)
    colour = blend(wall, edge, frame)
    pane = _pane(q, look, column, row, dx / wide, dy / tall, table)
    colour = blend(colour, pane, glass * (1.0 - 0.8 * bars))
    return blend(colour, dim(wall, 0.55), sill)


@compiled
def _pane(
    q: Quad, look: Look, column: float, row: float, dx: float, dy: float, table: Table
) -> Colour:
    """Glass: dark, with a curtain or the sky in it; `dx`, `dy` run from -1 to 1."""
    tone = table[int(column * 7 + q.c * 200) & 255, int(row * 13 + q.c * 90) & 255]
    dark = dim((0.13, 0.15, 0.17), 0.7 + 0.8 * tone)
    if tone > 0.62 and abs(dx) > 1.25 - tone:
        return dim((0.66, 0.63, 0.58), 0.6 + 0.5 * tone)
    return blend(dark, look.horizon, clamp01(0.22 + 0.22 * dy + 0.5 * (tone - 0.5)))


@compiled
def _shop(
    q: Quad, look: Look, wall: Colour, x: float, y: float, fx: float, fy: float, table: Table
) -> Colour:
    """A shop: panes between pillars, a door, a fascia and goods behind the glass."""
    bay = 3.8
    column = math.floor(x / bay)
    dx = x - (column + 0.5) * bay
    paint = any_colour(mix_key(q.key, int(column)), 5)
    if y > 2.75:
        return dim(paint, 0.75 + 0.35 * stripe(y - 3.1, 0.22, fy))
    open_part = stripe(dx, 1.62, fx) * stripe(y - 1.55, 1.1, fy)
    goods = value_noise(table, x * 1.9, y * 1.5 + 50.0 * q.c)
    inside = blend((0.12, 0.12, 0.13), any_colour(mix_key(q.key, int(x * 1.1)), 9), goods * 0.7)
    inside = blend(inside, look.horizon, 0.12 + 0.1 * y / 3.0)
    bars = stripe(dx - 0.6, 0.06, fx)
    return blend(blend(wall, dim(paint, 0.6), 0.5 * (y < 0.5)), inside, open_part * (1.0 - bars))


@compiled
def flank_colour(
    q: Quad, look: Look, x: float, y: float, fx: float, fy: float, table: Table
) -> Colour:
    """A side wall with few windows, or with as many as the front."""
    wall = wall_texture(q, x, y, fx, fy, table)
    if chance(q.key, 65) < 0.5 and y < q.height - 0.5:
        return _windows(q, look, wall, x, y - 0.9, fx, fy, table)
    return wall


@compiled
def roof_colour(q: Quad, x: float, y: float, fx: float, fy: float, table: Table) -> Colour:
    """Rows of tiles."""
    rows = comb(y, 0.32, 0.08, fy)
    tone = grain(table, x, y, 0.35, fx) + 0.6 * (value_noise(table, x * 0.3, y * 0.4) - 0.5)
    return dim((q.red, q.green, q.blue), (1.0 + 0.35 * tone) * (1.0 - 0.3 * rows))


@compiled
def skyline_colour(q: Quad, x: float, y: float, table: Table) -> Colour:
    """Far trees or houses."""
    cell = 7.0 if q.a < 0.5 else 18.0
    tone = 0.7 + 0.5 * value_noise(table, x / cell + q.b, y / (6.0 if q.a < 0.5 else 60.0))
    return dim((q.red, q.green, q.blue), tone)


@compiled
def leaves_colour(
    q: Quad, look: Look, x: float, y: float, footprint: float, table: Table
) -> Colour:
    """Leaves lit from above and from the sun's side, darker inside and below."""
    radius = 0.5 * q.width
    dx, dy = x / radius - 1.0, y / radius - 1.0
    clumps = value_noise(table, x * 1.6 + q.a, y * 1.6) - 0.5
    fine = grain(table, x + q.a, y, 0.13, footprint) + 0.8 * grain(
        table, x, y + q.a, 0.28, footprint
    )
    round_light = 0.3 * dy + 0.22 * dx * look.sun[0] + 0.3 * (q.b - 0.5)
    value = 0.95 + round_light + 0.55 * clumps + 0.95 * fine
    tint = 0.2 * (clumps + 0.5 * fine)
    value = max(0.22, value)
    return (q.red * value * (1.0 + tint), q.green * value, q.blue * value * (1.0 - tint))


@compiled
def post_colour(q: Quad, x: float, y: float, footprint: float, table: Table) -> Colour:
    """A round post or a trunk: lighter in its middle, bark on trunks."""
    across = x / q.width - 0.45 if q.height > q.width else y / q.height - 0.5
    value = 1.1 - 1.6 * across * across
    if q.a > 0.5:
        value *= 1.0 + 0.7 * grain(table, x * 4.0, y, 0.22, footprint)
    return dim((q.red, q.green, q.blue), value)


@compiled
def fence_colour(q: Quad, x: float, y: float, footprint: float, table: Table) -> Colour:
    """Painted or weathered bars, each with a slightly different tone."""
    bar = math.floor(x / q.a + 0.5)
    tone = (table[int(bar) & 255, int(q.c * 255)] - 0.5) * fade(footprint, q.a)
    grime = value_noise(table, x * 0.8, y * 2.0) - 0.5
    offset = (x / q.a - bar) * fade(footprint, 0.3 * q.a)
    return dim((q.red, q.green, q.blue), 1.0 + 0.35 * tone + 0.25 * grime - 0.5 * offset)
