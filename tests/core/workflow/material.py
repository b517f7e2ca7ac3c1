"""Small projects, models and predictions for the tests of what is done with a project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.checkpoint import load_checkpoint, save_checkpoint
from stt_core.labels import UNLABELLED, LabelClass
from stt_core.network import Network
from stt_core.project.manifest import MediaEntry
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.store import Project
from tests.core.models import checkpoint, images, stt_config, write_clip

HEIGHT, WIDTH, FRAMES = 32, 48, 12
CLASSES = (
    LabelClass("road", (128, 64, 128)),
    LabelClass("sky", (70, 130, 180)),
    LabelClass("tree", (107, 142, 35)),
)
MODEL = "a" * 64


def write_video(path: Path, *, seed: int = 0, frames: int = FRAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, images(frames, (HEIGHT, WIDTH), seed))


def write_images(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(images(1, (HEIGHT, WIDTH), i)[0]).save(folder / name)
    return folder


def write_model(path: Path) -> Path:
    save_checkpoint(path, checkpoint(stt_config(key_frames=2)))
    return path


def network(model: Path) -> Network:
    """Without kernels that are compiled first."""
    loaded = load_checkpoint(model)
    return Network(loaded, device="cpu", precision="fp32", backend="reference")


def whole(frame: int, *, version: int = 0) -> NDArray[np.uint8]:
    """Class ids in blocks."""
    random = np.random.default_rng([frame, version])
    blocks = random.integers(0, len(CLASSES), (HEIGHT // 8, WIDTH // 8)).astype(np.uint8)
    return np.kron(blocks, np.ones((8, 8), np.uint8))


def sure(frame: int) -> NDArray[np.uint8]:
    return np.random.default_rng([frame, 99]).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)


def nothing() -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH), UNLABELLED, np.uint8)


def predict(
    project: Project,
    entry: MediaEntry,
    frames: range = range(FRAMES),
    *,
    model: str = MODEL,
    classes: tuple[LabelClass, ...] = CLASSES,
    key_frames: int = 2,
    surest: bool = False,
) -> Path:
    """Store predictions whose content follows from the frame's number."""
    manifest = Manifest(
        media_hash=entry.hash,
        model_hash=model,
        settings={"key_frames": key_frames, "precision": "fp32", "cuts": True},
        frames=entry.frames,
        height=HEIGHT,
        width=WIDTH,
        classes=classes,
    )
    with project.predictions.writer(manifest) as writer:
        for frame in frames:
            confidence = np.full((HEIGHT, WIDTH), 255, np.uint8) if surest else sure(frame)
            writer.add(frame, whole(frame), confidence, entropy=0.5, flicker=0.1)
    return writer.folder


def finish(steps: object) -> object:
    """Take all steps of a generator and return its result."""
    while True:
        try:
            next(steps)  # type: ignore[call-overload]
        except StopIteration as end:
            return end.value
