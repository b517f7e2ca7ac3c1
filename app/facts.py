"""What the two worker lanes tell the controller: plain values, free of torch and of Qt."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stt_core.config import Precision
from stt_core.labels import LabelClass
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

    def devices(self) -> Generator[None, None, tuple[str, ...]]:
        """The devices this machine has."""

    def predict(self, index: int) -> Generator[None, None, Prediction]:
        """Segment one frame."""

    def inspect(self, index: int, x: int, y: int, force: bool) -> Generator[None, None, LookBack]:
        """Where one pixel looked."""

    def run_pass(self, frames: tuple[int, ...]) -> Generator[Prediction | None, None, None]:
        """Segment frames in order, yielding each."""
