"""The project's own benchmark: its groups, and the window's group itself.

The window is measured from outside: a key or the mouse goes in, and time runs until what was asked
for is painted. No torch is imported here, because the window that is started anew imports this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QEvent,
    QEventLoop,
    QObject,
    QPoint,
    Qt,
    QTimer,
    Signal,
    SignalInstance,
)
from PySide6.QtWidgets import QApplication, QWidget

from stt_core.bench.rows import Note, Row, row
from stt_core.errors import SttError
from stt_core.files import make_folder, write_text
from stt_core.media.frame import Frame
from stt_core.resources import SAMPLE_CLIP, SAMPLE_MODEL, resource_path
from stt_core.results import LookBack, Prediction

if TYPE_CHECKING:
    from app.window import MainWindow

GROUP = "app"

_BEAT_MS = 5
_PATIENCE_MS = 120_000
_WALK, _FAR = 20, 50
"""Frames of the bundled clip; from one to the other no key frame is shared."""
_STEPS, _CLICKS = 4, 5
_TARGETS = {
    "click to attention, first on a frame": 50.0,
    "click to attention": 50.0,
    "frame step": 16.0,
}
"""Milliseconds, for what is cached."""


def run_bench(groups: Sequence[str], out: Path, note: Note) -> list[Row]:
    """Measure the groups of these names and write `out`/bench.json, and the plot of growth.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(out)
    rows = [row for name in groups for row in GROUPS[name](note)]
    write_text(out / "bench.json", json.dumps(rows, indent=2) + "\n")
    if "growth" in groups:
        import_module("stt_core.bench.growth").draw(rows, out)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows in aligned columns, one group after the other."""
    width = max((len(each["name"]) for each in rows), default=0)
    blocks: dict[str, list[str]] = defaultdict(list)
    for each in rows:
        blocks[each["group"]].append(_line(each, width))
    return "\n\n".join("\n".join([group, *lines]) for group, lines in blocks.items())


def measure(
    note: Note,
    *,
    model: str = SAMPLE_MODEL,
    starts: int = 5,
    rounds: int = 3,
    pass_seconds: float = 5.0,
) -> list[Row]:
    """Measure the window, offscreen unless QT_QPA_PLATFORM says otherwise.

    Args:
        note: told what is being measured.
        model: to compute with.
        starts: of the program, each in a process of its own.
        rounds: of everything a person does in the window.
        pass_seconds: how long to watch the event loop during a pass over the video.
    """
    with _own_places():
        note(f"Starting the window {starts + 1} times ...")
        rows = _start_rows(starts)
        note("Acting on the window ...")
        with _shown_window(model) as window:
            return [*rows, *_act_rows(window, rounds), *_pass_rows(window, pass_seconds)]


def _line(row: Row, width: int) -> str:
    line = f"  {row['name']:{width}}  {row['value']:10.2f} {row['unit']:3}"
    if row["target"] is not None:
        bound = "at least" if row["least"] else "at most"
        line += f"  {bound} {row['target']:g}: {'met' if row['met'] else 'MISSED'}"
    return line.rstrip()


def _core(name: str, note: Note) -> list[Row]:
    rows: list[Row] = import_module(f"stt_core.bench.{name}").measure(note)
    return rows


GROUPS: Mapping[str, Callable[[Note], list[Row]]] = {
    "kernels": partial(_core, "kernels"),
    "engine": partial(_core, "engine"),
    "pass": partial(_core, "whole_pass"),
    "growth": partial(_core, "growth"),
    "learning": partial(_core, "learning"),
    "project": partial(_core, "project"),
    "app": measure,
}


# The window from its start.


def _start_rows(starts: int) -> list[Row]:
    told = [start_in_process() for _ in range(starts)]
    whole = start_in_process(until_model=True)
    seconds = float(np.median([each["seconds"] for each in told]))
    torch = float(max(each["torch"] for each in told))
    return [
        row(GROUP, "first paint", seconds, "s", target=1),
        row(GROUP, "torch loaded at first paint", torch, "", target=0),
        row(GROUP, "model ready", whole["model_seconds"], "s"),
        row(GROUP, "event loop: worst gap while torch loads", whole["worst_gap_ms"], "ms"),
    ]


def start_in_process(*, until_model: bool = False) -> dict[str, Any]:
    """Start the program as a person does; return what :func:`watch_start` tells.

    Raises:
        SttError: the window did not start.
    """
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    code = (
        "import sys; from app import bench, cli; "
        f"bench.watch_start({perf_counter()}, {until_model}); sys.exit(cli.main(['open']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_MS / 1000,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise SttError(f"the window did not start: {done.stderr.strip() or done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def watch_start(begun: float, until_model: bool) -> None:
    """Have the window that is started next print a JSON object about its start, and close.

    Args:
        begun: `perf_counter` of the process that began this one; all processes share its clock.
        until_model: go on until the model is loaded.
    """
    from app import startup

    start = startup.start

    def start_watched(window: MainWindow, wanted: startup.Wanted, media: Path | None) -> None:
        window.remembers = False
        told: dict[str, Any] = {}
        heart = Heartbeat(window)

        def see_paint() -> None:
            told.update(seconds=perf_counter() - begun, torch="torch" in sys.modules)
            heart.start()
            if not until_model:
                tell()

        def tell() -> None:
            told.update(model_seconds=perf_counter() - begun, worst_gap_ms=heart.gaps().max())
            sys.stdout.write(json.dumps(told))
            window.close()

        window.first_painted.connect(see_paint)  # ahead of what loads the model
        window.controller.model_changed.connect(tell)
        start(window, wanted, media)

    startup.start = start_watched


class Heartbeat:
    """Beats on the GUI thread: what lies between two beats is time in which nothing was served."""

    def __init__(self, parent: QObject) -> None:
        self._beats: list[float] = []
        self._timer = QTimer(parent)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)

    def start(self) -> None:
        self._on_beat()
        self._timer.start(_BEAT_MS)

    def gaps(self) -> NDArray[np.float64]:
        """Stop, and give the milliseconds from each beat to the next."""
        self._timer.stop()
        self._on_beat()
        return 1000 * np.diff(self._beats)

    def _on_beat(self) -> None:
        self._beats.append(perf_counter())


# The window at work.


@contextmanager
def _own_places() -> Iterator[None]:
    """Settings and labels of a temporary folder, not the person's own; and no window in the way."""
    before = dict(os.environ)
    with TemporaryDirectory() as home:
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            os.environ[name] = home
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _shown_window(model: str) -> Iterator[MainWindow]:
    """The real window with a model loaded."""
    from app.qt_check import check_qt
    from app.startup import Wanted, make_window, start

    check_qt()
    if QApplication.instance() is None:
        QApplication(sys.argv[:1])
    window = make_window()
    window.remembers = False
    try:
        start(window, Wanted(model=model), None)
        window.show()
        wait(window.controller.model_changed)
        window.activateWindow()  # only then do its shortcuts work
        yield window
    finally:
        window.close()


def _act_rows(window: MainWindow, rounds: int) -> list[Row]:
    person = Person(window)
    person.open(resource_path(SAMPLE_CLIP))
    person.scrub(_FAR)
    person.settle()
    pixels = person.askers(_CLICKS)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with _fresh_copy() as clip:
            person.open(clip)
            _look_around(person, pixels, times)
            person.open(resource_path(SAMPLE_CLIP))  # lets go of the copy
    return [
        row(GROUP, name, float(np.median(taken)), "ms", target=_TARGETS.get(name))
        for name, taken in times.items()
    ]


@contextmanager
def _fresh_copy() -> Iterator[Path]:
    """A copy of the bundled clip, of which nothing can be cached anywhere."""
    with TemporaryDirectory() as folder:
        yield Path(shutil.copy(resource_path(SAMPLE_CLIP), folder))


def _look_around(
    person: Person, pixels: list[tuple[int, int]], times: dict[str, list[float]]
) -> None:
    """Scrub, ask and step through a clip just opened, noting how long the window took for each."""
    times["scrub, to the picture"].append(person.scrub(_FAR))
    times["click to attention, on a frame just scrubbed to"].append(person.ask(pixels[0]))
    person.settle()
    times["click to attention, first on a frame"].append(person.ask(pixels[0]))
    times["click to attention"] += [person.ask(pixel) for pixel in pixels[1:]]
    person.stop_asking()
    times["scrub, to the picture"].append(person.scrub(_WALK))
    times["frame step, not cached, to the picture"].append(person.step())
    person.settle(ahead=0)
    for _ in range(_STEPS):
        times["frame step, not cached, to the labels"].append(person.step(to_labels=True))
    person.settle()
    person.scrub(_WALK + 1)
    times["frame step"] += [person.step(to_labels=True) for _ in range(_STEPS)]


def _pass_rows(window: MainWindow, seconds: float) -> list[Row]:
    """A pass over a clip of which nothing is cached, left to itself."""
    person = Person(window)
    with _fresh_copy() as clip:
        person.open(clip)
        heart = Heartbeat(window)
        window.controller.run_pass()
        heart.start()
        serve(window.controller.whole_pass.job_finished, milliseconds=round(1000 * seconds))
        gaps = heart.gaps()
        window.controller.cancel_pass()
        person.open(resource_path(SAMPLE_CLIP))
    most = float(np.percentile(gaps, 99))
    return [
        row(GROUP, "event loop: worst gap during a pass", float(gaps.max()), "ms", target=50),
        row(GROUP, "event loop: 99 % of the gaps during a pass", most, "ms"),
    ]


class Person:
    """Acts on the window with keys and mouse. Times are milliseconds until the paint is over."""

    def __init__(self, window: MainWindow) -> None:
        self._window, self._controller = window, window.controller
        self._canvas = window.display.canvas
        self._strip = window.display.key_strip
        self._scrubber = window.display.timeline.scrubber
        self._predicted = np.zeros(0, np.bool_)
        self._prediction: Prediction | None = None
        self._controller.predicted_changed.connect(self._on_predicted)
        self._controller.prediction_changed.connect(self._on_prediction)

    def open(self, clip: Path) -> None:
        """Open a clip, nothing of which is cached then, and wait for the first labels."""
        self.stop_asking()
        self._controller.open(clip)
        wait(self._controller.media_changed)
        self.settle()

    def scrub(self, frame: int) -> float:
        """Click the timeline; until the picture."""
        at = QPoint(round(self._scrubber.position_of(frame)), self._scrubber.height() // 2)
        act = partial(_click, self._scrubber, at)
        return self._time(act, self._controller.frame_changed, frame, self._canvas.viewport())

    def step(self, *, to_labels: bool = False) -> float:
        """Press Right; until the picture, or until its labels."""
        frame, told = self._controller.frame + 1, self._controller.frame_changed
        told = self._controller.prediction_changed if to_labels else told
        act = partial(_press, self._window, Qt.Key.Key_Right)
        return self._time(act, told, frame, self._canvas.viewport())

    def ask(self, pixel: tuple[int, int]) -> float:
        """Click a pixel of the picture; until the key strip shows where it looked."""
        at = self._canvas.position_of(pixel[0] + 0.5, pixel[1] + 0.5)
        frame, told = self._controller.frame, self._controller.look_changed
        act = partial(_click, self._canvas.viewport(), at)
        return self._time(act, told, frame, self._strip.tile_at(-1))

    def stop_asking(self) -> None:
        self._controller.stop_inspecting()

    def settle(self, *, ahead: int = 1) -> None:
        """Wait until the shown frame is predicted, and those `ahead` of it that are prefetched."""
        around = slice(self._controller.frame, self._controller.frame + ahead + 1)
        if not self._predicted[around].all():
            wait(self._controller.predicted_changed, lambda predicted: predicted[around].all())

    def askers(self, count: int) -> list[tuple[int, int]]:
        """Pixels of the shown frame that look back, spread over it."""
        assert self._prediction is not None
        selected = self._prediction.selected
        cells = np.argwhere(selected)
        chosen = cells[np.linspace(0, len(cells) - 1, count).astype(int)]
        pixels = ((chosen + 0.5) * self._prediction.labels.shape / selected.shape).astype(int)
        return [(int(x), int(y)) for y, x in pixels]

    def _time(
        self, act: Callable[[], None], told: SignalInstance, frame: int, widget: QWidget
    ) -> float:
        """Time from `act` until `widget` has painted what is `told` of a frame."""
        paint = _Paint(widget)

        def see(value: Frame | Prediction | LookBack | None) -> None:
            if value is not None:
                of = value.index if isinstance(value, Frame) else value.frame
                if of == frame:
                    paint.await_next()

        connection = told.connect(see)
        begun = perf_counter()
        act()
        wait(paint.over)
        spent = perf_counter() - begun
        told.disconnect(connection)
        return 1000 * spent

    def _on_predicted(self, predicted: NDArray[np.bool_]) -> None:
        self._predicted = predicted

    def _on_prediction(self, prediction: Prediction | None) -> None:
        self._prediction = prediction


class _Paint(QObject):
    """Tells when the next paint of a widget is over."""

    over = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self._widget = widget

    def await_next(self) -> None:
        self._widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self._widget.removeEventFilter(self)
            QTimer.singleShot(0, self.over.emit)  # by then the whole window is painted
        return False


def wait(signal: SignalInstance, wanted: Callable[..., object] = lambda *_: True) -> None:
    """Serve the event loop until `signal` tells what is `wanted`.

    Raises:
        SttError: it does not.
    """
    if not serve(signal, wanted, milliseconds=_PATIENCE_MS):
        raise SttError(f"the window gave no answer for {_PATIENCE_MS // 1000} s")


def serve(
    signal: SignalInstance,
    wanted: Callable[..., object] = lambda *_: True,
    *,
    milliseconds: int,
) -> bool:
    """Serve the event loop until `signal` tells what is `wanted`; False where time is up first."""
    loop = QEventLoop()
    clock = QTimer(loop)
    clock.timeout.connect(partial(loop.exit, 1))
    clock.start(milliseconds)

    def see(*told: object) -> None:
        if wanted(*told):
            loop.quit()

    connection = signal.connect(see)
    late = loop.exec()
    signal.disconnect(connection)
    return not late


def _click(widget: QWidget, at: QPoint) -> None:
    from PySide6.QtTest import QTest  # a library that the window does without

    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def _press(widget: QWidget, key: Qt.Key) -> None:
    from PySide6.QtTest import QTest

    QTest.keyClick(widget, key)
