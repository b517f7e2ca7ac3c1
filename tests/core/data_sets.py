"""Small data sets in the layouts of the large ones, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (24, 32)
"""Height and width of whatever is written here."""


def picture(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Noise that tells one image from another."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def ids(seed: int, classes: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Stripes of all classes, turned by the seed."""
    return np.roll(np.arange(size[0] * size[1]) // 7 % classes, seed).reshape(size).astype(np.uint8)


def write_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_segnet(folder: Path, names: Iterable[str], split: str = "train") -> Path:
    """CamVid in SegNet's form, without lists."""
    for seed, name in enumerate(names):
        write_image(folder / "images" / split / f"{name}.png", picture(seed))
        write_image(folder / "labels" / split / f"{name}.png", ids(seed, 12))
    return folder


def write_folder(folder: Path, frames: Iterable[str], classes: int = 3) -> Path:
    """images/, labels/ and classes.json; frames are named like a.png or town/a.png."""
    rows = [{"name": f"class {i}", "color": [i, 2 * i, 3 * i]} for i in range(classes)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps({"classes": rows}))
    for seed, name in enumerate(frames):
        write_image(folder / "images" / name, picture(seed))
        write_image((folder / "labels" / name).with_suffix(".png"), ids(seed, classes))
    return folder


def recoloured(
    labels: NDArray[np.uint8], colors: Mapping[int, tuple[int, int, int]]
) -> NDArray[np.uint8]:
    """Ids as colours."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    for value, color in colors.items():
        image[labels == value] = color
    return image
