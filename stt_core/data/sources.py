"""The kinds of data a run can learn from, by the words that name them.

scenes:FIRST-LAST      generated scenes of those seeds, LAST included
camvid:FOLDER          the training part of CamVid in SegNet's form
video:FILE,labels=DIR  a video or image folder with label PNGs named by frame number
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.cache import ByteCache
from stt_core.data.clips import ClipSource, LabelledClip
from stt_core.errors import TrainingError
from stt_core.labels import UNLABELLED, VOID, LabelClass, read_classes, read_label_png
from stt_core.media.frame import past_frames
from stt_core.media.source import open_media
from stt_core.resources import SAMPLE_CLASSES, resource_path
from stt_core.scenes.scene import Scene

CAMVID_VOID = 11
CAMVID_LICENCE = "Research use only: trained on CamVid (CC BY-NC 4.0, personal and research use)."
SCENE_FRAMES = 6
"""Labelled frames taken from each generated scene."""
_SCENE_SECONDS = 8
_CACHE_BYTES = 3 << 30


def camvid_classes() -> tuple[LabelClass, ...]:
    """The 11 classes of generated scenes and of every CamVid-type model."""
    return read_classes(resource_path(SAMPLE_CLASSES))


def open_data(
    spec: str, *, key_frames: int, classes: tuple[LabelClass, ...] | None = None
) -> ClipSource:
    """Open the data that `spec` names.

    Args:
        spec: KIND:PATH, see the module's docstring.
        key_frames: how many past frames each clip should carry.
        classes: of painted labels; those of CamVid where None.

    Raises:
        TrainingError: no such kind, or nothing to learn from there.
        LabelError: a label map that is none.
        MediaError: a video that cannot be read.
    """
    kind, _, rest = spec.partition(":")
    if kind == "scenes" and rest:
        return SceneClips(_seeds(spec, rest), key_frames)
    if kind == "camvid" and rest:
        return CamVidClips(Path(rest), key_frames)
    if kind == "video" and ",labels=" in rest:
        media, _, labels = rest.rpartition(",labels=")
        return PaintedClips(Path(media), Path(labels), classes or camvid_classes(), key_frames)
    raise TrainingError(
        f"cannot read the data '{spec}': say scenes:FIRST-LAST, camvid:FOLDER or "
        f"video:FILE,labels=FOLDER"
    )


class SceneClips:
    """Frames of generated scenes, each with its real predecessors."""

    licence = ""

    def __init__(self, seeds: range, key_frames: int) -> None:
        self.classes = camvid_classes()
        self._seeds = seeds
        self._key_frames = key_frames
        self._cache: ByteCache[LabelledClip] = ByteCache(_CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._seeds) * SCENE_FRAMES

    def __getitem__(self, index: int) -> LabelledClip:
        clip = self._cache.get(index)
        if clip is None:
            clip = self._render(index)
            self._cache.put(index, clip, clip.nbytes)
        return clip

    def _render(self, index: int) -> LabelledClip:
        seed, which = self._seeds[index // SCENE_FRAMES], index % SCENE_FRAMES
        scene = Scene(seed)
        # spread over the drive, at a place that differs from seed to seed
        shift = int.from_bytes(hashlib.sha256(f"{seed}".encode()).digest()[:2]) % 10
        frame = 10 + shift + which * int(_SCENE_SECONDS * scene.fps / SCENE_FRAMES)
        target = scene.frame(frame, with_flow=False)
        past = tuple(
            scene.frame(i, with_flow=False).image for i in past_frames(frame, self._key_frames)
        )
        return LabelledClip(target.image, target.labels, past)


class CamVidClips:
    """CamVid's training images: a second apart, so that a still serves as its own past.

    Raises:
        TrainingError: the folder is not CamVid in SegNet's form, or a pair is incomplete.
    """

    licence = CAMVID_LICENCE

    def __init__(self, folder: Path, key_frames: int) -> None:
        self.classes = camvid_classes()
        self._key_frames = key_frames
        split = folder / "splits" / "train.txt"
        try:
            lines = split.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise TrainingError(
                f"{folder} is not CamVid in SegNet's form: {split} cannot be read"
            ) from error
        self._pairs = [tuple(folder / part for part in line.split()) for line in lines if line]
        missing = [p for pair in self._pairs for p in pair if not p.is_file()]
        if missing or not self._pairs:
            raise TrainingError(
                f"{split} names {len(missing)} files that are not there, first "
                f"{missing[0] if missing else 'none: it is empty'}"
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> LabelledClip:
        image_path, label_path = self._pairs[index]
        with Image.open(image_path) as picture:
            image = np.asarray(picture.convert("RGB"), np.uint8)
        labels = read_label_png(label_path, CAMVID_VOID + 1)
        labels = np.where(labels == CAMVID_VOID, np.uint8(UNLABELLED), labels)
        return LabelledClip(image, labels, (image,) * self._key_frames)


class PaintedClips:
    """What a person painted on a video, with the frames before."""

    licence = ""

    def __init__(
        self, media: Path, labels: Path, classes: tuple[LabelClass, ...], key_frames: int
    ) -> None:
        self.classes = classes
        self._key_frames = key_frames
        self._media = open_media(media)
        self._maps = {int(p.stem): p for p in labels.glob("*.png") if p.stem.isdecimal()}
        self._frames = [i for i in sorted(self._maps) if self._is_painted(i)]
        if not self._frames:
            raise TrainingError(
                f"nothing is painted in {labels}: paint at least one stroke on one frame"
            )
        beyond = [i for i in self._frames if i >= len(self._media)]
        if beyond:
            raise TrainingError(
                f"{self._maps[beyond[0]]} labels a frame that {media} does not have: it holds "
                f"{len(self._media)} frames"
            )

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> LabelledClip:
        frame = self._frames[index]
        image = self._media[frame].image
        labels = self._read(frame)
        if labels.shape != image.shape[:2]:
            raise TrainingError(
                f"{self._maps[frame]} is {labels.shape[1]}x{labels.shape[0]}, but the video is "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        past = tuple(self._media[i].image for i in past_frames(frame, self._key_frames))
        return LabelledClip(image, labels, past)

    def _is_painted(self, frame: int) -> bool:
        return bool((self._read(frame) < VOID).any())

    def _read(self, frame: int) -> NDArray[np.uint8]:
        return read_label_png(self._maps[frame], len(self.classes))


def _seeds(spec: str, rest: str) -> range:
    first, _, last = rest.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise TrainingError(f"'{spec}' names no seeds: say scenes:FIRST-LAST, as in scenes:100-299")
    return range(int(first), int(last) + 1)
