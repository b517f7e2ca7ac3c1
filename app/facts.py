"""What the lanes tell the window: plain values, free of torch and of Qt."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.config import Precision
from stt_core.labels import LabelClass
from stt_core.project.predictions.key import PredictionKey
from stt_core.results import LookBack, Prediction


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """A medium that was opened."""

    path: Path
    frames: int
    width: int
    height: int
    fps: float
    sha256: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model should compute, and how."""

    name: str
    """A path, or the name of a bundled model."""
    device: str = "auto"
    precision: Precision = "auto"
    key_frames: int | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model that was loaded."""

    path: Path
    classes: tuple[LabelClass, ...]
    device: str
    """In words, for the status bar."""
    precision: str
    key_frames: int
    heads: int
    """0 for a per-frame network, which has nothing to inspect."""
    licence: str
    agreement: float | None = None
    """Share of pixels with the class that fp32 gives them, where a lower precision was checked."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it runs."""


@dataclass(frozen=True, slots=True)
class MediumFacts:
    """A medium of a project."""

    id: str
    name: str
    path: Path | None
    """None where it is missing."""
    last_seen: str
    """Where it was when it was seen last."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project that was opened."""

    folder: Path
    own: bool
    """Whether the window keeps it for a bare medium, in the user's data folder."""
    read_only: str | None
    """A sentence saying why it cannot be changed; None where it can."""
    classes: tuple[LabelClass, ...]
    """Those that can be painted; none where the project is made with the first stroke."""
    media: tuple[MediumFacts, ...]

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know and need not act on at once."""

    topic: str
    """A newer notice of a topic takes the place of the older."""
    text: str
    """A sentence; empty where there is nothing to tell any more."""
    details: tuple[str, ...] = ()
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class SaveState:
    """How far what was painted is on the disk."""

    state: Literal["none", "saved", "saving", "unsaved", "read-only"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction that a pass had written into the store."""

    frame: int
    labels: NDArray[np.uint8]
    """``[H, W]`` class of each image pixel."""
    confidence: NDArray[np.uint8]
    """``[H, W]`` highest class probability of each image pixel, 255 for 1."""

    @property
    def nbytes(self) -> int:
        return self.labels.nbytes + self.confidence.nbytes


ShownPrediction = Prediction | StoredPrediction


@dataclass(frozen=True, slots=True)
class PassProgress:
    """One more frame of a whole-video pass is in the store."""

    frame: int


class Session(Protocol):
    """The model at work on a medium. Made and used on the INFER lane only.

    Each method is a generator that yields None wherever something more urgent may go first.
    """

    def load(self, choice: ModelChoice) -> Generator[None, None, None]:
        """Load a model; the one before it is forgotten only when this one is ready."""

    def settle(self) -> Generator[None, None, ModelFacts]:
        """Check the model's precision on the medium, where one is open, and say what it is."""

    def open(self, path: Path) -> Generator[None, None, None]:
        """Work on another medium from here on."""

    def pass_key(self) -> PredictionKey | None:
        """What stored predictions must be of to be those that the window would compute.

        Its settings are those that change labels. None without a model or a medium.
        """

    def devices(self) -> Generator[None, None, tuple[str, ...]]:
        """The devices this machine has."""

    def predict(self, index: int) -> Generator[None, None, Prediction]:
        """Segment one frame."""

    def inspect(self, index: int, x: int, y: int, force: bool) -> Generator[None, None, LookBack]:
        """Where one pixel looked."""

    def run_pass(
        self, folder: Path, runs: tuple[range, ...]
    ) -> Generator[PassProgress | None, None, None]:
        """Segment what is not stored yet of these frames into the store of a project's folder."""
