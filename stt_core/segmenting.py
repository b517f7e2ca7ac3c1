"""The whole-video pass: a medium in, a folder of label maps and an overlay video out."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stt_core.device import describe_device, precision_name
from stt_core.drawing import blend
from stt_core.files import make_folder, replacing, write_text
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import palette_rgba, write_label_png
from stt_core.media.frame import Frame
from stt_core.media.source import MediaSource, media_hash
from stt_core.media.writer import VideoWriter
from stt_core.network import Network
from stt_core.pipeline import WriteBehind, read_ahead
from stt_core.preprocess import Segmentation
from stt_core.stream import Stream
from stt_core.versions import versions

OVERLAY_OPACITY = 0.5
_READ_AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """What a pass should write."""

    frames: range
    """0-based, in presentation order. Frames before them serve as key frames all the same."""
    overlay: bool = False
    save: Literal["labels", "color", "both"] = "labels"
    cuts: bool = True
    """Whether no frame reads across a cut."""


@dataclass(frozen=True, slots=True)
class SegmentStep:
    """One more frame is done."""

    frame: int
    done: int
    total: int
    fps: float
    """Frames a second so far."""


@dataclass(slots=True)
class _Clock:
    """Seconds spent in each stage; reading and writing run beside the network."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "network", "write"), 0.0)
    )

    def fps(self, frames: int) -> dict[str, float]:
        return {name: round(frames / spent, 2) for name, spent in self.seconds.items() if spent > 0}


def segment_media(
    network: Network, media: MediaSource, out: Path, options: SegmentOptions
) -> Generator[SegmentStep, None, dict[str, object]]:
    """Segment frames in order and write them; return what stands in run.json.

    Writes `out`/labels/NNNNNN.png (8-bit class ids, source size), color/NNNNNN.png, overlay.mp4
    and, last, run.json. Every file appears whole or not at all.

    Raises:
        MediaError: a frame cannot be read.
        OutputError: something cannot be written.
    """
    make_folder(out)
    clock, begun, done = _Clock(), perf_counter(), 0
    stream = Stream(network, start=_with_past(options.frames, network).start, cuts=options.cuts)
    frames = read_ahead(_read(media, _with_past(options.frames, network), clock), _READ_AHEAD)
    with ExitStack() as stack:
        stack.callback(frames.close)
        video = None
        if options.overlay:
            size, fps = (media.width, media.height), media.fps / options.frames.step
            video = stack.enter_context(VideoWriter(out / "overlay.mp4", size, fps))
        writes = stack.enter_context(WriteBehind())
        for frame in frames:
            if frame.index not in options.frames:
                stream.remember(frame.image)
                continue
            start = perf_counter()
            found = stream.push(frame.image).segmentation
            clock.seconds["network"] += perf_counter() - start
            writes.submit(partial(_write, out, options, network.header, frame, found, video, clock))
            done += 1
            fps = done / (perf_counter() - begun)
            yield SegmentStep(frame.index, done, len(options.frames), fps)
    report = _report(network, media, options, clock, perf_counter() - begun)
    write_text(out / "run.json", json.dumps(report, indent=2) + "\n")
    return report


def _with_past(frames: range, network: Network) -> range:
    reach = network.key_frames * network.key_spacing
    return range(max(0, frames.start - reach), frames.stop)


def _read(media: MediaSource, frames: range, clock: _Clock) -> Iterator[Frame]:
    for index in frames:
        start = perf_counter()
        frame = media[index]
        clock.seconds["decode"] += perf_counter() - start
        yield frame


def _write(
    out: Path,
    options: SegmentOptions,
    header: ModelHeader,
    frame: Frame,
    found: Segmentation,
    video: VideoWriter | None,
    clock: _Clock,
) -> None:
    start = perf_counter()
    table = palette_rgba(header.classes)
    name = f"{frame.index:06d}.png"
    if options.save in ("labels", "both"):
        write_label_png(out / "labels" / name, found.labels)
    if options.save in ("color", "both"):
        _write_color(out / "color" / name, table[found.labels][..., :3])
    if video is not None:
        video.write(blend(frame.image, found.labels, table, OVERLAY_OPACITY))
    clock.seconds["write"] += perf_counter() - start


def _write_color(path: Path, rgb: NDArray[np.uint8]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def _report(
    network: Network,
    media: MediaSource,
    options: SegmentOptions,
    clock: _Clock,
    seconds: float,
) -> dict[str, object]:
    count = len(options.frames)
    return {
        "frames": count,
        "seconds": round(seconds, 3),
        "fps": {"total": round(count / seconds, 2), **clock.fps(count)},
        "media": {
            "path": str(media.path),
            "hash": media_hash(media.path),
            "frames": len(media),
            "width": media.width,
            "height": media.height,
            "fps": round(media.fps, 4),
        },
        "model": {
            "sha256": network.sha256,
            "config": asdict(network.config),
            "step": network.header.step,
            "licence": network.header.licence,
        },
        "settings": {
            "range": [options.frames.start, options.frames.stop],
            "step": options.frames.step,
            "device": describe_device(network.device),
            "precision": precision_name(network.dtype),
            "key_frames": network.key_frames,
            "save": options.save,
            "overlay": options.overlay,
            "cuts": options.cuts,
            "agreement": network.agreement,
        },
        "classes": [asdict(c) for c in network.header.classes],
        "versions": {**versions(), "torch_build": torch.__version__},
        "warnings": [*media.warnings, *network.notes],
    }
