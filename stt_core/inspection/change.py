"""What a prediction is to do without, or with another frame: plain values, free of torch.

Muting follows :class:`stt_core.model.attention.ops.Ablation`. A key frame or a key that is muted
is not read: the softmax of each head goes over the keys that are left, which sum to 1 again. A
head that is muted, or left without a key, reads zero; the other heads stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.inspection.places import KeyWindow


@dataclass(frozen=True, slots=True)
class KeyBox:
    """A part of a key frame's map, its far sides not included."""

    lag: int
    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be otherwise. What is not there cannot be muted or swapped, and does no harm."""

    heads: frozenset[int] = frozenset()
    """Heads that read nothing."""
    frames: frozenset[int] = frozenset()
    """Key frames nobody reads, by lag: 0 is the newest."""
    keys: frozenset[tuple[int, int, int]] = frozenset()
    """Single keys nobody reads: lag, row, column."""
    boxes: tuple[KeyBox, ...] = ()
    """Parts of key frames nobody reads."""
    pairs: frozenset[tuple[int, int]] = frozenset()
    """Key frames that one head does not read: head, lag."""
    swaps: tuple[tuple[int, int], ...] = ()
    """Key frames in whose place another frame is read: lag, index of any frame of the medium. The
    window stays that of the lag."""

    def swapped(self, frames: tuple[int, ...]) -> tuple[int, ...]:
        """The key frames, once the swaps are made."""
        instead = dict(self.swaps)
        return tuple(instead.get(lag, frame) for lag, frame in enumerate(frames))

    def heard(self, window: KeyWindow, heads: int) -> NDArray[np.bool_]:
        """``[heads, K]``: which keys each head of a query reads, of those of its windows.

        Raises:
            ValueError: a head the model does not have.
        """
        self.check_heads(heads)
        heard = np.repeat(window.inside[None], heads, 0)
        heard[sorted(self.heads)] = False
        silent = np.isin(window.lag, sorted(self.frames))
        for lag, row, col in self.keys:
            silent |= (window.lag == lag) & (window.row == row) & (window.col == col)
        for box in self.boxes:
            down = (window.row >= box.top) & (window.row < box.bottom)
            silent |= (
                (window.lag == box.lag) & down & (window.col >= box.left) & (window.col < box.right)
            )
        heard[:, silent] = False
        for head, lag in self.pairs:
            heard[head, window.lag == lag] = False
        return heard

    def all_keys(self, grid: tuple[int, int]) -> frozenset[tuple[int, int, int]]:
        """The single keys nobody reads, with those of the boxes, in a map of `grid`."""
        boxed = {
            (box.lag, row, col)
            for box in self.boxes
            for row in range(max(0, box.top), min(grid[0], box.bottom))
            for col in range(max(0, box.left), min(grid[1], box.right))
        }
        return self.keys | boxed

    def check_heads(self, heads: int) -> None:
        """ValueError where it names a head beyond the model's number."""
        named = self.heads | {head for head, _ in self.pairs}
        wrong = sorted(head for head in named if not 0 <= head < heads)
        if wrong:
            raise ValueError(f"there are {heads} heads, 0 to {heads - 1}: no {wrong}")


NO_CHANGE = Change()
