"""Randomness that depends only on its arguments: hashes, value noise, and small colour helpers.

Colours are tuples of red, green, blue, where 1 is the brightness of a white sheet in the shade.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.jit import compiled

Colour = tuple[float, float, float]
Table = NDArray[np.float32]


def noise_table() -> Table:
    """White noise in [0, 1), float32 ``[256, 256]``: the lattice of :func:`value_noise`."""
    return np.random.default_rng(20_240_731).random((256, 256), dtype=np.float32)


@compiled
def mix_key(a: int, b: int) -> int:
    """A new key from two; keys are 62-bit integers naming a thing of the scene."""
    h = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(b) * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    h *= np.uint64(0x94D049BB133111EB)
    return int(np.int64(h >> np.uint64(2)))


@compiled
def chance(key: int, number: int) -> float:
    """The `number`-th random value of a thing, in [0, 1)."""
    return (mix_key(key, number) >> 9) * (1.0 / (1 << 53))


@compiled
def between(key: int, number: int, low: float, high: float) -> float:
    """The `number`-th random value of a thing, in [low, high)."""
    return low + (high - low) * chance(key, number)


@compiled
def value_noise(table: Table, x: float, y: float) -> float:
    """Smooth noise in [0, 1) with one random value a unit, repeating after 256 units."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = fx & 255, fy & 255
    i1, j1 = (i + 1) & 255, (j + 1) & 255
    s, t = x - fx, y - fy
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    top = table[j, i] + (table[j, i1] - table[j, i]) * s
    low = table[j1, i] + (table[j1, i1] - table[j1, i]) * s
    return top + (low - top) * t


@compiled
def clamp01(value: float) -> float:
    """`value` limited to [0, 1]."""
    return min(1.0, max(0.0, value))


@compiled
def fade(footprint: float, cell: float) -> float:
    """How much of a detail of `cell` metres a pixel of `footprint` metres can still show."""
    return clamp01(1.5 - 1.5 * footprint / cell)


@compiled
def grain(table: Table, x: float, y: float, cell: float, footprint: float) -> float:
    """Noise in [-0.5, 0.5) with grains of `cell` metres, vanishing where pixels are larger."""
    strength = fade(footprint, cell)
    if strength <= 0.0:
        return 0.0
    return (value_noise(table, x / cell, y / cell) - 0.5) * strength


@compiled
def stripe(distance: float, half_width: float, footprint: float) -> float:
    """Coverage in [0, 1] of a pixel by a stripe whose middle is `distance` away."""
    return clamp01((half_width - abs(distance)) / max(footprint, 1e-4) + 0.5)


@compiled
def comb(position: float, period: float, width: float, footprint: float) -> float:
    """Coverage by stripes of `width` every `period`; their mean where pixels are larger."""
    offset = position - period * math.floor(position / period) - 0.5 * period
    strength = fade(footprint, period)
    sharp = stripe(offset, 0.5 * width, footprint)
    return sharp * strength + (1 - strength) * width / period


@compiled
def blend(first: Colour, second: Colour, part: float) -> Colour:
    """`first` with `part` of it replaced by `second`."""
    return (
        first[0] + (second[0] - first[0]) * part,
        first[1] + (second[1] - first[1]) * part,
        first[2] + (second[2] - first[2]) * part,
    )


@compiled
def dim(colour: Colour, factor: float) -> Colour:
    """`colour` with its brightness multiplied."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


@compiled
def hue_colour(hue: float, saturation: float, value: float) -> Colour:
    """HSV to RGB, all in [0, 1]."""
    h = 6.0 * (hue - math.floor(hue))
    red = clamp01(abs(h - 3.0) - 1.0)
    green = clamp01(2.0 - abs(h - 2.0))
    blue = clamp01(2.0 - abs(h - 4.0))
    grey = 1.0 - saturation
    return (
        value * (grey + saturation * red),
        value * (grey + saturation * green),
        value * (grey + saturation * blue),
    )


@compiled
def any_colour(key: int, number: int) -> Colour:
    """Paint or cloth: half of it grey, the rest of any hue; shared by many classes on purpose."""
    value = between(key, number, 0.1, 0.85)
    hue = chance(key, number + 1)
    if chance(key, number + 2) < 0.5:
        return hue_colour(hue, 0.08, value)
    return hue_colour(hue, between(key, number + 3, 0.2, 0.7), 0.15 + 0.75 * value)


@compiled
def wall_colour(key: int, number: int) -> Colour:
    """Brick, sand, plaster or concrete."""
    kind = chance(key, number)
    value = between(key, number + 1, 0.28, 0.85)
    tint = chance(key, number + 2)
    if kind < 0.35:
        return hue_colour(
            0.01 + 0.06 * tint, between(key, number + 3, 0.3, 0.55), 0.3 + 0.4 * value
        )
    if kind < 0.6:
        return hue_colour(
            0.08 + 0.05 * tint, between(key, number + 3, 0.1, 0.35), 0.3 + 0.6 * value
        )
    if kind < 0.9:
        return hue_colour(tint, 0.06, value)
    return hue_colour(tint, 0.28, 0.3 + 0.6 * value)
