"""What classes become in an export: their names there, which are one, and which are things."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.formats.class_files import same_word, shipped_classes
from stt_core.labels import IGNORED, LabelClass

_TABLES = ("cityscapes_labels", "camvid11", "camvid32")
"""That tell things from stuff."""
NamedBy = Literal["name", "table", "hand"]


@dataclass(frozen=True, slots=True)
class RenamedClass:
    """One class of ours."""

    ours: str
    theirs: str | None
    """None where it is left out."""
    found_by: NamedBy | None
    """None where nothing fits."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """What an export makes of all classes."""

    rows: tuple[RenamedClass, ...]
    """By our ids."""
    classes: tuple[LabelClass, ...]
    """As exported. The colour of several that become one is that of the first."""
    table: NDArray[np.uint8]
    """``[256]`` exported id of each of ours, IGNORED for what is left out."""

    def apply(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``[H, W]`` ids in exported ones."""
        return self.table[labels]


def rename_classes(
    classes: Sequence[LabelClass],
    by_hand: Mapping[str, str | None],
    known: Collection[str] | None = None,
) -> Renaming:
    """Find the names that classes have in an export.

    Args:
        classes: ours.
        by_hand: the name that a class of ours is to have, None to leave it out. Classes of one
            name become one.
        known: where the format has classes of its own: their names. Then a class that has none of
            them gets the one that the table of CamVid's 11 classes says, if it is one of these;
            what has none then stays as it is, and the format leaves it out.

    Raises:
        LabelError: `by_hand` names a class that does not exist, or nothing is left.
    """
    hand = _by_place(classes, by_hand)
    words = None if known is None else {same_word(name): name for name in known}
    if words is not None:
        for theirs in hand.values():
            if theirs is not None and same_word(theirs) not in words:
                raise LabelError(
                    f"the format has no class '{theirs}': it has {', '.join(words.values())}"
                )
    rows = tuple(
        RenamedClass(c.name, hand[place], "hand") if place in hand else _row(c.name, words)
        for place, c in enumerate(classes)
    )
    if all(row.theirs is None and row.found_by == "hand" for row in rows):
        raise LabelError("every class is left out: there is nothing to export")
    return _renaming(rows, classes)


def known_things(classes: Sequence[LabelClass]) -> frozenset[int]:
    """Ids of classes whose names stand for things in the tables of Cityscapes and CamVid."""
    words = _thing_words()
    return frozenset(i for i, c in enumerate(classes) if same_word(c.name) in words)


def _by_place(
    classes: Sequence[LabelClass], by_hand: Mapping[str, str | None]
) -> dict[int, str | None]:
    places = {same_word(c.name): place for place, c in enumerate(classes)}
    strange = [name for name in by_hand if same_word(name) not in places]
    if strange:
        raise LabelError(
            f"there is no class '{strange[0]}' to map: the classes are "
            f"{', '.join(c.name for c in classes)}"
        )
    return {places[same_word(name)]: theirs for name, theirs in by_hand.items()}


def _row(name: str, words: Mapping[str, str] | None) -> RenamedClass:
    if words is None:
        return RenamedClass(name, name, "name")
    if same_word(name) in words:
        return RenamedClass(name, words[same_word(name)], "name")
    theirs = words.get(same_word(_official_of_camvid().get(same_word(name), "")))
    return RenamedClass(name, theirs, None if theirs is None else "table")


def _renaming(rows: tuple[RenamedClass, ...], classes: Sequence[LabelClass]) -> Renaming:
    table = np.full(256, IGNORED, np.uint8)
    kept: list[LabelClass] = []
    places: dict[str, int] = {}
    changed = [row.theirs for row in rows if row.found_by in ("hand", "table") and row.theirs]
    merged = {same_word(name) for name in changed}
    for ours, (row, label_class) in enumerate(zip(rows, classes, strict=True)):
        if row.theirs is None and row.found_by == "hand":
            continue
        word = same_word(row.theirs or row.ours)
        # classes that were of one name before stay two, unless one is mapped to it
        if word in places and word in merged:
            table[ours] = places[word]
            continue
        places[word] = table[ours] = len(kept)
        name = row.ours if word == same_word(row.ours) else row.theirs or row.ours
        kept.append(replace(label_class, name=name))
    return Renaming(rows, tuple(kept), table)


@cache
def _official_of_camvid() -> dict[str, str]:
    """The name that Cityscapes has for a class of CamVid's 11, where it is another."""
    rows = shipped_classes("camvid11")
    return {same_word(row["name"]): str(row["cityscapes"]) for row in rows if "cityscapes" in row}


@cache
def _thing_words() -> frozenset[str]:
    rows = [row for table in _TABLES for row in shipped_classes(table)]
    return frozenset(same_word(row["name"]) for row in rows if row.get("thing"))
