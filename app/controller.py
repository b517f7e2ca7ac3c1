"""The state of what is open, and what happens to it.

Knows no widget: the window connects views' signals to these slots and these signals to views'
slots. Heavy work goes to jobs; results come back here, on the GUI thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.desk import is_project
from app.desk_line import DeskLine
from app.doubt import DOUBT, doubt_notice
from app.facts import (
    MediaFacts,
    MediumFacts,
    ModelChoice,
    ModelFacts,
    Notice,
    ProjectFacts,
    Session,
    ShownPrediction,
)
from app.jobs import Jobs, Lane, Slot
from app.lanes import DecodeLane, InferLane
from app.marking import Marking
from app.marks import Marks
from app.models import Models
from app.painting import Painting
from app.pictures import Pictures
from app.playing import Player
from app.predictions import Predictions
from app.settings import own_project
from app.training import Training
from app.whole_pass import WholePass


@dataclass(frozen=True, slots=True)
class Query:
    """The pixel under inspection."""

    x: int
    y: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Which medium of which project is to be shown, and what of it."""

    project: ProjectFacts | None = None
    """None for a bare medium."""
    media_id: str = ""
    frame: int = 0
    query: Query | None = None


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
        self.models = Models(jobs, self._infer, self)
        self.pictures = Pictures(jobs, self._decoder, self)
        self.line = DeskLine(jobs, self)
        self.marks = Marks(self.line, self)
        self.painting = Painting(self.line, self.marks, self)
        self.marking = Marking(self.marks, self.painting, self)
        self.player = Player(self.pictures, self)
        self.training = Training(jobs, self)
        self.whole_pass = WholePass(jobs, self._infer.run_pass, self)
        self.predictions = Predictions(jobs, self._decoder, self._infer, self)
        self.media: MediaFacts | None = None
        self.frame = 0
        self.query: Query | None = None
        self._closed = False
        jobs.failed.connect(self._on_failed)
        self.line.failed.connect(jobs.failed)
        self.line.noticed.connect(self.noticed)
        self.painting.doubted.connect(self._tell_doubt)
        self.painting.kept.connect(self.look_up)
        self.models.loading.connect(self._on_loading)
        self.models.devices_changed.connect(self.devices_changed)
        self.models.replaced.connect(self._use)
        self.models.stayed.connect(self.model_changed)
        self.models.ready.connect(self.look_up)
        self.pictures.changed.connect(self.frame_changed)
        self.player.wanted.connect(self.show_frame)
        self.player.changed.connect(self.playing_changed)
        self.marking.frame_wanted.connect(self._jump)
        self.marking.said.connect(self.said)
        self.training.failed.connect(jobs.failed)
        self.painting.place_wanted.connect(self.go_to)
        self.predictions.failed.connect(jobs.failed)
        self.predictions.changed.connect(self.prediction_changed)
        self.predictions.changed.connect(self._prefetch)
        self.predictions.present_changed.connect(self.predicted_changed)
        self.predictions.noticed.connect(self.noticed)
        self.predictions.looked_up.connect(self._show_again)
        self.whole_pass.stored.connect(self.predictions.take_stored)

    @property
    def model(self) -> ModelFacts | None:
        """The one that computes."""
        return self.models.model

    @property
    def choice(self) -> ModelChoice:
        """The one that is wanted."""
        return self.models.choice

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
        self.line.ask(partial(self.line.desk.save_as, folder), self._on_saved_as)

    def relink(self, media_id: str, path: Path) -> None:
        """Say where a missing medium is, or a folder to search; and show it."""
        done = partial(self._on_relinked, media_id)
        self.line.ask(partial(self.line.desk.relink, media_id, path), done)

    def search_media(self, folder: Path) -> None:
        """Look for all missing media below a folder."""
        self.line.ask(partial(self.line.desk.search, folder), partial(self._on_relinked, ""))

    def add_media(self, paths: Sequence[Path]) -> None:
        """Add media to the open project, and turn to the first of them."""
        self.said.emit(f"Adding {', '.join(path.name for path in paths)} ...")
        self.line.ask(partial(self.line.desk.add, paths), self._on_added)

    def load_model(self, choice: ModelChoice) -> None:
        self.models.load(choice)

    def show_frame(self, index: int) -> None:
        """Go to a frame: its picture first, then its prediction, then the inspection."""
        if self.media is None:
            return
        self.frame = min(max(0, index), self.media.frames - 1)
        self.frame_wanted.emit(self.frame, self._seconds(self.frame))
        self.player.show(self.frame)
        self.pictures.show(self.frame)
        self.predictions.show(self.frame)
        self._look_again()
        self.painting.show(self.frame)

    def _jump(self, index: int) -> None:
        self.pause()
        self.show_frame(index)

    def step(self, by: int) -> None:
        self._jump(self.frame + by)

    def show_last(self) -> None:
        if self.media is not None:
            self.show_frame(self.media.frames - 1)

    def pause(self) -> None:
        self.player.pause()

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
            folder / "runs", self.painting.snapshot, self.model, on_model=self.models.choose_model
        )

    def close(self) -> None:
        """Stop everything and wait for it."""
        if self._closed:
            return
        self._closed = True
        self.pause()
        self.painting.stop()
        self.line.close()
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
            text = f"{project.name} has no media. Add some: Project > Add videos."
            self.noticed.emit(Notice("media", text))

    def _on_saved_as(self, project: ProjectFacts) -> None:
        medium = self.painting.medium or project.media[0].id
        self.painting.medium = medium
        self.painting.use(project)
        self.said.emit(f"Saved as {project.folder}; the work goes on there.")
        self.look_up()

    def _on_added(self, added: tuple[str, ProjectFacts]) -> None:
        first, project = added
        self.painting.use(project)
        self.noticed.emit(Notice("media", ""))
        self.open_medium(first)

    def _on_relinked(self, media_id: str, project: ProjectFacts) -> None:
        self.painting.use(project)
        self.noticed.emit(Notice("media", ""))
        if media_id:
            self.open_medium(media_id)

    def _on_opened(self, place: Place, media: MediaFacts) -> None:
        self.pictures.begin()
        self.player.begin(media.frames, media.fps)
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
        self.models.work_on(media)
        self.query = place.query
        self.show_frame(place.frame)

    def _on_loading(self, name: str) -> None:
        self.cancel_pass()
        self.model_loading.emit(name)

    def _use(self, model: ModelFacts) -> None:
        self.predictions.begin(self.media.frames if self.media else 0)
        self.painting.set_classes(model.classes)
        self.model_changed.emit(model)
        if model.notes:
            self.said.emit("  ".join(model.notes))

    def _store_folder(self) -> Path | None:
        """The folder of the project, or of what will be that of a bare medium."""
        if self.painting.doubtful is not None:
            return None
        if self.painting.project is not None:
            return self.painting.project.folder
        return None if self.media is None else own_project(self.media.sha256)

    def look_up(self) -> None:
        """Find out what is stored, and then show the frame."""
        if self.media is not None and self.model is not None:
            key = self.models.key
            key = key if key and key.media_hash == self.media.sha256 else None
            self.predictions.look_up(self._store_folder(), key)

    def _show_again(self) -> None:
        if self.media is not None and self.model is not None:
            self.show_frame(self.frame)

    def _look_again(self) -> None:
        query = self.query
        if query is None or self.model is None or self.player.playing:
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
        self.pictures.prefetch(after)

    def _tell_doubt(self, medium: MediumFacts | None) -> None:
        """A file holds something else than what was painted on, or no more."""
        if medium is None or self.media is None:
            self.noticed.emit(Notice(DOUBT, ""))
        else:
            self.noticed.emit(doubt_notice(medium, self.media))

    def _on_failed(self, error: Exception) -> None:
        self.pause()

    def _seconds(self, index: int) -> float:
        seconds = self.pictures.seconds(index)
        if seconds is not None:
            return seconds
        return index / self.media.fps if self.media else 0.0
