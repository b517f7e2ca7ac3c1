"""A copy of a medium's labels that never changes: what a training run learns from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import OutputError, ProjectError
from stt_core.files import make_folder, write_text
from stt_core.labels import VOID, LabelClass, read_label_png, write_label_png

_NAME = "snapshot.json"


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """A video and the labels it had. What :class:`stt_core.data.project.LabelledVideo` asks for."""

    folder: Path
    media: Path
    classes: tuple[LabelClass, ...]
    labelled: tuple[int, ...]
    """Rising frames with a pixel that has a class or void."""
    painted: tuple[int, ...]
    """Those of them with a pixel that has a class."""

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        """``[H, W]`` class ids, VOID and UNLABELLED; None where nothing was labelled.

        Raises:
            LabelError: the file was damaged since.
        """
        if frame not in self.labelled:
            return None
        return read_label_png(_path(self.folder, frame), len(self.classes))


def write_snapshot(
    folder: Path,
    media: Path,
    classes: tuple[LabelClass, ...],
    frames: Iterable[tuple[int, NDArray[np.uint8] | None]],
) -> LabelSnapshot:
    """Write label maps, and last of all what makes them a snapshot.

    Raises:
        OutputError: the folder cannot be written to, or holds a snapshot.
    """
    if (folder / _NAME).exists():
        raise OutputError(f"{folder} holds a snapshot already. Choose another folder.")
    make_folder(folder)
    labelled, painted = [], []
    for frame, labels in frames:
        if labels is None:
            continue
        write_label_png(_path(folder, frame), labels, classes)
        labelled.append(frame)
        if (labels < VOID).any():
            painted.append(frame)
    text = {
        "media": str(media),
        "classes": [asdict(c) for c in classes],
        "labelled": labelled,
        "painted": painted,
    }
    write_text(folder / _NAME, json.dumps(text, indent=2) + "\n")
    return LabelSnapshot(folder, media, classes, tuple(labelled), tuple(painted))


def read_snapshot(folder: Path) -> LabelSnapshot:
    """Find a snapshot again, as in another process.

    Raises:
        ProjectError: there is none, or it was not finished.
    """
    path = folder / _NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        classes = tuple(LabelClass(str(c["name"]), tuple(c["color"])) for c in raw["classes"])
        labelled, painted = (tuple(map(int, raw[name])) for name in ("labelled", "painted"))
        return LabelSnapshot(folder, Path(raw["media"]), classes, labelled, painted)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(f"{path} is no snapshot of labels: {error}") from error


def _path(folder: Path, frame: int) -> Path:
    return folder / f"{frame:06d}.png"
