"""The command that times models by the paper's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.common import Device, Json, Precision, done, follow, note, parse_size, say, warn
from stt_core.resources import SAMPLE_CLIP, resource_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stt_core.evaluation.speed import Speed
    from stt_core.network import Network

_IMAGES = 16


def speed(
    models: Annotated[list[str], typer.Argument(help="Model files, or bundled models' names.")],
    *,
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT of the network's input, multiples of 8.")
    ] = "1024x512",
    frames: Annotated[int, typer.Option(min=1, help="To be timed in the steady state.")] = 30,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Time models: batch 1, after a warm-up, forward pass and enlargement of the logits."""
    from stt_core.evaluation.speed import count_steps, measure_speed
    from stt_core.formats.model_file import find_model

    width, height = parse_size(size, multiple=8)
    paths = [find_model(model) for model in models]
    images = _images()

    def measure(path: Path) -> Speed:  # no model is in memory beside another
        network = _network(path, device, precision)
        steps = measure_speed(network, images, size=(width, height), frames=frames)
        taken: Speed = follow(steps, count_steps(network, frames), path.stem)
        warn([f"{path.stem}: {sentence}" for sentence in network.notes])
        return taken

    rows = [(path.stem, measure(path)) for path in paths]
    say(_table(rows))
    told = [_facts(*row) for row in rows]
    done(as_json, {"command": "speed", "size": [width, height], "frames": frames, "rows": told})


def _images() -> list[NDArray[np.uint8]]:
    """The first frames of the bundled clip."""
    from stt_core.media.source import open_media

    with open_media(resource_path(SAMPLE_CLIP)) as media:
        return [media[i].image for i in range(_IMAGES)]


def _network(path: Path, device: str, precision: Any) -> Network:
    """The model at whatever size the images have."""
    from stt_core.checkpoint import load_checkpoint
    from stt_core.model.compiling import compile_first
    from stt_core.network import Network

    loaded = load_checkpoint(path)
    preprocess = replace(loaded.header.preprocess, short_side=None)
    loaded = replace(loaded, header=replace(loaded.header, preprocess=preprocess))
    network = Network(loaded, device=device, precision=precision)
    if network.device.type == "cpu" and network.reach.heads:
        compile_first(note)
    return network


def _table(rows: list[tuple[str, Speed]]) -> str:
    first = rows[0][1]
    wide = max(len("model"), *(len(name) for name, _ in rows))
    peak = "GPU MB" if first.peak_of == "device" else "RAM MB"
    titles = ("mean", "median", "p95", "max", "fps", "first", peak, "GMAC", "first")
    return "\n".join(
        [
            f"{first.size[0]}x{first.size[1]}, batch 1, {first.device}",
            f"ms of a forward pass, over {first.frames} frames that have all their key frames; "
            "first: without a past",
            _aligned("model", "prec.", titles, wide),
            *(_aligned(name, taken.precision, _figures(taken), wide) for name, taken in rows),
        ]
    )


def _figures(taken: Speed) -> list[str]:
    steady, counted = taken.steady, taken.multiply_adds
    times = (steady.mean, steady.median, steady.p95, steady.max, steady.fps, taken.first.median)
    adds = (counted.steady / 1e9, counted.first / 1e9)
    return [*(f"{time:.1f}" for time in times), f"{taken.peak_bytes / 1e6:.0f}"] + [
        f"{add:.1f}" for add in adds
    ]


def _aligned(name: str, precision: str, figures: Sequence[str], wide: int) -> str:
    return f"{name:{wide}}  {precision:5}" + "".join(f"{figure:>8}" for figure in figures)


def _facts(name: str, taken: Speed) -> dict[str, Any]:
    times = {part: getattr(taken, part) for part in ("steady", "first")}
    told = {part: {**asdict(each), "fps": each.fps} for part, each in times.items()}
    return {"model": name, **asdict(taken), **told}
