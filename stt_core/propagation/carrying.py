"""What a method of propagation is, whichever it is: it carries one frame's labels step by step."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import UNLABELLED
from stt_core.media.source import MediaSource


class Carried(NamedTuple):
    """What a method says of a frame, before anything is left out for being unsure."""

    labels: NDArray[np.uint8]  # [H, W] ids, VOID and UNLABELLED included
    confidence: NDArray[np.uint8]  # [H, W] of that label, 255 for 1; 0 where UNLABELLED


class Carrier(Protocol):
    """Labels on their way through a video, in one direction."""

    def carry(self, frame: int) -> Carried:
        """Take them on to the neighbour of the frame where they are.

        Raises:
            SttError: the frame cannot be read or computed.
        """
        ...


class Method(Protocol):
    """A way of carrying labels."""

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> Carrier:
        """Begin at a labelled frame.

        Args:
            media: the video.
            frame: where the labels are.
            labels: ``[H, W]`` ids, VOID and UNLABELLED, of the video's size; not to be changed.

        Raises:
            SttError: this method cannot work with these.
        """
        ...


def as_carried(labels: NDArray[np.uint8], confidence: NDArray[np.floating]) -> Carried:
    """Of confidence ``[H, W]`` in [0, 1]."""
    levels = np.rint(255 * confidence).astype(np.uint8)
    levels[labels == UNLABELLED] = 0
    return Carried(labels, levels)
