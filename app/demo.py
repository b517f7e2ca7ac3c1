"""The demonstration where there is no display: everything the window would show, as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.qt_check import check_qt
from app.startup import SAMPLE_FRAME, SAMPLE_PIXEL, demo_wanted, make_window, start
from stt_core.checkpoint import load_checkpoint
from stt_core.engine import Engine, run
from stt_core.errors import SttError
from stt_core.files import replacing
from stt_core.formats.model_file import find_model
from stt_core.labels import read_label_png
from stt_core.media.source import open_media
from stt_core.metrics.segmentation import confusion, mean_iou
from stt_core.model.compiling import compile_first
from stt_core.network import Network
from stt_core.pictures.attention import write_inspection
from stt_core.pictures.figure import write_figure
from stt_core.pictures.selection import selection_figure
from stt_core.resources import SAMPLE_CLIP, SAMPLE_LABELS, SAMPLE_MODEL, resource_path
from stt_core.segmenting import SegmentOptions, segment_media

_WINDOW_TIMEOUT_MS = 120_000


def write_demo(out: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """Segment the bundled clip with the bundled model and write what there is to see.

    Args:
        out: gets labels/, overlay.mp4, selection.png, attention.png, attention.svg, window.png.
        note: told what is being done.

    Raises:
        OutputError: something cannot be written.
    """
    network = Network(load_checkpoint(find_model(SAMPLE_MODEL)))
    if network.device.type == "cpu":
        compile_first(note)
    clip = resource_path(SAMPLE_CLIP)
    note("Segmenting the bundled clip ...")
    with open_media(clip) as media:
        options = SegmentOptions(frames=range(len(media)), overlay=True, save="both")
        run(segment_media(network, media, out, options))
        accuracy = _accuracy(out / "labels", len(media), len(network.header.classes))
        note(f"mIoU against the exact labels: {accuracy:.3f}")
        note("Drawing query selection and attention ...")
        _write_figures(out, Engine(network, media))
    note("Rendering the window ...")
    _render_window(out / "window.png")
    names = ("overlay.mp4", "labels", "color", "selection.png", "attention.png", "attention.svg")
    outputs = {name: str(out / name) for name in (*names, "window.png", "run.json")}
    return {"mean_iou": round(accuracy, 4), "frames": len(options.frames), "outputs": outputs}


def _accuracy(folder: Path, frames: int, classes: int) -> float:
    exact = resource_path(SAMPLE_LABELS)
    total = np.zeros((classes, classes), np.int64)
    for name in (f"{i:06d}.png" for i in range(frames)):
        found, wanted = (read_label_png(f / name, classes) for f in (folder, exact))
        total += confusion(found, wanted, classes)
    return mean_iou(total)


def _write_figures(out: Path, engine: Engine) -> None:
    classes = engine.network.header.classes
    frame, prediction = engine.media[SAMPLE_FRAME], engine.segment(SAMPLE_FRAME)
    write_figure(out / "selection.png", selection_figure(frame, prediction, classes))
    look = engine.look_back(SAMPLE_FRAME, *SAMPLE_PIXEL, force=True)
    for suffix in ("png", "svg"):
        write_inspection(out / f"attention.{suffix}", look, frame, classes)


def _render_window(path: Path) -> None:
    """Run the real window offscreen until the inspection is drawn, and save its picture."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    check_qt()
    from PySide6.QtCore import QEventLoop, QTimer
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    window = make_window()
    window.remembers = False
    wanted = demo_wanted()
    loop = QEventLoop()
    seen: set[str] = set()

    def see(what: str, value: object) -> None:
        seen.update({what} if value is not None else set())
        if seen == {"prediction", "look"}:
            QTimer.singleShot(300, loop.quit)  # the strip and the bars settle

    window.controller.prediction_changed.connect(lambda p: see("prediction", p))
    window.controller.look_changed.connect(lambda look: see("look", look))
    start(window, wanted, wanted.media_path())
    window.resize(1440, 900)
    window.show()
    QTimer.singleShot(_WINDOW_TIMEOUT_MS, loop.quit)
    loop.exec()
    shot = window.grab()
    window.close()
    application.quit()
    if seen != {"prediction", "look"}:
        raise SttError(f"the window did not show an inspection, only {sorted(seen) or 'nothing'}")
    with replacing(path) as temporary:
        shot.save(str(temporary))
