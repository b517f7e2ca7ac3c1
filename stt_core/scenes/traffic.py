"""Where pedestrians and bicyclists are at a time."""

import math

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector
from stt_core.scenes.noise import between, chance, mix_key
from stt_core.scenes.people import put_bicyclist, put_person
from stt_core.scenes.quads import Quads
from stt_core.scenes.street import CURB_HEIGHT, crossing_place


@compiled
def put_people(quads: Quads, n: int, look: Look, near: float, far: float, now: Vector) -> int:
    """Pedestrians on both pavements between two distances; `now` as for the cars."""
    for side in (-1.0, 1.0):
        for heading in (-1.0, 0.0, 1.0):
            stream = mix_key(look.key, 900_000 + int(2 * heading + side))
            n = _put_walkers(quads, n, look, stream, side, heading, near, far, now)
    return n


@compiled
def _put_walkers(
    quads: Quads,
    n: int,
    look: Look,
    stream: int,
    side: float,
    heading: float,
    near: float,
    far: float,
    now: Vector,
) -> int:
    """People walking along one pavement in one direction, or standing for a heading of 0."""
    spacing = 9.0 if heading != 0.0 else 16.0
    speed = heading * between(stream, 0, 1.0, 1.5)
    first = math.floor((near - speed * now[0]) / spacing)
    for number in range(first, int((far - speed * now[0]) / spacing) + 1):
        key = mix_key(stream, number)
        if chance(key, 0) < 0.45:
            continue
        z = number * spacing + between(key, 2, 0.0, 7.0) + speed * now[1]
        x = side * (look.half_road + between(key, 3, 0.5, look.pavement - 0.4))
        stride = 6.0 * (abs(speed) * now[1] / 1.2 + chance(key, 4)) if heading != 0.0 else 0.3
        towards = (0.0, 0.0, heading) if heading != 0.0 else (1.0, 0.0, 0.0)
        n = put_person(quads, n, key, (x, CURB_HEIGHT, z), towards, stride)
        if chance(key, 5) < 0.3:
            beside = (x + side * 0.6, CURB_HEIGHT, z + 0.3)
            n = put_person(quads, n, mix_key(key, 9), beside, towards, stride + 1.0)
    return n


@compiled
def put_crossing_people(
    quads: Quads, n: int, look: Look, first: int, last: int, now: Vector
) -> int:
    """People on the zebra crossings, off the camera's lane before it arrives."""
    for cell in range(first, last + 1):
        place = crossing_place(look, cell)
        if place < -1e8:
            continue
        for number in range(5):
            key = mix_key(look.key, 950_000 + 8 * cell + number)
            way = 1.0 if chance(key, 0) < 0.5 else -1.0
            speed = between(key, 1, 0.9, 1.5)
            arrival = place / look.speed - between(key, 2, 1.3, 4.5)
            x = way * (look.hand * way * look.lane * 0.5 + 1.6 + speed * (now[1] - arrival))
            limit = look.half_road + 1.2
            waits = abs(x) > limit
            x = min(limit, max(-limit, x))
            foot = (x, CURB_HEIGHT * (abs(x) > look.half_road), place + between(key, 3, 0.3, 2.8))
            stride = 0.3 if waits else 6.0 * (speed * now[1] / 1.2 + chance(key, 4))
            n = put_person(quads, n, key, foot, (way, 0.0, 0.0), stride)
    return n


@compiled
def put_bicyclists(quads: Quads, n: int, look: Look, near: float, far: float, now: Vector) -> int:
    """Bicyclists at the edges of both lanes, and some that cross the street."""
    edge = look.lane - 0.35
    for stream in range(2):
        heading = 1.0 if stream == 0 else -1.0
        speed = heading * (0.72 * look.speed if stream == 0 else 4.5)
        spacing = 13.0 if stream == 0 else 22.0
        first = math.floor((near - speed * now[0]) / spacing)
        for number in range(first, int((far - speed * now[0]) / spacing) + 1):
            key = mix_key(look.key, 970_000 + 100_000 * stream + number)
            if chance(key, 0) < 0.5:
                continue
            z = number * spacing + between(key, 1, 0.0, 9.0) + speed * now[1]
            x = look.hand * heading * (edge + between(key, 2, -0.2, 0.15))
            pedal = 2.2 * abs(speed) * now[1] / 3.0 + 6.0 * chance(key, 3)
            n = put_bicyclist(quads, n, key, (x, 0.0, z), (0.0, 0.0, heading), pedal)
    return n


@compiled
def put_crossing_bicyclists(
    quads: Quads, n: int, look: Look, first: int, last: int, now: Vector
) -> int:
    """Bicyclists who cross the street ahead of the camera, seen from the side."""
    for cell in range(first, last + 1):
        for number in range(2):
            key = mix_key(look.key, 990_000 + 4 * cell + number)
            if chance(key, 0) < 0.4:
                continue
            place = cell * 48.0 + 24.0 * number + between(key, 4, 0.0, 20.0)
            way = 1.0 if chance(key, 1) < 0.5 else -1.0
            speed = between(key, 2, 2.2, 3.6)
            arrival = place / look.speed - between(key, 3, 1.6, 2.6)
            x = way * (look.hand * way * look.lane * 0.5 + 1.6 + speed * (now[1] - arrival))
            limit = look.half_road + 1.4
            x = min(limit, max(-limit, x))
            foot = (x, CURB_HEIGHT * (abs(x) > look.half_road), place)
            n = put_bicyclist(quads, n, key, foot, (way, 0.0, 0.0), -x / 0.35)
    return n
