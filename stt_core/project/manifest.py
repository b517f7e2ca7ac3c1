"""project.json: what a project is made of, in a form that people and git can read.

The journal holds the same facts and is believed where the two differ; `revision` tells which of
them is newer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stt_core.errors import ProjectError, first_complaint
from stt_core.files import write_text
from stt_core.labels import VOID, LabelClass

VERSION = 2
"""Of the layout. :mod:`stt_core.project.migrations` brings older ones here."""

NAME = "project.json"

_STRICT = ConfigDict(frozen=True, extra="forbid")
_Byte = Annotated[int, Field(ge=0, le=255)]


class ClassEntry(BaseModel):
    model_config = _STRICT

    name: str = Field(min_length=1, max_length=200)
    color: tuple[_Byte, _Byte, _Byte]


class MediaEntry(BaseModel):
    """A video or image folder. Nothing on disk is named after it, only after its id."""

    model_config = _STRICT

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    kind: Literal["video", "folder"]
    relative: str | None
    """From the project's folder, with forward slashes; None where there is no such path."""
    absolute: str
    """Tried when `relative` leads nowhere."""
    bytes: int = Field(ge=0)
    hash: str
    """By :func:`stt_core.media.source.media_hash`; empty where the file was never seen."""
    frames: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)

    @property
    def name(self) -> str:
        """The last part of its path, to show."""
        return self.absolute.replace("\\", "/").rstrip("/").rpartition("/")[2] or self.absolute


class Manifest(BaseModel):
    model_config = _STRICT

    version: Literal[2] = 2
    id: str
    revision: int = Field(ge=0)
    """Grows by one with every change of what stands here."""
    classes: tuple[ClassEntry, ...] = Field(max_length=VOID)
    media: tuple[MediaEntry, ...]
    cache_bytes: int | None = Field(default=None, ge=0)
    """What predictions may take; None where nobody said."""

    @property
    def label_classes(self) -> tuple[LabelClass, ...]:
        return tuple(LabelClass(c.name, c.color) for c in self.classes)


def read_raw(path: Path) -> dict[str, Any]:
    """The JSON object in a project.json of any version, with a `version` that is a number.

    Raises:
        ProjectError: missing, unreadable, or no project file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError(
            f"{path.parent} is not a project: it holds no {NAME}. Choose the folder of a "
            "project, or make one with 'stt-studio project new'."
        ) from error
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} cannot be read as a project file: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("version"), int):
        raise ProjectError(f"{path} is not a project file: it states no version.")
    return raw


def parse_manifest(path: Path, raw: dict[str, Any]) -> Manifest:
    """Check what was read.

    Raises:
        ProjectError: made by a newer version, or a field is missing or wrong.
    """
    if raw["version"] > VERSION:
        raise ProjectError(
            f"{path} was written by a newer version of this program (layout {raw['version']}; "
            f"this one knows up to {VERSION}). Install the newer version to open it."
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise ProjectError(f"{path} is not a valid project file{first_complaint(error)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace project.json in one step.

    Raises:
        OutputError: it could not be written; the one before it is untouched.
    """
    unsaid = {"cache_bytes"} if manifest.cache_bytes is None else set()
    table = manifest.model_dump(mode="json", exclude=unsaid)
    write_text(folder / NAME, json.dumps(table, indent=2) + "\n")
