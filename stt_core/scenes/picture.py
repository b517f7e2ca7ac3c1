"""From sample colours to the picture of a camera: antialiasing, motion blur, tone and noise."""

import math

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look
from stt_core.scenes.noise import mix_key

MAX_BLUR = 14.0  # pixels
Colours = NDArray[np.float32]  # [h, w, 3]


@compiled
def antialias(centres: Colours, corners: Colours, mean: Colours) -> None:
    """Half of a pixel is its centre, the rest its four corners, ``[H + 1, W + 1, 3]``."""
    for row in range(mean.shape[0]):
        for column in range(mean.shape[1]):
            for c in range(3):
                around = corners[row, column, c] + corners[row, column + 1, c]
                around += corners[row + 1, column, c] + corners[row + 1, column + 1, c]
                mean[row, column, c] = 0.5 * centres[row, column, c] + 0.125 * around


@compiled
def develop(
    colours: Colours,
    flow: NDArray[np.float32],
    look: Look,
    noise_key: int,
    image: NDArray[np.uint8],
) -> None:
    """Blur along the flow while the shutter is open, then tone, vignette and sensor noise.

    Args:
        colours: antialiased, ``[H, W, 3]``.
        flow: pixels to the next frame, ``[H, W, 2]``.
        look: the scene.
        noise_key: seeds this frame's noise.
        image: receives RGB, ``[H, W, 3]``.
    """
    height, width = image.shape[0], image.shape[1]
    for row in range(height):
        for column in range(width):
            red, green, blue = _blurred(colours, flow, row, column, look.shutter)
            dx, dy = 2.0 * column / width - 1.0, 2.0 * row / height - 1.0
            vignette = 1.0 - 0.09 * (dx * dx + dy * dy)
            red, green, blue = red * look.gain[0], green * look.gain[1], blue * look.gain[2]
            grey = 0.3 * red + 0.59 * green + 0.11 * blue
            noise = _noise(noise_key, row * width + column)
            for c in range(3):
                value = red if c == 0 else (green if c == 1 else blue)
                value = grey + (value - grey) * look.saturation
                value = _tone(value * vignette, look.contrast) + look.noise * noise[c]
                image[row, column, c] = np.uint8(min(255.0, max(0.0, value + 0.5)))


@compiled
def _blurred(
    colours: Colours, flow: NDArray[np.float32], row: int, column: int, shutter: float
) -> tuple[float, float, float]:
    """Mean of up to seven colours along the way a point takes while the shutter is open."""
    u, v = flow[row, column, 0] * shutter, flow[row, column, 1] * shutter
    length = math.sqrt(u * u + v * v)
    red, green, blue = colours[row, column, 0], colours[row, column, 1], colours[row, column, 2]
    if length < 1.0:
        return red, green, blue
    reach = min(1.0, MAX_BLUR / length)
    side = int(min(3.0, 0.5 * length * reach + 0.5))
    for tap in range(1, side + 1):
        part = 0.5 * reach * tap / side
        for sign in (-1.0, 1.0):
            x = min(colours.shape[1] - 1, max(0, int(column + sign * part * u + 0.5)))
            y = min(colours.shape[0] - 1, max(0, int(row + sign * part * v + 0.5)))
            red += colours[y, x, 0]
            green += colours[y, x, 1]
            blue += colours[y, x, 2]
    scale = 1.0 / (2 * side + 1)
    return red * scale, green * scale, blue * scale


@compiled
def _tone(value: float, contrast: float) -> float:
    """Contrast around mid grey and a soft shoulder; 0 to 255."""
    value = 0.45 + (value - 0.45) * contrast
    if value > 0.8:
        value = 0.8 + 0.2 * (1.0 - math.exp(-(value - 0.8) / 0.2))
    return 255.0 * value


@compiled
def _noise(key: int, pixel: int) -> tuple[float, float, float]:
    """Three roughly normal values of deviation about 1, sharing two thirds of their power."""
    bits = mix_key(key, pixel)
    grey = (bits & 1023) + ((bits >> 10) & 1023) - 1023
    red, green, blue = (bits >> 20) & 1023, (bits >> 30) & 1023, (bits >> 40) & 1023
    shared = grey * (0.82 / 418.0)
    scale = 0.57 / 295.6
    return (
        shared + (red - 511.5) * scale,
        shared + (green - 511.5) * scale,
        shared + (blue - 511.5) * scale,
    )
