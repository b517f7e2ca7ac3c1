from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.jobs import Jobs, Lane, Slot


@pytest.fixture
def jobs(qtbot: QtBot) -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.shutdown()


def test_steps_arrive_in_order_on_the_gui_thread(qtbot: QtBot, jobs: Jobs) -> None:
    seen: list[tuple[int, threading.Thread]] = []
    ended: list[str] = []

    def count() -> Generator[int, None, str]:
        assert threading.current_thread() is not threading.main_thread()
        yield from range(3)
        return "done"

    jobs.start(
        Lane.INFER,
        Slot.PASS,
        count,
        on_step=lambda i: seen.append((i, threading.current_thread())),
        on_done=ended.append,
    )
    qtbot.waitUntil(lambda: bool(ended))
    assert ended == ["done"]
    assert [i for i, _ in seen] == [0, 1, 2]
    assert {t for _, t in seen} == {threading.main_thread()}


def test_cancel_closes_the_generator_on_its_own_thread(qtbot: QtBot, jobs: Jobs) -> None:
    closed_on: list[str] = []
    steps: list[int] = []

    def forever() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed_on.append(threading.current_thread().name)

    jobs.start(Lane.INFER, Slot.PASS, forever, on_step=steps.append)
    qtbot.waitUntil(lambda: len(steps) > 3)
    jobs.cancel(Lane.INFER, Slot.PASS)
    delivered = len(steps)
    qtbot.waitUntil(lambda: closed_on == ["lane-infer"])
    assert len(steps) == delivered


@pytest.mark.parametrize("fails_at_once", [True, False])
def test_an_error_reaches_the_gui(qtbot: QtBot, jobs: Jobs, fails_at_once: bool) -> None:
    def broken() -> Generator[int, None, None]:
        if not fails_at_once:
            yield 1
        raise RuntimeError("no")

    with qtbot.waitSignal(jobs.failed) as failure:
        jobs.start(Lane.INFER, Slot.PASS, broken)
    assert str(failure.args[0]) == "no"


def test_an_error_goes_to_its_own_listener_alone(qtbot: QtBot, jobs: Jobs) -> None:
    def broken() -> Generator[int, None, None]:
        raise RuntimeError("mine")
        yield

    told: list[Exception] = []
    others: list[Exception] = []
    jobs.failed.connect(others.append)
    jobs.start(Lane.INFER, Slot.PASS, broken, on_failed=told.append)
    qtbot.waitUntil(lambda: bool(told))
    assert str(told[0]) == "mine"
    assert others == []


def test_a_newer_request_of_a_kind_takes_the_place_of_the_older(qtbot: QtBot, jobs: Jobs) -> None:
    release = threading.Event()
    shown: list[str] = []

    def say(text: str) -> Generator[str, None, None]:
        yield text

    def old() -> Generator[str, None, None]:
        release.wait(5)
        yield "old"

    jobs.start(Lane.INFER, Slot.PREDICTION, old, on_step=shown.append)
    for i in range(50):
        jobs.start(Lane.INFER, Slot.PREDICTION, lambda i=i: say(f"{i}"), on_step=shown.append)  # type: ignore[misc]
    release.set()
    qtbot.waitUntil(lambda: "49" in shown)
    assert shown == ["49"]


def test_an_inspection_does_not_cancel_a_prediction_and_goes_first(
    qtbot: QtBot, jobs: Jobs
) -> None:
    """Between two pauses of a slow prediction, and of a pass behind it."""
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def prediction() -> Generator[None, None, str]:
        order.append("prediction begins")
        begun.set()
        go_on.wait(5)
        yield
        order.append("prediction ends")
        return "prediction"

    def whole_pass() -> Generator[str, None, None]:
        order.append("pass")
        yield "pass"

    def inspection() -> Generator[None, None, str]:
        order.append("inspection")
        yield
        return "inspection"

    done: list[str] = []
    jobs.start(Lane.INFER, Slot.PREDICTION, prediction, on_done=done.append)
    assert begun.wait(5)
    jobs.start(Lane.INFER, Slot.PASS, whole_pass, on_done=lambda _: done.append("pass"))
    jobs.start(Lane.INFER, Slot.INSPECTION, inspection, on_done=done.append)
    go_on.set()
    qtbot.waitUntil(lambda: len(done) == 3)
    assert done == ["inspection", "prediction", "pass"]
    assert order == ["prediction begins", "inspection", "prediction ends", "pass"]


def test_many_jobs_leave_nothing_behind(qtbot: QtBot, jobs: Jobs) -> None:
    def one() -> Generator[int, None, None]:
        yield from range(3)

    ended: list[None] = []
    for _ in range(300):
        jobs.start(Lane.INFER, Slot.PASS, one, on_done=ended.append)
        qtbot.waitUntil(lambda: len(ended) > 0)
        ended.clear()
    assert not jobs._lanes[Lane.INFER]._slots


def test_a_fast_job_waits_for_the_screen_and_others_do_not_wait_for_it(
    qtbot: QtBot, jobs: Jobs
) -> None:
    def fast(produced: list[int]) -> Generator[int, None, None]:
        for i in range(500):
            produced.append(i)
            yield i

    ahead: dict[Slot, list[int]] = {}
    for slot in (Slot.PREDICTION, Slot.PASS):
        produced: list[int] = []
        lead = ahead.setdefault(slot, [])
        jobs.start(
            Lane.INFER,
            slot,
            partial(fast, produced),
            on_step=lambda i, p=produced, lead=lead: lead.append(len(p) - i),  # type: ignore[misc]
        )
    qtbot.waitUntil(lambda: [len(lead) for lead in ahead.values()] == [500, 500], timeout=30_000)
    assert max(max(lead) for lead in ahead.values()) <= 5  # four in flight, and one being made


def test_shutdown_stops_running_jobs_and_waits_for_writes(qtbot: QtBot, tmp_path: Path) -> None:
    jobs = Jobs()
    started = threading.Event()

    def forever() -> Generator[int, None, None]:
        while True:
            started.set()
            yield 0

    jobs.start(Lane.INFER, Slot.PASS, forever)
    for i in range(20):
        jobs.write(lambda i=i: (tmp_path / f"{i}").write_text("x"))  # type: ignore[misc]
    assert started.wait(5)
    jobs.shutdown()
    assert not [t for t in threading.enumerate() if t.name.startswith(("lane", "write"))]
    assert len(list(tmp_path.iterdir())) == 20


def test_a_failed_write_is_told(qtbot: QtBot, jobs: Jobs, tmp_path: Path) -> None:
    with qtbot.waitSignal(jobs.failed) as failure:
        jobs.write(lambda: (tmp_path / "missing" / "a").write_text("x"))
    assert isinstance(failure.args[0], FileNotFoundError)


def test_a_command_runs_in_a_process_of_its_own(qtbot: QtBot, jobs: Jobs, tmp_path: Path) -> None:
    ended: list[dict[str, Any]] = []
    jobs.run_command(
        ["segment", "nowhere.mp4", "--out", str(tmp_path)],
        tmp_path / "log",
        on_lines=lambda _: None,
        on_done=ended.append,
    )
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert ended[0]["exit_code"] == 2
    assert "nowhere.mp4" in ended[0]["error"]


def test_a_command_can_be_cancelled(qtbot: QtBot, jobs: Jobs, tmp_path: Path) -> None:
    ended: list[dict[str, Any]] = []
    process = jobs.run_command(
        ["sample", "--frames", "100000", "--out", str(tmp_path)],
        tmp_path / "log",
        on_lines=lambda _: None,
        on_done=ended.append,
    )
    process.cancel()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert ended[0]["cancelled"]
