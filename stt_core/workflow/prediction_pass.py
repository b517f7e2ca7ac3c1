"""The pass that has a model predict a medium into the prediction store of a project."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from stt_core.device import precision_name
from stt_core.errors import CheckpointError, DeviceError
from stt_core.media.frame import Frame
from stt_core.media.shots import is_cut, thumbnail
from stt_core.media.source import MediaSource, media_hash
from stt_core.network import Network
from stt_core.pipeline import WriteBehind, read_ahead
from stt_core.preprocess import Segmentation
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.predictions.flicker import flicker_between
from stt_core.project.predictions.manifest import Manifest, Shape
from stt_core.project.predictions.writer import PredictionWriter
from stt_core.stream import Stream, Streamed

_READ_AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOptions:
    """What a pass should predict and keep."""

    frames: range
    """0-based, in presentation order. Frames before them serve as key frames all the same."""
    cuts: bool = True
    """Whether no frame reads across a cut."""
    probabilities: bool = False
    """Whether the probabilities of all classes are kept too, at the size the network has them."""
    features: bool = False
    """Whether the projected features are kept too: the keys that later frames compare with."""


@dataclass(frozen=True, slots=True)
class PassStep:
    """One more frame is on the disk."""

    frame: int
    done: int
    """Frames of the range that are there."""
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """What a pass found and did."""

    folder: Path
    manifest: Manifest
    computed: int
    """Frames predicted by this pass; the others of the range were there."""
    seconds: float
    notes: tuple[str, ...]


class _Shapes(NamedTuple):
    probabilities: Shape | None
    features: Shape | None


class _Before(NamedTuple):
    """The frame before, which flicker compares with."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Pass:
    network: Network
    media: MediaSource
    options: PassOptions
    manifest: Manifest
    writer: PredictionWriter
    acknowledged: deque[int] = field(default_factory=deque)
    """Frames on the disk that were not told yet."""


def predict_media(
    network: Network, media: MediaSource, folders: PredictionFolders, options: PassOptions
) -> Generator[PassStep, None, PassReport]:
    """Predict what is not stored yet of a range of frames.

    A frame that was yielded is on the disk, whatever happens next. Closing the generator, or
    killing the process, keeps all those; the next pass goes on from there and comes to the same
    result: with the precision of frame 0 and, on a CPU, with as many threads as the first.
    Afterwards what is over the budget of predictions is evicted.

    Raises:
        MediaError: a frame cannot be read.
        ProjectError, OutputError: another pass writes these predictions, or the disk is full.
        CheckpointError: features were asked for of a model that has none.
        DeviceError: memory became too short for the precision that the predictions have.
    """
    begun = perf_counter()
    manifest = _plan(network, media, options)
    with folders.writer(manifest) as writer, _as_begun(writer.manifest, manifest) as told:
        work = _Pass(network, media, options, manifest, writer)
        runs = writer.missing(options.frames)
        missing = sum(map(len, runs))
        done = len(options.frames) - missing
        for run in runs:
            for frame in _predict_run(work, run):
                done += 1
                yield PassStep(frame, done, len(options.frames))
        notes = [f"{problem}; it was predicted again." for problem in writer.problems]
        notes += told if missing else ()
    notes += folders.keep_budget([writer.folder])
    return PassReport(
        folder=writer.folder,
        manifest=manifest,
        computed=missing,
        seconds=perf_counter() - begun,
        notes=tuple(notes),
    )


def label_settings(
    network: Network, media: MediaSource, *, cuts: bool = True
) -> dict[str, JsonValue]:
    """What besides the weights decides which labels a pass predicts now, for the key of them."""
    height, width = network.header.preprocess.network_size(media.height, media.width)
    return {
        "key_frames": network.key_frames,
        "precision": precision_name(network.dtype),
        "cuts": cuts,
        "size": [width, height],
    }


def _plan(network: Network, media: MediaSource, options: PassOptions) -> Manifest:
    """What the pass writes. The precision is settled here.

    By frame 0, wherever the pass begins: it must not depend on what was predicted before.
    """
    first = media[0].image
    network.settle(first)
    settings = label_settings(network, media, cuts=options.cuts)
    # only where true, so that predictions without them keep their key
    settings |= {name: True for name in ("probabilities", "features") if getattr(options, name)}
    shapes = _shapes(network, first, options)
    return Manifest(
        media_hash=media_hash(media.path),
        model_hash=network.sha256,
        settings=settings,
        frames=len(media),
        height=media.height,
        width=media.width,
        classes=network.header.classes,
        probabilities=shapes.probabilities,
        features=shapes.features,
        computed=_computed(network),
    )


def _computed(network: Network) -> dict[str, JsonValue]:
    """What the last digits depend on: sums in other parts are rounded otherwise."""
    device = network.device.type
    return {"device": device} | ({"threads": torch.get_num_threads()} if device == "cpu" else {})


@contextmanager
def _as_begun(begun: Manifest, now: Manifest) -> Iterator[tuple[str, ...]]:
    """Go on as the first pass began; yields sentences on it."""
    then, device = begun.computed or now.computed, now.computed["device"]
    threads, usual = then.get("threads"), torch.get_num_threads()
    if then["device"] != device:
        yield (
            f"the frames before were predicted on {then['device']}, these on {device}: they differ "
            "by rounding",
        )
        return
    if not isinstance(threads, int) or threads == usual:
        yield ()
        return
    if threads > (os.cpu_count() or 1):
        yield (
            f"the frames before were predicted with {threads} threads, these with {usual}: they "
            "differ by rounding",
        )
        return
    torch.set_num_threads(threads)
    try:
        yield (f"it went on with {threads} threads, as it had begun, to come to the same result",)
    finally:
        torch.set_num_threads(usual)


def _shapes(network: Network, image: NDArray[np.uint8], options: PassOptions) -> _Shapes:
    if not (options.probabilities or options.features):
        return _Shapes(None, None)
    encoded = network.encode(image)
    if options.features and encoded.key is None:
        raise CheckpointError(
            "this model projects no features: leave --features out, or choose an STT model"
        )
    logits = network.decode(encoded, []).logits
    return _Shapes(
        _shape(logits) if options.probabilities else None,
        _shape(encoded.key) if options.features and encoded.key is not None else None,
    )


def _shape(tensor: Tensor) -> Shape:
    _, channels, rows, cols = tensor.shape
    return channels, rows, cols


def _predict_run(work: _Pass, run: range) -> Generator[int, None, None]:
    """Predict frames in a row; yield each that is on the disk."""
    network, first = work.network, max(0, run.start - 1)  # flicker compares with the one before
    begin = max(0, first - network.key_frames * network.key_spacing)
    stream = Stream(network, start=begin, cuts=work.options.cuts)
    frames = read_ahead(_read(work.media, range(begin, run.stop)), _READ_AHEAD)
    before: _Before | None = None
    try:
        with WriteBehind() as writes:
            for frame in frames:
                if frame.index < first:
                    stream.remember(frame.image)
                    continue
                found = stream.push(frame.image, entropy=True)
                _check_precision(work)
                if frame.index in run:
                    arrays = _arrays(work.options, found)
                    writes.submit(partial(_store, work, frame, found.segmentation, arrays, before))
                before = _Before(frame.image, found.segmentation.labels)
                yield from _told(work.acknowledged)
        yield from _told(work.acknowledged)
    finally:
        frames.close()


def _read(media: MediaSource, frames: range) -> Iterator[Frame]:
    for index in frames:
        yield media[index]


def _check_precision(work: _Pass) -> None:
    now, planned = precision_name(work.network.dtype), work.manifest.settings["precision"]
    if now != planned:
        raise DeviceError(
            f"memory became too short for {planned}: the frames so far are kept. Go on with "
            f"--precision {now}, which begins predictions of its own."
        )


def _arrays(options: PassOptions, found: Streamed) -> dict[str, NDArray[np.float16]]:
    arrays = {}
    if options.probabilities:
        arrays["probabilities"] = _half(found.decoded.logits[0].float().softmax(0))
    if options.features and found.encoded.key is not None:
        arrays["features"] = _half(found.encoded.key[0])
    return arrays


def _half(tensor: Tensor) -> NDArray[np.float16]:
    half: NDArray[np.float16] = tensor.float().cpu().numpy().astype(np.float16)
    return half


def _store(
    work: _Pass,
    frame: Frame,
    found: Segmentation,
    arrays: dict[str, NDArray[np.float16]],
    before: _Before | None,
) -> None:
    assert found.entropy is not None
    work.writer.add(
        frame.index,
        found.labels,
        found.confidence,
        entropy=found.entropy,
        flicker=_flicker(frame, found.labels, before),
        probabilities=arrays.get("probabilities"),
        features=arrays.get("features"),
    )
    work.acknowledged.append(frame.index)


def _flicker(frame: Frame, labels: NDArray[np.uint8], before: _Before | None) -> float | None:
    """None of the first frame, and across a cut: nothing there moved."""
    if before is None or is_cut(thumbnail(before.image), thumbnail(frame.image)):
        return None
    return flicker_between(before.image, before.labels, frame.image, labels)


def _told(acknowledged: deque[int]) -> Iterator[int]:
    while acknowledged:
        yield acknowledged.popleft()
