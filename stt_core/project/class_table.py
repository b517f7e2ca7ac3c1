"""The classes of a project, and what they are called in the journal.

The journal stores slots, not class ids. A slot is given to a class once and stays; the table says
which id each slot shows as now. So classes can be merged, removed and put in another order without
touching a single stored pixel, and undone alike. VOID and UNLABELLED are their own slots.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.labels import UNLABELLED, VOID, LabelClass

MAX_CLASSES = VOID


@dataclass(frozen=True)
class ClassTable:
    """Not slotted: it keeps its look-up table once made."""

    classes: tuple[LabelClass, ...]
    slots: tuple[int, ...]
    """For each class the slot that new paint of it takes."""
    shows: tuple[int, ...]
    """For each slot ever given the class id, VOID or UNLABELLED it shows as."""

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """``[256]``: slot -> class id, VOID or UNLABELLED."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(self.shows)] = self.shows
        table[VOID] = VOID
        return table

    @cached_property
    def paint(self) -> NDArray[np.uint8]:
        """``[256]``: class id -> slot; UNLABELLED for what is no class."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(self.slots)] = self.slots
        table[VOID] = VOID
        return table

    def to_slots(self, ids: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Slots that show as `ids`; where `before` does already, it stays as it is.

        Raises:
            LabelError: an id that is no class.
        """
        used = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        wrong = [int(i) for i in used if len(self.classes) <= i < VOID]
        if wrong:
            raise LabelError(
                f"the labels hold the ids {wrong}, but the project has {len(self.classes)} "
                f"classes. Add classes, or map the ids to those there are."
            )
        return np.where(self.ids[before] == ids, before, self.paint[ids])

    def to_json(self) -> str:
        classes = [[c.name, *c.color] for c in self.classes]
        return json.dumps({"classes": classes, "slots": self.slots, "shows": self.shows})

    @staticmethod
    def from_json(text: str) -> ClassTable:
        raw = json.loads(text)
        classes = tuple(LabelClass(name, (r, g, b)) for name, r, g, b in raw["classes"])
        return ClassTable(classes, tuple(raw["slots"]), tuple(raw["shows"]))


def new_table(classes: tuple[LabelClass, ...]) -> ClassTable:
    """Slot i for class i.

    Raises:
        LabelError: more than 254 classes, or a name that is empty or there twice.
    """
    _check(classes)
    slots = tuple(range(len(classes)))
    return ClassTable(classes, slots, slots)


def with_class(table: ClassTable, added: LabelClass) -> ClassTable:
    """The class is the last one.

    Raises:
        LabelError: as :func:`new_table`, or all slots were given.
    """
    classes = (*table.classes, added)
    _check(classes)
    slot = len(table.shows)
    if slot >= MAX_CLASSES:
        raise LabelError(
            f"no class can be added: {slot} were made in this project, counting those merged or "
            "removed since. Compact the project's journal to forget those."
        )
    return ClassTable(classes, (*table.slots, slot), (*table.shows, len(table.classes)))


def with_look(
    table: ClassTable, class_id: int, name: str | None, color: tuple[int, int, int] | None
) -> ClassTable:
    """Another name or colour; None leaves it.

    Raises:
        LabelError: a name that is empty or there already.
    """
    old = _class(table, class_id)
    new = LabelClass(name if name is not None else old.name, color or old.color)
    classes = (*table.classes[:class_id], new, *table.classes[class_id + 1 :])
    _check(classes)
    return ClassTable(classes, table.slots, table.shows)


def reordered(table: ClassTable, order: tuple[int, ...]) -> ClassTable:
    """Class ``order[i]`` becomes class i; what was painted keeps its class.

    Raises:
        ValueError: `order` is no permutation of the class ids.
    """
    if sorted(order) != list(range(len(table.classes))):
        raise ValueError(f"order must name each of {len(table.classes)} classes once, got {order=}")
    new_id = {old: new for new, old in enumerate(order)}
    return ClassTable(
        tuple(table.classes[i] for i in order),
        tuple(table.slots[i] for i in order),
        tuple(new_id.get(shown, shown) for shown in table.shows),
    )


def merged(table: ClassTable, class_id: int, into: int) -> ClassTable:
    """The class goes; what was painted with it shows as `into`: a class id, VOID or UNLABELLED.

    Raises:
        ValueError: `into` is the class itself or no id.
    """
    _class(table, class_id)
    if into == class_id or not (into in (VOID, UNLABELLED) or 0 <= into < len(table.classes)):
        raise ValueError(f"a class goes into another class, void or nothing, got {into=}")

    def now(shown: int) -> int:
        shown = into if shown == class_id else shown
        return shown - 1 if class_id < shown < VOID else shown

    keep = [i for i in range(len(table.classes)) if i != class_id]
    return ClassTable(
        tuple(table.classes[i] for i in keep),
        tuple(table.slots[i] for i in keep),
        tuple(now(shown) for shown in table.shows),
    )


def _class(table: ClassTable, class_id: int) -> LabelClass:
    if not 0 <= class_id < len(table.classes):
        raise ValueError(f"class ids are 0 to {len(table.classes) - 1}, got {class_id=}")
    return table.classes[class_id]


def _check(classes: tuple[LabelClass, ...]) -> None:
    if len(classes) > MAX_CLASSES:
        raise LabelError(
            f"a project has at most {MAX_CLASSES} classes, got {len(classes)}. Merge some of them."
        )
    seen = set()
    for label_class in classes:
        name = label_class.name
        if not name.strip() or len(name) > 200:
            raise LabelError(f"a class needs a name of 1 to 200 characters, got {name!r}.")
        if name in seen:
            raise LabelError(f"there are two classes named {name!r}. Give one another name.")
        if not all(0 <= part <= 255 for part in label_class.color):
            raise LabelError(f"the colour of {name!r} must lie in 0..255, got {label_class.color}.")
        seen.add(name)
