"""The state of what is open, and what happens to it.

Knows no widget: the window connects views' signals to these slots and these signals to views'
slots. Heavy work goes to jobs; results come back here, on the GUI thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from app.desk import is_project
from app.facts import (
    MediaFacts,
    ModelChoice,
    ModelFacts,
    Notice,
    ProjectFacts,
    Session,
    ShownPrediction,
)
from app.jobs import Jobs, Lane, Slot
from app.lanes import DecodeLane, InferLane, SetUp
from app.painting import Painting
from app.predictions import Predictions
from app.settings import own_project
from app.training import Training
from app.whole_pass import WholePass
from stt_core.cache import ByteCache
from stt_core.config import Precision
from stt_core.media.frame import Frame
from stt_core.project.predictions.key import PredictionKey

FRAME_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Which medium of which project is to be shown, and what of it."""

    project: ProjectFacts | None = None
    """None for a bare medium."""
    media_id: str = ""
    frame: int = 0
    query: Query | None = None


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
    medium_missing = Signal(object)  # MediumFacts
    frame_changed = Signal(object)  # Frame
    frame_wanted = Signal(int, float)  # index, seconds: before its picture is there
    prediction_changed = Signal(object)  # ShownPrediction, or None while there is none
    look_changed = Signal(object)  # LookBack, or None when nothing is inspected
    predicted_changed = Signal(object)  # bool [frames]
    playing_changed = Signal(bool)
    noticed = Signal(object)  # Notice
    said = Signal(str)  # for the status bar

    def __init__(self, jobs: Jobs, make_session: Callable[[], Session]) -> None:
        super().__init__()
        self._jobs = jobs
        self._decoder = DecodeLane()  # used on the DECODE lane only
        self._infer = InferLane(make_session)  # on the INFER lane only
        self.painting = Painting(jobs, self)
        self.training = Training(jobs, self)
        self.whole_pass = WholePass(jobs, self._infer.run_pass, self)
        self.predictions = Predictions(jobs, self._decoder, self._infer, self)
        self.media: MediaFacts | None = None
        self.model: ModelFacts | None = None
        self.choice = self._choice_in_use = ModelChoice("")
        self.frame = 0
        self.query: Query | None = None
        self._frames: ByteCache[Frame] = ByteCache(FRAME_BYTES)
        self._key: PredictionKey | None = None
        self._closed = False
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._on_tick)
        jobs.failed.connect(self._on_failed)
        self.painting.failed.connect(jobs.failed)
        self.training.failed.connect(jobs.failed)
        self.painting.place_wanted.connect(self.go_to)
        self.predictions.failed.connect(jobs.failed)
        self.predictions.changed.connect(self.prediction_changed)
        self.predictions.changed.connect(self._prefetch)
        self.predictions.present_changed.connect(self.predicted_changed)
        self.predictions.noticed.connect(self.noticed)
        self.predictions.looked_up.connect(self._show_again)
        self.whole_pass.stored.connect(self.predictions.take_stored)

    # What the person does.

    def open(self, path: Path, *, frame: int = 0, query: Query | None = None) -> None:
        """Open a project, a video or an image folder, and show a frame of it."""
        self.pause()
        self.cancel_pass()
        self.said.emit(f"Opening {path.name} ...")
        if is_project(path):
            show = partial(self._on_project, frame, query)
            self.painting.open_project(path, on_done=show)
        else:
            self._open_medium(path, Place(frame=frame, query=query))

    def open_medium(self, media_id: str, frame: int = 0) -> None:
        """Turn to another medium of the open project."""
        project = self.painting.project
        if project is None:
            return
        self.pause()
        self.cancel_pass()
        medium = next(m for m in project.media if m.id == media_id)
        if medium.path is None:
            self.medium_missing.emit(medium)
        else:
            self._open_medium(medium.path, Place(project, media_id, frame))

    def go_to(self, media_id: str, frame: int) -> None:
        """Go to a frame, perhaps of another medium of the project."""
        if media_id == self.painting.medium:
            self.show_frame(frame)
        else:
            self.open_medium(media_id, frame)

    def save_project_as(self, folder: Path) -> None:
        """Copy the project, or make one of the bare medium, and go on there."""
        self.cancel_pass()
        self.painting.save_as(folder, self._on_saved_as)

    def relink(self, media_id: str, path: Path) -> None:
        """Say where a missing medium is, or a folder to search; and show it."""
        self.painting.relink(media_id, path, partial(self._on_relinked, media_id))

    def search_media(self, folder: Path) -> None:
        """Look for all missing media below a folder."""
        self.painting.search(folder, partial(self._on_relinked, ""))

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
        self.predictions.show(self.frame)
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
        """Segment every frame that is not stored yet, the shown one and those after first."""
        folder = self._store_folder()
        if self.media is None or self.model is None or folder is None:
            self.said.emit("Open a video and choose a model first.")
            return
        missing = int((~self.predictions.stored).sum())
        if not missing:
            self.said.emit("Every frame is segmented already.")
            return
        runs = (range(self.frame, self.media.frames), range(self.frame))
        title = f"Segment {self.media.path.name}"
        self.whole_pass.start(title, folder, tuple(run for run in runs if run), missing)

    def cancel_pass(self) -> None:
        self.whole_pass.cancel()

    def fine_tune(self) -> None:
        """Train on what is painted, in a process of its own, and then compute with the result."""
        project = self.painting.project
        if self.media is None or self.model is None or project is None:
            self.said.emit("Open a video and choose a model first.")
            return
        # a project that cannot be written gets no runs either
        folder = project.folder if project.read_only is None else own_project(self.media.sha256)
        self.training.start(
            folder / "runs", self.painting.snapshot, self.model, on_model=self.choose_model
        )

    def close(self) -> None:
        """Stop everything and wait for it."""
        if self._closed:
            return
        self._closed = True
        self.pause()
        self.painting.close()
        self._jobs.shutdown()

    # Back on the GUI thread.

    def _open_medium(self, path: Path, place: Place) -> None:
        self._jobs.start(
            Lane.DECODE,
            Slot.SETUP,
            partial(self._decoder.open, path),
            on_done=partial(self._on_opened, place),
        )

    def _on_project(self, frame: int, query: Query | None, project: ProjectFacts) -> None:
        """Show the first medium that is there, or that there is none."""
        there = [m for m in project.media if m.path is not None]
        if there:
            path = there[0].path
            assert path is not None
            self._open_medium(path, Place(project, there[0].id, frame, query))
        elif project.media:
            self.medium_missing.emit(project.media[0])
        else:
            text = f"{project.name} has no media. Add some with 'stt-studio project add'."
            self.noticed.emit(Notice("media", text))

    def _on_saved_as(self, project: ProjectFacts) -> None:
        medium = self.painting.medium or project.media[0].id
        self.painting.medium = medium
        self.painting.use(project)
        self.said.emit(f"Saved as {project.folder}; the work goes on there.")
        self._look_up()

    def _on_relinked(self, media_id: str, project: ProjectFacts) -> None:
        self.painting.use(project)
        self.noticed.emit(Notice("media", ""))
        if media_id:
            self.open_medium(media_id)

    def _on_opened(self, place: Place, media: MediaFacts) -> None:
        self._frames.clear()
        self.predictions.begin(media.frames)
        self.media = media
        self.query = None
        self.media_changed.emit(media)
        self.look_changed.emit(None)
        if place.project is None:
            self.painting.open_own(media)
        else:
            self.painting.open_medium(place.project, place.media_id, media)
        size = f"{media.width}x{media.height}"
        opened = f"{media.path.name}: {media.frames} frames, {size}, {media.fps:.2f} fps"
        self.said.emit("  ".join([opened, *media.warnings]))
        if self.choice.name:
            self._set_up()
        self.query = place.query
        self.show_frame(place.frame)

    def _set_up(self) -> None:
        """Ask for the model and the medium that are wanted now; a newer wish replaces this one."""
        self._jobs.start(
            Lane.INFER,
            Slot.SETUP,
            partial(self._infer.set_up, self.choice, self.media),
            on_done=partial(self._on_set_up, self.choice),
            on_failed=self._on_set_up_failed,
        )

    def _on_set_up(self, choice: ModelChoice, ready: SetUp) -> None:
        self._choice_in_use, self._key = choice, ready.key
        self.devices_changed.emit(ready.devices)
        if ready.model != self.model:
            self._use(ready.model)
        self._look_up()

    def _on_set_up_failed(self, error: Exception) -> None:
        """Stay with the model there was."""
        self.choice = self._choice_in_use
        if self.model is not None:
            self.model_changed.emit(self.model)
        self._look_up()
        self._jobs.failed.emit(error)

    def _use(self, model: ModelFacts) -> None:
        self.model = model
        self.predictions.begin(self.media.frames if self.media else 0)
        self.painting.set_classes(model.classes)
        self.model_changed.emit(model)
        if model.notes:
            self.said.emit("  ".join(model.notes))

    def _store_folder(self) -> Path | None:
        """The folder of the project, or of what will be that of a bare medium."""
        if self.painting.project is not None:
            return self.painting.project.folder
        return None if self.media is None else own_project(self.media.sha256)

    def _look_up(self) -> None:
        """Find out what is stored, and then show the frame."""
        if self.media is not None and self.model is not None:
            key = self._key if self._key and self._key.media_hash == self.media.sha256 else None
            self.predictions.look_up(self._store_folder(), key)

    def _show_again(self) -> None:
        if self.media is not None and self.model is not None:
            self.show_frame(self.frame)

    def _show_picture(self) -> None:
        cached = self._frames.get(self.frame)
        if cached is not None:
            self._jobs.cancel(Lane.DECODE, Slot.FRAME)
            self.frame_changed.emit(cached)
            return
        self._jobs.start(
            Lane.DECODE,
            Slot.FRAME,
            partial(self._decoder.decode, self.frame),
            on_step=self._on_frame,
        )

    def _look_again(self) -> None:
        query = self.query
        if query is None or self.model is None or self._clock.isActive():
            return
        if self.model.heads == 0:
            self.said.emit("This model reads no key frames: there is no attention to inspect.")
            return
        self._jobs.start(
            Lane.INFER,
            Slot.INSPECTION,
            partial(self._infer.look, self.frame, query.x, query.y, query.force),
            on_done=self.look_changed.emit,
        )

    def _prefetch(self, shown: ShownPrediction | None) -> None:
        """Have the next picture ready, once nothing more urgent is left to do."""
        after = self.frame + 1
        if shown is None or self.media is None or after >= self.media.frames:
            return
        if after not in self._frames:
            self._jobs.start(
                Lane.DECODE,
                Slot.PREFETCH,
                partial(self._decoder.decode, after),
                on_step=self._keep_frame,
            )

    def _on_frame(self, frame: Frame) -> None:
        self._keep_frame(frame)
        if frame.index == self.frame:
            self.frame_changed.emit(frame)

    def _keep_frame(self, frame: Frame) -> None:
        self._frames.put(frame.index, frame, frame.image.nbytes)

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
