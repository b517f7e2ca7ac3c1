"""What inspection answers: frozen numpy values, safe in any thread, free of torch.

h, w: rows and columns of the feature map. H, W: height and width of the image. C classes, F key
frames, newest first. A class of a cell is the one with the highest logit there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stt_core.inspection.change import Change
from stt_core.inspection.places import Box


@dataclass(frozen=True, slots=True)
class Query:
    """The position that was asked about."""

    frame: int
    row: int
    col: int
    box: Box
    """Of its cell, image pixels."""
    selected: bool
    """Whether query selection chose it."""
    forced: bool
    """Whether it attends all the same, because it was asked to."""
    frames: tuple[int, ...]
    """Key frames it reads, newest first; none where it does not attend."""
    radii: tuple[int, ...]
    """Half its window in each of them, in cells."""

    @property
    def attends(self) -> bool:
        return bool(self.frames)


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What a query would be if it read otherwise."""

    query: Query
    change: Change
    frames: tuple[int, ...]
    """Key frames after the change."""
    before: NDArray[np.float32]
    """``[C]`` probabilities."""
    after: NDArray[np.float32]
    """``[C]``; as `before` where the position does not attend."""
    weights: NDArray[np.float32]
    """``[heads, F, h, w]`` after the change: each head sums to 1, or to 0 if it reads nothing."""


@dataclass(frozen=True, slots=True)
class SingleAblation:
    """One thing muted."""

    head: int | None
    """None: every head."""
    lag: int | None
    """Of the key frame, 0 the newest. None: every frame."""
    change: float
    """Of the probability of the class that wins with nothing muted; below 0: it was needed."""
    winner: int
    """The class that wins without it."""


@dataclass(frozen=True, slots=True)
class SingleAblations:
    """Each head, each key frame, and each head's reading of each key frame, muted by itself."""

    query: Query
    before: NDArray[np.float32]
    """``[C]`` probabilities with nothing muted."""
    rows: tuple[SingleAblation, ...]
    """The greatest drop first; none where the position does not attend."""


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """A frame all of whose queries read otherwise."""

    frame: int
    change: Change
    before: NDArray[np.uint8]
    """``[H, W]`` classes."""
    labels: NDArray[np.uint8]
    """``[H, W]`` classes after the change."""
    changed: NDArray[np.bool_]
    """``[H, W]``: where they differ."""


@dataclass(frozen=True, slots=True)
class Drops:
    """What muting some keys for all heads takes from the probability of a class."""

    k: int
    """Keys that were to be muted."""
    muted: int
    """Keys that were: all there are, if they are fewer."""
    share: float
    """Of the mean weight, on the k strongest."""
    top: float
    """Probability with all keys less that without the k strongest."""
    random: tuple[float, ...]
    """The same for k random keys, a draw each."""

    @property
    def random_mean(self) -> float:
        return float(np.mean(self.random))

    @property
    def random_spread(self) -> float:
        """Standard deviation of the draws."""
        return float(np.std(self.random))


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Whether the keys of greatest weight are the ones that matter."""

    query: Query
    class_id: int
    probability: float
    """Of that class, with all keys."""
    keys: int
    """Inside the map."""
    seed: int
    drops: tuple[Drops, ...]
    """One for each k; none where the position does not attend."""


@dataclass(frozen=True, slots=True)
class Looker:
    """A query of a later frame, and how much of its weight it put on a cell."""

    frame: int
    row: int
    col: int
    box: Box
    weight: float
    """Mean over heads."""
    per_head: NDArray[np.float32]
    """``[heads]``."""
    class_id: int
    """Predicted there."""


@dataclass(frozen=True, slots=True)
class LaterFrame:
    """The queries of one later frame that can see a cell."""

    frame: int
    lag: int
    """Which of its key frames the cell lies in: 0 is the newest."""
    queries: int
    """Selected ones within reach."""
    weights: NDArray[np.float32]
    """``[heads, h, w]``: what the query in each place put on the cell; 0 where none is."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Who looked at a cell later."""

    frame: int
    row: int
    col: int
    box: Box
    later: tuple[LaterFrame, ...]
    """The nearest first; fewer than key frames near the end of the medium or of the shot."""
    strongest: tuple[Looker, ...]
    """Of all later frames, the greatest weight first."""


@dataclass(frozen=True, slots=True)
class ThreadPoint:
    """One step of an attention thread."""

    frame: int
    row: int
    col: int
    box: Box
    x: float
    """The cell's middle, pixels."""
    y: float
    selected: bool
    class_id: int
    """Predicted in the cell."""
    weight: float
    """On this cell, by the query of the step before; NaN at the first."""
    track_x: float
    """Where optical flow says that the asked point is; NaN once it has left the image."""
    track_y: float
    track_class_id: int | None
    """Predicted in the cell where the track is."""

    @property
    def distance(self) -> float:
        """Pixels between the two; NaN where the track has ended."""
        return math.hypot(self.x - self.track_x, self.y - self.track_y)


@dataclass(frozen=True, slots=True)
class AttentionThread:
    """The strongest key followed back through time, beside the track by optical flow."""

    head: int | None
    """Whose strongest key; None: of the mean over heads."""
    points: tuple[ThreadPoint, ...]
    """From the query back; at least itself."""
    ended: str
    """Why it goes no further, a sentence."""


@dataclass(frozen=True, slots=True)
class HeadCard:
    """How a head looks, over many queries. All values are means over the queries."""

    head: int
    reach_frames: float
    """Mean lag in frames, by weight."""
    reach_pixels: float
    """Mean distance between the middles of the query's cell and the key's, by weight."""
    entropy: float
    """Of the weights, nats."""
    entropy_share: float
    """Of the entropy that even weights on the same keys would have, in [0, 1]."""
    same_class: float
    """Share of the weight on keys that are predicted as the query is."""


@dataclass(frozen=True, slots=True)
class HeadCards:
    """How all heads look over a range of frames."""

    frames: tuple[int, ...]
    queries: int
    """Sampled, of all frames together. Where there is none the cards hold NaN."""
    seed: int
    cards: tuple[HeadCard, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the key windows of some wrong cells hold of a class, each cell taking its own."""

    cells: int
    """With at least one key of it in the window."""
    keys: float
    """Mean number of keys of it in a cell's window."""
    largest: float
    """Greatest weight, mean over heads, of any selected cell on a single one."""
    total: float
    """Mean over selected cells of the weight on all of them, mean over heads."""
    by_head: NDArray[np.float32]
    """``[heads]``: the same for each head."""


@dataclass(frozen=True, slots=True)
class WhyWrong:
    """What the wrong pixels of a box rest on. Without a selected cell, weights are NaN."""

    frame: int
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 pixels, the far sides not included, within the image."""
    pixels: int
    """Wrong ones."""
    cells: int
    """That have wrong pixels."""
    selected: int
    """Of these."""
    right: tuple[int, ...]
    """Classes that are right there, the most frequent first."""
    wrong: tuple[int, ...]
    """Classes that were said instead, the most frequent first."""
    for_right: Evidence
    for_wrong: Evidence
    head: int | None
    """Which paid most attention to keys of the wrong class; None where no cell was selected."""
    sentences: tuple[str, ...]
    """The same in plain words; heads are counted from 1 there."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How selection and some marked cells meet."""

    marked: int
    """Cells."""
    selected: int
    """Of these."""

    @property
    def share(self) -> float:
        """Of the marked cells, selected; NaN where none is marked."""
        return self.selected / self.marked if self.marked else math.nan


@dataclass(frozen=True, slots=True)
class SelectionFacts:
    """What query selection does under some settings."""

    frame: int
    ratio: float
    radius: int
    need: NDArray[np.float32]
    """``[h, w]`` D_NSM under that radius."""
    selected: NDArray[np.bool_]
    """``[h, w]``."""
    boundaries: Overlap
    """Cells with a boundary between two classes."""
    edges: Overlap
    """Cells with a colour edge."""
    by_chance: float
    """Share of any cells that would be selected at random: selected of all."""
    milliseconds: float
    """That measuring need took, the device waited for."""
    changed: NDArray[np.bool_]
    """``[H, W]``: pixels of another class than under the model's own settings."""
    labels: NDArray[np.uint8]
    """``[H, W]`` classes under these."""
