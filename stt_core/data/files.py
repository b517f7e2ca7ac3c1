"""Sequences of image files with label files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.label_codes import LabelCode, read_labels
from stt_core.data.spec import Spec
from stt_core.errors import Problem
from stt_core.media.folder import IMAGE_SUFFIXES, ImageFolder, image_files


@dataclass(frozen=True, slots=True)
class FrameFiles:
    """The files of one frame."""

    name: str
    image: Path
    labels: Path | None = None


class FileSequence:
    """A :class:`stt_core.data.sequences.FrameSequence` of files, each read when it is asked for.

    Args:
        name: of the drive.
        video: whether neighbours are neighbours in a video.
        frames: in order of time.
        code: what the pixels of the label files mean.
    """

    def __init__(
        self, name: str, frames: Sequence[FrameFiles], code: LabelCode, *, video: bool
    ) -> None:
        self.name, self.video, self.code = name, video, code
        self.frames = tuple(frames)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def labelled(self) -> Sequence[int]:
        return tuple(i for i, files in enumerate(self.frames) if files.labels is not None)

    def image(self, index: int) -> NDArray[np.uint8]:
        """``[H, W, 3]`` RGB. Raises MediaError where the file is damaged."""
        return ImageFolder(self.frames[index].image)[0].image

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids. Raises DataError where the file holds something else."""
        path = self.frames[index].labels
        return None if path is None else read_labels(path, self.code)

    def flow(self, index: int) -> NDArray[np.float32] | None:
        """Nobody knows it."""
        return None

    def frame_name(self, index: int) -> str:
        return self.frames[index].name


def pair_by_name(
    images: Path, labels: Path, label_suffix: str = ""
) -> tuple[list[FrameFiles], list[Problem]]:
    """The images of a folder in natural order, each with the labels of its name if there are any.

    Args:
        images: a folder of images, whatever their suffix.
        labels: a folder of PNGs.
        label_suffix: follows the image's name in that of its labels.

    Returns:
        Frames, and what is wrong: labels without an image or of another format, two images of one
        name.

    Raises:
        MediaError: `images` is missing or holds no image.
    """
    problems = []
    frames: dict[str, FrameFiles] = {}
    maps = _label_files(labels)
    for image in image_files(images):
        if image.stem in frames:
            twin = frames[image.stem].image.name
            problems.append(Problem(image, f"has the same name as {twin}: take one of them out"))
            continue
        found = maps.pop(f"{image.stem}{label_suffix}", None)
        frames[image.stem] = FrameFiles(image.stem, image, found)
    problems += [Problem(path, f"has no image of its name in {images}") for path in maps.values()]
    for files in frames.values():
        if files.labels is not None and files.labels.suffix.lower() != ".png":
            what = "is no PNG: other formats change ids or cannot hold them. Convert it."
            problems.append(Problem(files.labels, what))
    return list(frames.values()), problems


def without_labels(frames: Iterable[FrameFiles], where: Path) -> list[Problem]:
    """The images that should have labels, and have none."""
    return [Problem(f.image, f"has no labels in {where}") for f in frames if f.labels is None]


def digest_of(spec: Spec, sequences: Iterable[FileSequence], others: Iterable[Path] = ()) -> str:
    """SHA-256 in hex of what a data set is: how it is read, and its files' names and sizes.

    The same wherever it lies. Of the options only `ignore` counts: what the others choose is told
    by the files.

    Args:
        spec: as it was asked for.
        sequences: whose files count.
        others: tables that count as well.
    """
    digest = hashlib.sha256(f"{spec.kind}\n{sorted(spec.ignored())}\n".encode())
    for sequence in sequences:
        digest.update(b"video\n" if sequence.video else b"images\n")
        for files in sequence.frames:
            for path in (files.image, files.labels):
                digest.update(b"-\n" if path is None else _identity(path, spec.path))
    for path in others:
        digest.update(_identity(path, spec.path))
    return digest.hexdigest()


def _identity(path: Path, folder: Path) -> bytes:
    inside = path.is_relative_to(folder)
    name = path.relative_to(folder).as_posix() if inside else path.name
    return f"{name}\0{path.stat().st_size}\n".encode()


def _label_files(folder: Path) -> dict[str, Path]:
    """Whatever could be a label map in a folder, by its name without suffix."""
    if not folder.is_dir():
        return {}
    entries = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    entries.sort(key=lambda path: path.suffix.lower() == ".png")  # a PNG wins over its like
    return {path.stem: path for path in entries if path.name[0] != "."}
