"""Silhouettes: which points of a quad are there and which are seen through."""

import math

from stt_core.scenes.cars import roofline
from stt_core.scenes.jit import compiled
from stt_core.scenes.noise import Table, grain, value_noise
from stt_core.scenes.quads import (
    CAR_SIDE,
    DISC,
    FOLIAGE,
    GABLE,
    HEAD,
    LIMB,
    MESH,
    PLANKS,
    RAILING,
    RING,
    ROUND_SIGN,
    SKYLINE,
    TORSO,
    TRIANGLE,
    WHEEL,
    Quad,
)


@compiled
def covers(q: Quad, x: float, y: float, footprint: float, table: Table) -> bool:
    """Whether the quad has substance at (x, y), metres on it.

    Args:
        q: a quad of a kind with a silhouette.
        x: from 0 to its width.
        y: from 0 to its height.
        footprint: size of a pixel there, metres; holes smaller than it close.
        table: white noise.
    """
    kind = q.kind
    if kind == FOLIAGE:
        return _leaves(q.a, x, y, 0.5 * q.width, footprint, table)
    if kind == LIMB:
        return _capsule(x - 0.5 * q.width, y, 0.5 * q.width, q.height)
    if kind in (RAILING, MESH, PLANKS):
        return _fence(kind, q.a, q.b, q.height, x, y, footprint)
    if kind == CAR_SIDE:
        return _car_side(q.a, x / q.width, y / q.height, q.width, q.height)
    if kind == SKYLINE:
        return y < q.height * _skyline(q.a, q.b, x, table)
    return _plain(kind, 2.0 * x / q.width - 1.0, 2.0 * y / q.height - 1.0)


@compiled
def _plain(kind: int, x: float, y: float) -> bool:
    """Shapes in a square from -1 to 1."""
    if kind in (DISC, WHEEL, ROUND_SIGN):
        return x * x + y * y <= 1.0
    if kind == HEAD:
        return x * x * (1.25 - 0.2 * y) + y * y <= 1.0
    if kind == TORSO:
        wide = 0.78 + 0.2 * y - 2.0 * max(0.0, y - 0.72) ** 2 * 4.0
        return abs(x) <= wide
    if kind == TRIANGLE:
        return abs(x) <= 0.5 * (1.0 - y)
    if kind == GABLE:
        return abs(x) <= 0.5 * (1.0 - y)
    if kind == RING:
        radius = x * x + y * y
        spokes = abs(x) < 0.04 or abs(y) < 0.04 or radius < 0.02
        return radius <= 1.0 and (radius > 0.66 or spokes)
    return True


@compiled
def _leaves(seed: float, x: float, y: float, radius: float, footprint: float, table: Table) -> bool:
    """A clump of leaves: a disc with a ragged edge and some holes near it."""
    dx, dy = x / radius - 1.0, y / radius - 1.0
    far = dx * dx + dy * dy
    if far > 1.0:
        return False
    coarse = value_noise(table, seed + 3.1 * dx, 1.7 * seed + 3.1 * dy) - 0.5
    fine = grain(table, x + seed, y + 2.0 * seed, 0.16, footprint)
    return math.sqrt(far) < 0.82 + 0.5 * coarse + 0.55 * fine


@compiled
def _capsule(x: float, y: float, radius: float, length: float) -> bool:
    """A bar of a length with half-round ends."""
    inside = min(y, length - y)
    if inside >= radius:
        return True
    return x * x + (radius - inside) ** 2 <= radius * radius


@compiled
def _fence(
    kind: int, period: float, solid: float, height: float, x: float, y: float, footprint: float
) -> bool:
    """Bars between rails, crossed wires, or planks with slits."""
    closing = min(1.0, max(0.0, footprint / period * 1.6 - 0.3))
    if kind == MESH:
        a, b = _off_line(x + y, 0.16), _off_line(x - y, 0.16)
        post = abs(_off_line(x, 2.0)) < 0.05 or y > height - 0.07 or y < 0.06
        return post or min(abs(a), abs(b)) < 0.02 + 0.06 * closing
    post = abs(_off_line(x, 2.0)) < 0.06
    if kind == PLANKS:
        return post or abs(_off_line(x, period)) < 0.5 * period * (0.86 + 0.14 * closing)
    rail = abs(y - height + 0.05) < 0.045 or abs(y - 0.22 * height) < 0.04
    bar = abs(_off_line(x, period)) < 0.5 * period * (solid + (1.0 - solid) * closing)
    return post or rail or (bar and y < height - 0.03)


@compiled
def _off_line(x: float, period: float) -> float:
    """Signed distance to the nearest multiple of `period`."""
    return x - period * math.floor(x / period + 0.5)


@compiled
def _car_side(style: float, along: float, tall: float, length: float, height: float) -> bool:
    """Below the roofline, above the sill, outside the wheel arches."""
    sill = 0.1 if style >= 0.93 else 0.16
    if tall < sill or tall > roofline(style, along):
        return False
    for axle in (0.19, 0.81):
        dx, dy = (along - axle) * length, tall * height - 0.33
        if dx * dx + dy * dy < 0.37 * 0.37:
            return False
    return True


@compiled
def _skyline(layer: float, seed: float, x: float, table: Table) -> float:
    """Height of distant trees (layer 0) or roofs (layer 1) as a part of the quad's."""
    if layer < 0.5:
        hill = value_noise(table, x / 40.0 + seed, 3.3)
        return 0.15 + 0.6 * hill * hill + 0.2 * value_noise(table, x / 7.0, seed)
    block = math.floor(x / 18.0 + 0.4 * math.sin(x / 60.0))
    return 0.25 + 0.75 * value_noise(table, block * 7.13 + seed, 0.0)
