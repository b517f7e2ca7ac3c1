"""Finding what is wrong with a data set before it is used, and saying all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stt_core.data.files import FileSequence, FrameFiles
from stt_core.data.label_codes import read_labels
from stt_core.errors import DataError, MediaError, Problem
from stt_core.labels import VOID
from stt_core.media.folder import ImageFolder

_TOLD = 20
"""Problems that a message lists."""
_TAIL_BYTES = 1 << 12
_ENDS = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
"""How a file begins, and what stands near its end if it was not cut off."""


def refuse(name: str, problems: Sequence[Problem]) -> None:
    """Raise a DataError that lists all problems, if there are any."""
    if not problems:
        return
    if len(problems) == 1:
        raise DataError(f"'{name}' cannot be used: {problems[0]}", problems)
    lines = [f"  {problem}" for problem in problems[:_TOLD]]
    if len(problems) > _TOLD:
        lines.append(f"  ... and {len(problems) - _TOLD} more")
    text = "\n".join(lines)
    raise DataError(f"'{name}' cannot be used, {len(problems)} problems:\n{text}", problems)


def check_sequences(folder: Path, sequences: Iterable[FileSequence]) -> list[Problem]:
    """Read every label map and the header and the end of every image; tell what is wrong."""
    problems: list[Problem] = []
    labelled = maps = 0
    for sequence in sequences:
        size: tuple[int, int] | None = None
        for files in sequence.frames:
            found, own, pixels = _check_frame(files, sequence)
            if size and own and own != size and sequence.video:
                before = f"but the sequence '{sequence.name}' begins with {_size(size)}"
                found.append(Problem(files.image, f"is {_size(own)}, {before}"))
            size = size or own
            problems += found
            labelled += pixels
            maps += files.labels is not None
    if not labelled and not problems:
        what = "no pixel of its label maps has a class" if maps else "nothing in it is labelled"
        problems.append(Problem(folder, f"has nothing to learn from: {what}"))
    return problems


def _check_frame(
    files: FrameFiles, sequence: FileSequence
) -> tuple[list[Problem], tuple[int, int] | None, int]:
    """What is wrong with a frame, its width and height, and how many pixels have a class."""
    problems: list[Problem] = []
    size = None
    try:
        size = check_image(files.image)
    except DataError as error:
        problems += error.problems
    if files.labels is None:
        return problems, size, 0
    try:
        labels = read_labels(files.labels, sequence.code)
    except DataError as error:
        return problems + list(error.problems), size, 0
    own = (labels.shape[1], labels.shape[0])
    if size and own != size:
        what = f"is {_size(own)}, but its image {files.image} is {_size(size)}"
        problems.append(Problem(files.labels, what))
    return problems, size, int((labels < VOID).sum())


def check_image(path: Path) -> tuple[int, int]:
    """Look at an image's header and its end; return width and height as displayed.

    Raises:
        DataError: it is no image of 8 bits a channel, or was cut off.
    """
    try:
        image = ImageFolder(path)
        if not _has_its_end(path):
            image[0]  # only reading it all can tell
    except (MediaError, OSError) as error:
        problem = Problem(path, str(error).removeprefix(f"{path} "))
        raise DataError(str(problem), [problem]) from error
    return image.width, image.height


def _has_its_end(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        tail = file.read()
    return any(head.startswith(start) and end in tail for start, end in _ENDS.items())


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
