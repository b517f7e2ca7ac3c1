"""A generated clip on disk: video, exact label maps, exact optical flow."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from stt_core.files import make_folder
from stt_core.formats.flo import write_flo
from stt_core.labels import LabelClass, write_label_png
from stt_core.media.writer import VideoWriter
from stt_core.scenes.scene import Scene


@dataclass(frozen=True, slots=True)
class SampleStep:
    """One more frame is written."""

    done: int
    total: int


def write_sample(
    scene: Scene,
    frames: int,
    out: Path,
    classes: tuple[LabelClass, ...],
    *,
    with_flow: bool = True,
) -> Generator[SampleStep, None, None]:
    """Render the first `frames` frames of a drive.

    Writes `out`/clip.mp4, labels/NNNNNN.png (8-bit class ids) and flow/NNNNNN.flo (from that
    frame to the next, Middlebury format).

    Raises:
        OutputError: something cannot be written.
    """
    make_folder(out)
    with VideoWriter(out / "clip.mp4", scene.size, scene.fps) as video:
        for index in range(frames):
            shot = scene.frame(index, with_flow=with_flow)
            video.write(shot.image)
            write_label_png(out / "labels" / f"{index:06d}.png", shot.labels, classes)
            if with_flow and shot.flow is not None:
                write_flo(out / "flow" / f"{index:06d}.flo", shot.flow)
            yield SampleStep(index + 1, frames)
