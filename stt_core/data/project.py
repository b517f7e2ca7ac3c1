"""A video with some labelled frames, as data: what a person painted, wherever it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.data.problems import refuse
from stt_core.data.sequences import DataSet
from stt_core.errors import Problem
from stt_core.labels import VOID, LabelClass
from stt_core.media.source import MediaSource, media_hash, open_media


class LabelledVideo(Protocol):
    """A video and its labels. Can be pickled."""

    @property
    def media(self) -> Path:
        """A video file, a folder of images or one image."""
        ...

    @property
    def classes(self) -> tuple[LabelClass, ...]: ...

    @property
    def painted(self) -> Sequence[int]:
        """Frames to learn from, rising: each has at least one pixel with a class."""
        ...

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids, 254 and 255 to be ignored; None where nothing was painted."""
        ...


class VideoSequence:
    """A :class:`stt_core.data.sequences.FrameSequence` of a video.

    The video is opened again in each process, when the first image is asked for.

    Raises:
        MediaError: the video cannot be read.
    """

    video = True

    def __init__(self, store: LabelledVideo) -> None:
        self._store = store
        self._media: MediaSource | None = None
        self.name = store.media.name
        media = self._opened()
        self._length, self.size = len(media), (media.height, media.width)

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_media": None}  # what reads videos cannot be pickled

    @property
    def labelled(self) -> Sequence[int]:
        return tuple(self._store.painted)

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._opened()[index].image

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        return self._store.labels(index)

    def flow(self, index: int) -> NDArray[np.float32] | None:
        """Nobody knows it."""
        return None

    def frame_name(self, index: int) -> str:
        return f"{index:06d}"

    def _opened(self) -> MediaSource:
        if self._media is None:
            self._media = open_media(self._store.media)
        return self._media


def data_set_of(store: LabelledVideo, *, spec: str = "") -> DataSet:
    """What was painted on one video, to learn from; perhaps nothing, so that it is unlabelled.

    Args:
        store: the video and its labels.
        spec: what messages call it; the video's path by default.

    Raises:
        DataError: labels of frames that the video does not have, or of another size.
        MediaError: the video cannot be read.
    """
    name = spec or str(store.media)
    sequence = VideoSequence(store)
    problems = []
    digest = hashlib.sha256(f"video\n{media_hash(store.media)}\n".encode())
    for frame in sequence.labelled:
        labels = store.labels(frame)
        what = misfit(sequence, frame, labels)
        if what is not None:
            what = f"does not fit the labels of frame {frame}: the map {what}"
            problems.append(Problem(store.media, what))
        elif labels is not None:
            digest.update(f"{frame}\0".encode() + np.ascontiguousarray(labels).tobytes())
    refuse(name, problems)
    return DataSet(name, store.classes, "", digest.hexdigest(), (sequence,))


def misfit(sequence: VideoSequence, frame: int, labels: NDArray[np.uint8] | None) -> str | None:
    """Why a map cannot be the labels of a frame; None where it can."""
    if not 0 <= frame < len(sequence):
        return f"labels frame {frame}, but the video has {len(sequence)} frames"
    if labels is None or not (labels < VOID).any():
        return "has no pixel with a class"
    if labels.shape != sequence.size:
        own, video = (f"{shape[1]} x {shape[0]}" for shape in (labels.shape, sequence.size))
        return f"is {own} pixels, but the video is {video}"
    return None
