"""What a model's attention makes of labels in the place of features.

N: positions of the feature grid h x w, all of which ask. L: the labels there are. d: channels of
the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from stt_core.checkpoint import Checkpoint
from stt_core.errors import CheckpointError
from stt_core.model.attention.ops import sparse_attention
from stt_core.model.stt import Stt, to_rows
from stt_core.model.video import Encoded
from stt_core.network import Network

_POSITIONS = 4096
"""That ask at once."""


class Voting:
    """Lets the keys of every position vote with their labels. Belongs to one thread.

    Args:
        network: runs `checkpoint`.
        checkpoint: an STT model.

    Raises:
        CheckpointError: the model reads no past by sparse attention.
        ValueError: `network` runs another model.
    """

    def __init__(self, network: Network, checkpoint: Checkpoint) -> None:
        model = checkpoint.model
        if not isinstance(model, Stt):
            raise CheckpointError(
                "this model has no sparse temporal attention to propagate labels by: "
                "choose an STT model, or another method"
            )
        if (network.sha256, network.header) != (checkpoint.sha256, checkpoint.header):
            raise ValueError(
                f"the network runs another model: {network.sha256=} {checkpoint.sha256=}"
            )
        if not network.key_frames:
            raise CheckpointError(
                "with 0 key frames nothing is read of other frames, so labels cannot be "
                "propagated by attention: let the model read some, or choose another method"
            )
        self.network = network
        self._block = deepcopy(model.stt).to(network.device)
        behind_backbone = model.config.insert == "backbone"
        self._reduce = deepcopy(model.reduce).to(network.device) if behind_backbone else None

    @torch.inference_mode()
    def votes(
        self, current: Encoded, memory: Sequence[Encoded], shares: Sequence[Tensor]
    ) -> Tensor:
        """The label of every position, as its keys see it.

        Args:
            current: the frame that asks.
            memory: its key frames, newest first; 1 or more, at most what the network reads.
            shares: ``[L, h, w]`` of each key frame, on the network's device.

        Returns:
            ``[L, h, w]``: the sum of the keys' shares by attention weight, mean over the heads. It
            sums to 1 over the labels where the shares do.
        """
        maps = [m.key for m in memory if m.key is not None]
        rows, dtype = self._rows(current), maps[0].dtype
        heads = self._block.config.heads
        depth, count = maps[0].shape[1] // heads, len(shares[0])
        found = torch.empty(count, len(rows), device=rows.device)
        # a head has room for so many labels at a time
        for first in range(0, count, depth):
            some = slice(first, min(first + depth, count))
            values = [_spread(s[some], depth, heads).to(dtype) for s in shares]
            for where in torch.arange(len(rows), device=rows.device).split(_POSITIONS):
                out = sparse_attention(
                    self._block.ask(rows[where][None]).to(dtype),
                    maps,
                    values,
                    where[None],
                    radii=self.network.reach.radii[: len(memory)],
                    heads=heads,
                )
                read = out[0].float().unflatten(1, (heads, depth)).mean(1)  # [positions, depth]
                found[some, where] = read[:, : some.stop - first].T
        return found.unflatten(1, current.size)

    def _rows(self, current: Encoded) -> Tensor:
        """``[N, d]``, the block's input."""
        features = current.features.float()
        return to_rows(features if self._reduce is None else self._reduce(features))[0]


def _spread(shares: Tensor, depth: int, heads: int) -> Tensor:
    """``[n, h, w]`` as values ``[1, heads * depth, h, w]``, the same for every head."""
    room = shares.new_zeros(depth, *shares.shape[1:])
    room[: len(shares)] = shares
    return room.repeat(heads, 1, 1)[None]
