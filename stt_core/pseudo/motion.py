"""Whether a pixel's class agrees with what the frames next in time say of the same point."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.flow import dis_flow
from stt_core.media.shots import is_cut, thumbnail
from stt_core.metrics.consistency import SILENT, NearestWarp, find_warp
from stt_core.pseudo.sources import Images, Predictions


class Witnesses(NamedTuple):
    """What a frame's neighbours say of it."""

    seen: NDArray[np.bool_]
    """``[H, W]``: a neighbour shows the point and says what it is."""
    agree: NDArray[np.bool_]
    """``[H, W]``: none of them says anything else."""


class _PairFlows(NamedTuple):
    """Motion between a frame and the next; none across a cut."""

    forward: NDArray[np.float32]
    backward: NDArray[np.float32]


class FlowWitnesses:
    """Asks the frames right before and after, along DIS flow there and back; none across a cut.

    Made for frames in rising order: what two of them need is then computed once.

    Args:
        predictions: of the frames and their neighbours; those without are not asked.
        images: of the same frames.
    """

    def __init__(self, predictions: Predictions, images: Images) -> None:
        self._present = frozenset(predictions.frames)
        self._labels = lru_cache(maxsize=3)(predictions.labels)
        self._images = lru_cache(maxsize=3)(images)
        self._flows = lru_cache(maxsize=2)(self._flows_from)

    def of(self, frame: int) -> Witnesses:
        """What is said of a frame.

        Raises:
            LabelError: a prediction and its image, or two predictions, differ in size.
        """
        labels = self._labels(frame).ravel()
        seen, agree = np.zeros(labels.shape, np.bool_), np.ones(labels.shape, np.bool_)
        for other in (frame - 1, frame + 1):
            warp = self._warp(frame, other) if other in self._present else None
            if warp is None:
                continue
            said = self._labels(other).ravel()[warp.there]
            speaks = said < SILENT
            here = warp.here[speaks]
            seen[here] = True
            agree[here] &= labels[here] == said[speaks]
        size = self._labels(frame).shape
        return Witnesses(seen.reshape(size), agree.reshape(size))

    def _warp(self, frame: int, other: int) -> NearestWarp | None:
        flows = self._flows(min(frame, other))
        if flows is None:
            return None
        there, back = flows if other > frame else (flows.backward, flows.forward)
        warp = find_warp("masked", backward=there, forward=back)
        assert isinstance(warp, NearestWarp)
        return warp

    def _flows_from(self, frame: int) -> _PairFlows | None:
        for i in (frame, frame + 1):
            shape, size = self._images(i).shape[:2], self._labels(i).shape
            if shape != size:
                raise LabelError(
                    f"the prediction of frame {i} is {size[1]} x {size[0]} pixels, but its image "
                    f"is {shape[1]} x {shape[0]}. Segment the video again."
                )
        now, later = self._images(frame), self._images(frame + 1)
        if is_cut(thumbnail(now), thumbnail(later)):
            return None
        return _PairFlows(dis_flow(now, later), dis_flow(later, now))
