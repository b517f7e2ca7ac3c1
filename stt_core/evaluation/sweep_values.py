"""Which values of a setting a sweep goes through."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stt_core.config import MAX_KEY_FRAMES, SttConfig
from stt_core.evaluation.sweep_table import Setting

_MOST_VALUES = 50


def parse_values(text: str, over: Setting) -> tuple[float, ...]:
    """Values of a setting: ``A:B``, both included, ``A:B:STEP``, or a list ``A,B,C``.

    Raises:
        ValueError: it is none of these, or too many values.
    """
    whole = over != "query_ratio"
    try:
        values = _range(text) if ":" in text else [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    # NaN and infinity leave a rest too
    if not 1 <= len(values) <= _MOST_VALUES or (whole and any(v % 1 != 0 for v in values)):
        kind, example = "numbers", "0.1:0.9:0.2 or 0.25,0.5,1"
        if whole:
            kind, example = "whole numbers", "0:9 or 0,1,3,7"
        raise ValueError(
            f"'{text}' names no values of {over}: say {kind}, at most {_MOST_VALUES} of them, as "
            f"in {example}"
        )
    return tuple(int(value) if whole else value for value in values)


def default_values(config: SttConfig, over: Setting) -> tuple[float, ...]:
    """Values worth looking at, the model's own among them."""
    values: dict[Setting, Sequence[float]] = {
        "key_frames": range(MAX_KEY_FRAMES + 1),
        "query_ratio": (0.1, 0.25, 0.5, 0.75, 1.0),
        "neighbour_radius": (1, 2, 3, 4, 5, 6, 7),
        "start_radius": range(config.end_radius + 1),
        "end_radius": range(config.start_radius, max(6, config.end_radius) + 1),
    }
    return tuple(sorted({*values[over], getattr(config, over)}))


def _range(text: str) -> list[float]:
    parts = [float(part) for part in text.split(":")]
    first, last, step = [*parts, 1.0][:3] if len(parts) in (2, 3) else (0.0, -1.0, 1.0)
    if not (math.isfinite(last - first) and first <= last and step > 0):
        raise ValueError(f"not a range: {text}")
    count = min(_MOST_VALUES + 1, math.floor((last - first) / step + 1e-9) + 1)
    return [round(first + i * step, 9) for i in range(count)]
