"""What passes have stored of the open medium. Lives on the DECODE lane."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.facts import StoredPrediction
from stt_core.errors import FormatError, OutputError
from stt_core.project.prediction_folders import PredictionFolders, PredictionSet
from stt_core.project.predictions.key import PredictionKey
from stt_core.project.predictions.reader import PredictionReader


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """Which frames are stored."""

    present: NDArray[np.bool_]
    """``[frames]``"""
    others: NDArray[np.bool_]
    """``[frames]``: which have predictions of another model, or made elsewhere."""
    stale: tuple[str, ...]
    """What else is stored of the medium and cannot be shown now, a phrase each."""


class StoredPredictions:
    """Finds and reads the predictions that a pass would make again."""

    def __init__(self) -> None:
        self._reader: PredictionReader | None = None

    def find(
        self, folder: Path, key: PredictionKey, frames: int
    ) -> Generator[None, None, StoredFacts]:
        """Look through the store of a project's folder for those of `key`."""
        self._reader = None
        found = PredictionFolders(folder)
        stale = [*found.unusable().values()]
        others = np.zeros(frames, np.bool_)
        for each in found.all():
            if each.key.media_hash != key.media_hash:
                continue
            yield
            try:
                reader = PredictionReader(each.path)
            except (FormatError, OutputError) as error:
                stale.append(str(error))
                continue
            why = _difference(each, key)
            if not why and self._reader is None:
                self._reader = reader
                found.use(each.path)
            elif why and len(reader):
                if each.key.model_hash != key.model_hash:
                    others[reader.frames[reader.frames < frames]] = True
                if "imported" not in each.key.settings:  # what was made elsewhere is never stale
                    stale.append(f"predictions {why}: {len(reader)} frames")
        present = np.zeros(frames, np.bool_)
        if self._reader is not None:
            present[self._reader.frames[self._reader.frames < frames]] = True
        return StoredFacts(present, others, tuple(stale))

    def read(
        self, folder: Path, key: PredictionKey, frame: int
    ) -> Generator[None, None, StoredPrediction | None]:
        """One frame; None where it is not there or damaged."""
        reader = self._reader
        if reader is None:  # a pass has begun since
            yield from self.find(folder, key, 1)
            reader = self._reader
        elif frame not in reader:
            reader.refresh()
        if reader is None or frame not in reader:
            return None
        try:
            return StoredPrediction(frame, reader.labels(frame), reader.confidence(frame))
        except (FormatError, KeyError):
            return None  # predicted again: what is damaged counts as missing


def _difference(stored: PredictionSet, key: PredictionKey) -> str:
    """How the stored ones differ from what would be computed now; empty where they do not.

    What else a store may keep does not count.
    """
    if stored.key.model_hash != key.model_hash:
        return "of another model"
    differing = [k for k, v in key.settings.items() if stored.key.settings.get(k) != v]
    return f"with other settings ({', '.join(differing)})" if differing else ""
