"""Small stores of predictions, with content that follows from the frame's number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.writer import PredictionWriter

CLASSES = (LabelClass("floor", (10, 20, 30)), LabelClass("Bäume", (255, 0, 0)))
MANIFEST = Manifest(
    media_hash="m" * 64,
    model_hash="n" * 64,
    settings={"key_frames": 4, "precision": "fp32"},
    frames=300,
    height=24,
    width=32,
    classes=CLASSES,
)
FULL = replace(MANIFEST, probabilities=(2, 3, 4), features=(5, 3, 4))


class Content(NamedTuple):
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    probabilities: NDArray[np.float16]
    features: NDArray[np.float16]
    entropy: float
    flicker: float | None


def content(frame: int, manifest: Manifest = MANIFEST, *, version: int = 0) -> Content:
    """What is stored of a frame; other versions differ."""
    random = np.random.default_rng([frame, version])
    size = (manifest.height, manifest.width)
    return Content(
        random.integers(0, 2, size).astype(np.uint8),
        random.integers(0, 256, size).astype(np.uint8),
        random.random((2, 3, 4)).astype(np.float16),
        random.normal(size=(5, 3, 4)).astype(np.float16),
        float(np.float32(random.random())),
        None if frame == 0 else float(np.float32(random.random())),
    )


def add(writer: PredictionWriter, frame: int, *, version: int = 0) -> None:
    manifest = writer.manifest
    each = content(frame, manifest, version=version)
    writer.add(
        frame,
        each.labels,
        each.confidence,
        entropy=each.entropy,
        flicker=each.flicker,
        probabilities=each.probabilities if manifest.probabilities else None,
        features=each.features if manifest.features else None,
    )


class Stop(Exception):
    """Ends a pass early, so that its spool is not folded."""


def fill(folder: Path, frames: range, manifest: Manifest = MANIFEST, *, fold: bool = True) -> None:
    try:
        with PredictionWriter(folder, manifest) as writer:
            for frame in frames:
                add(writer, frame)
            if not fold:
                raise Stop
    except Stop:
        pass


def check(reader: PredictionReader, frame: int, *, version: int = 0) -> None:
    """The frame reads as it was written."""
    expected = content(frame, reader.manifest, version=version)
    np.testing.assert_array_equal(reader.labels(frame), expected.labels)
    np.testing.assert_array_equal(reader.confidence(frame), expected.confidence)
    assert reader.entropy[frame] == np.float32(expected.entropy)
    if expected.flicker is None:
        assert np.isnan(reader.flicker[frame])
    else:
        assert reader.flicker[frame] == np.float32(expected.flicker)
    for name in ("probabilities", "features"):
        if getattr(reader.manifest, name):
            found = getattr(reader, name)(frame)
            assert found.dtype == np.float16
            np.testing.assert_array_equal(found, getattr(expected, name))
