"""Cars: a side silhouette extruded to a body, with wheels and a shadow."""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector
from stt_core.scenes.noise import Colour, any_colour, between, chance, mix_key
from stt_core.scenes.quads import (
    CAR,
    CAR_FRONT,
    CAR_GLASS,
    CAR_PANEL,
    CAR_REAR,
    CAR_SIDE,
    SHADOW,
    TYRE,
    WHEEL,
    Quads,
    put,
)
from stt_core.scenes.street import CELL, crossing_place

PARKING_PLACE = 6.6  # metres


@compiled
def profile(style: float, number: int) -> tuple[float, float]:
    """Corner `number` of 8 of the side view, from the rear up and forward; parts of length, height.

    Styles: below 0.4 saloon, below 0.75 hatchback, below 0.93 van, else a box of a lorry or bus.
    """
    if style < 0.4:
        x = (0.0, 0.0, 0.15, 0.27, 0.54, 0.70, 1.0, 1.0)
        y = (0.17, 0.66, 0.68, 1.0, 1.0, 0.68, 0.56, 0.17)
    elif style < 0.75:
        x = (0.0, 0.0, 0.015, 0.12, 0.56, 0.75, 1.0, 1.0)
        y = (0.17, 0.62, 0.62, 1.0, 1.0, 0.66, 0.55, 0.17)
    elif style < 0.93:
        x = (0.0, 0.0, 0.005, 0.04, 0.68, 0.84, 1.0, 1.0)
        y = (0.14, 0.55, 0.55, 1.0, 1.0, 0.60, 0.48, 0.14)
    else:
        x = (0.0, 0.0, 0.0, 0.004, 0.97, 1.0, 1.0, 1.0)
        y = (0.1, 0.5, 0.5, 1.0, 1.0, 0.46, 0.46, 0.1)
    return x[number], y[number]


@compiled
def roofline(style: float, along: float) -> float:
    """Height of the silhouette at a part of the length, as a part of the height."""
    for number in range(1, 6):
        x0, y0 = profile(style, number)
        x1, y1 = profile(style, number + 1)
        if along <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (along - x0) / (x1 - x0)
    return profile(style, 6)[1]


@compiled
def put_car(
    quads: Quads, n: int, key: int, x: float, z: float, heading: float, style: float
) -> int:
    """A car with its middle at (x, z), driving along z for `heading` +1 and against it for -1."""
    length = 4.3 + (0.5 * (style > 0.75)) + 2.5 * (style > 0.93)
    height = between(key, 1, 1.4, 1.55) + 0.4 * (style > 0.75) + 0.7 * (style > 0.93)
    width = 1.78 + 0.2 * (style > 0.75) + 0.2 * (style > 0.93)
    paint = any_colour(key, 2)
    rear = (x - 0.5 * width, 0.0, z - 0.5 * heading * length)
    n = _put_shadow(quads, n, key, x, z, length, width)
    for side in range(2):
        corner = (rear[0] + side * width, 0.0, rear[2])
        along, up = (0.0, 0.0, heading * length), (0.0, height, 0.0)
        shape = (style, 0.0, 0.0)
        n = put(quads, n, CAR_SIDE, CAR, key, corner, along, up, paint, shape)
    n = _put_shell(quads, n, key, rear, (heading * length, height, width), paint, style)
    return _put_wheels(quads, n, key, rear, heading * length, width, z)


@compiled
def _put_shell(
    quads: Quads, n: int, key: int, rear: Vector, size: Vector, paint: Colour, style: float
) -> int:
    """The seven panels from the rear bumper over the roof to the front bumper."""
    length, height, width = size
    across = (width, 0.0, 0.0)
    for number in range(7):
        x0, y0 = profile(style, number)
        x1, y1 = profile(style, number + 1)
        if abs(x1 - x0) + abs(y1 - y0) < 0.01:
            continue
        kind = CAR_PANEL
        if number == 0 or number == 6:
            kind = CAR_REAR if number == 0 else CAR_FRONT
        elif number == 2 or number == 4:
            kind = CAR_GLASS
        corner = (rear[0], y0 * height, rear[2] + x0 * length)
        slope = (0.0, (y1 - y0) * height, (x1 - x0) * length)
        if number == 6:  # the front face hangs down; turn it upright
            corner, slope = (corner[0], y1 * height, corner[2]), (0.0, (y0 - y1) * height, 0.0)
        shape = (style, 0.0, 0.0)
        n = put(quads, n, kind, CAR, key, corner, across, slope, paint, shape)
    return n


@compiled
def _put_wheels(
    quads: Quads, n: int, key: int, rear: Vector, length: float, width: float, z: float
) -> int:
    """Discs at both sides and, seen from behind or in front, the treads below the bumpers."""
    radius, black = 0.33, (0.07, 0.07, 0.075)
    for axle in (0.19, 0.81):
        cz = rear[2] + axle * length
        for side in range(2):
            x = rear[0] + side * width + (side - 0.5) * 0.02
            corner, along = (x, 0.0, cz - radius), (0.0, 0.0, 2 * radius)
            up, shape = (0.0, 2 * radius, 0.0), (chance(key, 20), 0.0, 0.0)
            n = put(quads, n, WHEEL, CAR, key, corner, along, up, black, shape)
            tread = (rear[0] + side * (width - 0.24) + 0.01, 0.0, cz)
            wide, tall = (0.22, 0.0, 0.0), (0.0, 2 * radius, 0.0)
            n = put(quads, n, TYRE, CAR, key, tread, wide, tall, black, (z, 0.0, 0.0))
    return n


@compiled
def _put_shadow(
    quads: Quads, n: int, key: int, x: float, z: float, length: float, width: float
) -> int:
    """The dark ground under a car."""
    origin = (x - 0.65 * width, 0.01, z - 0.56 * length)
    across, along = (1.3 * width, 0.0, 0.0), (0.0, 0.0, 1.12 * length)
    return put(quads, n, SHADOW, 0, key, origin, across, along, (0.0, 0.0, 0.0), (0.75, 0.0, 0.0))


@compiled
def put_cars(quads: Quads, n: int, look: Look, near: float, far: float, now: Vector) -> int:
    """All cars between two distances.

    Args:
        quads: the list.
        n: how many it holds.
        look: the scene.
        near: start of the stretch of street, metres.
        far: its end.
        now: the time that decides which cars exist, the time to draw them at, and how far the
            camera has driven by then.
    """
    n = _put_leaders(quads, n, look, now)
    n = _put_oncoming(quads, n, look, near, far, now)
    return _put_parked(quads, n, look, near, far)


@compiled
def _put_leaders(quads: Quads, n: int, look: Look, now: Vector) -> int:
    """Cars ahead in the camera's lane, as fast as it on average."""
    for number in range(5):
        key = mix_key(look.key, 800_000 + number)
        if chance(key, 0) < 0.25:
            continue
        gap = 13.0 + 21.0 * number + between(key, 1, 0.0, 10.0)
        swing = 2.5 * (1 + number) ** 0.5
        z = look.speed * now[1] + gap + swing * math.sin(0.35 * now[1] + 6.0 * chance(key, 2))
        x = 0.5 * look.hand * look.lane + between(key, 3, -0.3, 0.3)
        n = put_car(quads, n, key, x, z + 0.6 * look.speed, 1.0, chance(key, 4))
    return n


@compiled
def _put_oncoming(quads: Quads, n: int, look: Look, near: float, far: float, now: Vector) -> int:
    """Cars in the other lane, one every 28 m at most."""
    spacing, speed = 28.0, between(look.key, 40, 6.0, 10.0)
    first = int((near + speed * now[0]) / spacing)
    for number in range(first, int((far + speed * now[0]) / spacing)):
        key = mix_key(look.key, 810_000 + number)
        if chance(key, 0) < 0.35:
            continue
        z = number * spacing + between(key, 1, 0.0, 16.0) - speed * now[1]
        x = -0.5 * look.hand * look.lane + between(key, 3, -0.3, 0.3)
        n = put_car(quads, n, key, x, z, -1.0, chance(key, 4))
    return n


@compiled
def _put_parked(quads: Quads, n: int, look: Look, near: float, far: float) -> int:
    """Cars at both curbs, leaving the crossings free."""
    if look.parking <= 0.0:
        return n
    for number in range(int(near / PARKING_PLACE), int(far / PARKING_PLACE) + 1):
        z = number * PARKING_PLACE
        free = abs(z - 1.0 - crossing_place(look, int(z // CELL))) < 7.5
        for side in (-1.0, 1.0):
            key = mix_key(look.key, 820_000 + 2 * number + int(side > 0))
            part = mix_key(look.key, 830_000 + 2 * (number // 7) + int(side > 0))
            if free or chance(key, 0) > look.parking or chance(part, 0) < 0.3:
                continue
            x = side * (look.half_road - between(key, 3, 1.0, 1.2))
            heading = look.hand * side
            n = put_car(quads, n, key, x, z, heading, 0.92 * chance(key, 4))
    return n
