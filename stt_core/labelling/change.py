"""What a tool changes on a label map, and what it may change.

A tool is handed a label map and gives back a :class:`Change`, or None where nothing changes; it
never writes to the map. VOID and UNLABELLED are values like the classes, and a tool touches no
pixel that it was not asked for: sparse labels stay sparse.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.errors import SttError
from stt_core.labelling.checks import Box, Labels, Mask, check_id, check_labels, check_mask, name_of
from stt_core.labels import UNLABELLED


class LabellingError(SttError):
    """A labelling tool cannot do what was asked of it; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """The smallest box that holds all changed pixels of a label map.

    The fields are what :meth:`stt_core.project.store.Project.apply` takes.
    """

    corner: tuple[int, int]
    """Topmost row and leftmost column of the box, image pixels."""
    after: Labels
    """``[h, w]``, the new labels of the whole box."""

    @property
    def box(self) -> Box:
        (y, x), (height, width) = self.corner, self.after.shape
        return y, x, y + height, x + width

    @property
    def where(self) -> tuple[slice, slice]:
        """The box as an index into the map."""
        y0, x0, y1, x1 = self.box
        return slice(y0, y1), slice(x0, x1)

    def on(self, labels: Labels) -> Labels:
        """A copy of the map with the change on it."""
        changed = labels.copy()
        changed[self.where] = self.after
        return changed


@dataclass(frozen=True, slots=True)
class Guard:
    """What may be painted over and painted with. Ids are 0..255.

    Raises:
        ValueError: an id outside.
    """

    over: frozenset[int] | None = None
    """The only ids that may be painted over; None for all."""
    locked: frozenset[int] = frozenset()
    """Never painted over nor painted with."""
    only_unlabelled: bool = False
    """Paint only where nobody has painted yet."""

    def __post_init__(self) -> None:
        for class_id in (*(self.over or ()), *self.locked):
            check_id(class_id)

    @property
    def open_ids(self) -> NDArray[np.bool_]:
        """``[256]``: whether an id may be painted over."""
        may = np.ones(256, np.bool_)
        if self.over is not None:
            may[:] = False
            may[list(self.over)] = True
        if self.only_unlabelled:
            may[:UNLABELLED] = False
        may[list(self.locked)] = False
        return may

    def allows(self, labels: Labels) -> Mask:
        """Which pixels of a map may be painted over."""
        if self.over is None and not self.locked and not self.only_unlabelled:
            return np.ones(labels.shape, np.bool_)
        return _looked_up(labels, self.open_ids)

    def check_paint(self, class_id: int) -> None:
        """See that an id may be painted with.

        Raises:
            LabellingError: it is locked.
        """
        if class_id in self.locked:
            name = name_of(class_id).capitalize()
            raise LabellingError(
                f"{name} is locked: it is neither painted with nor painted over. Unlock it first, "
                f"or choose another class."
            )


FREE = Guard()
"""Everything may be painted."""


def painted(
    labels: Labels,
    mask: Mask,
    class_id: int,
    guard: Guard = FREE,
    corner: tuple[int, int] = (0, 0),
) -> Change | None:
    """Give pixels a class, as far as the guard lets them have it.

    Args:
        labels: the map.
        mask: ``[h, w]`` of the pixels, of a box in the map; of the whole map by default.
        class_id: a class, VOID or UNLABELLED.
        guard: what may be painted.
        corner: topmost row and leftmost column of the box.

    Raises:
        LabellingError: the class is locked.
        ValueError: not a label map, a mask that does not lie in it, or an id outside 0..255.
    """
    check_labels(labels)
    check_id(class_id)
    guard.check_paint(class_id)
    part = labels[_within(mask, corner, labels.shape)]
    if not part.size:
        return None
    changes = (part != class_id) & mask
    changes &= guard.allows(part)
    return _cropped(part, changes, np.full_like(part, class_id), corner)


def replaced(labels: Labels, after: Labels, mask: Mask, guard: Guard = FREE) -> Change | None:
    """Give pixels their values in another map, as far as the guard lets them have those.

    Pixels whose new value is locked stay as they are: it is a change of many, not a choice of one.

    Args:
        labels: the map.
        after: ``[H, W]`` new values.
        mask: ``[H, W]`` where.
        guard: what may be painted.

    Raises:
        ValueError: not label maps and a mask of one size.
    """
    check_labels(labels)
    check_labels(after, labels.shape)
    check_mask(mask, labels.shape)
    changes = (labels != after) & mask
    changes &= guard.allows(labels)
    if guard.locked:
        changes &= ~_looked_up(after, np.isin(np.arange(256), list(guard.locked)))
    return _cropped(labels, changes, after, (0, 0))


def joined(before: Labels, after: Labels) -> Change | None:
    """What turns one map into another of the same size, as one change."""
    check_labels(before)
    check_labels(after, before.shape)
    return _cropped(before, before != after, after, (0, 0))


def _looked_up(labels: Labels, table: NDArray[np.bool_]) -> Mask:
    return np.asarray(cv2.LUT(labels, table.view(np.uint8)), np.uint8).view(np.bool_)


def _within(mask: Mask, corner: tuple[int, int], size: tuple[int, ...]) -> tuple[slice, slice]:
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"a mask must be bool [h, w], got {mask.dtype} {mask.shape}")
    (y, x), (height, width) = corner, mask.shape
    if min(y, x) < 0 or y + height > size[0] or x + width > size[1]:
        raise ValueError(f"the mask must lie in the map, got {corner=} {mask.shape=} {size=}")
    return slice(y, y + height), slice(x, x + width)


def _cropped(part: Labels, changes: Mask, after: Labels, corner: tuple[int, int]) -> Change | None:
    """The change of the pixels `changes` of a box at `corner`."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(changes).view(np.uint8))
    if not width:
        return None
    here = slice(y, y + height), slice(x, x + width)
    new = part[here].copy()
    np.copyto(new, after[here], where=changes[here])
    return Change((corner[0] + y, corner[1] + x), new)
