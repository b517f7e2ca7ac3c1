"""Whose predictions a project has stored, named, with how many frames of each medium."""

from __future__ import annotations

from pathlib import Path

from app.facts import StoredModel
from stt_core.errors import FormatError, OutputError
from stt_core.formats.model_file import bundled_models
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.predictions.reader import PredictionReader
from stt_core.workflow.stored import model_hash, model_name


def stored_models(folder: Path, in_use: Path | None) -> tuple[StoredModel, ...]:
    """All models with predictions of any medium, the last used first.

    Where one was used with several settings, those used last count, as everywhere.

    Args:
        folder: of the project.
        in_use: the model's file that the window computes with.
    """
    files = {model_hash(str(path)): path for path in bundled_models().values()}
    if in_use is not None and in_use.is_file():
        files[model_hash(str(in_use))] = in_use
    frames: dict[str, dict[str, int]] = {}
    names: dict[str, str] = {}
    for each in PredictionFolders(folder).all():
        try:
            count = len(PredictionReader(each.path))
        except (FormatError, OutputError):
            continue  # told where they are looked for
        key = each.key
        if count:
            frames.setdefault(key.model_hash, {}).setdefault(key.media_hash, count)
            made = key.settings.get("imported")
            file = files.get(key.model_hash)
            known = model_name(key.model_hash) if file is None else file.stem
            names.setdefault(key.model_hash, known if made is None else str(made))
    return tuple(
        StoredModel(sha256, names[sha256], files.get(sha256), counts)
        for sha256, counts in frames.items()
    )
