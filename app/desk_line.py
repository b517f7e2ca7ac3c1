"""The line to the desk: what it is asked goes to its lane, and its answers come back with news."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QObject, Signal

from app.desk import ProjectDesk
from app.facts import Notice
from app.jobs import Jobs

Result = TypeVar("Result")


class DeskLine(QObject):
    """Asks the desk, in order.

    Attributes:
        desk: touched by what is asked only, on the lane of `Jobs.write`.
    """

    noticed = Signal(object)  # Notice
    failed = Signal(Exception)

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self.desk = ProjectDesk()

    def ask(
        self,
        act: Callable[[], Result],
        on_done: Callable[[Result], None],
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Have the desk do something; its news come with the answer."""

        def asked() -> tuple[Result, tuple[str, ...]]:
            return act(), self.desk.take_news()

        def answered(answer: tuple[Result, tuple[str, ...]]) -> None:
            result, news = answer
            if news:
                self._tell_news(news)
            on_done(result)

        self._jobs.write(asked, on_done=answered, on_failed=on_failed or self.failed.emit)

    def close(self) -> None:
        """Keep what can be kept and close the project; before the lane ends."""
        self._jobs.write(self.desk.close)

    def _tell_news(self, news: tuple[str, ...]) -> None:
        more = f" And {len(news) - 1} more." if len(news) > 1 else ""
        self.noticed.emit(Notice("news", f"{news[0]}{more}", news if more else ()))
