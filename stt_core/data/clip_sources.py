"""Clips out of a data set: each labelled frame with the frames before it, real or made up."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stt_core.data.clips import Clip, ClipSource
from stt_core.data.sequences import DataSet, FrameSequence
from stt_core.data.synthesis import past_of_still
from stt_core.errors import DataError
from stt_core.labels import UNLABELLED

Past = Literal["auto", "real", "motion", "still"]
"""Where past frames come from.

auto    real ones in a video, motion for a frame that has none
real    the frames before in the sequence, whatever lies between them; fewer at its start
motion  made of the target by a moving camera (:mod:`stt_core.data.synthesis`)
still   the target again
"""


def clips_of(
    data: DataSet,
    *,
    key_frames: int,
    key_spacing: int = 1,
    past: Past = "auto",
    unlabelled: bool = False,
    jitter_gap: bool = False,
    flow: bool = True,
) -> ClipSource:
    """The clips of a data set.

    Args:
        data: its labelled frames are the targets.
        key_frames: past frames of each clip; where there are fewer, the clip has fewer.
        key_spacing: frames from one of them to the next.
        past: where they come from.
        unlabelled: take as targets instead the frames without labels of videos, those that have
            ``key_frames * key_spacing`` frames before them. All their labels are UNLABELLED.
        jitter_gap: draw each distance anew, once or twice `key_spacing`, as TDNet's recipe does.
        flow: whether clips carry the flow to their first past frame, where it is known exactly.

    Raises:
        DataError: there is no such target.
        ValueError: `key_frames` below 0, `key_spacing` below 1, or no such `past`.
    """
    if key_frames < 0 or key_spacing < 1 or past not in ("auto", "real", "motion", "still"):
        raise ValueError(
            f"need key_frames >= 0, key_spacing >= 1 and past auto, real, motion or still, "
            f"got {key_frames=} {key_spacing=} {past=}"
        )
    needed = key_frames * key_spacing
    targets = _unlabelled(data, needed) if unlabelled else _labelled(data)
    if not targets:
        if unlabelled:
            what = f"no video frame without labels that has {needed} frames before it"
        else:
            what = "no labelled frame"
        raise DataError(f"'{data.spec}' has nothing to learn from: there is {what}")
    return _Clips(data, targets, key_frames, key_spacing, past, jitter_gap=jitter_gap, flow=flow)


class _Clips:
    def __init__(
        self,
        data: DataSet,
        targets: tuple[tuple[int, int], ...],
        key_frames: int,
        key_spacing: int,
        past: Past,
        *,
        jitter_gap: bool,
        flow: bool,
    ) -> None:
        self.classes, self.licence, self.digest = data.classes, data.licence, data.digest
        self._sequences, self._targets = data.sequences, targets
        self._key_frames, self._key_spacing, self._past = key_frames, key_spacing, past
        self._jitter_gap, self._flow = jitter_gap, flow

    def __len__(self) -> int:
        return len(self._targets)

    def draw(self, index: int, rng: np.random.Generator) -> Clip:
        which, frame = self._targets[index]
        sequence = self._sequences[which]
        image, labels = sequence.image(frame), sequence.labels(frame)
        if labels is None:
            labels = np.full(image.shape[:2], UNLABELLED, np.uint8)
        past, flow = self._before(sequence, frame, image, self._lags(rng), rng)
        name = f"{sequence.name}, frame {sequence.frame_name(frame)}"
        return Clip(image, labels, past, flow if self._flow else None, name)

    def _lags(self, rng: np.random.Generator) -> tuple[int, ...]:
        """How many frames before the target each past frame is, newest first."""
        gaps = np.full(self._key_frames, self._key_spacing)
        if self._jitter_gap:
            gaps *= rng.integers(1, 3, self._key_frames)
        return tuple(gaps.cumsum().tolist())

    def _before(
        self,
        sequence: FrameSequence,
        frame: int,
        image: NDArray[np.uint8],
        lags: tuple[int, ...],
        rng: np.random.Generator,
    ) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.float32] | None]:
        if not lags:
            return (), None
        if self._past == "still":
            return (image,) * len(lags), np.zeros((*image.shape[:2], 2), np.float32)
        there = tuple(lag for lag in lags if lag <= frame)
        if self._past == "real" or (self._past == "auto" and sequence.video and there):
            return self._real(sequence, frame, image, there)
        made = past_of_still(image, lags, rng)
        return made.images, made.flow

    def _real(
        self,
        sequence: FrameSequence,
        frame: int,
        image: NDArray[np.uint8],
        lags: tuple[int, ...],
    ) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.float32] | None]:
        images: list[NDArray[np.uint8]] = []
        for lag in lags:
            before = sequence.image(frame - lag)
            if before.shape != image.shape:  # of images that are no video: another picture
                break
            images.append(before)
        known = self._flow and images and lags[0] == 1
        return tuple(images), sequence.flow(frame) if known else None


def _labelled(data: DataSet) -> tuple[tuple[int, int], ...]:
    return tuple((s, frame) for s, own in enumerate(data.sequences) for frame in own.labelled)


def _unlabelled(data: DataSet, needed: int) -> tuple[tuple[int, int], ...]:
    targets = []
    for s, sequence in enumerate(data.sequences):
        if sequence.video:
            known = set(sequence.labelled)
            targets += [(s, i) for i in range(needed, len(sequence)) if i not in known]
    return tuple(targets)
