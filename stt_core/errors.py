"""Every error this library raises on purpose.

* SttError
  x MediaError        a video or image folder cannot be opened, or a frame decoded
  x CheckpointError   a model file is unreadable, or does not fit what it says it is
  x DataError         a data set that cannot be learnt from or measured on, with all its problems
  x DeviceError       a device or precision this machine does not have
  x FormatError       a file of another program is not what its format asks for
  x LabelError        a label map or a class list that cannot be used
  x OutputError       something could not be written; what was there before is intact
  x ProjectError      a project that cannot be opened, or refuses what was asked of it
  x TrainingError     nothing to learn from, or the loss stopped being finite

Each message is a sentence for the person at the keyboard: what happened, where, what to do.
Wrong arguments (a shape, a range) raise ValueError where they are first used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceError",
    "FormatError",
    "LabelError",
    "MediaError",
    "OutputError",
    "Problem",
    "ProjectError",
    "SttError",
    "TrainingError",
    "first_complaint",
]


class SttError(Exception):
    """Base of all errors a caller may want to show to a person."""


def first_complaint(error: ValidationError) -> str:
    """What pydantic found wrong first, to follow a file's name: " at 'steps': ..."."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{f' at {where!r}' if where else ''}: {first['msg'].removeprefix('Value error, ')}"


class MediaError(SttError):
    """A video or an image folder cannot be opened, or one of its frames cannot be decoded."""


class CheckpointError(SttError):
    """A model file cannot be read, or does not fit the model it describes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one file of a data set."""

    path: Path
    what: str
    """Follows the path: "is 9 x 6 pixels, but its image is 96 x 64"."""

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


class DataError(SttError):
    """A data set cannot be used.

    Attributes:
        problems: all that is wrong with its files; empty where it is not about files. The message
            lists the first of them.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class DeviceError(SttError):
    """A device or a precision was asked for that this machine does not have."""


class FormatError(SttError):
    """A file does not follow the format it should have."""


class LabelError(SttError):
    """A label map or a class list cannot be used."""


class OutputError(SttError):
    """Something could not be written; what stood there before is untouched."""


class ProjectError(SttError):
    """A project cannot be opened or used, or refuses a change; its labels are untouched."""


class TrainingError(SttError):
    """Training cannot start or cannot go on."""
