"""What predictions belong to: a medium, a model and the settings it ran with."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

Settings = Mapping[str, JsonValue]
"""A JSON object: whatever of the settings changes what is predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictionKey:
    """Predictions of equal keys are the same.

    Raises:
        ValueError: settings that JSON has no words for.
    """

    media_hash: str
    model_hash: str
    settings: Settings

    def __post_init__(self) -> None:
        canonical_json(dict(self.settings))

    @property
    def digest(self) -> str:
        """SHA-256 in hex: the name of the folder."""
        whole: dict[str, JsonValue] = {
            "media": self.media_hash,
            "model": self.model_hash,
            "settings": dict(self.settings),
        }
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PredictionKey) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def canonical_json(value: JsonValue) -> str:
    """One text for equal values: keys sorted, no spaces, whole numbers without a fraction.

    Raises:
        ValueError: a number that is not finite, a key that is not text, or no JSON value.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"the keys of settings must be text, got {list(value)}")
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"settings must be finite numbers, got {value}")
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise ValueError(f"settings must be JSON values, got {value!r}")
