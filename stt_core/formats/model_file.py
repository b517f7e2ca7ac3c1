"""What a model file says of itself, read without torch: safetensors with our JSON beside it.

The metadata key `stt_studio` holds one JSON object, :class:`ModelHeader`. Everything needed to
rebuild the model and to use it stands there; nothing in the file is ever executed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from stt_core.config import ModelConfig, Preprocess
from stt_core.errors import CheckpointError, first_complaint
from stt_core.labels import LabelClass
from stt_core.resources import resource_path

FORMAT = 2
"""1 called the per-frame network `pspnet`, and its weights had no prefix."""
_KEY = "stt_studio"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """Everything of a model but its weights."""

    config: Annotated[ModelConfig, Field(discriminator="kind")]
    preprocess: Preprocess
    classes: tuple[LabelClass, ...]
    format: int = FORMAT
    step: int = 0
    """Training steps behind these weights, over all runs they come from."""
    licence: str = "unknown"
    """What the weights may be used for, in a sentence."""
    lineage: tuple[str, ...] = field(default=())
    """One line for each run the weights went through."""

    def __post_init__(self) -> None:
        if len(self.classes) != self.config.num_classes:
            raise ValueError(
                f"the class table names {len(self.classes)} classes, "
                f"but the network tells {self.config.num_classes} apart"
            )
        for c in self.classes:
            if not all(0 <= part <= 255 for part in c.color):
                raise ValueError(f"colour parts lie in 0..255, got {c.name} {c.color}")


_HEADER: TypeAdapter[ModelHeader] = TypeAdapter(ModelHeader)
_LOOSE = TypeAdapter(dict[str, object], config=ConfigDict(extra="allow"))


def header_json(header: ModelHeader) -> dict[str, str]:
    """The metadata to write into a model file."""
    return {_KEY: _HEADER.dump_json(header).decode()}


def read_header(path: Path) -> ModelHeader:
    """Read what `path` says of itself.

    Raises:
        CheckpointError: it is not a model of ours, or of a newer format, or contradicts itself.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no model file {path}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a model file: STT Studio reads .safetensors files that it wrote "
            f"({error})"
        ) from error
    if _KEY not in metadata:
        raise CheckpointError(
            f"{path} holds weights but not the configuration of a model; it was not written by "
            f"STT Studio"
        )
    return _parse(path, metadata[_KEY])


def find_model(name: str) -> Path:
    """The file of a model given as a path, or by the name of a bundled one.

    Raises:
        CheckpointError: it is neither; the sentence names the bundled ones.
    """
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if os.path.isfile(path):
        return path
    raise CheckpointError(
        f"there is no model {name}: give the path of a .safetensors file, or one of the bundled "
        f"models: {', '.join(sorted(bundled)) or 'none'}"
    )


def bundled_models() -> dict[str, Path]:
    """Name and file of each model that ships with the program."""
    return {p.stem: p for p in sorted(resource_path("models").glob("*.safetensors"))}


def _migrated(text: str) -> str:
    """A header of format 1 as one of today; the number stays, since the weights need it."""
    header = json.loads(text)
    config = header.get("config")
    if isinstance(config, dict) and "pspnet" in config:
        config["per_frame"] = config.pop("pspnet")
    return json.dumps(header)


def _parse(path: Path, text: str) -> ModelHeader:
    try:
        version = _LOOSE.validate_json(text).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise CheckpointError(
                f"{path} was written by a newer version (format {version}, this one reads up to "
                f"{FORMAT}): update STT Studio"
            )
        return _HEADER.validate_json(_migrated(text) if version == 1 else text)
    except ValidationError as error:
        raise CheckpointError(f"{path} contradicts itself{first_complaint(error)}") from error
