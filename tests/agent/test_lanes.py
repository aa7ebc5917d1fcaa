"""Lanes: what shares a key runs alone and in order; what does not, runs beside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from agent.lanes import HOST, Lanes

ENOUGH_SECONDS = 30.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(workers=4)
    yield made
    assert made.close(ENOUGH_SECONDS)


def test_a_job_gives_its_result(lanes: Lanes) -> None:
    assert lanes.submit("a", lambda: 42).result(ENOUGH_SECONDS) == 42


def test_a_job_gives_its_error_and_the_lane_goes_on(lanes: Lanes) -> None:
    failed = lanes.submit("a", lambda: 1 // 0)
    after = lanes.submit("a", lambda: "after")
    assert isinstance(failed.exception(ENOUGH_SECONDS), ZeroDivisionError)
    assert after.result(ENOUGH_SECONDS) == "after"


def test_a_lane_runs_in_the_order_it_was_asked(lanes: Lanes) -> None:
    ran: list[int] = []
    jobs = [lanes.submit("a", lambda number=number: ran.append(number)) for number in range(200)]  # type: ignore[misc]
    wait(jobs, ENOUGH_SECONDS)
    assert ran == list(range(200))


def test_a_lane_runs_one_job_at_a_time(lanes: Lanes) -> None:
    inside = threading.Lock()
    met: list[bool] = []

    def job() -> None:
        alone = inside.acquire(blocking=False)
        met.append(alone)
        threading.Event().wait(0.001)
        if alone:
            inside.release()

    wait([lanes.submit("a", job) for _ in range(50)], ENOUGH_SECONDS)
    assert met == [True] * 50


def test_lanes_run_beside_each_other(lanes: Lanes) -> None:
    meeting = threading.Barrier(3, timeout=ENOUGH_SECONDS)
    jobs = [lanes.submit(key, meeting.wait) for key in ("a", "b", HOST)]
    assert sorted(job.result(ENOUGH_SECONDS) for job in jobs) == [0, 1, 2]


def test_a_lane_that_waits_holds_no_thread(lanes: Lanes) -> None:
    held = threading.Event()
    lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS))
    behind = [lanes.submit("a", lambda: None) for _ in range(50)]
    others = [lanes.submit(f"other{number}", lambda: None) for number in range(20)]
    assert wait(others, ENOUGH_SECONDS).not_done == set()
    assert not any(job.done() for job in behind)
    held.set()
    assert wait(behind, ENOUGH_SECONDS).not_done == set()


def test_beside_waits_for_no_lane(lanes: Lanes) -> None:
    held = threading.Event()
    lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS))
    assert lanes.beside(lambda left, right: left + right, 1, 2).result(ENOUGH_SECONDS) == 3
    held.set()


def test_a_cancelled_job_does_not_run_and_holds_up_nobody(lanes: Lanes) -> None:
    held = threading.Event()
    ran: list[str] = []
    lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS))
    cancelled = lanes.submit("a", lambda: ran.append("cancelled"))
    after = lanes.submit("a", lambda: ran.append("after"))
    assert cancelled.cancel()
    held.set()
    after.result(ENOUGH_SECONDS)
    assert ran == ["after"]


def test_it_is_idle_only_when_nothing_runs_or_waits(lanes: Lanes) -> None:
    held = threading.Event()
    assert lanes.idle()
    first = lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS))
    second = lanes.submit("a", held.is_set)
    assert not lanes.idle()
    held.set()
    wait([first, second], ENOUGH_SECONDS)
    assert lanes.close(ENOUGH_SECONDS)
    assert lanes.idle()


def test_close_ends_what_was_taken_and_takes_no_more() -> None:
    lanes = Lanes(workers=2)
    held = threading.Event()
    jobs = [lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS)) for _ in range(20)]
    timer = threading.Timer(0.05, held.set)
    timer.start()
    assert lanes.close(ENOUGH_SECONDS)
    timer.join()
    assert all(job.result(0) for job in jobs)
    with pytest.raises(RuntimeError, match="stopping"):
        lanes.submit("b", lambda: None)


def test_close_does_not_wait_for_ever() -> None:
    lanes = Lanes(workers=1)
    held = threading.Event()
    job = lanes.submit("a", lambda: held.wait(ENOUGH_SECONDS))
    assert not lanes.close(0.05)
    held.set()
    assert job.result(ENOUGH_SECONDS)
