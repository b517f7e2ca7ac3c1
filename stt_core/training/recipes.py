"""Recipe files: a training run as TOML."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stt_core.errors import TrainingError, first_complaint
from stt_core.resources import resource_path
from stt_core.training.config import TrainConfig

_CONFIG = TypeAdapter(TrainConfig)


def read_recipe(name: str) -> TrainConfig:
    """Read a recipe given as a path, or by the name of a shipped one.

    Raises:
        TrainingError: there is none, or it asks for something that does not exist.
    """
    path = Path(name)
    shipped = {p.stem: p for p in sorted(resource_path("recipes").glob("*.toml"))}
    if not os.path.isfile(path):
        if name not in shipped:
            raise TrainingError(
                f"there is no recipe {name}: give the path of a .toml file, or one of the shipped "
                f"recipes: {', '.join(shipped)}"
            )
        path = shipped[name]
    try:
        return _CONFIG.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"cannot read the recipe {path}: {error}") from error
    except ValidationError as error:
        raise TrainingError(f"the recipe {path} is wrong{first_complaint(error)}") from error
