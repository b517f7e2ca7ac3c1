"""The main window: makes the parts and connects them. Nothing else is decided here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QPaintEvent, QShowEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QMainWindow,
    QMessageBox,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.asking import Asking
from app.controller import Controller
from app.dialogs import Dialogs
from app.display import Display
from app.facts import MediaFacts, MediumFacts, ModelFacts, Notice, ProjectFacts, SaveState
from app.failure import record_failure
from app.jobs import Jobs
from app.menus import build_menus, shortcut_groups
from app.settings import Settings
from app.views.canvas import Tool
from app.views.jobs_panel import JobsPanel
from app.views.media_bar import MediaBar
from app.views.notices import NoticeBar
from app.views.shortcut_sheet import ShortcutSheet
from app.views.start_page import StartPage
from app.whole_pass import PASS_JOB
from stt_core.errors import SttError
from stt_core.formats.model_file import bundled_models, read_header
from stt_core.resources import SAMPLE_CLIP, SAMPLE_MODEL, resource_path

_DOCK_HEIGHTS = [330, 400, 90]


class MainWindow(QMainWindow):
    """See the module's docstring.

    Args:
        controller: what is done; closed with the window.
        jobs: whose failures are shown.
        settings: what is remembered.
    """

    first_painted = Signal()

    def __init__(self, controller: Controller, jobs: Jobs, settings: Settings) -> None:
        super().__init__()
        self.setWindowTitle("STT Studio")
        self.setAcceptDrops(True)
        self.controller = self._controller = controller
        self._settings = settings
        self.remembers = True  # whether layout and recent media outlive this window
        self._painted_once = False
        self._licence = ""
        self.display = Display(self)
        self.start_page = StartPage()
        self.jobs_panel = JobsPanel()
        self.media_bar, self.notices = MediaBar(), NoticeBar()
        self.asking = Asking(self, controller)
        self.dialogs = Dialogs(self, controller, jobs)
        self.exporting = self.dialogs.exporting
        self._closing = False
        self.start_page.set_recent(settings.recent())
        self.display.timeline.set_enabled(False)
        self.resize(1440, 900)
        self._lay_out()
        build_menus(self, self._acts())
        self._connect(jobs)
        self._list_models()
        geometry, state = settings.layout()
        self.restoreGeometry(geometry)
        self.restoreState(state)

    def _lay_out(self) -> None:
        self._pages = QStackedWidget()
        self._pages.addWidget(self.start_page)
        self._pages.addWidget(self.display.canvas)
        middle = QSplitter(Qt.Orientation.Vertical)
        middle.addWidget(self._pages)
        middle.addWidget(self.display.key_strip)
        middle.setStretchFactor(0, 1)
        middle.setCollapsible(0, False)
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.display.top_bar)
        column.addWidget(self.media_bar)
        column.addWidget(self.notices)
        column.addWidget(middle, 1)
        column.addWidget(self.display.timeline)
        self.setCentralWidget(centre)
        self.setStatusBar(self.display.status)
        self._docks = [
            self._add_dock("Classes", self.display.classes),
            self._add_dock("Inspector", self.display.inspector),
            self._add_dock("Jobs", self.jobs_panel),
        ]

    def _add_dock(self, name: str, widget: QWidget) -> QDockWidget:
        dock = QDockWidget(name, self)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        return dock

    def _connect(self, jobs: Jobs) -> None:
        """The traffic between what is done and what is shown, in one place."""
        controller, display = self._controller, self.display
        painting = controller.painting
        self._connect_project(display)
        # what the person does
        self.start_page.open_video.connect(self.asking.open_video)
        self.start_page.open_folder.connect(self.asking.open_folder)
        self.start_page.open_project.connect(self.asking.open_project)
        self.start_page.try_sample.connect(self._open_sample)
        self.start_page.recent_chosen.connect(lambda path: controller.open(Path(path)))
        display.top_bar.model_chosen.connect(controller.models.choose_model)
        display.top_bar.load_model_requested.connect(self.asking.open_model)
        display.top_bar.device_chosen.connect(controller.models.choose_device)
        display.top_bar.precision_chosen.connect(controller.models.choose_precision)
        display.top_bar.key_frames_chosen.connect(controller.models.choose_key_frames)
        display.canvas.clicked.connect(lambda x, y: controller.inspect(x, y))
        display.canvas.stroke_finished.connect(painting.paint)
        display.timeline.moved.connect(controller.show_frame)
        display.timeline.stepped.connect(controller.step)
        display.timeline.play_toggled.connect(controller.player.toggle)
        display.inspector.force_requested.connect(controller.force)
        self.jobs_panel.cancel_requested.connect(self._cancel_job)
        # what there is to see
        controller.media_changed.connect(self._show_media)
        controller.model_loading.connect(display.status.show_loading)
        controller.model_changed.connect(self._show_model)
        controller.devices_changed.connect(lambda names: display.top_bar.set_devices(list(names)))
        controller.frame_wanted.connect(display.show_place)
        controller.frame_changed.connect(display.show_frame)
        controller.prediction_changed.connect(display.show_prediction)
        controller.look_changed.connect(display.show_look)
        controller.predicted_changed.connect(display.timeline.set_predicted)
        controller.playing_changed.connect(display.timeline.set_playing)
        controller.said.connect(display.status.say)
        dialogs = self.dialogs
        made = (dialogs.exporting, dialogs.video_making, dialogs.importing)
        for source in (controller.whole_pass, controller.training, *made):
            source.job_started.connect(self.jobs_panel.add)
            source.job_updated.connect(self.jobs_panel.update_job)
            source.job_finished.connect(self.jobs_panel.finish)
        jobs.failed.connect(self.show_failure)

    def _connect_project(self, display: Display) -> None:
        """What concerns the project and what is painted."""
        controller, bar = self._controller, self.media_bar
        painting = controller.painting
        bar.medium_chosen.connect(controller.open_medium)
        bar.relink_file_asked.connect(self.asking.relink_file)
        bar.relink_folder_asked.connect(self.asking.relink_folder)
        bar.search_asked.connect(self.asking.search_media)
        display.selection_wanted.connect(controller.predictions.compute)
        controller.predictions.others_changed.connect(display.timeline.set_imported)
        controller.marks.changed.connect(display.show_marks)
        self.notices.act_asked.connect(self.asking.answer)
        self.dialogs.said.connect(display.status.say)
        self.dialogs.exporting.noticed.connect(self.notices.show_notice)
        self.asking.said.connect(display.status.say)
        self.asking.noticed.connect(self.notices.show_notice)
        controller.medium_missing.connect(self._tell_missing)
        controller.noticed.connect(self.notices.show_notice)
        painting.noticed.connect(self.notices.show_notice)
        painting.said.connect(display.status.say)
        painting.project_changed.connect(self._show_project)
        painting.state_changed.connect(self._show_saved)
        painting.changed.connect(display.canvas.show_painted)
        painting.frames_changed.connect(display.timeline.set_painted)
        painting.settled.connect(self._close_when_saved)

    def _acts(self) -> dict[str, Callable[..., object]]:
        controller, display = self._controller, self.display
        return {
            "open_video": self.asking.open_video,
            "open_folder": self.asking.open_folder,
            "open_project": self.asking.open_project,
            "save_as": self.asking.save_project_as,
            "search_media": self.asking.search_media,
            "add_videos": self.asking.add_videos,
            "add_folder": self.asking.add_folder,
            "export": self.dialogs.export,
            "import_labels": self.dialogs.import_labels,
            "make_video": self.dialogs.make_video,
            "toggle_bookmark": controller.marking.toggle_bookmark,
            "go_to_bookmark": controller.marking.go_to_bookmark,
            "review": controller.marking.set_review,
            "open_model": self.asking.open_model,
            "open_sample": self._open_sample,
            "quit": self.close,
            "undo": controller.painting.undo,
            "redo": controller.painting.redo,
            "toggle_overlay": display.toggle_overlay,
            "toggle_veil": lambda: display.toggle_layer("veil"),
            "toggle_need": lambda: display.toggle_layer("need"),
            "opacity": display.change_opacity,
            "fit": display.canvas.fit,
            "play": controller.player.toggle,
            "step": controller.step,
            "first": lambda: controller.show_frame(0),
            "last": controller.show_last,
            "go_to": display.timeline.focus_frame,
            "tool_inspect": lambda: display.set_tool(Tool.INSPECT),
            "tool_brush": lambda: display.set_tool(Tool.BRUSH),
            "tool_eraser": lambda: display.set_tool(Tool.ERASER),
            "force": controller.force,
            "stop_inspecting": controller.stop_inspecting,
            "head": lambda number: display.set_head(number - 1 if number else None),
            "brush": display.scale_radius,
            "label_class": display.choose_class,
            "run_pass": controller.run_pass,
            "cancel_pass": controller.cancel_pass,
            "fine_tune": controller.fine_tune,
            "shortcuts": lambda: ShortcutSheet(shortcut_groups(), self).open(),
            "about_model": self._about_model,
        }

    def open_path(self, path: Path) -> None:
        """Open what a person named: a model, or else a project or a medium."""
        self.asking.open_path(path)

    def show_failure(self, error: Exception) -> None:
        """Tell a failure: the user's in a sentence, ours with the log file it went to."""
        self.display.status.clearMessage()
        mine = not isinstance(error, (SttError, IndexError))
        text = record_failure(error) if mine else str(error)
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Critical if mine else QMessageBox.Icon.Warning)
        box.setWindowTitle("STT Studio")
        box.setText(text)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _show_media(self, media: MediaFacts) -> None:
        self.setWindowTitle(f"{media.path.name} - STT Studio")
        self._pages.setCurrentWidget(self.display.canvas)
        self.display.show_media(media)

    def _show_project(self, project: ProjectFacts) -> None:
        self.media_bar.show_project(project)
        self.media_bar.choose(self._controller.painting.medium)
        self.display.show_project(project)
        text = "" if project.read_only is None else f"Read-only: {project.read_only}"
        self.notices.show_notice(Notice("read-only", text))
        media = self._controller.media
        if not project.own:
            self._title(project.folder)
        elif media is not None:
            self._title(media.path)

    def _title(self, path: Path) -> None:
        """Name what is open, and remember it."""
        self.setWindowTitle(f"{path.name} - STT Studio")
        if self.remembers:
            self._settings.add_recent(path)

    def _show_saved(self, state: SaveState) -> None:
        self.display.status.show_saved(state)

    def _tell_missing(self, medium: MediumFacts) -> None:
        text = f"{medium.name} is missing: it was {medium.last_seen}. Relink it to see it."
        self.notices.show_notice(Notice("media", text))
        self.media_bar.choose(self._controller.painting.medium)

    def _show_model(self, model: ModelFacts) -> None:
        self._licence = model.licence
        self._list_models()
        self.display.top_bar.choose_model(str(model.path))
        self.display.show_model(model)

    def _list_models(self) -> None:
        """Bundled models and the one in use, each with what its weights may be used for."""
        bundled = bundled_models()
        paths = dict.fromkeys(bundled[n] for n in sorted(bundled, key=lambda n: n != SAMPLE_MODEL))
        if self._controller.model is not None:
            paths[self._controller.model.path] = None
        rows = [_model_row(path) for path in paths]
        self.display.top_bar.set_models(rows)

    def _cancel_job(self, job: str) -> None:
        if job == PASS_JOB:
            self._controller.cancel_pass()
        elif not self.dialogs.cancel(job):
            self._controller.training.cancel()

    def _open_sample(self) -> None:
        self._controller.open(resource_path(SAMPLE_CLIP))

    def _about_model(self) -> None:
        name = Path(self._controller.choice.name).stem or "No model"
        QMessageBox.information(self, "About the model", f"{name}\n\n{self._licence}")

    def _gives_up(self) -> bool:
        """Ask whether strokes that cannot be saved may be lost."""
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle("STT Studio")
        box.setText(self._controller.painting.state.detail)
        box.setInformativeText("Close all the same, and lose them?")
        box.setStandardButtons(
            QMessageBox.StandardButton.Discard | QMessageBox.StandardButton.Cancel
        )
        return box.exec() == QMessageBox.StandardButton.Discard

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._settings.layout()[1].isEmpty():  # sizes count only once the window has its own
            self.resizeDocks(self._docks, _DOCK_HEIGHTS, Qt.Orientation.Vertical)
            self.resizeDocks(self._docks[:1], [340], Qt.Orientation.Horizontal)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted_once:
            self._painted_once = True
            QTimer.singleShot(0, self.first_painted.emit)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        urls = event.mimeData().urls()
        self.asking.take([Path(url.toLocalFile()) for url in urls if url.isLocalFile()])

    def _close_when_saved(self) -> None:
        if self._closing:
            self._closing = False
            self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        painting = self._controller.painting
        if painting.waiting and not painting.error:
            self._closing = True  # the stroke just made: a moment later
            event.ignore()
            return
        if painting.waiting and not self._gives_up():
            event.ignore()
            return
        if self.remembers:
            self._settings.set_layout(self.saveGeometry(), self.saveState())
        self._controller.close()
        event.accept()


def _model_row(path: Path) -> tuple[str, str, str]:
    """Name, path and licence of a model, for the picker."""
    licence = read_header(path).licence
    research = " (research use)" if "research use" in licence.lower() else ""
    return path.stem + research, str(path), licence
