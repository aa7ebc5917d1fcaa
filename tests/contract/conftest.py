"""The hypervisors that the contract of Domains is tried on. One more is one more function that makes a Bench.

Where a real Xen is asked for, it is the only one: ``real_xen`` tells how.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import classes as c
from agent.classes.enums import PowerState
from agent.ports import Domains, SeenDomain
from agent.store.store import Store
from drivers.census import Census
from drivers.connection import Connection
from drivers.domains import LibvirtDomains
from drivers.guests import Guests
from drivers.memories import MemoryFolder
from drivers.simulator import SimulatedDomains
from drivers.xen import XenDomains
from tests.contract import real_xen as real
from tests.drivers.fake_xen import FakeXen, FakeXl
from tests.drivers.machines import Machines


@dataclass
class Bench:
    """A driver under test, machines to try it with, and what it reported."""

    domains: Domains
    machines: Machines
    define_behind_its_back: Callable[[str], object]
    """What an admin does with a tool of his own: the domain of this XML is defined."""
    definition_of: Callable[[str], str]
    """The XML of a domain's definition, by uuid."""
    wait_for_guest: Callable[[c.VM], None] = lambda vm: None
    """Returns when the guest of the running machine can react to what it is asked: at once where there are none."""
    patience_seconds: float = 60.0
    poll_seconds: float = 0.01
    reported: list[str | None] = field(default_factory=list)
    states: list[tuple[str, PowerState]] = field(default_factory=list)
    """The domain that was reported, and the state that was seen: on a real Xen those of earlier cases are there too."""
    _heard: threading.Condition = field(default_factory=threading.Condition)

    def start(self, vm: c.VM) -> None:
        """Start the machine and wait for its guest: for cases in which the guest has to do its part."""
        self.domains.start(vm, False)
        self.wait_for_guest(vm)

    def watch(self) -> None:
        """Look at every domain that is reported, as the observer does."""

        def changed(uuid: str | None) -> None:
            seen = None if uuid is None else self.domains.look(uuid)
            with self._heard:
                self.reported.append(uuid)
                if seen is not None:
                    self.states.append((seen.uuid, seen.power_state))
                self._heard.notify_all()

        self.domains.watch(changed)

    def wait_for_report(self, uuid: str) -> None:
        """Until the domain was reported since `reported` was last cleared."""
        with self._heard:
            assert self._heard.wait_for(lambda: uuid in self.reported, timeout=self.patience_seconds)

    def see(self, vm: c.VM) -> SeenDomain:
        """The machine's domain, which must be there."""
        seen = self.domains.look(vm.uuid)
        assert seen is not None
        return seen

    def wait_until(self, vm: c.VM, state: PowerState, *, beyond: int = -2) -> SeenDomain:
        """The machine's domain, once it is in this state, under a number higher than `beyond`."""
        deadline = time.monotonic() + self.patience_seconds
        while (seen := self.see(vm)).power_state is not state or seen.domid <= beyond:
            assert time.monotonic() < deadline, seen
            time.sleep(self.poll_seconds)
        return seen


def _memories(xen: FakeXen, folder: Path) -> MemoryFolder:
    """Where memory is kept, and where the library keeps that of suspended machines."""
    xen.saves = folder / "saves"
    xen.saves.mkdir()
    return MemoryFolder(folder / "memory", xen.saves)


@contextmanager
def fake_xen(machines: Machines, folder: Path, mocker: MockerFixture) -> Iterator[Bench]:
    """Calls to a libvirt that answers as its Xen driver was seen to."""
    xen = FakeXen(mocker)
    connection = Connection("xen:///system", opener=lambda uri: xen.connection)
    domains = LibvirtDomains(connection, memories=_memories(xen, folder))
    connection.start()
    yield Bench(domains, machines, xen.define, lambda uuid: xen.domains[uuid].XMLDesc(2))
    connection.close()


@contextmanager
def fake_xen_with_xl(machines: Machines, folder: Path, mocker: MockerFixture) -> Iterator[Bench]:
    """The same on this host, where xl is asked too, and its last count is a little old."""
    xen = FakeXen(mocker)
    xl = FakeXl(xen)
    census = Census(xl, period_seconds=0.05)
    connection = Connection("xen:///system", opener=lambda uri: xen.connection)
    domains = XenDomains(connection, xl, census, Guests(), memories=_memories(xen, folder))
    connection.start()
    census.start()
    yield Bench(domains, machines, xen.define, lambda uuid: xen.domains[uuid].XMLDesc(2))
    census.close()
    connection.close()


@contextmanager
def simulator(machines: Machines, folder: Path, mocker: MockerFixture) -> Iterator[Bench]:
    """libvirt's own test hypervisor. A file names it, so that its state is nobody else's."""
    (folder / "node.xml").write_text("<node/>")
    connection = Connection(f"test://{folder}/node.xml")
    domains = SimulatedDomains(connection, memories=MemoryFolder(folder / "memory"))
    connection.start()
    yield Bench(
        domains,
        machines,
        lambda text: connection.handle.defineXML(text),
        lambda uuid: str(connection.handle.lookupByUUIDString(uuid).XMLDesc(2)),
    )
    connection.close()


@contextmanager
def real_xen(machines: Machines, folder: Path, mocker: MockerFixture) -> Iterator[Bench]:
    """The Xen of this host, as the agent has it."""
    assert isinstance(machines, real.RealMachines)
    with real.opened(folder) as machine:
        domains = machine.domains

        def wait_for_guest(vm: c.VM) -> None:
            real.wait_until(lambda: real.guest_answers(domains, vm), "the guest answers")

        yield Bench(
            domains,
            machines,
            real.define,
            real.definition_of,
            wait_for_guest,
            patience_seconds=real.PATIENCE_SECONDS,
            poll_seconds=real.POLL_SECONDS,
        )
        machines.close()


@pytest.fixture(scope="session", autouse=True)
def host() -> Iterator[None]:
    """A real host has what the machines need."""
    if real.URI:
        with real.prepared():
            yield
    else:
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a real Xen cannot hold to is left out there, with the reason."""
    real.leave_out(items)


BENCHES = [real_xen] if real.URI else [fake_xen, fake_xen_with_xl, simulator]


@pytest.fixture(params=BENCHES, ids=lambda make: make.__name__)
def bench(request: pytest.FixtureRequest, store: Store, tmp_path: Path, mocker: MockerFixture) -> Iterator[Bench]:
    """Each hypervisor in turn."""
    machines = real.RealMachines(store) if real.URI else Machines(store)
    with request.param(machines, tmp_path, mocker) as made:
        yield made
