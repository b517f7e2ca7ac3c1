"""The state of what is open, and what happens to it.

Knows no widget: the window connects views' signals to these slots and these signals to views'
slots. Heavy work goes to jobs; results come back here, on the GUI thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.facts import MediaFacts, ModelChoice, ModelFacts, Session
from app.jobs import Jobs, Lane, Slot
from app.painting import Painting
from stt_core.cache import ByteCache
from stt_core.config import Precision
from stt_core.errors import MediaError
from stt_core.media.frame import Frame
from stt_core.media.source import MediaSource, media_hash, open_media
from stt_core.results import LookBack, Prediction

FRAME_BYTES = 256 << 20
PREDICTION_BYTES = 512 << 20
PASS_JOB = "pass"


@dataclass(frozen=True, slots=True)
class Query:
    """The pixel under inspection."""

    x: int
    y: int
    force: bool = False


class Controller(QObject):
    """See the module's docstring.

    Args:
        jobs: runs everything slow.
        make_session: makes the session, on the INFER lane; it may import torch there.
    """

    media_changed = Signal(object)  # MediaFacts
    model_changed = Signal(object)  # ModelFacts
    model_loading = Signal(str)  # its name
    devices_changed = Signal(object)  # tuple[str, ...]
    frame_changed = Signal(object)  # Frame
    frame_wanted = Signal(int, float)  # index, seconds: before its picture is there
    prediction_changed = Signal(object)  # Prediction, or None while there is none
    look_changed = Signal(object)  # LookBack, or None when nothing is inspected
    predicted_changed = Signal(object)  # bool [frames]
    playing_changed = Signal(bool)
    job_started = Signal(str, str)  # id, title
    job_updated = Signal(str, int, int, str)  # id, done, total, text
    job_finished = Signal(str, str, bool)  # id, text, whether it went well
    said = Signal(str)  # for the status bar

    def __init__(self, jobs: Jobs, make_session: Callable[[], Session]) -> None:
        super().__init__()
        self._jobs = jobs
        self._make_session = make_session
        # these four are touched on the INFER lane only
        self._session: Session | None = None
        self._session_media: MediaFacts | None = None
        self._session_choice: ModelChoice | None = None
        self._session_model: ModelFacts | None = None
        self._reader: MediaSource | None = None  # used on the DECODE lane only
        self.painting = Painting(jobs, self)
        self.media: MediaFacts | None = None
        self.model: ModelFacts | None = None
        self.choice = self._choice_in_use = ModelChoice("")
        self.frame = 0
        self.query: Query | None = None
        self._wanted_first: tuple[int, Query | None] = (0, None)
        self._frames: ByteCache[Frame] = ByteCache(FRAME_BYTES)
        self._predictions: ByteCache[Prediction] = ByteCache(PREDICTION_BYTES)
        self._predicted = np.zeros(0, np.bool_)
        self._pass_begun = 0.0
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._on_tick)
        jobs.failed.connect(self._on_failed)

    # What the person does.

    def open(self, path: Path, *, frame: int = 0, query: Query | None = None) -> None:
        """Open a video or an image folder, and show a frame of it."""
        self.pause()
        self.cancel_pass()
        self._wanted_first = (frame, query)
        self.said.emit(f"Opening {path.name} ...")
        self._jobs.start(
            Lane.DECODE,
            Slot.SETUP,
            partial(self._open_reader, path),
            on_done=self._on_opened,
        )

    def load_model(self, choice: ModelChoice) -> None:
        """Compute with another model, device or precision from here on."""
        self.cancel_pass()
        self.choice = choice
        self.model_loading.emit(Path(choice.name).stem)
        self._set_up()

    def choose_model(self, name: str) -> None:
        self.load_model(replace(self.choice, name=name, key_frames=None))

    def choose_device(self, device: str) -> None:
        self.load_model(replace(self.choice, device=device))

    def choose_precision(self, precision: Precision) -> None:
        self.load_model(replace(self.choice, precision=precision))

    def choose_key_frames(self, count: int) -> None:
        if self.model is None or self.model.key_frames != count:
            self.load_model(replace(self.choice, key_frames=count))

    def show_frame(self, index: int) -> None:
        """Go to a frame: its picture first, then its prediction, then the inspection."""
        if self.media is None:
            return
        self.frame = min(max(0, index), self.media.frames - 1)
        self.frame_wanted.emit(self.frame, self._seconds(self.frame))
        self._show_picture()
        self._show_prediction()
        self._look_again()
        self.painting.show(self.frame)

    def step(self, by: int) -> None:
        self.pause()
        self.show_frame(self.frame + by)

    def show_last(self) -> None:
        if self.media is not None:
            self.show_frame(self.media.frames - 1)

    def toggle_play(self) -> None:
        if self._clock.isActive():
            self.pause()
        elif self.media is not None:
            if self.frame == self.media.frames - 1:
                self.show_frame(0)
            self._clock.start(max(1, round(1000 / self.media.fps)))
            self.playing_changed.emit(True)

    def pause(self) -> None:
        if self._clock.isActive():
            self._clock.stop()
            self.playing_changed.emit(False)

    def inspect(self, x: int, y: int, *, force: bool = False) -> None:
        """Show where image pixel (x, y) looked in the past, here and on the frames shown next."""
        self.query = Query(x, y, force)
        self._look_again()

    def force(self) -> None:
        """Inspect the same pixel even though selection did not choose it."""
        if self.query is not None:
            self.inspect(self.query.x, self.query.y, force=True)

    def stop_inspecting(self) -> None:
        self.query = None
        self._jobs.cancel(Lane.INFER, Slot.INSPECTION)
        self.look_changed.emit(None)

    def run_pass(self) -> None:
        """Segment every frame that has no prediction yet, the shown one and those after first."""
        if self.media is None or self.model is None:
            self.said.emit("Open a video and choose a model first.")
            return
        order = [*range(self.frame, self.media.frames), *range(self.frame)]
        missing = tuple(i for i in order if not self._predicted[i])
        if not missing:
            self.said.emit("Every frame is segmented already.")
            return
        self._pass_begun = perf_counter()
        self.job_started.emit(PASS_JOB, f"Segment {self.media.path.name}")
        told = partial(self._on_pass_step, len(missing))
        done = {"count": 0}
        self._jobs.start(
            Lane.INFER,
            Slot.PASS,
            partial(self._infer_pass, missing),
            on_step=lambda p: told(p, done),
            on_done=lambda _: self.job_finished.emit(PASS_JOB, "done", True),
            on_failed=self._on_pass_failed,
        )
        self.job_updated.emit(PASS_JOB, 0, len(missing), "starting")

    def cancel_pass(self) -> None:
        self._jobs.cancel(Lane.INFER, Slot.PASS)
        if self._pass_begun:
            self._pass_begun = 0.0
            self.job_finished.emit(PASS_JOB, "cancelled; what was done is kept", True)

    def fine_tune(self) -> None:
        """Train on what is painted, in a process of its own, and then compute with the result."""
        if self.media is None or self.model is None:
            self.said.emit("Open a video and choose a model first.")
            return
        self.painting.fine_tune(self.media, self.model, on_model=self.choose_model)

    def close(self) -> None:
        """Stop everything and wait for it."""
        self.pause()
        self._jobs.shutdown()

    # On the DECODE lane, which alone touches the reader.

    def _open_reader(self, path: Path) -> Generator[None, None, MediaFacts]:
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

    def _decode(self, index: int) -> Generator[Frame, None, None]:
        if self._reader is None:
            raise MediaError("no video is open")
        yield self._reader[index]

    # On the INFER lane, which alone touches the session.

    def _infer_set_up(
        self, choice: ModelChoice, media: MediaFacts | None
    ) -> Generator[None, None, tuple[ModelFacts, tuple[str, ...]]]:
        """Bring the session to this model and medium; only what differs is done."""
        session = self._made()
        if media is not None and media != self._session_media:
            yield from session.open(media.path)
            self._session_media = media
        if self._session_model is None or choice != self._session_choice:
            yield from session.load(choice)
            self._session_choice = choice
        self._session_model = yield from session.settle()
        return self._session_model, (yield from session.devices())

    def _infer(self, index: int) -> Generator[None, None, Prediction]:
        return (yield from self._made().predict(index))

    def _infer_look(self, index: int, query: Query) -> Generator[None, None, LookBack]:
        return (yield from self._made().inspect(index, query.x, query.y, query.force))

    def _infer_pass(self, frames: tuple[int, ...]) -> Generator[Prediction | None, None, None]:
        yield from self._made().run_pass(frames)

    def _made(self) -> Session:
        if self._session is None:
            self._session = self._make_session()
        return self._session

    # Back on the GUI thread.

    def _on_opened(self, media: MediaFacts) -> None:
        self._frames.clear()
        self._forget_predictions(media.frames)
        self.media = media
        self.query = None
        self.media_changed.emit(media)
        self.look_changed.emit(None)
        self.painting.open(media)
        size = f"{media.width}x{media.height}"
        opened = f"{media.path.name}: {media.frames} frames, {size}, {media.fps:.2f} fps"
        self.said.emit("  ".join([opened, *media.warnings]))
        if self.choice.name:
            self._set_up()
        frame, query = self._wanted_first
        self.query = query
        self.show_frame(frame)

    def _set_up(self) -> None:
        """Ask for the model and the medium that are wanted now; a newer wish replaces this one."""
        self._jobs.start(
            Lane.INFER,
            Slot.SETUP,
            partial(self._infer_set_up, self.choice, self.media),
            on_done=partial(self._on_set_up, self.choice),
            on_failed=self._on_set_up_failed,
        )

    def _on_set_up(self, choice: ModelChoice, loaded: tuple[ModelFacts, tuple[str, ...]]) -> None:
        self._choice_in_use = choice
        facts, devices = loaded
        self.devices_changed.emit(devices)
        if facts != self.model:
            self._use(facts)

    def _on_set_up_failed(self, error: Exception) -> None:
        """Stay with the model there was."""
        self.choice = self._choice_in_use
        if self.model is not None:
            self.model_changed.emit(self.model)
        self._jobs.failed.emit(error)

    def _use(self, model: ModelFacts) -> None:
        self.model = model
        self._forget_predictions(self.media.frames if self.media else 0)
        self.painting.set_classes(model.classes)
        self.model_changed.emit(model)
        if model.notes:
            self.said.emit("  ".join(model.notes))
        if self.media is not None:
            self.show_frame(self.frame)

    def _show_picture(self) -> None:
        cached = self._frames.get(self.frame)
        if cached is not None:
            self._jobs.cancel(Lane.DECODE, Slot.FRAME)
            self.frame_changed.emit(cached)
            return
        self._jobs.start(
            Lane.DECODE, Slot.FRAME, partial(self._decode, self.frame), on_step=self._on_frame
        )

    def _show_prediction(self) -> None:
        cached = self._predictions.get(self.frame)
        self.prediction_changed.emit(cached)
        if cached is not None:
            self._jobs.cancel(Lane.INFER, Slot.PREDICTION)
            self._prefetch()
        elif self.model is not None:
            self._jobs.start(
                Lane.INFER,
                Slot.PREDICTION,
                partial(self._infer, self.frame),
                on_done=self._on_prediction,
            )

    def _look_again(self) -> None:
        if self.query is None or self.model is None or self._clock.isActive():
            return
        if self.model.heads == 0:
            self.said.emit("This model reads no key frames: there is no attention to inspect.")
            return
        self._jobs.start(
            Lane.INFER,
            Slot.INSPECTION,
            partial(self._infer_look, self.frame, self.query),
            on_done=self.look_changed.emit,
        )

    def _prefetch(self) -> None:
        after = self.frame + 1
        if self.media is None or self.model is None or after >= self.media.frames:
            return
        if after not in self._frames:
            self._jobs.start(
                Lane.DECODE, Slot.PREFETCH, partial(self._decode, after), on_step=self._keep_frame
            )
        if after not in self._predictions:
            self._jobs.start(
                Lane.INFER,
                Slot.PREFETCH,
                partial(self._infer, after),
                on_done=self._keep_prediction,
            )

    def _on_frame(self, frame: Frame) -> None:
        self._keep_frame(frame)
        if frame.index == self.frame:
            self.frame_changed.emit(frame)

    def _on_prediction(self, prediction: Prediction) -> None:
        self._keep_prediction(prediction)
        if prediction.frame == self.frame:
            self.prediction_changed.emit(prediction)
            self._prefetch()

    def _on_pass_step(self, total: int, prediction: Prediction, done: dict[str, int]) -> None:
        self._keep_prediction(prediction)
        done["count"] += 1
        if prediction.frame == self.frame:
            self.prediction_changed.emit(prediction)
        spent = max(1e-6, perf_counter() - self._pass_begun)
        fps = done["count"] / spent
        left = (total - done["count"]) / fps
        text = f"{fps:.1f} fps, {left:.0f} s left"
        self.job_updated.emit(PASS_JOB, done["count"], total, text)
        if done["count"] == total:
            self._pass_begun = 0.0

    def _on_pass_failed(self, error: Exception) -> None:
        self._pass_begun = 0.0
        self.job_finished.emit(PASS_JOB, str(error), False)

    def _keep_frame(self, frame: Frame) -> None:
        self._frames.put(frame.index, frame, frame.image.nbytes)

    def _keep_prediction(self, prediction: Prediction) -> None:
        gone = self._predictions.put(prediction.frame, prediction, prediction.nbytes)
        self._predicted[gone] = False
        self._predicted[prediction.frame] = True
        self.predicted_changed.emit(self._predicted)

    def _forget_predictions(self, frames: int) -> None:
        for slot in (Slot.PREDICTION, Slot.PREFETCH, Slot.INSPECTION):
            self._jobs.cancel(Lane.INFER, slot)
        self._predictions.clear()
        self._predicted = np.zeros(frames, np.bool_)
        self.predicted_changed.emit(self._predicted)

    def _on_tick(self) -> None:
        # the picture of this frame is awaited rather than skipped
        if self.media is None or self.frame not in self._frames:
            return
        if self.frame + 1 >= self.media.frames:
            self.pause()
            self.show_frame(self.frame)
        else:
            self.show_frame(self.frame + 1)

    def _on_failed(self, error: Exception) -> None:
        self.pause()

    def _seconds(self, index: int) -> float:
        cached = self._frames.get(index)
        if cached is not None:
            return cached.pts_seconds
        return index / self.media.fps if self.media else 0.0
