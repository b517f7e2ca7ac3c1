"""Propagation by the model's own prediction, near what is labelled.

The labels are followed by flow (:mod:`stt_core.propagation.track`), those of which the flow is not
sure left out. A connected segment of one predicted class counts as a whole where most of the
labels that arrived in it confirm its class, but for the pixels where one contradicts. So a frame
that was labelled as a whole gets its prediction wherever that goes on from what was labelled, and
a scribble gets the segments it lies in. Segments that no label reaches, new things among them, and
those that the labels contradict, since there the model is known to be wrong, stay without one.
Labels the model cannot predict (void, classes of others) stay as the flow brings them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine
from stt_core.labels import UNLABELLED, VOID
from stt_core.media.source import MediaSource
from stt_core.propagation.carrying import Carried, as_carried
from stt_core.propagation.track import Motion, Track, dis_motion, sure

LEAST_TOUCHED = 16
"""Labelled pixels that a segment needs to be confirmed."""


class PredictionMethod:
    """A :class:`stt_core.propagation.carrying.Method`: predicted segments that labels confirm.

    Label ids below the model's number of classes are its classes.

    Args:
        engine: predicts the frames of the video; what it has encoded is not encoded again.
        motion: where points are in the neighbouring frame.
    """

    def __init__(self, engine: Engine, motion: Motion = dis_motion) -> None:
        self._engine, self._motion = engine, motion

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> _Near:
        """Begin at a labelled frame.

        Raises:
            ValueError: the engine predicts another video.
        """
        if self._engine.media is not media:
            raise ValueError(
                f"the engine predicts {self._engine.media.path}, but {media.path} is labelled"
            )
        return _Near(self._engine, Track(media, frame, labels, self._motion))


class _Near:
    def __init__(self, engine: Engine, track: Track) -> None:
        self._engine, self._track = engine, track
        self._classes = len(engine.network.header.classes)

    def carry(self, frame: int) -> Carried:
        """Take the labels on to a neighbour of the last frame."""
        arrived = sure(self._track.carry(frame))
        foreign = (arrived >= self._classes) & (arrived != UNLABELLED)
        predicted = self._engine.segment(frame)
        near = confirmed(predicted.labels, arrived)
        labels = np.where(near, predicted.labels, np.uint8(UNLABELLED))
        confidence = predicted.confidence / np.float32(255)
        return as_carried(
            np.where(foreign, arrived, labels), np.where(foreign, self._track.trust, confidence)
        )


def confirmed(predicted: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Connected segments (along edges) of one class that more than half of their labels confirm.

    Args:
        predicted: ``[H, W]`` class ids.
        labels: ``[H, W]`` ids. Those from VOID on say nothing; a segment with fewer than
            :data:`LEAST_TOUCHED` others is not confirmed.

    Returns:
        ``[H, W]``, without the pixels whose own label says something else.
    """
    taken = np.zeros(predicted.shape, np.bool_)
    speaks = labels < VOID
    for class_id in np.intersect1d(predicted, labels[speaks]):
        mask = (predicted == class_id).astype(np.uint8)
        count, segments = cv2.connectedComponents(mask, connectivity=4)
        touched = np.bincount(segments[speaks], minlength=count)
        agreed = np.bincount(segments[labels == class_id], minlength=count)
        good = (touched >= LEAST_TOUCHED) & (2 * agreed > touched)
        good[0] = False  # what is not of this class
        taken |= good[segments]
    return taken & (~speaks | (labels == predicted))
