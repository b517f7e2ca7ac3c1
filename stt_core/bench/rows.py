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
    """What the value is held against; None where there is nothing to keep to."""
    least: bool
    """Whether the target is the least that the value may be; else it is the most."""
    met: bool | None


def row(
    group: str,
    name: str,
    value: float,
    unit: str,
    *,
    target: float | None = None,
    least: bool = False,
) -> Row:
    """A row, which says itself whether its target is met."""
    value = round(float(value), 4)
    met = None if target is None else (value >= target if least else value <= target)
    return Row(group=group, name=name, value=value, unit=unit, target=target, least=least, met=met)
