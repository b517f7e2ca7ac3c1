"""manifest.json: what a folder of predictions holds, and of what."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from stt_core.errors import FormatError, first_complaint
from stt_core.files import write_text
from stt_core.labels import LabelClass
from stt_core.project.predictions.key import PredictionKey
from stt_core.versions import versions

FORMAT = 1
NAME = "manifest.json"
ARRAYS = ("labels", "confidence", "probabilities", "features")
"""What may be stored of a frame, in the order of its parts in every file."""
MAX_FRAMES = 2**31 - 1

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """One of the arrays of every frame."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the predictions are of, and what is stored of each frame.

    Raises:
        ValueError: a count or size that cannot be.
    """

    media_hash: str
    model_hash: str
    settings: dict[str, JsonValue]
    frames: int
    """Of the medium; some may not be predicted yet."""
    height: int
    width: int
    classes: tuple[LabelClass, ...]
    probabilities: Shape | None = None
    """C, h, w of full probabilities; None where they are not stored."""
    features: Shape | None = None
    """d, h, w of projected features; None where they are not stored."""
    computed: dict[str, JsonValue] = field(default_factory=dict)
    """With what it was begun; in no key, but who goes on should do so alike."""
    code_version: str = ""
    """Of the program that began the folder; filled in when it is written."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        sizes = (self.frames, self.height, self.width)
        shapes = (*(self.probabilities or ()), *(self.features or ()))
        if min(*sizes, *shapes) < 1 or self.frames > MAX_FRAMES or not self.classes:
            raise ValueError(
                f"frames, sizes and classes must be above 0, got {sizes=} {self.probabilities=} "
                f"{self.features=} and {len(self.classes)} classes"
            )
        PredictionKey(self.media_hash, self.model_hash, self.settings)

    @property
    def key(self) -> PredictionKey:
        return PredictionKey(self.media_hash, self.model_hash, self.settings)

    def arrays(self) -> dict[str, ArrayKind]:
        """What is stored of each frame, by name and in the order of :data:`ARRAYS`."""
        pixels = ArrayKind((self.height, self.width), np.dtype("u1"))
        kinds = {"labels": pixels, "confidence": pixels}
        for name in ARRAYS[2:]:
            shape: Shape | None = getattr(self, name)
            if shape is not None:
                kinds[name] = ArrayKind(shape, np.dtype("<f2"))
        return kinds


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)
_LOOSE = TypeAdapter(dict[str, object], config=ConfigDict(extra="allow"))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it as the version of the program that runs.

    Raises:
        OutputError: it could not be written.
    """
    table: dict[str, object] = _MANIFEST.dump_python(manifest, mode="json")
    table |= {
        "code_version": versions()["stt-studio"],
        "digest": manifest.key.digest,
        "stored": [*manifest.arrays(), "entropy", "flicker"],
    }
    write_text(folder / NAME, json.dumps(table, indent=2, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder of predictions holds.

    Raises:
        FormatError: there is none, it is damaged, or a newer version wrote it.
    """
    path = folder / NAME
    advice = "Delete the folder and compute the predictions again."
    try:
        table = _LOOSE.validate_json(path.read_bytes())
        version = table.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise FormatError(
                f"{path} was written by a newer version (format {version}, this one reads up to "
                f"{FORMAT}): update STT Studio"
            )
        manifest = _MANIFEST.validate_python(table)
    except FileNotFoundError as error:
        raise FormatError(f"{folder} is not a folder of predictions: {NAME} is missing") from error
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise FormatError(f"{path} is damaged{first_complaint(error)}. {advice}") from error
    if table.get("digest") != manifest.key.digest:
        raise FormatError(f"{path} is damaged: its digest is not that of its content. {advice}")
    return manifest


def difference(stored: Manifest, given: Manifest) -> str | None:
    """In what the predictions of two manifests differ; None where one can go on with the other."""
    names = ("media_hash", "model_hash", "frames", "height", "width", "classes", *ARRAYS[2:])
    if stored.key != given.key and stored.settings != given.settings:
        return "settings"
    return next((n for n in names if getattr(stored, n) != getattr(given, n)), None)
