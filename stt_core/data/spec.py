"""The words that name a data set: KIND:PATH[,key=value...]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stt_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Spec:
    """A data set as it was asked for."""

    text: str
    kind: str
    rest: str
    """What stands between the kind and the options."""
    options: Mapping[str, str]

    @property
    def path(self) -> Path:
        return Path(self.rest).expanduser()

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """An option that is one of a few words, by default the first.

        Raises:
            DataError: it is another one.
        """
        value = self.options.get(key, choices[0])
        if value not in choices:
            raise self.error(f"{key} must be {' or '.join(choices)}, got '{value}'")
        return value

    def number(self, key: str, default: int, least: int = 1) -> int:
        """An option that is a whole number.

        Raises:
            DataError: it is none, or below `least`.
        """
        value = self.options.get(key, str(default))
        if not (value.isdecimal() and int(value) >= least):
            raise self.error(f"{key} must be a whole number from {least}, got '{value}'")
        return int(value)

    def ignored(self) -> frozenset[int]:
        """The id that the option `ignore` names, if it is given.

        Raises:
            DataError: it is no 8-bit id.
        """
        if "ignore" not in self.options:
            return frozenset()
        value = self.number("ignore", 0, 0)
        if value > 255:
            raise self.error(f"ignore must be an id from 0 to 255, got {value}")
        return frozenset({value})

    def error(self, what: str) -> DataError:
        """That something is wrong with these words."""
        return DataError(f"cannot read the data '{self.text}': {what}")


def parse_spec(text: str, known: Mapping[str, tuple[str, ...]]) -> Spec:
    """Take a spec apart. Only known keys end a path or an option, since both may hold commas.

    Args:
        text: KIND:PATH[,key=value...].
        known: the options of each kind.

    Raises:
        DataError: no such kind, no path, or an option that is unknown or given twice.
    """
    kind, _, rest = text.partition(":")
    if kind not in known or not rest:
        raise DataError(
            f"cannot read the data '{text}': say KIND:PATH with one of the kinds "
            f"{', '.join(known)}, as in camvid:FOLDER or scenes:0-99"
        )
    rest, *found = re.split(rf",({'|'.join(known[kind])})=", rest)
    options = dict(zip(found[::2], found[1::2], strict=True))
    spec = Spec(text, kind, rest, options)
    if not rest:
        raise spec.error(f"it names no {kind}: say {kind}:PATH")
    if 2 * len(options) < len(found):
        raise spec.error("an option is given twice")
    strange = re.search(r",(\w+)=[^,]*$", rest)
    if strange and not spec.path.exists():
        raise spec.error(f"{kind} has no option '{strange[1]}'; it knows {', '.join(known[kind])}")
    return spec
