"""What a seed decides for a whole scene: street, light, weather and camera.

World axes: x to the right, y up, z along the street, in metres.
"""

import math
from typing import NamedTuple, cast

import numpy as np

from stt_core.scenes.noise import Colour

Vector = tuple[float, float, float]


class Look(NamedTuple):
    """Constants of one scene; plain numbers, so that compiled code can read them."""

    key: int
    hand: float  # +1: traffic keeps right, -1: left
    lane: float  # width of one lane, metres
    half_road: float  # from the middle of the road to the curb
    parking: float  # share of parking places taken, 0: no parking lane
    pavement: float  # width
    setback: float  # garden between pavement and buildings
    greenery: float  # how likely a tree place holds a tree
    tallness: float  # factor on building heights
    leaf: Colour
    road: Colour
    paving: Colour
    slab: float  # size of a paving slab, metres
    speed: float  # of the camera, metres a second
    camera_height: float
    pitch: float
    sun: Vector  # towards the sun, length 1
    ambient: float
    direct: float
    sunlight: Colour
    zenith: Colour
    horizon: Colour
    clouds: float  # cover, 0 to 1
    haze: float  # per metre
    gain: Colour  # exposure and white balance
    contrast: float
    saturation: float
    noise: float  # sigma, grey levels of 255
    shutter: float  # open for this part of the time between frames
    wobble: float  # phase of the camera's movements


def packed(look: Look) -> Look:
    """The same values as a numpy record, which compiled functions hand on as a pointer.

    A tuple of this size would be copied at each of some hundred thousand calls. The record has the
    same attributes, so it passes as a Look.
    """
    fields = [(name, np.int64 if name == "key" else np.float64) for name in look._fields]
    shapes = [(3,) if isinstance(value, tuple) else () for value in look]
    dtype = np.dtype([(*field, shape) for field, shape in zip(fields, shapes, strict=True)])
    return cast(Look, np.array([tuple(look)], dtype)[0])


class _Dice:
    """Random draws in a fixed order."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed & 0xFFFFFFFF, 77])

    def draw(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def happens(self, probability: float) -> bool:
        return self.draw(0, 1) < probability

    def key(self) -> int:
        return int(self._rng.integers(1 << 60))

    def tinted(self, value: float, spread: float) -> Colour:
        """A grey of `value`, its red and blue off by up to `spread` of it."""
        red, blue = self.draw(1 - spread, 1 + spread), self.draw(1 - spread, 1 + spread)
        return (value * red, value, value * blue)


def make_look(seed: int) -> Look:
    """Draw the constants of the scene `seed`."""
    dice = _Dice(seed)
    draw = dice.draw
    overcast = draw(0, 1) if dice.happens(0.6) else 0.95
    lane = draw(2.9, 3.4)
    parking = draw(0.35, 0.8) if dice.happens(0.5) else 0.0
    zenith, horizon = _sky(dice, overcast)
    exposure = draw(0.88, 1.22)
    return Look(
        key=dice.key(),
        hand=1.0 if dice.happens(0.5) else -1.0,
        lane=lane,
        half_road=lane + (2.1 if parking else 0.2),
        parking=parking,
        pavement=draw(2.6, 4.4),
        setback=draw(0.5, 3.0) if dice.happens(0.5) else 0.0,
        greenery=draw(0.35, 0.85),
        tallness=draw(0.55, 1.05),
        leaf=_leaf(dice),
        road=dice.tinted(draw(0.33, 0.62), 0.07),
        paving=dice.tinted(draw(0.33, 0.68), 0.1),
        slab=draw(0.4, 0.95),
        speed=draw(6.0, 9.5),
        camera_height=draw(1.35, 1.75),
        pitch=draw(0.0, 0.05),
        sun=_direction(draw(0, 2 * math.pi), draw(0.35, 1.0)),
        ambient=0.68 + 0.27 * overcast,
        direct=0.6 * (1 - overcast) + 0.08,
        sunlight=(1.0, draw(0.86, 1.0), draw(0.68, 1.0)),
        zenith=zenith,
        horizon=horizon,
        clouds=draw(0.1, 0.8),
        haze=draw(0.0008, 0.007),
        gain=dice.tinted(exposure, 0.14),
        contrast=draw(0.85, 1.2),
        saturation=draw(0.35, 1.1),
        noise=draw(1.5, 4.0),
        shutter=draw(0.1, 0.35),
        wobble=draw(0, 100),
    )


def _sky(dice: _Dice, overcast: float) -> tuple[Colour, Colour]:
    """Colours of the sky at the zenith and at the horizon."""
    blue = dice.draw(0.75, 1.0)
    clear = (0.36 * blue, 0.56 * blue, 0.92 * blue)
    cover = dice.tinted(dice.draw(0.5, 0.98), 0.05)
    pale = dice.tinted(dice.draw(0.7, 1.0), 0.07)
    return _between(clear, cover, overcast), _between(pale, cover, 0.7 * overcast)


def _between(first: Colour, second: Colour, part: float) -> Colour:
    red, green, blue = (a + (b - a) * part for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def _leaf(dice: _Dice) -> Colour:
    """Green in summer, sometimes the yellows and browns of autumn."""
    value = dice.draw(0.22, 0.5)
    if dice.happens(0.25):
        return (value * dice.draw(1.2, 1.7), value, value * dice.draw(0.3, 0.6))
    return (value * dice.draw(0.6, 1.05), value, value * dice.draw(0.35, 0.8))


def _direction(azimuth: float, elevation: float) -> Vector:
    across = math.cos(elevation)
    return (across * math.sin(azimuth), math.sin(elevation), across * math.cos(azimuth))
