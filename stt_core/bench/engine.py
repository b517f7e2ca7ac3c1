"""The engine: the temporal model against its per-frame network, and each stage of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import Act, median_ms
from stt_core.checkpoint import load_checkpoint, new_checkpoint
from stt_core.config import (
    FrameConfig,
    LiteNetConfig,
    ModelConfig,
    Precision,
    Preprocess,
    PspNetConfig,
    SttConfig,
)
from stt_core.device import describe_device, find_device, precision_name
from stt_core.engine import run
from stt_core.formats.model_file import ModelHeader, find_model
from stt_core.labels import read_classes, write_label_png
from stt_core.media.source import open_media
from stt_core.media.video import VideoFile
from stt_core.model.video import Encoded
from stt_core.network import Network
from stt_core.preprocess import to_network
from stt_core.resources import SAMPLE_CLASSES, SAMPLE_CLIP, SAMPLE_MODEL, resource_path
from stt_core.segmenting import SegmentOptions, segment_media

GROUP = "engine"
_TARGET_SIZE = (1024, 512)
"""Width and height that the temporal block's targets are set for."""


def measure(
    note: Note,
    *,
    sizes: Sequence[tuple[int, int]] = ((480, 360), (1024, 512)),
    precisions: Sequence[Precision] = ("fp32", "bf16"),
    repeats: int = 7,
    pass_frames: int = 12,
) -> list[Row]:
    """Measure on the device that `auto` takes.

    Args:
        note: told what is being measured.
        sizes: (width, height) to compare the two models at.
        precisions: to compare them in.
        repeats: of everything but the pass.
        pass_frames: of the bundled clip, for the pass.
    """
    rows: list[Row] = []
    for size in sizes:
        for precision in precisions:
            note(f"Models at {size[0]}x{size[1]} in {precision} ...")
            rows += _compare(size, precision, repeats)
    if {"fp32", "bf16"} <= set(precisions):
        rows += [_precision_row(rows, size) for size in sizes]
    network = Network(load_checkpoint(find_model(SAMPLE_MODEL)))
    precision_used = precision_name(network.dtype)
    note(f"Stages on {describe_device(network.device)} in {precision_used} ...")
    return [*rows, *_stages(network, repeats), _whole_pass(network, pass_frames)]


def _compare(size: tuple[int, int], precision: Precision, repeats: int) -> list[Row]:
    """Models side by side: their networks alone, and what the temporal block adds to them."""
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    classes = len(read_classes(resource_path(SAMPLE_CLASSES)))
    frames: dict[str, FrameConfig] = {
        "PSPNet18": PspNetConfig(num_classes=classes),
        "Lite0": LiteNetConfig(num_classes=classes),
    }
    acts: dict[str, Act] = {}
    for name, config in frames.items():
        acts[name] = _steady(config, precision, image)
        acts[f"STT-{name}"] = _steady(SttConfig(per_frame=config), precision, image)
    taken = dict(zip(acts, median_ms(list(acts.values()), repeats=repeats), strict=True))
    where = f"{size[0]}x{size[1]} {precision}"
    rows = [row(GROUP, f"{name}, {where}", ms, "ms") for name, ms in taken.items()]
    targets = _block_targets(precision) if size == _TARGET_SIZE else (None, None)
    for name, most in zip(frames, targets, strict=True):
        share = taken[f"STT-{name}"] / taken[name] - 1
        rows.append(row(GROUP, f"temporal block / {name}, {where}", share, "x", target=most))
    return rows


def _block_targets(precision: Precision) -> tuple[float | None, float | None]:
    """Most that the block may add to PSPNet18 and to Lite0."""
    if find_device("auto").type == "cuda":
        return 0.1, None
    amx = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    return (0.2, 0.5) if precision == "fp32" else (0.35 if amx else None, None)


def _precision_row(rows: Sequence[Row], size: tuple[int, int]) -> Row:
    """How much bf16 gains on the network alone; what it may lose is checked at every load."""
    fp32, bf16 = (
        next(r["value"] for r in rows if r["name"] == f"PSPNet18, {size[0]}x{size[1]} {precision}")
        for precision in ("fp32", "bf16")
    )
    flags = torch.cpu.get_capabilities()
    least = 4.0 if flags.get("amx_bf16") else 1.5 if flags.get("avx512_bf16") else None
    name = f"PSPNet18 fp32 / bf16, {size[0]}x{size[1]}"
    return row(GROUP, name, fp32 / bf16, "x", target=least, least=True)


def _steady(config: ModelConfig, precision: Precision, image: NDArray[np.uint8]) -> Act:
    """A network at a frame whose ring is full. Its weights are fresh: they do not change time."""
    header = ModelHeader(
        config=config,
        preprocess=Preprocess(short_side=None),
        classes=read_classes(resource_path(SAMPLE_CLASSES)),
    )
    network = Network(new_checkpoint(header), precision=precision)
    memory = [network.encode(image)] * network.key_frames
    return lambda: _compute(network, image, memory)


def _stages(network: Network, repeats: int) -> list[Row]:
    """What a frame of the bundled clip passes through, each stage by itself."""
    with (
        VideoFile(resource_path(SAMPLE_CLIP), cache_bytes=1) as media,
        TemporaryDirectory() as folder,
    ):
        image = media[0].image
        size = (image.shape[0], image.shape[1])
        memory = [network.encode(image)] * network.key_frames
        decoded = network.decode(memory[0], memory)
        labels = network.finish(decoded, size).labels
        order = cycle(range(1, len(media)))
        acts: dict[str, Act] = {
            "decode": lambda: media[next(order)],
            "pre-process": lambda: _preprocess(network, image),
            "network": lambda: _compute(network, image, memory),
            "post-process": lambda: network.finish(decoded, size),
            "write": lambda: write_label_png(Path(folder) / "000000.png", labels),
        }
        taken = dict(zip(acts, median_ms(list(acts.values()), repeats=repeats), strict=True))
    taken["network"] -= taken["pre-process"]  # which encode does as well
    where = f"{media.width}x{media.height} {precision_name(network.dtype)}"
    return [row(GROUP, f"{stage}, {where}", ms, "ms") for stage, ms in taken.items()]


def _preprocess(network: Network, image: NDArray[np.uint8]) -> None:
    to_network(image, network.header.preprocess, network.device)
    network.synchronise()


def _compute(network: Network, image: NDArray[np.uint8], memory: Sequence[Encoded]) -> None:
    network.decode(network.encode(image), memory)
    network.synchronise()


def _whole_pass(network: Network, frames: int) -> Row:
    """The command `segment` over the first frames, the network being warm."""
    with open_media(resource_path(SAMPLE_CLIP)) as media, TemporaryDirectory() as folder:
        options = SegmentOptions(frames=range(min(frames, len(media))))
        begun = perf_counter()
        run(segment_media(network, media, Path(folder), options))
        fps = len(options.frames) / (perf_counter() - begun)
        where = f"{media.width}x{media.height} {precision_name(network.dtype)}"
    return row(GROUP, f"whole pass, {where}", fps, "fps")
