"""What the lanes tell the window: plain values, free of torch and of Qt."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.config import Precision
from stt_core.labels import LabelClass
from stt_core.project.frames import Review
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
    sha256: str = ""
    """Of what the labels were painted on; empty where that is not known."""
    follows: bool = False
    """Whether the project follows by itself what happens to it, as to a folder of images."""
    shape: tuple[int, int, int] = (0, 0, 0)
    """Frames, height, width."""

    def differs(self, media: MediaFacts) -> bool:
        """Whether what was opened in its place has another content."""
        return bool(self.sha256) and not self.follows and self.sha256 != media.sha256

    def fits(self, media: MediaFacts) -> bool:
        """Whether its labels have the size of what was opened in its place."""
        return self.shape[1:] == (media.height, media.width)


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
    acts: tuple[tuple[str, str], ...] = ()
    """Name and words of what can be done about it, a button each."""


@dataclass(frozen=True, slots=True)
class FrameMarks:
    """What a person noted of the frames of a medium."""

    reviews: Mapping[int, Review] = field(default_factory=dict)
    """Of frames that are not "todo"."""
    bookmarks: tuple[int, ...] = ()
    """Rising."""

    def review(self, frame: int) -> Review:
        return self.reviews.get(frame, "todo")


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


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model, or a way to make label maps elsewhere, whose predictions are stored."""

    sha256: str
    name: str
    file: Path | None
    """Where the model is; None where nobody knows, as of what was imported."""
    frames: Mapping[str, int]
    """How many of each medium, by the medium's hash."""

    @property
    def word(self) -> str:
        """What the commands call it."""
        return self.sha256 if self.file is None else str(self.file)


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
