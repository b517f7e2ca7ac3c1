"""The engine: the temporal model against its per-frame network, and each stage of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import Act, median_ms
from stt_core.checkpoint import load_checkpoint, new_checkpoint
from stt_core.config import ModelConfig, Precision, Preprocess, PspNetConfig, SttConfig
from stt_core.device import describe_device, precision_name
from stt_core.engine import run
from stt_core.formats.model_file import ModelHeader, find_model
from stt_core.labels import read_classes, write_label_png
from stt_core.media.source import open_media
from stt_core.media.video import VideoFile
from stt_core.model.pspnet import Encoded
from stt_core.network import Network
from stt_core.preprocess import to_network
from stt_core.resources import SAMPLE_CLASSES, SAMPLE_CLIP, SAMPLE_MODEL, resource_path
from stt_core.segmenting import SegmentOptions, segment_media
from stt_core.stream import Stream

GROUP = "engine"


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
            note(f"PSPNet18 and STT at {size[0]}x{size[1]} in {precision} ...")
            rows += _compare(size, precision, repeats)
    network = Network(load_checkpoint(find_model(SAMPLE_MODEL)))
    precision_used = precision_name(network.dtype)
    note(f"Stages on {describe_device(network.device)} in {precision_used} ...")
    return [*rows, *_stages(network, repeats), _whole_pass(network, pass_frames)]


def _compare(size: tuple[int, int], precision: Precision, repeats: int) -> list[Row]:
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    classes = len(read_classes(resource_path(SAMPLE_CLASSES)))
    single = PspNetConfig(num_classes=classes)
    streams = [_steady(config, precision, image) for config in (single, SttConfig(pspnet=single))]
    alone, stt = median_ms([partial(stream.push, image) for stream in streams], repeats=repeats)
    where = f"{width}x{height} {precision}"
    return [
        row(GROUP, f"PSPNet18, {where}", alone, "ms"),
        row(GROUP, f"STT, {where}", stt, "ms"),
        row(GROUP, f"STT / PSPNet18, {where}", stt / alone, "x"),
    ]


def _steady(config: ModelConfig, precision: Precision, image: NDArray[np.uint8]) -> Stream:
    """A stream whose ring is full. Its weights are fresh: they do not change the time."""
    header = ModelHeader(
        config=config,
        preprocess=Preprocess(short_side=None),
        classes=read_classes(resource_path(SAMPLE_CLASSES)),
    )
    network = Network(new_checkpoint(header), precision=precision)
    stream = Stream(network)
    for _ in range(network.key_frames * network.key_spacing):
        stream.remember(image)
    return stream


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
