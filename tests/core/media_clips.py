"""Clips for the tests of media: every picture carries its own number as black and white blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 128, 64
_COLUMNS, _ROWS = 8, 2  # 16 bits
_BLOCK_W, _BLOCK_H = WIDTH // _COLUMNS, HEIGHT // _ROWS


def picture(number: int) -> Image:
    """``[64, 128, 3]``: `number` in 16 blocks, the lowest bit at the top left."""
    bits = np.array([(number >> bit) & 1 for bit in range(_COLUMNS * _ROWS)], dtype=np.uint8)
    blocks = (bits.reshape(_ROWS, _COLUMNS) * 200 + 28).astype(np.uint8)
    grey = np.kron(blocks, np.ones((_BLOCK_H, _BLOCK_W), dtype=np.uint8))
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))


def number_of(image: Image) -> int:
    """The number :func:`picture` drew, read from the middle of each block."""
    assert image.shape == (HEIGHT, WIDTH, 3), image.shape
    grey = image.mean(axis=2).reshape(_ROWS, _BLOCK_H, _COLUMNS, _BLOCK_W)
    middle = grey[:, 4:-4, :, 4:-4].mean(axis=(1, 3)).ravel()
    return int(sum(1 << bit for bit, value in enumerate(middle) if value > 128))


def noisy_picture(number: int) -> Image:
    """:func:`picture` under noise: packets of some thousand bytes instead of some twenty."""
    noise = np.random.default_rng(number).integers(-25, 26, (HEIGHT, WIDTH, 1))
    return (picture(number).astype(np.int64) + noise).clip(0, 255).astype(np.uint8)


def even_times(count: int, step: int = 40) -> list[int]:
    """Presentation times in ms, constant rate."""
    return [index * step for index in range(count)]


def uneven_times(count: int, seed: int = 7) -> list[int]:
    """Presentation times in ms, steps from 10 to 120 ms."""
    steps = np.random.default_rng(seed).integers(10, 121, count)
    return [int(t) for t in np.cumsum(steps) - steps[0]]


def write_clip(
    path: Path,
    times: Sequence[int],
    *,
    codec: str = "libx264",
    gop: int = 40,
    b_frames: int = 3,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    draw: Callable[[int], Image] = picture,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    keep_pts: bool = True,
) -> Path:
    """Encode frame i, shown at ``times[i]`` ms, into the container the suffix of `path` names."""
    x264 = {"preset": "ultrafast", "bf": str(b_frames), "b-adapt": "0", "sc_threshold": "0"}
    options = {**(x264 if codec == "libx264" else {}), **(codec_options or {})}
    first = draw(0)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if keep_pts:
            stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            frame.pts = time if keep_pts else index
            frame.time_base = Fraction(1, 1000) if keep_pts else Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, keep: float | int, target: Path) -> Path:
    """Write the first `keep` bytes of `path` (or that fraction of them) to `target`."""
    data = path.read_bytes()
    size = int(len(data) * keep) if isinstance(keep, float) else keep
    target.write_bytes(data[:size])
    return target
