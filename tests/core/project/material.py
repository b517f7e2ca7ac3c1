"""Small media and projects for the tests of projects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.labels import LabelClass
from stt_core.media.writer import VideoWriter
from stt_core.project.label_folder import write_labels
from stt_core.project.store import Project

CLASSES = (
    LabelClass("floor", (10, 20, 30)),
    LabelClass("box", (255, 0, 0)),
    LabelClass("wall", (0, 255, 0)),
)
HEIGHT, WIDTH, FRAMES = 24, 32, 6


def write_video(path: Path, *, seed: int = 0, frames: int = FRAMES) -> Path:
    rng = np.random.default_rng(seed)
    with VideoWriter(path, (WIDTH, HEIGHT), 10) as writer:
        for _ in range(frames):
            writer.write(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    return path


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_images(folder: Path, count: int = 4) -> Path:
    for i in range(count):
        write_image(folder / f"{i}.png", i)
    return folder


def new_project(folder: Path, *media: Path) -> tuple[Project, str]:
    """A project with one or more media, open, and the id of the first."""
    project = Project.create(folder, CLASSES, media)
    return project, project.media[0].id


def write_layout_1(folder: Path, media: Path, frames: tuple[int, ...] = (0, 2, 5)) -> Path:
    """A project as the first version of the layout had it."""
    for frame in frames:
        write_labels(folder / "labels", frame, whole(frame), CLASSES)
    classes = [{"name": c.name, "color": c.color} for c in CLASSES]
    text = {"version": 1, "media": str(media), "classes": classes}
    (folder / "project.json").write_text(json.dumps(text))
    return folder


def block(value: int, height: int = 5, width: int = 7) -> NDArray[np.uint8]:
    return np.full((height, width), value, np.uint8)


def whole(seed: int, classes: int = len(CLASSES)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)


def label_file(project: Project, media_id: str, key: int) -> Path:
    return project.folder / "labels" / media_id / f"{key:06d}.png"


def all_labels(project: Project) -> dict[tuple[str, int], bytes]:
    """Everything labelled, to compare."""
    return {
        (entry.id, frame): project.labels(entry.id, frame).tobytes()  # type: ignore[union-attr]
        for entry in project.media
        for frame in project.labelled(entry.id)
    }
