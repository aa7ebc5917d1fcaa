"""The census: what others do with xl is told, once, and an xl that fails makes nothing vanish."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.census import Census
from drivers.xl import Xl

CONTROL = "00000000-0000-0000-0000-000000000000"
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def line(uuid: str, domid: int, *, name: str = "web", state: str = "-b----", memory: int = 128, vcpus: int = 1) -> str:
    """A line of ``xl list -v``."""
    return f"{name:<40} {domid:>5} {memory:>5} {vcpus:>5}     {state}  {3.5:>8.1f} {uuid} {'-':>16} {'-':>16}"


class Host:
    """A host whose xl is a script that prints what the test wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._list = folder / "list"
        path = folder / "xl"
        path.write_text(f"#!/bin/sh\necho run >>{folder}/runs\ncat {self._list}\n")
        path.chmod(0o755)
        self.has()
        self.census = Census(Xl(str(path), timeout_seconds=30), period_seconds=0.05)
        self.census.watch(self._note)
        self.told: list[str | None] = []
        self._heard = threading.Condition()

    def has(self, *lines: str, control: str = line(CONTROL, 0, name="Domain-0", state="r-----")) -> None:
        """From now on the host has its control domain, and these."""
        fresh = self._folder / "fresh"
        fresh.write_text("\n".join((control, *lines)) + "\n")
        fresh.rename(self._list)

    def fail(self) -> None:
        """From now on its xl fails."""
        self._list.unlink()

    @property
    def runs(self) -> int:
        """How often xl was run."""
        return len((self._folder / "runs").read_text().splitlines())

    def wait_for_a_run(self) -> None:
        """Until xl was run at all."""
        while self.runs == 0:
            time.sleep(0.01)

    def wait_for_runs(self, more: int) -> None:
        """Until xl was run so much more often."""
        wanted, deadline = self.runs + more, time.monotonic() + 60
        while self.runs < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _note(self, uuid: str | None) -> None:
        with self._heard:
            self.told.append(uuid)
            self._heard.notify_all()

    def wait_for(self, uuid: str) -> None:
        """Until a change of the domain was told; what was told is forgotten."""
        with self._heard:
            assert self._heard.wait_for(lambda: uuid in self.told, 60)
            self.told.clear()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "runs").write_text("")
    made = Host(tmp_path)
    yield made
    made.census.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (line(ONE, 1),)),
        ((line(ONE, 1),), ()),
        ((line(ONE, 1),), (line(ONE, 1, state="--p---"),)),
        ((line(ONE, 1, state="--p---"),), (line(ONE, 1, state="r-----"),)),
        ((line(ONE, 1),), (line(ONE, 1, state="---s--"),)),
        ((line(ONE, 1),), (line(ONE, 2),)),
        ((line(ONE, 1),), (line(ONE, 1, name="db"),)),
        ((line(ONE, 1, name="(null)", state="--p---"),), (line(ONE, 1),)),
    ],
    ids=["made", "gone", "paused", "unpaused", "shut-down", "rebooted", "renamed", "ready"],
)
def test_what_xl_did_is_told(host: Host, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    host.has(*before, line(TWO, 9))
    host.census.start()
    host.wait_for_runs(2)
    assert host.told == []
    host.has(*after, line(TWO, 9))
    host.wait_for(ONE)
    host.wait_for_runs(2)
    assert host.told == []


def test_only_of_the_control_domain_memory_is_told(host: Host) -> None:
    host.has(line(ONE, 1))
    host.census.start()
    host.wait_for_runs(2)
    host.has(line(ONE, 1, memory=64))
    host.wait_for_runs(2)
    assert host.told == []
    host.has(line(ONE, 1), control=line(CONTROL, 0, memory=900))
    host.wait_for(CONTROL)


def test_processors_that_a_guest_switched_on_or_off_are_told(host: Host) -> None:
    host.has(line(ONE, 1))
    host.census.start()
    host.wait_for_runs(2)
    host.has(line(ONE, 1, vcpus=2))
    host.wait_for(ONE)


def test_working_and_waiting_is_no_change(host: Host) -> None:
    host.has(line(ONE, 1, state="r-----"))
    host.census.start()
    host.wait_for_runs(1)
    host.has(line(ONE, 1, state="-b----"))
    host.wait_for_runs(2)
    host.has(line(ONE, 1, state="------"))
    host.wait_for_runs(2)
    assert host.told == []


def test_what_was_listed_before_the_first_count_is_not_told_again(host: Host) -> None:
    host.has(line(ONE, 1))
    assert set(host.census.fresh() or {}) == {CONTROL, ONE}
    host.has(line(ONE, 1, state="--p---"))
    host.census.start()
    host.wait_for(ONE)
    assert host.told == []


def test_an_xl_that_fails_makes_nothing_vanish(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.has(line(ONE, 1))
    host.census.start()
    host.wait_for_runs(2)
    host.fail()
    host.wait_for_runs(4)
    assert set(host.census.last) == {CONTROL, ONE}
    assert host.told == []
    assert host.census.fresh() is None
    assert [record.levelname for record in caplog.records if record.name == "drivers.census"] == ["WARNING"]
    host.has()
    host.wait_for(ONE)
    assert set(host.census.fresh() or {}) == {CONTROL}


def test_a_fresh_count_begins_after_it_was_asked_for(host: Host) -> None:
    host.has(line(ONE, 1))
    assert ONE in (host.census.fresh() or {})
    host.has()
    assert ONE not in (host.census.fresh() or {})


def test_many_who_ask_at_once_share_counts(host: Host, tmp_path: Path) -> None:
    until_told = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    (tmp_path / "xl").write_text(f"#!/bin/sh\necho run >>{tmp_path}/runs\n{until_told}\ncat {tmp_path}/list\n")
    asking = [threading.Thread(target=host.census.fresh) for _ in range(10)]
    for thread in asking:
        thread.start()
    host.wait_for_a_run()
    (tmp_path / "go").touch()
    for thread in asking:
        thread.join(60)
    # One was under way when the others asked; the next one serves all of them.
    assert host.runs <= 3


def test_the_newer_of_two_domains_with_one_uuid_counts(host: Host) -> None:
    host.has(line(ONE, 8), line(ONE, 5, state="--p---"))
    assert (host.census.fresh() or {})[ONE].domid == 8


def test_hurry_counts_at_once(host: Host) -> None:
    host.census._period_seconds = 1000
    host.census.start()
    host.wait_for_a_run()
    host.has(line(ONE, 1))
    deadline = time.monotonic() + 60
    while ONE not in host.census.last:
        assert time.monotonic() < deadline
        host.census.hurry()
        time.sleep(0.05)


def test_a_host_without_xl_is_not_counted() -> None:
    census = Census(Xl(None))
    census.start()
    assert census.fresh() is None
    assert census.last == {}
    assert census._thread is None
