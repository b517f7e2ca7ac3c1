"""How many pixels became labels, and which test removed the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stt_core.labels import LabelClass

Counted = NDArray[np.int64]
"""``[classes]`` pixels."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by what became of them, of one frame or of many.

    Where nobody painted: predicted = unsure + against_flow + against_attention + kept. With
    painted, void and silent that is every pixel.
    """

    predicted: Counted
    """By predicted class, where nobody painted."""
    unsure: Counted
    """Of these, removed by the confidence test."""
    against_flow: Counted
    """Of what was left, removed by the flow test."""
    against_attention: Counted
    """Of what was left then, removed by the attention test."""
    kept: Counted
    painted: Counted
    """By the class a person painted, which stands whatever was predicted."""
    void: int
    """A person chose to say nothing."""
    silent: int
    """Neither painted nor predicted."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))

    @property
    def labelled(self) -> float:
        """Share of the pixels that got a class; NaN of none."""
        labelled = self.kept.sum() + self.painted.sum()
        total = self.predicted.sum() + self.painted.sum() + self.void + self.silent
        return float(labelled / total) if total else float("nan")

    def facts(self, classes: Sequence[LabelClass]) -> dict[str, object]:
        """As plain values, for the record: all classes together, then each that occurs."""
        each = ("predicted", "unsure", "against_flow", "against_attention", "kept", "painted")
        table = {name: getattr(self, name) for name in each}
        return {
            **{name: int(row.sum()) for name, row in table.items()},
            "void": int(self.void),
            "silent": int(self.silent),
            "classes": [
                {"id": i, "name": c.name, **{name: int(row[i]) for name, row in table.items()}}
                for i, c in enumerate(classes)
                if self.predicted[i] or self.painted[i]
            ],
        }


def no_counts(num_classes: int) -> Counts:
    """Of no pixel."""
    none = np.zeros(num_classes, np.int64)
    return Counts(none, none, none, none, none, none, void=0, silent=0)


def count_classes(labels: NDArray[np.uint8], where: NDArray[np.bool_], num_classes: int) -> Counted:
    """How often each class occurs `where`; other ids do not count."""
    return np.bincount(labels[where], minlength=256)[:num_classes].astype(np.int64)
