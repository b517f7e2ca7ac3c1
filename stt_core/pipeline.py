"""Read-ahead and write-behind around the network: the core's only threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


class _End:
    """Marks the end of a source: cleanly, or with what it raised."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def read_ahead(source: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """Iterate over `source` in a thread, at most `depth` items ahead of the caller.

    What the source raises is raised here. Closing this generator stops the thread, and the
    source, if it is a generator, is closed on the thread that ran it.
    """
    items: queue.Queue[Item | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(source, items, stop), name="read-ahead")
    thread.start()
    try:
        while not isinstance(item := items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


class WriteBehind:
    """Runs writes in order on one thread, at most `depth` waiting.

    The first failure is raised by the next :meth:`submit` or on leaving the block; the writes
    behind it are dropped.
    """

    def __init__(self, depth: int = 8) -> None:
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._room = threading.Semaphore(depth)
        self._failure: BaseException | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Queue a write; waits while `depth` of them are queued."""
        self._raise_failure()
        self._room.acquire()
        self._pool.submit(self._run, write).add_done_callback(self._written)

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self._raise_failure()

    def _run(self, write: Callable[[], None]) -> None:
        if self._failure is None:
            write()

    def _written(self, done: Future[None]) -> None:
        self._room.release()
        if not done.cancelled() and self._failure is None:
            self._failure = done.exception()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _fill(source: Iterable[Item], items: queue.Queue[Item | _End], stop: threading.Event) -> None:
    end = _End()
    iterator = iter(source)
    try:
        for item in iterator:
            if not _put(items, item, stop):
                break
    except Exception as error:
        end = _End(error)
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
    _put(items, end, stop)


def _put(items: queue.Queue[Item | _End], item: Item | _End, stop: threading.Event) -> bool:
    """Whether it went in before the caller lost interest."""
    while not stop.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
