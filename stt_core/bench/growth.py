"""How the cost of a frame grows: with its size, with the key frames, with the share of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import median_ms
from stt_core.checkpoint import new_checkpoint
from stt_core.config import Preprocess, PspNetConfig, SttConfig
from stt_core.device import precision_name
from stt_core.files import replacing
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import read_classes
from stt_core.network import Network
from stt_core.resources import SAMPLE_CLASSES, resource_path

GROUP = "growth"
_NETWORK, _BLOCK = "encoder", "temporal block"


@dataclass(frozen=True, slots=True)
class _Sweep:
    title: str
    unit: str
    settings: tuple[float, ...]


_SIZES = _Sweep("input size", "megapixels", (0.25, 0.5, 1.0, 2.0))
_FRAMES = _Sweep("key frames", "frames", (0, 1, 2, 3, 5, 7, 9))
_RATIOS = _Sweep("query ratio", "of the positions", (0.1, 0.25, 0.5, 0.75, 1.0))


def measure(
    note: Note,
    *,
    megapixels: Sequence[float] = _SIZES.settings,
    size: tuple[int, int] = (1024, 512),
    repeats: int = 7,
) -> list[Row]:
    """Measure STT-PSP18 on the device that `auto` takes.

    Args:
        note: told what is being measured.
        megapixels: of the inputs that are compared; each twice as wide as high.
        size: width and height where something else than the size is varied.
        repeats: of every setting.
    """
    base = SttConfig(per_frame=PspNetConfig(num_classes=11))
    rows: list[Row] = []
    note("Time against input size ...")
    for million in megapixels:
        height = max(8, round((million * 2**20 / 2) ** 0.5 / 8) * 8)
        rows += _at(base, (2 * height, height), repeats, _SIZES, million)
    note("Time against the number of key frames ...")
    for frames in _FRAMES.settings:
        rows += _at(replace(base, key_frames=int(frames)), size, repeats, _FRAMES, frames)
    note("Time against the share of queries ...")
    for ratio in _RATIOS.settings:
        rows += _at(replace(base, query_ratio=ratio), size, repeats, _RATIOS, ratio)
    return rows


def draw(rows: Sequence[Row], out: Path) -> list[Path]:
    """Plot the rows of this group as `out`/growth.png and .svg; returns the files.

    Raises:
        OutputError: they cannot be written.
    """
    # takes a second to load, and only this needs it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, sweep in zip(figure.subplots(1, 3), (_SIZES, _FRAMES, _RATIOS), strict=True):
        for part, color in ((_NETWORK, "#8a939c"), (_BLOCK, "#c8343f")):
            points = [
                (float(each["name"].rpartition(" ")[2]), each["value"])
                for each in rows
                if each["name"].startswith(f"{part}, {sweep.title}")
            ]
            axes.plot(*zip(*points, strict=True), "o-", color=color, label=part)
        axes.set_xlabel(f"{sweep.title} ({sweep.unit})")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("ms a frame")
    figure.axes[0].legend(frameon=False)
    files = [out / "growth.png", out / "growth.svg"]
    for file in files:
        with replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], dpi=150)
    return files


def _at(
    config: SttConfig, size: tuple[int, int], repeats: int, sweep: _Sweep, setting: float
) -> list[Row]:
    classes = read_classes(resource_path(SAMPLE_CLASSES))
    header = ModelHeader(config=config, preprocess=Preprocess(), classes=classes)
    network = Network(new_checkpoint(header))
    if network.dtype.itemsize == 2:  # fresh weights would be refused the lower precision
        network = Network(new_checkpoint(header), precision="bf16")
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    current = network.encode(image)
    memory = [current] * config.key_frames

    def encode() -> None:
        network.encode(image)
        network.synchronise()

    def decode() -> None:
        network.decode(current, memory)
        network.synchronise()

    taken = median_ms([encode, decode], repeats=repeats)
    where = f"{sweep.title}, {size[0]}x{size[1]} {precision_name(network.dtype)}: {setting:g}"
    return [
        row(GROUP, f"{part}, {where}", ms, "ms")
        for part, ms in zip((_NETWORK, _BLOCK), taken, strict=True)
    ]
