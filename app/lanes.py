"""What the two worker lanes do for the controller: each class is used on its own lane only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

from app.facts import MediaFacts, ModelChoice, ModelFacts, PassProgress, Session
from app.stored import StoredPredictions
from stt_core.errors import MediaError
from stt_core.media.frame import Frame
from stt_core.media.source import MediaSource, media_hash, open_media
from stt_core.project.predictions.key import PredictionKey
from stt_core.results import LookBack, Prediction


class SetUp(NamedTuple):
    """A session that is ready."""

    model: ModelFacts
    devices: tuple[str, ...]
    key: PredictionKey | None


class DecodeLane:
    """The reader of the open medium, and what is stored of it."""

    def __init__(self) -> None:
        self._reader: MediaSource | None = None
        self.stored = StoredPredictions()

    def open(self, path: Path) -> Generator[None, None, MediaFacts]:
        yield
        reader = open_media(path)
        if self._reader is not None:
            self._reader.close()
        self._reader = reader
        return MediaFacts(
            path,
            len(reader),
            reader.width,
            reader.height,
            reader.fps,
            media_hash(path),
            reader.warnings,
        )

    def decode(self, index: int) -> Generator[Frame, None, None]:
        if self._reader is None:
            raise MediaError("no video is open")
        yield self._reader[index]


class InferLane:
    """The session, brought to the model and the medium that are wanted.

    Args:
        make_session: makes it, on the lane; it may import torch there.
    """

    def __init__(self, make_session: Callable[[], Session]) -> None:
        self._make_session = make_session
        self._session: Session | None = None
        self._media: MediaFacts | None = None
        self._choice: ModelChoice | None = None
        self._model: ModelFacts | None = None

    def set_up(self, choice: ModelChoice, media: MediaFacts | None) -> Generator[None, None, SetUp]:
        """Bring the session to this model and medium; only what differs is done."""
        session = self._made()
        if media is not None and media != self._media:
            yield from session.open(media.path)
            self._media = media
        if self._model is None or choice != self._choice:
            yield from session.load(choice)
            self._choice = choice
        self._model = yield from session.settle()
        return SetUp(self._model, (yield from session.devices()), session.pass_key())

    def predict(self, index: int) -> Generator[None, None, Prediction]:
        return (yield from self._made().predict(index))

    def look(self, index: int, x: int, y: int, force: bool) -> Generator[None, None, LookBack]:
        return (yield from self._made().inspect(index, x, y, force))

    def run_pass(
        self, folder: Path, runs: tuple[range, ...]
    ) -> Generator[PassProgress | None, None, None]:
        yield from self._made().run_pass(folder, runs)

    def _made(self) -> Session:
        if self._session is None:
            self._session = self._make_session()
        return self._session
