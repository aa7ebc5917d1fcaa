"""What is done by the clock, and the sign of life."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import house as module
from agent.house import House, Watchdog
from agent.lanes import Lanes
from tests.door import eventually

ENOUGH_SECONDS = 30.0


@contextmanager
def keeping(house: House) -> Iterator[None]:
    """Has the house kept, in a thread of its own."""
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def keep() -> None:
        ready.append((asyncio.get_running_loop(), asyncio.Event()))
        await house.keep(ready[0][1])

    thread = threading.Thread(target=asyncio.run, args=(keep(),))
    thread.start()
    try:
        yield
    finally:
        eventually(lambda: bool(ready))
        loop, ended = ready[0]
        loop.call_soon_threadsafe(ended.set)
        thread.join(ENOUGH_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lanes]:
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    made = Lanes(workers=1)
    yield made
    made.close(ENOUGH_SECONDS)


def test_housekeeping_goes_on_after_a_failure_and_tells_the_same_one_once(
    lanes: Lanes, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = {"good": 0, "bad": 0}

    def good() -> None:
        rounds["good"] += 1

    def bad() -> None:
        rounds["bad"] += 1
        raise OSError("the disk is full")

    house = House(lanes)
    house.every(0.0, "good", good)
    house.every(0.0, "bad", bad)
    with keeping(house):
        eventually(lambda: min(rounds.values()) > 3)
    assert caplog.text.count("housekeeping failed, the next round tries again: bad") == 1


def test_a_chore_that_still_runs_is_not_begun_again_and_delays_no_other(lanes: Lanes) -> None:
    begun, go, rounds = [], threading.Event(), []

    def slow() -> None:
        begun.append(1)
        go.wait(ENOUGH_SECONDS)

    house = House(lanes)
    house.every(0.0, "slow", slow)
    house.every(0.0, "other", lambda: rounds.append(1))
    with keeping(house):
        eventually(lambda: len(rounds) > 5)
        assert len(begun) == 1
        go.set()
        eventually(lambda: len(begun) > 1)


def test_the_end_waits_for_what_still_runs(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_SECONDS", ENOUGH_SECONDS)
    begun, go, over = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go.wait(ENOUGH_SECONDS)
        over.append(1)

    house = House(lanes)
    house.every(3600.0, "slow", slow)
    with keeping(house):
        assert begun.wait(ENOUGH_SECONDS)
        threading.Timer(0.05, go.set).start()
    assert over


def test_a_chore_waits_for_its_time(lanes: Lanes) -> None:
    rare, often = [], []
    house = House(lanes)
    house.every(3600.0, "rare", lambda: rare.append(1))
    house.every(0.0, "often", lambda: often.append(1))
    with keeping(house):
        eventually(lambda: len(often) > 5)
    assert len(rare) == 1


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where the service manager would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(ENOUGH_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield bound


def fed(notified: socket.socket) -> bool:
    """Whether the watchdog was fed since this was last asked."""
    notified.setblocking(False)
    count = 0
    try:
        while notified.recv(100) == b"WATCHDOG=1":
            count += 1
    except BlockingIOError:
        return count > 0
    raise AssertionError("something else was told")


def test_the_watchdog_is_fed_while_every_sign_of_life_is_there(
    notified: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    alive = {"store": True, "worker": True}
    looked: list[str] = []

    def sign(name: str) -> Callable[[], bool]:
        def look() -> bool:
            looked.append(name)
            return alive[name]

        return look

    watchdog = Watchdog(0.03, {name: sign(name) for name in alive})
    watchdog.start()
    try:
        eventually(lambda: fed(notified))
        for name in alive:
            alive[name] = False
            looked.clear()
            eventually(lambda: len(looked) > 4)  # a round that had begun before is over
            fed(notified)
            looked.clear()
            eventually(lambda: len(looked) > 4)
            assert not fed(notified)
            assert caplog.text.count(f"no sign of life from {name};") == 1
            alive[name] = True
            eventually(lambda: fed(notified))
    finally:
        watchdog.stop()


@pytest.mark.fault("F4")
def test_a_sign_of_life_that_hangs_is_none(notified: socket.socket) -> None:
    go, hangs = threading.Event(), threading.Event()

    def sign() -> bool:
        hangs.set()
        return go.wait(ENOUGH_SECONDS)

    watchdog = Watchdog(0.03, {"store": sign})
    watchdog.start()
    assert hangs.wait(ENOUGH_SECONDS)
    assert not fed(notified)
    go.set()
    eventually(lambda: fed(notified))
    watchdog.stop()


def test_without_a_wish_for_signs_nothing_is_told(notified: socket.socket) -> None:
    watchdog = Watchdog(None, {"store": lambda: True})
    watchdog.start()
    watchdog.stop()
    assert not fed(notified)


def test_a_loop_that_stands_is_noticed(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(lanes)
    with keeping(house):
        assert house.turning()
    monkeypatch.setattr(module, "LONGEST_TURN_SECONDS", 0.0)
    assert not house.turning()
