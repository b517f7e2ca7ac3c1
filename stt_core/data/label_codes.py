"""What the pixels of a label file mean: class ids by number, or by colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.errors import DataError, Problem
from stt_core.labels import IGNORED, UNLABELLED, VOID, png_header, with_true_greys

_BROKEN = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)
_TOLD = 8
"""Wrong ids or colours that a message lists."""


class LabelCode(Protocol):
    """How pixels say classes."""

    def decode(self, image: Image.Image) -> NDArray[np.uint8]:
        """``[H, W]`` class ids, 254 and 255 to be ignored.

        Raises:
            ValueError: the pixels say something else; the message follows the file's name.
        """
        ...


@dataclass(frozen=True, slots=True)
class IndexCode:
    """Ids in an 8-bit grey or palette image."""

    table: NDArray[np.uint8]
    """``[256]`` class of every id."""
    known: NDArray[np.bool_]
    """``[256]`` which ids may occur."""

    def decode(self, image: Image.Image) -> NDArray[np.uint8]:
        if image.mode not in ("L", "P", "1"):
            raise ValueError(
                f"holds {_depth(image.mode)}: labels of this kind are 8-bit grey or palette PNGs "
                "of class ids. Convert them first."
            )
        ids = np.asarray(image, np.uint8)
        wrong = np.flatnonzero((np.bincount(ids.ravel(), minlength=256) > 0) & ~self.known)
        if wrong.size:
            known = np.flatnonzero(self.known[:VOID])
            raise ValueError(
                f"holds the ids {_few(wrong.tolist())}, which the class table does not have (it "
                f"has {len(known)}, up to {known.max(initial=0)}). Name one to leave out by "
                "ignore=ID."
            )
        return self.table[ids]


@dataclass(frozen=True, slots=True)
class ColorCode:
    """Colours in an image of 8 bits a channel."""

    colors: NDArray[np.int32]
    """``[n]`` rising, ``red << 16 | green << 8 | blue``."""
    ids: NDArray[np.uint8]
    """``[n]`` the class of each."""
    table_name: str
    """What lists the colours, for messages."""

    def decode(self, image: Image.Image) -> NDArray[np.uint8]:
        if image.mode not in ("RGB", "RGBA", "P"):
            raise ValueError(f"holds {_depth(image.mode)}: labels of this kind are colours")
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int32), -1, 0)
        packed = red << 16 | green << 8 | blue
        place = np.searchsorted(self.colors, packed).clip(max=len(self.colors) - 1)
        strange = np.unique(packed[self.colors[place] != packed])
        if strange.size:
            told = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in strange[:_TOLD]]
            raise ValueError(
                f"holds {strange.size} colours that {self.table_name} does not name: {_few(told)}"
            )
        return self.ids[place]


def index_code(class_of: Mapping[int, int], ignored: Iterable[int] = ()) -> IndexCode:
    """The code of ids that stand for classes; 254 and 255 are always ignored.

    Args:
        class_of: the class of each id in the files.
        ignored: ids that stand for none.
    """
    table, known = np.full(256, IGNORED, np.uint8), np.zeros(256, np.bool_)
    known[[VOID, UNLABELLED]] = True
    table[VOID] = VOID
    for value, class_id in class_of.items():
        table[value], known[value] = class_id, True
    for value in ignored:
        table[value], known[value] = IGNORED, True
    return IndexCode(table, known)


def color_code(class_of: Mapping[tuple[int, int, int], int], table_name: str) -> ColorCode:
    """The code of colours; their class may be IGNORED."""
    packed = {red << 16 | green << 8 | blue: i for (red, green, blue), i in class_of.items()}
    colors = sorted(packed)
    ids = np.array([packed[color] for color in colors], np.uint8)
    return ColorCode(np.array(colors, np.int32), ids, table_name)


def read_labels(path: Path, code: LabelCode) -> NDArray[np.uint8]:
    """Read a label file: ``[H, W]`` class ids.

    Raises:
        DataError: it cannot be read, or its pixels are no labels of that code.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return code.decode(with_true_greys(image, png_header(path)))
    except _BROKEN as error:
        problem = Problem(path, f"cannot be read as a label image ({error}). Get it again.")
        raise DataError(str(problem), [problem]) from error
    except ValueError as error:
        problem = Problem(path, str(error))
        raise DataError(str(problem), [problem]) from error


def _depth(mode: str) -> str:
    if mode.startswith("I"):
        return "numbers of 16 or 32 bits"
    return f"{mode} colours" if mode in ("RGB", "RGBA", "CMYK") else f"{mode} pixels"


def _few(values: Sequence[object]) -> str:
    more = f" and {len(values) - _TOLD} more" if len(values) > _TOLD else ""
    return ", ".join(str(value) for value in values[:_TOLD]) + more
