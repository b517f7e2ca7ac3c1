from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from stt_core.pipeline import WriteBehind, read_ahead


def test_items_come_in_order_from_another_thread() -> None:
    seen: list[threading.Thread] = []

    def source() -> Iterator[int]:
        for i in range(20):
            seen.append(threading.current_thread())
            yield i

    assert list(read_ahead(source(), 3)) == list(range(20))
    assert threading.main_thread() not in seen


def test_it_is_never_further_ahead_than_its_depth() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    for i in read_ahead(source(), 2):
        assert len(made) <= i + 1 + 2 + 1  # in hand, in the queue, one waiting to enter


def test_what_the_source_raises_arrives_after_its_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise RuntimeError("damaged")

    items = read_ahead(source(), 4)
    assert next(items) == 1
    with pytest.raises(RuntimeError, match="damaged"):
        next(items)


def test_closing_closes_the_source_on_its_own_thread_and_leaves_none() -> None:
    closed: list[str] = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    items = read_ahead(source(), 2)
    next(items)
    items.close()
    assert closed == ["read-ahead"]
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_writes_run_in_order_and_all_of_them() -> None:
    done: list[int] = []
    with WriteBehind(depth=2) as writes:
        for i in range(30):
            writes.submit(lambda i=i: done.append(i))  # type: ignore[misc]
    assert done == list(range(30))


def test_a_failed_write_is_raised_and_later_ones_are_dropped() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("full")

    def submit_until_told(writes: WriteBehind) -> None:
        writes.submit(fail)
        for i in range(10_000):
            writes.submit(lambda i=i: done.append(i))  # type: ignore[misc]

    with pytest.raises(OSError, match="full"), WriteBehind(depth=1) as writes:
        submit_until_told(writes)
    assert done == []


def test_a_failure_of_the_last_write_is_raised_on_leaving() -> None:
    def fail() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"), WriteBehind() as writes:
        writes.submit(fail)
