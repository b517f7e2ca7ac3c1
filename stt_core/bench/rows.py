"""What the benchmark says: one row for each figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

Note = Callable[[str], None]
"""Told what is being measured."""


class Row(TypedDict):
    """A figure, as it stands in bench.json."""

    group: str
    name: str
    value: float
    unit: str
    target: float | None
    """The most that the value may be; None where there is nothing to keep to."""
    met: bool | None


def row(group: str, name: str, value: float, unit: str, *, target: float | None = None) -> Row:
    """A row, which says itself whether its target is met."""
    value = round(value, 4)
    met = None if target is None else value <= target
    return Row(group=group, name=name, value=value, unit=unit, target=target, met=met)
