"""The contract of CPU pools, on every driver that has some. One more is one more function that makes a Bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.classes import VM
from agent.errors import XenError
from agent.ports import CpuPools, SeenCpuPool
from agent.store.store import Store
from drivers.connection import Connection
from drivers.cpu_pools import XlCpuPools
from drivers.node import LibvirtNode
from drivers.simulator import SimulatedDomains
from tests.contract import real_xen as real
from tests.drivers.fake_xl import XlHost
from tests.drivers.machines import Machines

FIRST = "Pool-0"


@dataclass
class Bench:
    """Pools of a host with at least two processors, and a machine that can be run on it."""

    pools: CpuPools
    vm: VM
    run: Callable[[], object]
    stop: Callable[[], object]

    def see(self, name: str) -> SeenCpuPool:
        """The pool, which must be there."""
        found = {pool.name: pool for pool in self.pools.list() or ()}
        return found[name]

    def names(self) -> list[str]:
        return [pool.name for pool in self.pools.list() or ()]

    def spare(self) -> int:
        """A processor that is taken out of the first pool."""
        number = max(self.see(FIRST).cpus)
        self.pools.remove_cpu(FIRST, number)
        return number


@contextmanager
def xl(vm: VM, folder: Path) -> Iterator[Bench]:
    """A host with an xl that keeps pools as Xen does."""
    host = XlHost(folder)
    yield Bench(XlCpuPools(host.xl), vm, lambda: host.run_domain(vm.uuid), lambda: host.stop_domain(vm.uuid))


@contextmanager
def simulator(vm: VM, folder: Path) -> Iterator[Bench]:
    """The simulated host; a file names it, so that its state is nobody else's."""
    (folder / "node.xml").write_text("<node><cpu><nodes>1</nodes><sockets>2</sockets><cores>4</cores></cpu></node>")
    connection = Connection(f"test://{folder}/node.xml")
    domains = SimulatedDomains(connection)
    connection.start()
    pools = LibvirtNode(connection, simulated=True).cpu_pools
    yield Bench(pools, vm, lambda: domains.start(vm, False), lambda: domains.destroy(vm))
    connection.close()


@contextmanager
def on_real_xen(vm: VM, folder: Path) -> Iterator[Bench]:
    """The Xen of this host, whose processors are in the first pool again afterwards."""
    with real.opened(folder) as machine:
        pools = machine.node.cpu_pools
        every = [number for pool in pools.list() or () for number in pool.cpus]
        yield Bench(pools, vm, lambda: machine.domains.start(vm, False), lambda: machine.domains.destroy(vm))
        for pool in pools.list() or ():
            for uuid in pool.domains if pool.name != FIRST else ():
                assert uuid == vm.uuid
                pools.move(vm, FIRST)
            if pool.name != FIRST:
                pools.destroy(pool.name)
        [first] = pools.list() or ()
        for number in set(every) - set(first.cpus):
            pools.add_cpu(FIRST, number)


@pytest.fixture(params=real.on(xl, simulator), ids=lambda make: getattr(make, "__name__", make))
def bench(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Bench]:
    """Each driver in turn."""
    if request.param == real.NAME:
        guests = real.RealMachines(store)
        with real.prepared(), on_real_xen(guests.vm(), tmp_path) as made:
            yield made
        guests.close()
        return
    machines = Machines(store)
    with request.param(machines.vm(), tmp_path) as made:
        yield made


def refused(code: str, call: Callable[..., object], *args: object) -> None:
    """It must be refused with this code."""
    with pytest.raises(XenError) as caught:
        call(*args)
    assert caught.value.code == code, caught.value


def test_a_host_has_one_pool_with_all_processors_and_every_domain(bench: Bench) -> None:
    [first] = bench.pools.list() or ()
    assert (first.name, first.sched_policy) == (FIRST, "credit2")
    assert list(first.cpus) == list(range(len(first.cpus)))
    assert len(first.cpus) >= 2
    bench.run()
    assert bench.vm.uuid in bench.see(FIRST).domains
    bench.stop()
    assert bench.vm.uuid not in bench.see(FIRST).domains


def test_a_pool_has_the_processors_and_the_scheduler_it_was_made_with(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "credit", [number])
    made = bench.see("mine")
    assert (made.sched_policy, list(made.cpus), list(made.domains)) == ("credit", [number], [])
    assert bench.names() == [FIRST, "mine"]
    assert number not in bench.see(FIRST).cpus


def test_a_pool_without_a_scheduler_named_has_the_hypervisors(bench: Bench) -> None:
    bench.pools.create("mine", "", [bench.spare()])
    assert bench.see("mine").sched_policy == "credit2"


def test_a_pool_is_not_made_of_what_is_not_free_or_does_not_exist(bench: Bench) -> None:
    refused("INVALID_CPU", bench.pools.create, "mine", "", [0])
    refused("INVALID_CPU", bench.pools.create, "mine", "", [4000])
    refused("DB_UNIQUENESS_CONSTRAINT_VIOLATION", bench.pools.create, FIRST, "", [])
    refused("UNKOWN_SCHED_POLICY", bench.pools.create, "mine", "lottery", [])
    refused("UNKOWN_SCHED_POLICY", bench.pools.create, "mine", 'credit"\nname="Pool-1', [])
    assert bench.names() == [FIRST]
    assert "credit" in bench.pools.policies()


def test_a_processor_comes_and_goes(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "", [])
    bench.pools.add_cpu("mine", number)
    assert list(bench.see("mine").cpus) == [number]
    refused("INVALID_CPU", bench.pools.add_cpu, "mine", number)
    refused("INVALID_CPU", bench.pools.add_cpu, "mine", 0)
    refused("INVALID_CPU", bench.pools.remove_cpu, "mine", 0)
    bench.pools.remove_cpu("mine", number)
    bench.pools.add_cpu(FIRST, number)
    assert number in bench.see(FIRST).cpus


def test_the_last_processor_stays_where_domains_are(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "", [number])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    refused("LAST_CPU_NOT_REMOVEABLE", bench.pools.remove_cpu, "mine", number)
    bench.pools.move(bench.vm, FIRST)
    bench.pools.remove_cpu("mine", number)
    assert list(bench.see("mine").cpus) == []


def test_a_machine_moves_to_a_pool_with_processors_and_back(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "", [number])
    bench.pools.create("empty", "", [])
    refused("VM_BAD_POWER_STATE", bench.pools.move, bench.vm, "mine")
    bench.run()
    bench.pools.move(bench.vm, "mine")
    assert list(bench.see("mine").domains) == [bench.vm.uuid]
    assert bench.vm.uuid not in bench.see(FIRST).domains
    refused("POOL_BAD_STATE", bench.pools.move, bench.vm, "empty")
    refused("POOL_BAD_STATE", bench.pools.move, bench.vm, "nowhere")
    bench.pools.move(bench.vm, FIRST)
    assert list(bench.see("mine").domains) == []


def test_a_machine_that_is_started_anew_begins_in_the_first_pool(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "", [number])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    bench.stop()
    bench.run()
    assert bench.vm.uuid in bench.see(FIRST).domains
    assert list(bench.see("mine").domains) == []


def test_a_pool_goes_once_nobody_is_in_it(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "", [number])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    refused("POOL_BAD_STATE", bench.pools.destroy, "mine")
    bench.stop()
    bench.pools.destroy("mine")
    assert bench.names() == [FIRST]
    refused("POOL_BAD_STATE", bench.pools.destroy, "mine")
    bench.pools.add_cpu(FIRST, number)


def test_the_control_domain_keeps_the_first_pool(bench: Bench) -> None:
    refused("POOL_BAD_STATE", bench.pools.destroy, FIRST)
    for number in list(bench.see(FIRST).cpus)[1:]:
        bench.pools.remove_cpu(FIRST, number)
    refused("LAST_CPU_NOT_REMOVEABLE", bench.pools.remove_cpu, FIRST, 0)


def test_a_pool_is_renamed_with_all_that_is_in_it(bench: Bench) -> None:
    number = bench.spare()
    bench.pools.create("mine", "credit", [number])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    bench.pools.rename("mine", "yours")
    assert bench.names() == [FIRST, "yours"]
    assert (list(bench.see("yours").cpus), list(bench.see("yours").domains)) == ([number], [bench.vm.uuid])
    refused("DB_UNIQUENESS_CONSTRAINT_VIOLATION", bench.pools.rename, "yours", FIRST)
    refused("POOL_BAD_STATE", bench.pools.rename, "mine", "other")
