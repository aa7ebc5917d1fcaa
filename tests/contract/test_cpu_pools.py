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
from tests.drivers.fake_xl import XlHost
from tests.drivers.machines import Machines

FIRST = "Pool-0"


@dataclass
class Bench:
    """Pools of a host with at least four processors, and a machine that can be run on it."""

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

    def free(self, *numbers: int) -> None:
        """Take processors out of the first pool."""
        for number in numbers:
            self.pools.remove_cpu(FIRST, number)


@contextmanager
def xl(vm: VM, machines: Machines, folder: Path) -> Iterator[Bench]:
    """A host with an xl that keeps pools as Xen does."""
    host = XlHost(folder)
    yield Bench(XlCpuPools(host.xl), vm, lambda: host.run_domain(vm.uuid), lambda: host.stop_domain(vm.uuid))


@contextmanager
def simulator(vm: VM, machines: Machines, folder: Path) -> Iterator[Bench]:
    """The simulated host; a file names it, so that its state is nobody else's."""
    (folder / "node.xml").write_text("<node><cpu><nodes>1</nodes><sockets>2</sockets><cores>4</cores></cpu></node>")
    connection = Connection(f"test://{folder}/node.xml")
    domains = SimulatedDomains(connection)
    connection.start()
    pools = LibvirtNode(connection, simulated=True).cpu_pools
    yield Bench(pools, vm, lambda: domains.start(vm, False), lambda: domains.destroy(vm))
    connection.close()


@pytest.fixture(params=[xl, simulator], ids=lambda make: make.__name__)
def bench(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Bench]:
    """Each driver in turn."""
    machines = Machines(store)
    with request.param(machines.vm(), machines, tmp_path) as made:
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
    assert len(first.cpus) >= 4
    bench.run()
    assert bench.vm.uuid in bench.see(FIRST).domains
    bench.stop()
    assert bench.vm.uuid not in bench.see(FIRST).domains


def test_a_pool_has_the_processors_and_the_scheduler_it_was_made_with(bench: Bench) -> None:
    bench.free(2, 3)
    bench.pools.create("mine", "credit", [2, 3])
    made = bench.see("mine")
    assert (made.sched_policy, list(made.cpus), list(made.domains)) == ("credit", [2, 3], [])
    assert bench.names() == [FIRST, "mine"]
    assert not set(bench.see(FIRST).cpus) & {2, 3}


def test_a_pool_without_a_scheduler_named_has_the_hypervisors(bench: Bench) -> None:
    bench.free(3)
    bench.pools.create("mine", "", [3])
    assert bench.see("mine").sched_policy == "credit2"


def test_a_pool_is_not_made_of_what_is_not_free_or_does_not_exist(bench: Bench) -> None:
    refused("INVALID_CPU", bench.pools.create, "mine", "", [1])
    refused("INVALID_CPU", bench.pools.create, "mine", "", [4000])
    refused("DB_UNIQUENESS_CONSTRAINT_VIOLATION", bench.pools.create, FIRST, "", [])
    refused("UNKOWN_SCHED_POLICY", bench.pools.create, "mine", "lottery", [])
    refused("UNKOWN_SCHED_POLICY", bench.pools.create, "mine", 'credit"\nname="Pool-1', [])
    assert bench.names() == [FIRST]
    assert "credit" in bench.pools.policies()


def test_a_processor_comes_and_goes(bench: Bench) -> None:
    bench.free(2, 3)
    bench.pools.create("mine", "", [3])
    bench.pools.add_cpu("mine", 2)
    assert list(bench.see("mine").cpus) == [2, 3]
    refused("INVALID_CPU", bench.pools.add_cpu, "mine", 2)
    refused("INVALID_CPU", bench.pools.add_cpu, "mine", 0)
    refused("INVALID_CPU", bench.pools.remove_cpu, "mine", 0)
    bench.pools.remove_cpu("mine", 3)
    bench.pools.add_cpu(FIRST, 3)
    assert 3 in bench.see(FIRST).cpus


def test_the_last_processor_stays_where_domains_are(bench: Bench) -> None:
    bench.free(3)
    bench.pools.create("mine", "", [3])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    refused("LAST_CPU_NOT_REMOVEABLE", bench.pools.remove_cpu, "mine", 3)
    bench.pools.move(bench.vm, FIRST)
    bench.pools.remove_cpu("mine", 3)
    assert list(bench.see("mine").cpus) == []


def test_a_machine_moves_to_a_pool_with_processors_and_back(bench: Bench) -> None:
    bench.free(3)
    bench.pools.create("mine", "", [3])
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
    bench.free(3)
    bench.pools.create("mine", "", [3])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    bench.stop()
    bench.run()
    assert bench.vm.uuid in bench.see(FIRST).domains
    assert list(bench.see("mine").domains) == []


def test_a_pool_goes_once_nobody_is_in_it(bench: Bench) -> None:
    bench.free(3)
    bench.pools.create("mine", "", [3])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    refused("POOL_BAD_STATE", bench.pools.destroy, "mine")
    bench.stop()
    bench.pools.destroy("mine")
    assert bench.names() == [FIRST]
    refused("POOL_BAD_STATE", bench.pools.destroy, "mine")
    bench.pools.add_cpu(FIRST, 3)


def test_the_control_domain_keeps_the_first_pool(bench: Bench) -> None:
    refused("POOL_BAD_STATE", bench.pools.destroy, FIRST)
    for number in list(bench.see(FIRST).cpus)[1:]:
        bench.pools.remove_cpu(FIRST, number)
    refused("LAST_CPU_NOT_REMOVEABLE", bench.pools.remove_cpu, FIRST, 0)


def test_a_pool_is_renamed_with_all_that_is_in_it(bench: Bench) -> None:
    bench.free(3)
    bench.pools.create("mine", "credit", [3])
    bench.run()
    bench.pools.move(bench.vm, "mine")
    bench.pools.rename("mine", "yours")
    assert bench.names() == [FIRST, "yours"]
    assert (list(bench.see("yours").cpus), list(bench.see("yours").domains)) == ([3], [bench.vm.uuid])
    refused("DB_UNIQUENESS_CONSTRAINT_VIOLATION", bench.pools.rename, "yours", FIRST)
    refused("POOL_BAD_STATE", bench.pools.rename, "mine", "other")
