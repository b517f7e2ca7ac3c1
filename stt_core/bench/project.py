"""A project on disk: durable strokes, stored predictions, and opening either when it is large."""

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
from stt_core.project.facts import insert_medium, revise
from stt_core.project.history import Provenance
from stt_core.project.journal import Journal
from stt_core.project.labelling import LabelEdit
from stt_core.project.manifest import MediaEntry
from stt_core.project.predictions import segment
from stt_core.project.predictions.folding import SEGMENT_FRAMES
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.predictions.writer import PredictionWriter
from stt_core.project.store import Project
from stt_core.resources import SAMPLE_CLASSES, resource_path
from stt_core.scenes.scene import Scene

GROUP = "project"
_SCENE_SEED = 3
_STRIDE = 8
_STROKES, _BRUSH = 60, 120
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
    labelled: int = 20_000,
    place: Path | None = None,
) -> list[Row]:
    """Measure on the disk of `place`.

    Args:
        note: told what is being measured.
        size: width and height of the frames, pixels.
        frames: to write; a multiple of a segment's counts the folding in full.
        reads: of frames in no order.
        many: frames of the store, and of the project, whose opening is timed.
        labelled: of the project's frames.
        place: a folder to work in; by default the current one, since that for temporary files may
            lie in memory.
    """
    with TemporaryDirectory(dir=place or Path.cwd(), prefix=".stt-bench-") as name:
        note(f"Writing {frames} predictions of {size[0]}x{size[1]} ...")
        rows = _write_and_read(Path(name) / "large", size, frames, reads)
        note(f"Opening {many} predictions ...")
        rows.append(_opening(Path(name) / "many", many))
        note(f"Saving strokes on {size[0]}x{size[1]} ...")
        rows += _strokes(Path(name) / "strokes", size)
        for count in (many // 100, many):
            note(f"Opening a project of {count} frames ...")
            rows.append(_opening_project(Path(name) / f"p{count}", count, labelled * count // many))
        return rows


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


def _strokes(folder: Path, size: tuple[int, int]) -> list[Row]:
    """Strokes of a brush of 120 pixels, each durable before the next."""
    rng = np.random.default_rng(0)
    brush = min(_BRUSH, *size)
    with _project(folder, size, 100) as project:
        (medium,) = project.media
        each_ms = []
        for stroke in range(_STROKES):
            corner = rng.integers(0, np.array(size[::-1]) - brush + 1).tolist()
            after = np.full((brush, brush), stroke % 11, np.uint8)
            before = perf_counter()
            project.apply(medium.id, stroke % 10, (corner[0], corner[1]), after)
            each_ms.append(1000 * (perf_counter() - before))
    shape = f"{size[0]}x{size[1]}"
    median, late = np.percentile(each_ms, (50, 95)).tolist()
    return [
        row(GROUP, f"save a stroke durably {shape}, median", median, "ms", target=10),
        row(GROUP, f"save a stroke durably {shape}, p95", late, "ms"),
    ]


def _opening_project(folder: Path, frames: int, labelled: int) -> Row:
    box = np.zeros((4, 4), np.uint8)
    with _project(folder, (128, 64), frames) as project:
        (medium,) = project.media
        where = np.linspace(0, frames - 1, labelled).astype(int).tolist()
        edits = [LabelEdit(medium.id, frame, (0, 0), box) for frame in where]
        project.apply_many(edits, Provenance("bench"))

    def open_it() -> None:
        with Project.open(folder) as project:
            assert len(project.media) == 1

    (open_ms,) = median_ms([open_it], repeats=5)
    name = f"open and close a project of {frames} frames, {labelled} labelled"
    return row(GROUP, name, open_ms, "ms", target=1000)


def _project(folder: Path, size: tuple[int, int], frames: int) -> Project:
    """A project of a video that nobody will ask for a picture."""
    project = Project.create(folder, read_classes(resource_path(SAMPLE_CLASSES)))
    project.close()
    entry = MediaEntry(
        id=f"{0:012x}", kind="video", relative=None, absolute="bench.mp4", bytes=1, hash="bench",
        frames=frames, width=size[0], height=size[1],
    )  # fmt: skip
    journal = Journal(folder / "journal.sqlite")
    with journal.transaction():
        insert_medium(journal, entry, np.arange(frames) / 30)
        revise(journal)
    journal.close()
    return Project.open(folder)


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
