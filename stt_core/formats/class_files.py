"""Class tables beside label maps, and what a format's text files ask of names and colours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stt_core.errors import FormatError
from stt_core.formats.exchange import ReadClass
from stt_core.formats.label_png import Color
from stt_core.formats.untrusted import LIMITS, Limits, malformed, read_json
from stt_core.labels import IGNORED, LabelClass
from stt_core.resources import resource_path

CLASSES_FILE = "classes.json"
PROVENANCE_FILE = "provenance.json"


def write_json(path: Path, value: object) -> None:
    """Write JSON into a folder that is being made.

    Raises:
        ValueError: JSON cannot hold the value.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(value) + "\n", encoding="utf-8", newline="\n")


def as_json(value: object) -> str:
    """ValueError where JSON cannot hold the value."""
    try:
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"what is written as JSON must be plain values: {error}") from error


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file of UTF-8 lines into a folder that is being made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def write_class_file(
    path: Path, classes: Sequence[LabelClass], *, start: int = 0, ignored: int = 255
) -> None:
    """Write the class list that data sets of folders read, too.

    Args:
        path: the file.
        classes: in the order of their ids.
        start: the number that stands for the first of them.
        ignored: the number that stands for no class.
    """
    rows = [{"name": c.name, "color": list(c.color), "id": i} for i, c in enumerate(classes, start)]
    write_json(path, {"classes": rows, "ignore_id": ignored})


def read_class_file(path: Path, limits: Limits) -> tuple[tuple[ReadClass, ...], int | None]:
    """Read a class list: its classes, and the number that stands for none.

    Raises:
        FormatError: it is none.
    """
    told = read_json(path, limits)
    with malformed(path, "a class list"):
        ignored = told.get("ignore_id")
        rows = [_row(place, row) for place, row in enumerate(told["classes"])]
        if ignored is not None and not 0 <= int(ignored) <= 255:
            raise ValueError(f"ignore_id must lie in 0..255, got {ignored!r}")
    kept = [row for row in rows if row.id != ignored]
    return checked_classes(kept, path), None if ignored is None else int(ignored)


def checked_classes(classes: Sequence[ReadClass], what: Path | str) -> tuple[ReadClass, ...]:
    """The classes of a file; FormatError where two have one number, or there are too many."""
    if len(classes) > IGNORED:
        raise FormatError(f"{what} has {len(classes)} classes, more than {IGNORED}.")
    ids = [c.id for c in classes]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise FormatError(f"{what} gives the number {twice[0]} to several classes.")
    return tuple(classes)


def color_from(raw: Any) -> Color:
    """Three numbers in 0..255, or ValueError."""
    red, green, blue = (int(part) for part in raw)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"colour parts lie in 0..255, got {raw!r}")
    return red, green, blue


def shipped_classes(name: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of a class table that ships with the program."""
    rows = read_json(resource_path(f"classes/{name}.json"), LIMITS)["classes"]
    return tuple(rows)


def line_names(
    classes: Sequence[LabelClass], forbidden: str, stand_in: str = "_"
) -> tuple[list[str], list[str]]:
    """Class names for text files, and sentences on those that had to change.

    Args:
        classes: whose names.
        forbidden: characters besides line ends that the file cannot hold in a name.
        stand_in: what is written for them.
    """
    pattern = re.compile(rf"[\x00-\x1f\x7f\x85\u2028\u2029{re.escape(forbidden)}]+")
    return _distinct(
        [c.name for c in classes],
        [pattern.sub(stand_in, c.name.strip()) or "unnamed" for c in classes],
        lambda name, n: f"{name}{stand_in}{n}",
        "the class '{before}' is called '{after}' in the files",
    )


def distinct_colors(
    classes: Sequence[LabelClass], taken: Color = (0, 0, 0)
) -> tuple[list[Color], list[str]]:
    """Colours that tell classes apart, and sentences on those that had to change.

    Args:
        classes: whose colours.
        taken: the colour of pixels without a class.
    """
    used: set[Color] = {taken}
    own = [c.color for c in classes]
    colors: list[Color] = []
    for place, color in enumerate(own):
        if color in used:
            color = _free_color(place, used | set(own))
        used.add(color)
        colors.append(color)
    told = [
        f"the class '{c.name}' has the colour {after} in the files, since {c.color} is that of "
        f"{'pixels without a class' if c.color == taken else 'another class'}"
        for c, after in zip(classes, colors, strict=True)
        if c.color != after
    ]
    return colors, told


def same_word(name: str) -> str:
    """A name without case, spaces, hyphens and underscores, to compare it by."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


def _row(place: int, row: Any) -> ReadClass:
    color = row["color"] if "color" in row else row.get("rgb")
    return ReadClass(
        int(row.get("id", place)), str(row["name"]), None if color is None else color_from(color)
    )


def _distinct(
    before: Sequence[str],
    wanted: Sequence[str],
    other: Callable[[str, int], str],
    sentence: str,
) -> tuple[list[str], list[str]]:
    names: list[str] = []
    for name in wanted:
        free, n = name, 2
        while free in names:
            free, n = other(name, n), n + 1
        names.append(free)
    changed = [(b, a) for b, a in zip(before, names, strict=True) if b != a]
    return names, [sentence.format(before=b, after=a) for b, a in changed]


def _free_color(start: int, used: set[Color]) -> Color:
    """A colour nobody has, from the colour map of Pascal VOC."""
    index = start + 1
    while (color := voc_color(index)) in used:
        index += 1
    return color


def voc_color(index: int) -> Color:
    """The colour of an index in the map of Pascal VOC, which goes on beyond 255."""
    parts = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            parts[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    red, green, blue = parts
    return red, green, blue
