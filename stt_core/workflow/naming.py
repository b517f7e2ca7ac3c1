"""What a person says in a word or two: a class list, a range of frames, thresholds of classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from stt_core.errors import LabelError
from stt_core.formats.model_file import bundled_models, read_header
from stt_core.labels import LabelClass, read_classes
from stt_core.resources import resource_path

NONE = "none"
"""For no class."""
_MODEL = ".safetensors"


def class_lists() -> dict[str, Path]:
    """Name and file of each class list that ships with the program."""
    return {path.stem: path for path in sorted(resource_path("classes").glob("*.json"))}


def find_classes(name: str) -> tuple[LabelClass, ...]:
    """The classes in a JSON file, of a model, or of the shipped list of that name.

    Raises:
        LabelError: it is none of these.
        CheckpointError: the model cannot be read.
    """
    lists, models = class_lists(), bundled_models()
    path = Path(name)
    if name in lists:
        return read_classes(lists[name])
    if name in models or path.suffix == _MODEL:
        return read_header(models.get(name, path)).classes
    if path.is_file():
        return read_classes(path)
    raise LabelError(
        f"there is no class list {name}: give a JSON file, a model, or one of "
        f"{', '.join([*lists, *models])}"
    )


def parse_frames(text: str, count: int) -> range:
    """``A:B`` or ``A:B:STEP``, half-open with optional ends, within `count` frames.

    Raises:
        ValueError: not of that form, or no frame lies in it.
    """
    parts = text.split(":")
    known = len(parts) in (2, 3) and all(not part or part.isdecimal() for part in parts)
    first, last, step = [*parts, "", ""][:3]
    if not known or (step and not int(step)):
        raise ValueError(f"'{text}' is not a range of frames: say A:B, A: or :B, as in 0:100")
    frames = range(int(first or 0), min(int(last or count), count), int(step or 1))
    if not frames:
        raise ValueError(f"the range {text} holds no frame: the medium has frames 0 to {count - 1}")
    return frames


def parse_names(texts: Sequence[str]) -> dict[str, str | None]:
    """What classes are to be called in an export, None for those to be left out.

    Args:
        texts: each ``OURS=THEIRS``, several of these with commas between, or a JSON file with an
            object of them; THEIRS may be ``none``.

    Raises:
        ValueError: one is neither of these.
        LabelError: the file does not hold an object of names.
    """
    names: dict[str, str | None] = {}
    for text in texts:
        if Path(text).is_file():
            names |= _read_names(Path(text))
            continue
        for pair in text.split(","):  # a class with a comma in its name needs the file
            ours, equals, theirs = pair.rpartition("=")
            if not equals or not ours.strip():
                raise ValueError(
                    f"'{text}' is not a choice: say OURS=THEIRS, as in Tree=vegetation, or a JSON "
                    "file with an object of such names"
                )
            names[ours.strip()] = _theirs(theirs)
    return names


def parse_things(texts: Sequence[str]) -> frozenset[str]:
    """Names of classes, with commas between; ``none`` is no class."""
    names = (name.strip() for text in texts for name in text.split(","))
    return frozenset(name for name in names if name and name.casefold() != NONE)


def parse_shares(texts: Sequence[str]) -> dict[str, float]:
    """``NAME=P`` of each class.

    Raises:
        ValueError: one is not of that form.
    """
    shares = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            name = ""
        if not name:
            raise ValueError(f"'{text}' is not a threshold: say CLASS=P, as in road=0.9")
    return shares


def _read_names(path: Path) -> dict[str, str | None]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it holds no object")
        return {str(ours): None if theirs is None else _theirs(str(theirs))
                for ours, theirs in told.items()}  # fmt: skip
    except (OSError, ValueError) as error:
        raise LabelError(
            f"{path} is not a mapping of class names ({error}): it should be like "
            '{"Tree": "vegetation", "Fence": "none"}'
        ) from error


def _theirs(text: str) -> str | None:
    name = text.strip()
    return None if name.casefold() in (NONE, "-", "") else name
