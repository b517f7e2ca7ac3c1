"""A progress bar for steps that tell their number themselves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Protocol, TypeVar

from app.commands.common import follow


class Counted(Protocol):
    @property
    def total(self) -> int: ...


Step = TypeVar("Step", bound=Counted)
Result = TypeVar("Result")


def follow_counted(steps: Generator[Step, None, Result], title: str) -> Result:
    """Take all steps under a bar as long as the first of them says; return the result."""
    with closing(steps):
        first = next(steps)

        def whole() -> Generator[Step, None, Result]:
            yield first
            return (yield from steps)

        result: Result = follow(whole(), first.total, title)
        return result
