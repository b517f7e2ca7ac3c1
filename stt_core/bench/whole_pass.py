"""Whole passes: `segment` against the bare model loop, and what a long video costs in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from stt_core.bench.memory import block_megabytes
from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import median_ms
from stt_core.checkpoint import new_checkpoint
from stt_core.config import LiteNetConfig, ModelConfig, Preprocess, PspNetConfig, SttConfig
from stt_core.device import precision_name
from stt_core.engine import Engine, run
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import read_classes
from stt_core.media.frame import Frame
from stt_core.media.medium import Medium
from stt_core.media.source import open_media
from stt_core.media.writer import VideoWriter
from stt_core.network import Network
from stt_core.resources import SAMPLE_CLASSES, SAMPLE_CLIP, resource_path
from stt_core.segmenting import SegmentOptions, segment_media
from stt_core.stream import Stream

GROUP = "pass"
_SETTLED = 500
"""Frames after which a long run must not grow any more."""


def measure(
    note: Note,
    *,
    size: tuple[int, int] = (2048, 1024),
    frames: int = 8,
    rounds: int = 3,
    long_frames: int = 10_000,
    block: tuple[int, int] = (128, 256),
) -> list[Row]:
    """Measure on the device that `auto` takes.

    Args:
        note: told what is being measured.
        size: width and height of the video that is segmented whole.
        frames: of it.
        rounds: in which `segment` and the bare loop take turns.
        long_frames: of the run whose memory is watched.
        block: rows and columns of the map the temporal block's memory is measured on.
    """
    rows: list[Row] = []
    for name, config in _models().items():
        note(f"A pass over {frames} frames of {size[0]}x{size[1]} with {name} ...")
        rows += _efficiency(name, config, size, frames, rounds)
    note("Random access ...")
    rows += _random_access()
    note("Memory of the temporal block ...")
    for precision in ("fp32", "bf16"):
        name = f"memory beyond the ring, d = 256, {block[0]}x{block[1]} {precision}"
        taken = block_megabytes(block, 256, precision)
        rows.append(row(GROUP, name, taken, "MB", target=200))
    note(f"A video of {long_frames} frames ...")
    return [*rows, _growth(long_frames)]


def _models() -> dict[str, ModelConfig]:
    classes = len(read_classes(resource_path(SAMPLE_CLASSES)))
    return {
        "STT-PSP18": SttConfig(per_frame=PspNetConfig(num_classes=classes)),
        "STT-Lite0": SttConfig(per_frame=LiteNetConfig(num_classes=classes)),
    }


def _network(config: ModelConfig) -> Network:
    """With fresh weights: they do not change the time."""
    classes = read_classes(resource_path(SAMPLE_CLASSES))
    header = ModelHeader(config=config, preprocess=Preprocess(), classes=classes)
    network = Network(new_checkpoint(header), precision="auto")
    if network.dtype.itemsize == 2:  # fresh weights would be refused the lower precision
        network = Network(new_checkpoint(header), precision="bf16")
    return network


def _efficiency(
    name: str, config: ModelConfig, size: tuple[int, int], frames: int, rounds: int
) -> list[Row]:
    network = _network(config)
    images = list(_drifting(size, frames))
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip, size, 15) as video:
            for image in images:
                video.write(image)
        stream = Stream(network)
        stream.push(images[0])  # compiles kernels and checks the precision

        def loop() -> None:
            stream.reset()
            for image in images:
                stream.push(image)

        def segment() -> None:
            options = SegmentOptions(frames=range(frames))
            with open_media(clip) as media:
                run(segment_media(network, media, Path(folder) / "out", options))

        bare, whole = (
            1000 * frames / ms for ms in median_ms([loop, segment], repeats=rounds, warm_up=0)
        )
    where = f"{name}, {size[0]}x{size[1]} {precision_name(network.dtype)}"
    return [
        row(GROUP, f"model alone, {where}", bare, "fps"),
        row(GROUP, f"segment, {where}", whole, "fps"),
        row(GROUP, f"segment / model alone, {where}", whole / bare, "x", target=0.85, least=True),
    ]


def _random_access() -> list[Row]:
    network = _network(_models()["STT-Lite0"])
    with open_media(resource_path(SAMPLE_CLIP)) as media:
        engine = Engine(network, media)
        cold, warm = (engine.segment(50).timings.encoder_passes for _ in range(2))
    return [
        row(GROUP, "encoder passes for a frame, cold", cold, "", target=8),
        row(GROUP, "encoder passes for a frame, warm", warm, "", target=0),
    ]


def _growth(frames: int) -> Row:
    """What a long video leaves behind, with a model and frames that are small but whole."""
    config = SttConfig(per_frame=PspNetConfig(num_classes=11, width=32, aux_width=8), heads=2)
    network, process, settled = _network(config), psutil.Process(), 0
    with (
        _Endless(frames) as media,
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        options = SegmentOptions(frames=range(frames))
        for step in segment_media(network, media, Path(folder), options):
            if step.done == min(_SETTLED, frames // 2):
                settled = process.memory_info().rss
        grown = (process.memory_info().rss - settled) / 1e6
    return row(GROUP, f"growth over {frames} frames", grown, "MB", target=50)


def _drifting(size: tuple[int, int], frames: int) -> Iterator[NDArray[np.uint8]]:
    """A blurred pattern that moves 4 pixels a frame."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    pattern = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    for i in range(frames):
        yield np.roll(pattern, 4 * i, 1).astype(np.uint8)


class _Endless(Medium):
    """A medium of small frames that are made when they are asked for."""

    path = resource_path(SAMPLE_CLIP)
    width, height, fps = 96, 64, 15.0
    warnings: tuple[str, ...] = ()

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._pattern = next(_drifting((self.width, self.height), 1))

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> Frame:
        return Frame(index, np.roll(self._pattern, index, 1), self.time_of(index), "")

    def time_of(self, index: int) -> float:
        return index / self.fps

    def close(self) -> None:
        pass
