"""Pedestrians and bicyclists, put together from limbs that swing.

A limb is a quad whose coordinate runs from the joint down; it turns as a rigid piece, so that the
flow of a walking leg is exact as well.
"""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Vector
from stt_core.scenes.noise import Colour, any_colour, between, chance, dim, hue_colour
from stt_core.scenes.quads import (
    BICYCLIST,
    HEAD,
    LIMB,
    PEDESTRIAN,
    RING,
    SHADOW,
    TORSO,
    Quads,
    put,
)


@compiled
def put_limb(
    quads: Quads,
    n: int,
    label: int,
    key: int,
    joint: Vector,
    reach: Vector,
    width: float,
    colour: Colour,
    shoe: float,
) -> int:
    """A capsule from `joint` along `reach`, its flat side to the camera; `shoe` darkens its end."""
    flat = math.sqrt(reach[0] ** 2 + reach[1] ** 2) + 1e-6
    across = (-reach[1] / flat * width, reach[0] / flat * width, 0.0)
    origin = (joint[0] - 0.5 * across[0], joint[1] - 0.5 * across[1], joint[2])
    return put(quads, n, LIMB, label, key, origin, across, reach, colour, (shoe, 0.0, 0.0))


@compiled
def swing(length: float, angle: float, heading: Vector) -> Vector:
    """Where a limb of some length reaches when it swings forward by `angle`, hanging at 0."""
    s, c = length * math.sin(angle), length * math.cos(angle)
    return (s * heading[0], -c, s * heading[2])


@compiled
def put_person(quads: Quads, n: int, key: int, foot: Vector, heading: Vector, stride: float) -> int:
    """A pedestrian standing at `foot`; `stride` is the phase of the walk, radians."""
    tall = between(key, 1, 0.92, 1.08)
    trousers, coat = any_colour(key, 10), any_colour(key, 20)
    side_on = abs(heading[0])
    walk = 0.5 * math.sin(stride)
    hip = (foot[0], foot[1] + 0.88 * tall, foot[2])
    apart = 0.1 * (1 - side_on) * tall
    for leg in (-1.0, 1.0):
        joint = (hip[0] + leg * apart, hip[1], hip[2] + 0.04 * leg)
        bend = max(0.0, 0.9 * leg * math.cos(stride)) * (0.4 + abs(walk))
        n = _put_leg(
            quads, n, PEDESTRIAN, key, joint, heading, leg * walk, bend, 0.44 * tall, trousers
        )
    n = _put_arms(quads, n, PEDESTRIAN, key, hip, heading, walk, tall, coat)
    wide = (0.5 - 0.2 * side_on) * tall
    n = put_torso(
        quads, n, PEDESTRIAN, key, (hip[0], hip[1] - 0.1, hip[2]), wide, 0.68 * tall, 0.0, coat
    )
    top = (hip[0] + 0.02 * heading[0], hip[1] + 0.56 * tall, hip[2] - 0.01)
    n = put_head(quads, n, PEDESTRIAN, key, top, tall)
    shade = (foot[0] - 0.45, foot[1] + 0.01, foot[2] - 0.3)
    across, along = (0.9, 0.0, 0.0), (0.0, 0.0, 0.6)
    return put(quads, n, SHADOW, 0, key, shade, across, along, coat, (0.5, 1.0, 0.0))


@compiled
def _put_leg(
    quads: Quads,
    n: int,
    label: int,
    key: int,
    hip: Vector,
    heading: Vector,
    angle: float,
    bend: float,
    length: float,
    colour: Colour,
) -> int:
    """Thigh and shin; the shin is bent back by `bend`."""
    thigh = swing(length, angle, heading)
    n = put_limb(quads, n, label, key, hip, thigh, 0.19, colour, 0.0)
    knee = (hip[0] + thigh[0], hip[1] + thigh[1], hip[2] + thigh[2])
    shin = swing(length, angle - bend, heading)
    return put_limb(quads, n, label, key, knee, shin, 0.15, dim(colour, 0.95), 1.0)


@compiled
def _put_arms(
    quads: Quads,
    n: int,
    label: int,
    key: int,
    hip: Vector,
    heading: Vector,
    walk: float,
    tall: float,
    colour: Colour,
) -> int:
    """Two straight arms that swing against the legs."""
    apart = (0.25 - 0.2 * abs(heading[0])) * tall
    for arm in (-1.0, 1.0):
        joint = (hip[0] + arm * apart, hip[1] + 0.5 * tall, hip[2] - 0.03 * arm)
        reach = swing(0.56 * tall, -arm * walk * 0.9, heading)
        n = put_limb(quads, n, label, key, joint, reach, 0.13, dim(colour, 0.85), 2.0)
    return n


@compiled
def put_torso(
    quads: Quads,
    n: int,
    label: int,
    key: int,
    waist: Vector,
    width: float,
    height: float,
    lean: float,
    colour: Colour,
) -> int:
    """A torso from the waist up, leaning to the side by `lean` metres at the shoulders."""
    origin, across = (waist[0] - 0.5 * width, waist[1], waist[2]), (width, 0.0, 0.0)
    up, shape = (lean, height, 0.0), (chance(key, 30), chance(key, 31), 0.0)
    return put(quads, n, TORSO, label, key, origin, across, up, colour, shape)


@compiled
def put_head(quads: Quads, n: int, label: int, key: int, neck: Vector, tall: float) -> int:
    """A head with hair, a hat or a helmet."""
    skin = hue_colour(0.06, between(key, 40, 0.25, 0.5), between(key, 41, 0.35, 0.85))
    size = 0.135 * tall
    origin, across = (neck[0] - size, neck[1], neck[2]), (2 * size, 0.0, 0.0)
    shape = (chance(key, 42), between(key, 43, 0.35, 1.1), 0.0)
    return put(quads, n, HEAD, label, key, origin, across, (0.0, 0.29 * tall, 0.0), skin, shape)


@compiled
def put_bicyclist(
    quads: Quads, n: int, key: int, foot: Vector, heading: Vector, pedal: float
) -> int:
    """A rider on a bicycle whose middle is at `foot`; `pedal` is the crank angle, radians."""
    n = _put_bicycle(quads, n, key, foot, heading, pedal)
    coat, trousers = any_colour(key, 20), any_colour(key, 10)
    side_on = abs(heading[0])
    seat = (foot[0] - 0.18 * heading[0], foot[1] + 0.98, foot[2] - 0.18 * heading[2])
    for leg in (-1.0, 1.0):
        joint = (seat[0] + leg * 0.1 * (1 - side_on), seat[1], seat[2] + 0.05 * leg)
        lift = 0.95 + 0.38 * math.sin(pedal + (leg > 0) * math.pi)
        bend = lift + 0.25 + 0.2 * math.cos(pedal + (leg > 0) * math.pi)
        n = _put_leg(quads, n, BICYCLIST, key, joint, heading, lift, bend, 0.45, trousers)
        shoulder = (
            seat[0] + leg * 0.21 * (1 - side_on) + 0.3 * heading[0],
            seat[1] + 0.5,
            seat[2] - 0.04 * leg,
        )
        reach = (0.36 * heading[0], -0.42, 0.3 * heading[2])
        n = put_limb(quads, n, BICYCLIST, key, shoulder, reach, 0.12, dim(coat, 0.85), 2.0)
    wide, lean = 0.5 - 0.18 * side_on, 0.32 * heading[0]
    waist = (seat[0], seat[1] - 0.1, seat[2])
    n = put_torso(quads, n, BICYCLIST, key, waist, wide, 0.68, lean, coat)
    neck = (seat[0] + 0.4 * heading[0], seat[1] + 0.55, seat[2] - 0.01)
    n = put_head(quads, n, BICYCLIST, key, neck, 1.0)
    shade = (foot[0] - 0.4 - 0.5 * side_on, foot[1] + 0.01, foot[2] - 0.8 + 0.5 * side_on)
    across, along = (0.8 + side_on, 0.0, 0.0), (0.0, 0.0, 1.6 - side_on)
    return put(quads, n, SHADOW, 0, key, shade, across, along, coat, (0.5, 1.0, 0.0))


@compiled
def _put_bicycle(
    quads: Quads, n: int, key: int, foot: Vector, heading: Vector, pedal: float
) -> int:
    """Frame and wheels: rings from the side, narrow tyres from behind."""
    paint, black = any_colour(key, 60), (0.1, 0.1, 0.1)
    for end in (-1.0, 1.0):
        x, z = foot[0] + 0.54 * end * heading[0], foot[2] + 0.54 * end * heading[2]
        if abs(heading[0]) < 0.5:
            top = (x, foot[1] + 0.7, z)
            n = put_limb(quads, n, BICYCLIST, key, top, (0.0, -0.7, 0.0), 0.09, black, 0.0)
            continue
        s, c = 0.35 * math.sin(pedal), 0.35 * math.cos(pedal)
        corner = (x - c + s, foot[1] + 0.35 - c - s, z)
        across, up = (2 * c, 2 * s, 0.0), (-2 * s, 2 * c, 0.0)
        n = put(quads, n, RING, BICYCLIST, key, corner, across, up, black, (0.0, 0.0, 0.0))
    n = _put_frame(quads, n, key, foot, heading, paint)
    bar = (
        foot[0] + 0.42 * heading[0] - 0.3 * abs(heading[2]),
        foot[1] + 1.05,
        foot[2] + 0.42 * heading[2],
    )
    grip = (0.6 * abs(heading[2]) + 0.12 * abs(heading[0]), 0.001, 0.0)
    return put_limb(quads, n, BICYCLIST, key, bar, grip, 0.05, black, 0.0)


@compiled
def _put_frame(quads: Quads, n: int, key: int, foot: Vector, heading: Vector, paint: Colour) -> int:
    """Five tubes; seen from behind they fall into one line."""
    ends = (
        (-0.54, 0.35, -0.05, 0.3),
        (-0.05, 0.3, 0.4, 0.85),
        (-0.15, 0.85, 0.4, 0.85),
        (-0.05, 0.3, -0.18, 0.98),
        (0.54, 0.35, 0.4, 1.05),
    )
    for x0, y0, x1, y1 in ends:
        start = (foot[0] + x0 * heading[0], foot[1] + y0, foot[2] + x0 * heading[2] - 0.02)
        reach = ((x1 - x0) * heading[0], y1 - y0, (x1 - x0) * heading[2])
        n = put_limb(quads, n, BICYCLIST, key, start, reach, 0.06, paint, 0.0)
    return n
