"""Histories of events, checked: what clients heard against what was done, over writes that fail, a ring that is too
short, and an agent that is killed.

The writers count each machine's name up, so that every state of it has a number. A follower keeps what it heard. It
never hears a number again or go back, a machine begins with an add and ends with a del, and in the end it knows what
the store knows: so nothing was lost, doubled or out of order. Where writes fail, a follower may have seen what is then
undone; it hears what holds, and never of less than was acknowledged. Who begins anew in the midst of it may be told
once more of a change that was under way then.
"""

from __future__ import annotations

import random
import threading
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest
import XenAPI

from agent.errors import XenError
from agent.store.changes import Changes
from tests.door import Door, eventually
from tests.front_door.conftest import Daemon

WORD = "counted"


class History:
    """What one follower of machines has heard, checked as it comes."""

    def __init__(self, *, undone: bool = False) -> None:
        """`undone`: writes fail, and are undone."""
        self.undone = undone
        self.token = ""
        self.states: dict[str, int] = {}
        """The last number heard of each machine that is there."""
        self.lost = 0
        self.heard = 0
        self._gone: set[str] = set()
        self.floor: dict[str, int] = {}
        """Numbers that nothing older than may come."""

    def begin_anew(self) -> None:
        """The follower was told that events were lost: all comes again, and nothing of it may be older than known."""
        self.lost += 1
        self.token = ""
        self.floor = {} if self.undone else dict(self.states)
        self.states = {}

    def take(self, batch: dict[str, Any], name_of: Callable[[Any], str]) -> None:
        """Check a batch, and keep what it says."""
        for event in batch["events"]:
            ref, operation = event["ref"], event["operation"]
            if operation == "del":
                # It may be of what a follower that began anew was never told of, or of what was made and undone.
                assert ref in self.states or self.lost or self.undone, f"{ref} ends, and never began"
                self.states.pop(ref, None)
                self._gone.add(ref)
                continue
            name = name_of(event.get("snapshot"))
            if not name:  # it is on its way out, and its del will come
                self.states.setdefault(ref, self.floor.get(ref, 0))
                continue
            if not name.startswith(WORD):
                continue
            number = int(name.rpartition(" ")[2])
            self.heard += 1
            assert ref not in self._gone, f"{ref} is back after its end"
            assert number >= self.floor.get(ref, 0), f"{ref} goes back to {number}"
            again = self.undone or (self.lost and operation == "add")
            assert (ref in self.states) == (operation == "mod") or again, f"{ref} begins twice, or never began"
            assert self.undone or number >= self.states.get(ref, 0), f"{ref} goes back to {number}"
            self.states[ref] = number
        assert batch["token"] >= self.token, "time goes back"
        self.token = batch["token"]


def name_of(vm: Any) -> str:
    """The name in a snapshot, as the dispatch has it; empty where there is none any more."""
    return str(vm.name_label) if vm is not None else ""


class Writers:
    """Threads that make machines, count them up, and destroy some."""

    def __init__(self, door: Door, count: int, rounds: int) -> None:
        self.refused = 0
        self.acknowledged: dict[str, int] = {}
        self._door, self._rounds = door, rounds
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        chance = random.Random(seed)
        mine: list[tuple[Any, int]] = []
        for _ in range(self._rounds):
            try:
                if len(mine) < 3 or chance.random() < 0.1:
                    made = self._door.vm(name_label=f"{WORD} 0")
                    mine.append((made, 0))
                    self.acknowledged[made.ref] = 0
                    continue
                place = chance.randrange(len(mine))
                vm, number = mine[place]
                if chance.random() < 0.1:
                    self._door("VM.destroy", vm)
                    del mine[place]
                else:
                    self._door("VM.set_name_label", vm, f"{WORD} {number + 1}")
                    mine[place] = (vm, number + 1)
                    self.acknowledged[vm.ref] = number + 1
            except XenError:
                self.refused += 1  # it was not done: the number is used again


def follow(door: Door, history: History, writers: Writers, ended: threading.Event, faults: list[BaseException]) -> None:
    """Follow events until the writers have ended and nothing more comes."""
    try:
        while True:
            over = ended.is_set()
            history.floor.update(writers.acknowledged)
            try:
                batch = door("event.from", ["vm"], history.token, 0.0 if over else 0.2)
            except XenError as error:
                if error.description != ["EVENTS_LOST"]:
                    raise
                history.begin_anew()
                continue
            history.take(batch, name_of)
            if over and not batch["events"]:
                return
    except BaseException as error:
        faults.append(error)


@pytest.mark.fault("F15")
@pytest.mark.threat("T25")
@pytest.mark.parametrize("ring", [65536, 60], ids=["a long ring", "a ring that is too short"])
@pytest.mark.parametrize("failing", [False, True], ids=["a good disk", "a disk that fails now and then"])
def test_no_event_is_lost_doubled_or_out_of_order(
    door: Door, ring: int, failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: Changes = door.store.changes
    changes._ring = type(changes._ring)(changes._ring, maxlen=ring)
    if failing:
        write, chance = door.store._journal.write, random.Random(7)

        def sometimes(rows: Any) -> None:
            if rows and chance.random() < 0.1:
                raise OSError(28, "no space left on the device")
            write(rows)

        monkeypatch.setattr(door.store._journal, "write", sometimes)
    ended, faults = threading.Event(), list[BaseException]()
    histories = [History(undone=failing) for _ in range(4)]
    for history in histories:
        history.take(door("event.from", ["vm"], "", 0.0), name_of)
    writers = Writers(door, 4, 150)
    followers = [threading.Thread(target=follow, args=(door, each, writers, ended, faults)) for each in histories]
    for follower in followers:
        follower.start()
    writers.start()
    writers.join()
    door.idle()
    ended.set()
    for follower in followers:
        follower.join()
    assert faults == []
    truth = {
        record.ref: int(record.name_label.rpartition(" ")[2])
        for record in door("VM.get_all")
        if record.name_label.startswith(WORD)
    }
    assert truth
    for history in histories:
        assert history.states == truth
        assert history.heard > len(truth)
    assert (writers.refused > 0) == failing


@pytest.mark.fault("F15", "F1")
def test_a_follower_knows_all_that_was_acknowledged_when_the_agent_was_killed(own_daemon: Daemon) -> None:
    secret = own_daemon.login()._session
    history, acknowledged = History(), dict[str, int]()

    def heard(seconds: float) -> None:
        try:
            batch = own_daemon.raw("event.from", secret, ["vm"], history.token, seconds)
        except XenAPI.Failure as failure:
            if failure.details != ["EVENTS_LOST"]:
                raise
            history.begin_anew()
            return
        history.take(batch, lambda record: record["name_label"] if record else "")

    for _ in range(2):
        heard(0.0)  # a first batch amid writes may have what is told once more when it is durable
        writer = threading.Thread(target=count_up, args=(own_daemon.url, secret, acknowledged))
        writer.start()
        already = sum(acknowledged.values())
        while sum(acknowledged.values()) <= already + 20:
            heard(0.5)
            assert writer.is_alive(), "the writer has ended"
        own_daemon.kill()
        writer.join()
        own_daemon.start()
        heard(0.0)
        heard(0.0)
        assert history.lost
        for ref, number in acknowledged.items():
            assert history.states[ref] >= number, "what was acknowledged is not there"
            assert history.states[ref] <= number + 1, "what nobody asked for is there"
            acknowledged[ref] = history.states[ref]  # the last one may have been kept, and its answer cut off


def count_up(url: str, secret: str, acknowledged: dict[str, int]) -> None:
    """Count the names of a few machines up, until the agent is gone."""
    with xmlrpc.client.ServerProxy(url) as proxy:
        try:
            while len(acknowledged) < 3:
                made: Any = proxy.VM.create(secret, {"name_label": f"{WORD} 0"})
                acknowledged[made["Value"]] = 0
            for _ in range(10_000):
                for ref, number in list(acknowledged.items()):
                    answer: Any = proxy.VM.set_name_label(secret, ref, f"{WORD} {number + 1}")
                    assert answer["Status"] == "Success"
                    acknowledged[ref] = number + 1
        except (OSError, xmlrpc.client.Error):
            return


@pytest.mark.fault("F13")
def test_a_thousand_who_wait_all_hear_of_one_change_once(door: Door) -> None:
    vm = door.vm(name_label=f"{WORD} 0")
    door.idle()
    token = door("event.from", ["vm"], "", 0.0)["token"]
    waiting = [door.later("event.from", ["vm"], token, 60.0) for _ in range(1000)]
    eventually(lambda: door.dispatch._waiters >= 1000, "a thousand who wait")
    assert door("VM.get_name_label", vm) == f"{WORD} 0"  # reads do not wait behind them
    door("VM.set_name_label", vm, f"{WORD} 1")
    for future in waiting:
        events = future.result(60.0).value["events"]
        assert [(event["operation"], event["ref"]) for event in events] == [("mod", vm.ref)]
    eventually(lambda: door.dispatch._waiters == 0, "nobody who waits")
