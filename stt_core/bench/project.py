"""The store of predictions: writing, reading and opening it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.bench.rows import Note, Row, row
from stt_core.bench.timing import median_ms
from stt_core.labels import read_classes
from stt_core.project.predictions import segment
from stt_core.project.predictions.folding import SEGMENT_FRAMES
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.writer import PredictionWriter
from stt_core.resources import SAMPLE_CLASSES, resource_path
from stt_core.scenes.scene import Scene

GROUP = "project"
_SCENE_SEED = 3
_STRIDE = 8
_PIXELS_TO_LOGIT, _LOGIT_NOISE = 1 / 4, 0.7
"""With these the confidences compress as those of the bundled model do."""

_Maps = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Labels and confidence of frames."""


def measure(
    note: Note,
    *,
    size: tuple[int, int] = (2048, 1024),
    frames: int = 2 * SEGMENT_FRAMES,
    reads: int = 200,
    many: int = 500_000,
    place: Path | None = None,
) -> list[Row]:
    """Measure on the disk of `place`.

    Args:
        note: told what is being measured.
        size: width and height of the frames, pixels.
        frames: to write; a multiple of a segment's counts the folding in full.
        reads: of frames in no order.
        many: frames of the store whose opening is timed.
        place: a folder to work in; by default the current one, since that for temporary files may
            lie in memory.
    """
    with TemporaryDirectory(dir=place or Path.cwd(), prefix=".stt-bench-") as name:
        note(f"Writing {frames} predictions of {size[0]}x{size[1]} ...")
        rows = _write_and_read(Path(name) / "large", size, frames, reads)
        note(f"Opening {many} predictions ...")
        return [*rows, _opening(Path(name) / "many", many)]


def _write_and_read(folder: Path, size: tuple[int, int], frames: int, reads: int) -> list[Row]:
    maps = _maps(size, 6)
    each_ms = []
    with PredictionWriter(folder, _manifest(size, frames)) as writer:
        begun = perf_counter()
        for frame in range(frames):
            labels, confidence = maps[frame % len(maps)]
            before = perf_counter()
            writer.add(frame, labels, confidence, entropy=0.5, flicker=0.01)
            each_ms.append(1000 * (perf_counter() - before))
    rate = frames / (perf_counter() - begun)
    nbytes = sum(path.stat().st_size for path in folder.iterdir())
    reader = PredictionReader(folder)
    order = iter(np.random.default_rng(0).integers(0, frames, reads + 1).tolist())
    (read_ms,) = median_ms([partial(_read, reader, order)], repeats=reads)
    shape = f"{size[0]}x{size[1]}"
    return [
        row(GROUP, f"write predictions {shape}", rate, "fps", target=60, least=True),
        row(GROUP, f"write one prediction {shape}, median", float(np.median(each_ms)), "ms"),
        row(GROUP, f"write one prediction {shape}, worst (folds)", max(each_ms), "ms"),
        row(GROUP, f"read one prediction {shape}, any frame", read_ms, "ms", target=8),
        row(GROUP, f"size of one prediction {shape}", nbytes / frames / 1000, "kB"),
    ]


def _read(reader: PredictionReader, order: Iterator[int]) -> None:
    frame = next(order)
    reader.labels(frame)
    reader.confidence(frame)


def _opening(folder: Path, frames: int) -> Row:
    """Opening as many frames as a day of video has, in segments without their pixels."""
    with PredictionWriter(folder, _manifest((16, 16), frames)) as writer:
        blank = np.zeros((16, 16), np.uint8)
        for frame in range(SEGMENT_FRAMES):
            writer.add(frame, blank, blank, entropy=0.5)
    (first,) = folder.glob(f"*{segment.SUFFIX}")
    rows = segment.read_segment(first).rows.copy()
    size = first.stat().st_size
    for serial in range(2, -(-frames // SEGMENT_FRAMES) + 1):
        rows["frame"] += SEGMENT_FRAMES
        rows = rows[rows["frame"] < frames]
        path = folder / f"{serial:08d}_copy{segment.SUFFIX}"
        path.write_bytes(segment.head_of(rows))
        # as long as the frames reach: a hole in the file
        with path.open("rb+") as file:
            file.truncate(2 * size)
    (open_ms,) = median_ms([partial(PredictionReader, folder)], repeats=5)
    assert len(PredictionReader(folder)) == frames
    return row(GROUP, f"open {frames} predictions", open_ms, "ms", target=1000)


def _manifest(size: tuple[int, int], frames: int) -> Manifest:
    return Manifest(
        media_hash="bench",
        model_hash="bench",
        settings={},
        frames=frames,
        height=size[1],
        width=size[0],
        classes=read_classes(resource_path(SAMPLE_CLASSES)),
    )


def _maps(size: tuple[int, int], count: int) -> _Maps:
    """Frames of a street as a network would see them."""
    scene = Scene(_SCENE_SEED, size)
    labels = [scene.labels(index) for index in range(count)]
    return [(each, _confidence(each, index)) for index, each in enumerate(labels)]


def _confidence(labels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Low along boundaries, and as smooth as logits that were enlarged from the stride."""
    height, width = labels.shape
    inside = np.ones(labels.shape, np.uint8)
    inside[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    inside[1:] &= labels[1:] == labels[:-1]
    far = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    small = cv2.resize(far, (width // _STRIDE, height // _STRIDE), interpolation=cv2.INTER_AREA)
    logits = small * _PIXELS_TO_LOGIT
    logits += np.random.default_rng(seed).normal(0, _LOGIT_NOISE, small.shape)
    logits = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR).clip(0)
    return np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8)
