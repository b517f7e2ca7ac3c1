"""Animated pictures for pages and slides: GIF and WebP, small, looping for ever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import OutputError
from stt_core.files import replacing
from stt_core.pictures.figure import Color

ANIMATED_SUFFIXES = (".gif", ".webp")
MOST_PICTURES = 300
MAX_SIDE = 640
"""Pixels, unless another limit is asked for: a GIF of 30 s takes tens of megabytes then."""

_MOST_PIXELS = 80_000_000
"""Of all pictures together: they wait in memory until the file is written."""
_SHORTEST_MS = 20
"""Browsers show what is shorter for 100 ms."""
_WEBP_QUALITY = 85
_PALETTE = 255  # one of 256 is left for what does not change
_MOST_RESERVED = 128
_SAMPLES = 8
_SAMPLED_PIXELS = 100_000


class Pace(NamedTuple):
    """Which frames become pictures, and for how long each is shown."""

    step: int
    """Every so many frames one."""
    delays_ms: tuple[int, ...]
    """Of each picture; their sum is the duration of all frames, to half a hundredth of a second."""


def find_pace(frames: int, fps: float, size: tuple[int, int]) -> Pace:
    """As many pictures as may be, at the frames' own speed.

    Args:
        frames: how many there are, at least one.
        fps: frames a second.
        size: of a picture, pixels.
    """
    most = max(1, min(MOST_PICTURES, _MOST_PIXELS // (size[0] * size[1])))
    step = max(math.ceil(frames / most), math.ceil(_SHORTEST_MS * fps / 1000 - 1e-9), 1)
    starts = [*range(0, frames, step), frames]
    # GIF counts in hundredths; rounding the sums rather than each keeps the speed
    times = [10 * round(100 * start / fps) for start in starts]
    delays = [b - a for a, b in pairwise(times)]
    return Pace(step, tuple(max(_SHORTEST_MS, delay) for delay in delays))


def sample_places(count: int) -> list[int]:
    """Some of `count` pictures, spread over all of them, to choose colours by."""
    wanted = min(count, _SAMPLES)
    return sorted({i * (count - 1) // max(1, wanted - 1) for i in range(wanted)})


def choose_palette(samples: Sequence[NDArray[np.uint8]], reserved: Sequence[Color]) -> Image.Image:
    """One palette for a whole animation, so that colours do not flicker.

    Args:
        samples: some of the pictures, ``[h, w, 3]``.
        reserved: colours that must come out as they are; the first 128 of them.

    Returns:
        An image of mode P that carries it.
    """
    exact = list(dict.fromkeys(reserved))[:_MOST_RESERVED]
    pixels = np.concatenate([s.reshape(-1, 3) for s in samples])
    some = np.random.default_rng(0).integers(0, len(pixels), min(len(pixels), _SAMPLED_PIXELS))
    montage = Image.fromarray(pixels[some][None])
    found = montage.quantize(_PALETTE - len(exact), Image.Quantize.MEDIANCUT, kmeans=1)
    rest = np.array(found.getpalette() or [], np.uint8).reshape(-1, 3)
    colors = np.concatenate([np.array(exact, np.uint8).reshape(-1, 3), rest])[:_PALETTE]
    # every entry must be one of them: Pillow would match against the zeros of an unfilled rest
    filled = np.concatenate([colors, np.repeat(colors[-1:], 256 - len(colors), 0)])
    palette = Image.new("P", (1, 1))
    palette.putpalette(filled.tobytes())
    return palette


def with_palette(picture: NDArray[np.uint8], palette: Image.Image) -> Image.Image:
    """``[h, w, 3]`` RGB in the colours of a palette; not dithered, since dots would flicker."""
    return Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def save_animation(path: Path, pictures: Sequence[Image.Image], delays_ms: Sequence[int]) -> None:
    """Write GIF or WebP, by the suffix of `path`, in one step.

    Equal neighbours may become one picture that is shown for longer.

    Args:
        path: .gif or .webp.
        pictures: at least one; for GIF of mode P, for WebP RGB.
        delays_ms: of each picture.

    Raises:
        OutputError: it could not be written.
    """
    webp = path.suffix.lower() == ".webp"
    how = {"quality": _WEBP_QUALITY, "method": 4} if webp else {"optimize": False, "disposal": 1}
    if not pictures:
        raise OutputError(f"{path} was not written: there was no frame to put into it.")
    with replacing(path) as temporary:
        pictures[0].save(
            temporary,
            format="WEBP" if webp else "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=list(delays_ms),
            loop=0,
            **how,
        )
