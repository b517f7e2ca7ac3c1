"""Propagation by STT's own attention: the label of a position is the vote of the keys it reads.

Every position of a frame asks, selected or not. What its keys hand over is not their features but
their labels, as the shares of each cell; the vote is the sum by attention weight, mean over the
heads. Votes are carried on as shares, so that no error hardens from frame to frame. Keys are the
frames between this one and the labelled one, that one included, as many as the model reads; going
backwards they are the frames after. They follow one another, whatever the model's spacing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stt_core.checkpoint import Checkpoint
from stt_core.config import per_frame
from stt_core.errors import DeviceError
from stt_core.media.source import MediaSource
from stt_core.model.video import Encoded
from stt_core.network import Network
from stt_core.propagation.carrying import Carried, as_carried
from stt_core.propagation.pixels import cell_shares, to_pixels
from stt_core.propagation.track import Motion, Track, dis_motion
from stt_core.propagation.votes import Voting


class AttentionMethod:
    """A :class:`stt_core.propagation.carrying.Method`: keys vote by attention weight.

    Label ids below the model's number of classes are its classes. The others are carried as well,
    by votes and flow alone. No frame is encoded twice, the labelled one included.

    Args:
        network: runs `checkpoint`.
        checkpoint: an STT model.
        motion: where points are in the neighbouring frame; finds borders within the cells.

    Raises:
        CheckpointError: the model reads no past by sparse attention.
        ValueError: `network` runs another model.
    """

    def __init__(
        self, network: Network, checkpoint: Checkpoint, motion: Motion = dis_motion
    ) -> None:
        self._voting, self._motion = Voting(network, checkpoint), motion
        self._first: tuple[MediaSource, int, Encoded] | None = None

    def start(self, media: MediaSource, frame: int, labels: NDArray[np.uint8]) -> _Votes:
        """Begin at a labelled frame; encodes it."""
        track = Track(media, frame, labels, self._motion)
        return _Votes(self._voting, media, self._encoded(media, frame), labels, track)

    def _encoded(self, media: MediaSource, frame: int) -> Encoded:
        """The labelled frame, which both directions begin with."""
        held = self._first
        if held is None or held[0] is not media or held[1] != frame:
            held = (media, frame, self._voting.network.encode(media[frame].image, frame))
            self._first = held
        return held[2]


class _Key(NamedTuple):
    """A frame that has its labels."""

    encoded: Encoded
    shares: Tensor  # [L, h, w]


class _Votes:
    """Labels on their way, and the frames that vote."""

    def __init__(
        self,
        voting: Voting,
        media: MediaSource,
        encoded: Encoded,
        labels: NDArray[np.uint8],
        track: Track,
    ) -> None:
        self._voting, self._media, self._track = voting, media, track
        self._ids = np.unique(labels)
        network = voting.network
        shares = torch.from_numpy(cell_shares(labels, self._ids, encoded.size))
        first = _Key(encoded, shares.to(network.device))
        self._keys = deque([first], maxlen=network.key_frames)
        """Newest first."""

    def carry(self, frame: int) -> Carried:
        """Take the labels on to a neighbour of the last frame."""
        moved = self._track.carry(frame)
        try:
            return self._vote(frame, moved)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{self._voting.network.device} has too little memory to propagate labels by "
                f"attention: use --device cpu, or another method"
            ) from error

    @torch.inference_mode()
    def _vote(self, frame: int, moved: Carried) -> Carried:
        network = self._voting.network
        current = network.encode(self._media[frame].image, frame)
        # where memory became short meanwhile, all are to be of one precision
        memory = [key.encoded.cast(network.dtype) for key in self._keys]
        shares = self._voting.votes(
            current.cast(network.dtype), memory, [key.shares for key in self._keys]
        )
        logits = network.decode(current, memory).logits[0]
        self._keys.appendleft(_Key(current, shares))
        refined = to_pixels(
            shares,
            self._ids,
            logits,
            moved.labels,
            self._track.trust,
            align_corners=per_frame(network.config).align_corners,
        )
        return as_carried(refined.labels, refined.share)
