"""Taking label maps that lie in a plain folder into a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stt_core.labels import read_label_png
from stt_core.project.history import Provenance
from stt_core.project.labelling import LabelEdit
from stt_core.project.store import Project


def adopt_label_folder(project: Project, media_id: str, folder: Path) -> int | None:
    """Take the maps of a :mod:`stt_core.project.label_folder` as one step that undo takes back.

    Args:
        project: open for writing.
        media_id: the medium they are of.
        folder: of NNNNNN.png, ids as in the project; it is only read.

    Returns:
        The number of the step; None where the folder brought nothing new.

    Raises:
        LabelError: a map is damaged or holds ids that are no class; nothing was taken.
        IndexError, ValueError: of a frame that the medium does not have, or of another size.
        ProjectError: read-only, or the disk is full; nothing was taken.
    """

    def edits() -> Iterator[LabelEdit]:
        for path in sorted(folder.glob("*.png")):
            if path.stem.isdecimal():
                labels = read_label_png(path, len(project.classes))
                yield LabelEdit(media_id, int(path.stem), (0, 0), labels)

    return project.apply_many(edits(), Provenance("import", note=str(folder)))
