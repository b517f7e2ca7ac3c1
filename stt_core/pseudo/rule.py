"""The rule by which a prediction is believed, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Threshold:
    """Believe what is at least so probable.

    Probabilities are compared as they are kept, in steps of 1/255.
    """

    probability: float = 0.9
    by_class: Mapping[str, float] = field(default_factory=dict)
    """In place of `probability`, for the classes of these names."""

    def __post_init__(self) -> None:
        for value in (self.probability, *self.by_class.values()):
            _check_share("a threshold", value)


@dataclass(frozen=True, slots=True)
class TopShare:
    """Believe the surest pixels of each class: this share of those predicted as it.

    The share is of all pixels predicted as it in the frames to be labelled, painted or not.
    Pixels as sure as the last one that is kept are kept too, so it may become more, never less:
    nothing tells them apart, and choosing by place would favour frames or leave specks. The record
    says what share of each class it became.
    """

    share: float
    """In [0, 1]."""

    def __post_init__(self) -> None:
        _check_share("a share to keep", self.share)


@dataclass(frozen=True, slots=True)
class FlowTest:
    """Believe what the frames right before and after say of the same point too.

    Points are followed along DIS flow, there and back again. A point that is hidden in a
    neighbour, or a neighbour that says nothing there, is no witness; each witness must agree.
    """

    unseen_passes: bool = True
    """Whether a pixel without any witness is believed."""


@dataclass(frozen=True, slots=True)
class AttentionTest:
    """Believe what a query decided on by looking at its own class (our own idea).

    The pixels of a feature position stand and fall together; where a position did not attend, they
    pass.
    """

    least: float = 0.5
    """Share of the attention, mean over heads, that must lie on keys predicted as the query is."""

    def __post_init__(self) -> None:
        _check_share("a least share of attention", self.least)


@dataclass(frozen=True, slots=True)
class PseudoLabelRule:
    """All tests, which are made in this order; a pixel counts against the first it fails."""

    confidence: Threshold | TopShare = field(default_factory=Threshold)
    flow: FlowTest | None = None
    attention: AttentionTest | None = None

    def facts(self) -> dict[str, object]:
        """As plain values, for the record."""
        if isinstance(self.confidence, TopShare):
            confidence: dict[str, object] = {"top_share": self.confidence.share}
        else:
            confidence = {
                "threshold": self.confidence.probability,
                "by_class": dict(self.confidence.by_class),
            }
        flow = None if self.flow is None else {"unseen_passes": self.flow.unseen_passes}
        attention = None if self.attention is None else {"least": self.attention.least}
        return {"confidence": confidence, "flow": flow, "attention": attention}


def _check_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:  # NaN is not
        raise ValueError(f"{what} lies in 0..1, got {value}")
