"""One agent on the simulated host, which meets a fault at a step of a verb; and what must hold then.

The simulated host outlives the agent here. A kill is played: from the step on, no call of the agent's reaches the host
or the journal any more, and another agent begins on what is there. That it is what SIGKILL does, ``test_killed`` shows.
"""

from __future__ import annotations

import errno
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import drivers
from agent import failpoints
from agent.classes import SR, VM, Task
from agent.errors import XenError
from agent.messages import vm_stillness
from agent.model.entity import Entity
from agent.rpc.dispatch import Result
from agent.upkeep import fsck
from drivers.disk_journal import JOURNAL
from tests import door as doors
from tests.door import Door, eventually, sealed
from tests.faults.walk import world

ALL = os.environ.get("XEN_HOST_AGENT_WALK") == "all"
"""Whether every step is walked, not only those of `sampled`."""
LOOKS = {
    *("Domains.list", "Domains.look", "Domains.check", "Domains.crash_dumps", "Node.host", "Node.cpus"),
    *("Storage.pools", "Storage.types", "Storage.scan", "Storage.usage", "Storage.probe", "Storage.supported_types"),
    *("Storage.is_untouched", "Networks.list", "CpuPools.list", "CpuPools.policies", "Node.interfaces"),
    *("Node.pci_devices", "Node.usb_devices", "Node.scsi_devices", "Node.scsi_adapters", "Control.security"),
    *("VolumeReader.read", "VolumeReader.next_data", "VolumeReader.close", "Meters.read", "Storage.judge_image"),
}
"""Calls that change nothing: a kill after one of them is the same as after the call before."""
CROWDED = 150
"""Objects on a host on which no more are made."""
GONE = "the agent is gone"
NOTHING: world.Change = (Counter(), Counter())
Step = tuple[str, int]
"""A step, and which time it is taken."""


class Faults:
    """What the agent meets at its steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[str]()
        self._at: Step | None = None
        self._kills = False
        self._watch: Callable[[], None] | None = None
        self.taken: list[Step] = []
        self.wrong: list[str] = []
        """What who watched has seen that must not be."""
        self.met = threading.Event()
        self.gone = False

    @contextmanager
    def counting(
        self, at: Step | None = None, *, kills: bool = False, watch: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Count steps meanwhile; meet the fault `at` one of them, and have `watch` look at each while it waits."""
        self._counts.clear()
        self.taken = []
        self.met.clear()
        self._at, self._kills, self._watch = at, kills, watch
        try:
            yield
        finally:
            self._at = self._watch = None

    def reached(self, step: str) -> None:
        with self._lock:
            if self.gone:
                raise OSError(errno.EIO, GONE)
            self._counts[step] += 1
            now = step, self._counts[step]
            self.taken.append(now)
            hit = now == self._at
            if hit:
                self.gone = self._kills
                self.met.set()
        if self._watch is not None:
            try:
                self._watch()
            except BaseException as error:  # told by who counts: here it would end a thread of the agent
                self.wrong.append(f"at {step}: {error!r}")
        if hit:
            raise OSError(errno.EIO, GONE if self._kills else f"failpoint {step}")


class Stage:
    """The host, and the agent that runs on it now."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.faults = Faults()
        self.machine = drivers.open("test:///default", state, self.faults.reached)
        self._begin()
        self._furnish()
        self.standing = world.numbered(self.door.store, "the host's ")

    def _furnish(self) -> None:
        """Storage that is not empty is the same before and after a disk came."""
        for sr in (each for each in self.door.store.all(SR) if each.PBDs):
            self.door("VDI.create", {"SR": sr.ref, "virtual_size": 512, "type": "user", "name_label": "there"})

    def _begin(self) -> None:
        self.machine.domains.watch = lambda *told: None  # type: ignore[method-assign]
        # No events: verbs look themselves, and what they could not see then is seen by a look at everything.
        self.door = Door(failpoints.around(self.machine, self.faults.reached), self.state / "journal.db", roles=False)
        journal = self.door.store._journal
        write = failpoints.stepping(failpoints.JOURNAL, journal.write, self.faults.reached)
        journal.write = write  # type: ignore[method-assign]

    def begin_anew(self) -> None:
        """Another agent takes over what the one that is gone has left."""
        self.door.close()
        before, self.faults = self.machine, Faults()
        domains: Any = before.domains
        domains._deregister(domains._connection.handle)
        again: Any = drivers._simulated(domains._connection, self.state, self.faults.reached)
        again.domains._overlays = domains._overlays  # what runs on the hypervisor is its own affair
        self.machine = replace(again, networks=before.networks, node=before.node, meters=before.meters)
        self._begin()

    def settle(self) -> None:
        """All that was asked for or put off until later is done, and everything was looked at."""
        self.door.idle()
        self.door.lanes.submit("host", self.door.observer._resync).result(doors.WAIT_SECONDS)
        self.door.idle()
        self.door.tasks.sweep()
        with suppress(XenError):
            vm_stillness.recover(self.door.site)
        self.door.idle()

    def has_left_over(self) -> bool:
        """Whether the agent put something off until it is started the next time."""
        snapshots = {vm.uuid for vm in self.door.store.all(VM) if vm.is_a_snapshot}
        memory = self.state / "memory"
        memories = {path.stem for path in memory.glob("*")}
        return bool(memories - snapshots or [*memory.glob("*.begun"), *(self.state / JOURNAL).glob("*")])

    def lines(self, names: world.Names) -> world.Lines:
        return world.lines(self.door.store, self.machine, self.state, names)

    def close(self) -> None:
        self.door.close()
        self.machine.close()

    def require_sound(self) -> None:
        """What must hold whatever happened."""
        store = self.door.store
        with store.transaction():  # returns when all before it is durable
            pass
        with store.lock:
            world.require_linked(store)
            world.require_as_kept(store)
        world.require_rooms(store, self.machine)
        differences = [*fsck.machines(store, self.machine, repair=False), *fsck.disks(store, self.machine)]
        assert [each.text for each in differences] == []
        for cls in store.classes.values():
            for entity in store.all(cls) if "current_operations" in cls.fields else ():
                assert entity.__dict__["current_operations"] == {}, f"something is still done to {entity}"
        assert self.door.observer.making == set()
        assert not self.door.site.holds._alone
        assert not +self.door.site.holds._shared
        assert [*(self.state / JOURNAL).glob("*")] == [], "the disk journal has something left"
        left = [task for task in store.all(Task) if task.status in ("pending", "cancelling")]
        assert left == [], "a task has not ended"


def is_outer(step: Step) -> bool:
    """Whether it is one of a port or the journal, not one within an operation on a disk."""
    return step[0][0].isupper()


def sampled(steps: Iterable[Step]) -> list[Step]:
    """Each step at its first and its last time, without those within an operation on a disk: tests/agent/disks walks
    them. A look only at its first.
    """
    outer = [step for step in steps if is_outer(step)]
    last = dict(outer)
    return [
        (name, time)
        for name, time in outer
        if time == 1 or (time == last[name] and name.partition(": ")[0] not in LOOKS)
    ]


@dataclass(frozen=True)
class Verb:
    """A message, and how to have something to send it about."""

    name: str
    prepare: Callable[[Stage], tuple[Any, ...]]
    """Makes what the message is about, in the same way each time; returns its parameters."""
    note: str = ""
    """What is special of that."""
    parts: tuple[str, ...] = ()
    """Verbs that finish it with it, where a part may have been done."""
    derived: bool = False
    """It follows from the table, with parameters that may not do for it."""
    leaves: str = ""
    """What a kill may leave of it, where that is something a client can make use of or take away."""
    fresh: bool = False
    """It cannot be done twice on one host."""
    send: Callable[[Stage, tuple[Any, ...]], Future[Any]] | None = None
    """How it is sent, where it is no message. What it returns has the answer; an answer that is an error is one."""

    def __str__(self) -> str:
        return f"{self.name} {self.note}".strip()


class Walk:
    """The walk of one verb, on `stage`; and on others, of which `stages` makes one without anything on it."""

    def __init__(self, verb: Verb, stage: Stage, stages: Callable[[], Stage]) -> None:
        self.verb, self.stage, self._stages = verb, stage, stages
        self.met = Counter[str]()
        """How many steps there are, and how many met which fault."""
        self._done: world.Change = Counter(), Counter()
        self._steps: list[Step] = []

    def all(self, *, kills: bool = True) -> list[str]:
        """Meet everything. What went wrong is returned: one fault does not keep from the next."""
        wrong: list[str] = []
        if not self.learn():
            return wrong
        for step in self._steps if ALL else sampled(self._steps):
            call, _, when = step[0].partition(": ")
            looks = call in LOOKS
            if when == "begun" or not (looks or call == failpoints.JOURNAL):
                # A journal that was written and says that it was not is none that a restart could tell from others.
                wrong += self._meet(step, kills=False)
            if kills and is_outer(step) and not looks and when == "done":
                wrong += self._meet(step, kills=True)
        return wrong

    def learn(self) -> bool:
        """Do it undisturbed, but with somebody who reads at each of its steps; and keep what it did in how many.

        False for a derived one that is refused, or changes nothing.
        """
        names, before, params = self._prepared()
        faults = self.stage.faults
        with faults.counting(watch=self._read):
            answer = self._send(params, later=False)
            self.stage.door.idle()
            self._steps = list(dict.fromkeys(faults.taken))
        if isinstance(answer, XenError) and self.verb.derived:
            self._renew()
            return False
        assert not isinstance(answer, XenError), f"{self.verb} is refused: {answer}"
        assert faults.wrong == []
        self.stage.settle()
        self.stage.require_sound()
        self._done = world.change(before, self.stage.lines(names))
        self._renew()
        if self._done == NOTHING and self.verb.derived:
            return False
        self.met.update({"verbs": 1, "steps": len(self._steps), "held up": len(self._steps)})
        return True

    def _read(self) -> None:
        """Who reads while a verb is under way has an answer, and sees nothing half linked."""
        door = self.stage.door
        assert door.later("VM.get_all_records").result(doors.WAIT_SECONDS).value is not None
        with door.store.lock:
            world.require_linked(door.store)

    def _meet(self, step: Step, *, kills: bool) -> list[str]:
        """Do it with a fault at a step. Returns what is wrong then."""
        try:
            self._try(step, kills=kills)
        except (AssertionError, XenError) as error:
            self.stage.close()
            self.stage = self._stages()
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{self.verb}, {'killed' if kills else 'an error'} at {step[0]} #{step[1]}"
            return [f"{what}: {error!r:.1200} in {where.filename}:{where.lineno}"]
        return []

    def _try(self, step: Step, *, kills: bool) -> None:
        names, before, params = self._prepared()
        faults = self.stage.faults
        answer: Any = None
        with faults.counting(step, kills=kills):
            answer = self._send(params, later=kills)
            if not kills:
                self.stage.door.idle()
        if not faults.met.is_set():
            self._renew()
            return  # it was done in fewer steps this time
        self.met["killed" if kills else "failed"] += 1
        if kills:
            self.stage.begin_anew()
        elif isinstance(answer, XenError):
            assert "the agent's log has the rest" not in str(answer.description), answer.description
        self.stage.settle()
        if self.stage.has_left_over():
            self.stage.begin_anew()  # what cannot be undone or finished now is when the agent starts again
            self.stage.settle()
        self.stage.require_sound()
        found = world.change(before, self.stage.lines(names))
        if not kills and not isinstance(answer, XenError):
            assert self.verb.leaves or found == self._done, f"it was done, and is not:\n{world.told(found, self._done)}"
            self._renew()
        elif found == self._done:
            self._renew()
        else:
            self._finish(names, before, params, found)

    def _finish(self, names: world.Names, before: world.Lines, params: tuple[Any, ...], found: world.Change) -> None:
        """What was not done was not begun, and can be done now."""
        parts = self.verb.parts
        if self.verb.leaves and found != NOTHING:
            self._renew()
            return
        assert parts or found == NOTHING, f"it is half done, by:\n{world.told(found, self._done)}"
        begun = found != NOTHING
        answers = [
            self._send(params, later=False, name=name)
            for name in ((self.verb.name, *parts) if begun else (self.verb.name,))
        ]
        assert not all(isinstance(answer, XenError) for answer in answers), f"it cannot be done again: {answers}"
        self.stage.settle()
        self.stage.require_sound()
        found = world.change(before, self.stage.lines(names))
        assert found == self._done, f"it was done again, and is not:\n{world.told(found, self._done)}"
        self._renew()

    def _renew(self) -> None:
        """Begin on another host, where the verb cannot be done twice on one, and where comparing all there is takes
        longer than that.
        """
        if self.verb.fresh or len(world.uuids(self.stage.door.store)) > CROWDED:
            self.stage.close()
            self.stage = self._stages()

    def _prepared(self) -> tuple[world.Names, world.Lines, tuple[Any, ...]]:
        known = world.uuids(self.stage.door.store)
        params = tuple(param.ref if isinstance(param, Entity) else param for param in self.verb.prepare(self.stage))
        self.stage.settle()
        names = world.Names(self.stage.standing, known, self.stage.door.store)
        return names, self.stage.lines(names), params

    def _send(self, params: tuple[Any, ...], *, later: bool, name: str = "") -> Any:
        """Call it; returns the answer or the error. Where the agent is going to be killed, no answer is waited for."""
        door, faults = self.stage.door, self.stage.faults
        if self.verb.send is not None:
            future = self.verb.send(self.stage, params)
        else:
            message = sealed().messages[name or self.verb.name]
            asynchronous = later and message.has_async
            given = (*params, *(False for _ in message.params))[: max(len(params), message.required)]
            given = given[: len(message.params)]
            future = door.later(f"{'Async.' * asynchronous}{message.full_name}", *given)
        if not later:
            return _answer(future)
        eventually(lambda: faults.met.is_set() or (future.done() and door.lanes.idle()), "the step or the end")
        if self.verb.send is not None:
            _answer(future)  # whoever sends has a socket, which is to be closed
        return None


def _answer(future: Future[Any]) -> Any:
    try:
        result = future.result(doors.WAIT_SECONDS)
        return result.value if isinstance(result, Result) else result
    except XenError as error:
        return error
