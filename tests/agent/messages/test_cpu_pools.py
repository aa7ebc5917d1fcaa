"""CPU pools through the door: the rules and errors of the original server, and what the observer makes of pools."""

from __future__ import annotations

from typing import Any

import pytest

from agent.classes import VM, CpuPool, HostCpu
from agent.errors import OperationNotAllowed
from tests.door import Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def machine() -> FakeMachine:
    """A host with four processors."""
    made = FakeMachine()
    made.node.seen_cpus = [made.node.seen_cpus[0].__class__(number, "AMD", "one", 3000) for number in range(4)]
    made.node.cpu_pools.numbers = lambda: range(4)
    return made


@pytest.fixture
def first(door: Door) -> CpuPool:
    """The pool that Xen has from its start."""
    [pool] = door("cpu_pool.get_all")
    assert isinstance(pool, CpuPool)
    return pool


@pytest.fixture
def cpus(door: Door, first: CpuPool) -> list[HostCpu]:
    """The processors, of which the last two are in no pool."""
    found = sorted(first.host_CPUs, key=lambda cpu: cpu.number)
    for cpu in found[2:]:
        door("cpu_pool.remove_host_CPU_live", first, cpu)
    return found


@pytest.fixture
def pool(door: Door, cpus: list[HostCpu]) -> CpuPool:
    """A pool of one processor that is not activated."""
    made: CpuPool = door("cpu_pool.create", {"name_label": "mine"})
    return made


def numbers(pool: CpuPool) -> list[int]:
    return sorted(cpu.number for cpu in pool.host_CPUs)


def test_the_pool_of_xen_is_shown_with_all_its_processors(door: Door, first: CpuPool) -> None:
    assert (first.name_label, first.activated, first.sched_policy, first.ncpu) == ("Pool-0", True, "credit2", 4)
    assert numbers(first) == [0, 1, 2, 3]
    assert all(cpu.cpu_pool == (first,) for cpu in first.host_CPUs)
    assert first.resident_on.resident_cpu_pools == (first,)
    assert door("host_cpu.get_unassigned_cpus") == ()


def test_a_pool_is_made_deactivated_and_without_anything(door: Door, pool: CpuPool) -> None:
    assert (pool.activated, pool.host_CPUs, pool.started_VMs) == (False, (), ())
    assert pool in pool.resident_on.resident_cpu_pools
    assert door("cpu_pool.get_by_name_label", "mine") == [pool]


def test_a_pool_without_a_name_gets_one(door: Door, first: CpuPool) -> None:
    assert door("cpu_pool.create", {}).name_label.startswith("Pool-")


@pytest.mark.threat("T13")
@pytest.mark.parametrize("name", ["a b", "7", "x" * 19, 'a"b', "ü"])
def test_a_name_that_xl_would_misread_is_none(door: Door, first: CpuPool, name: str) -> None:
    assert door.refused("cpu_pool.create", {"name_label": name})[:2] == ["INVALID_VALUE", "name_label"]


def test_a_name_belongs_to_one_pool(door: Door, pool: CpuPool, first: CpuPool) -> None:
    taken = ["DB_UNIQUENESS_CONSTRAINT_VIOLATION", "cpu_pool", "name_label", "Pool-0"]
    assert door.refused("cpu_pool.create", {"name_label": "Pool-0"}) == taken
    assert door.refused("cpu_pool.set_name_label", pool, "Pool-0") == taken
    assert door.refused("cpu_pool.set_name_label", pool, "")[0] == "INVALID_VALUE"


def test_activation_takes_free_processors_the_proposed_ones_first(
    door: Door, pool: CpuPool, cpus: list[HostCpu]
) -> None:
    assert door("host_cpu.get_unassigned_cpus") == tuple(cpus[2:])
    door("cpu_pool.set_proposed_CPUs", pool, ["0", "3", "77"])
    door("cpu_pool.activate", pool)
    assert (pool.activated, numbers(pool), pool.sched_policy) == (True, [3], "credit2")
    assert door("host_cpu.get_unassigned_cpus") == (cpus[2],)
    assert door.refused("cpu_pool.activate", pool) == ["POOL_BAD_STATE", "activated"]


def test_activation_fills_up_with_others(door: Door, pool: CpuPool) -> None:
    door("cpu_pool.set_ncpu", pool, 2)
    door("cpu_pool.add_to_proposed_CPUs", pool, 3)
    door("cpu_pool.activate", pool)
    assert numbers(pool) == [2, 3]


def test_activation_needs_processors_and_a_scheduler(door: Door, pool: CpuPool) -> None:
    door("cpu_pool.set_ncpu", pool, 3)
    assert door.refused("cpu_pool.activate", pool) == ["INSUFFICIENT_CPUS", "3", "2"]
    door("cpu_pool.set_sched_policy", pool, "lottery")
    assert door.refused("cpu_pool.activate", pool) == ["UNKOWN_SCHED_POLICY"]
    assert not pool.activated


def test_what_is_fixed_while_activated_is_refused(door: Door, pool: CpuPool) -> None:
    door("cpu_pool.activate", pool)
    for name, *values in (
        ("set_ncpu", 2),
        ("set_sched_policy", "credit"),
        ("set_proposed_CPUs", ["1"]),
        ("add_to_proposed_CPUs", 1),
        ("remove_from_proposed_CPUs", 1),
        ("add_proposed_CPUs", "1"),
        ("remove_proposed_CPUs", "1"),
        ("destroy",),
    ):
        assert door.refused(f"cpu_pool.{name}", pool, *values) == ["POOL_BAD_STATE", "activated"], name
    assert (pool.ncpu, pool.sched_policy, pool.proposed_CPUs) == (1, "credit2", ())


def test_proposed_processors_are_a_set_of_numbers(door: Door, pool: CpuPool) -> None:
    for name, value in (("add_to", 2), ("add_to", 2), ("add_to", 5), ("remove_from", 5), ("remove_from", 9)):
        door(f"cpu_pool.{name}_proposed_CPUs", pool, value)
    door("cpu_pool.add_proposed_CPUs", pool, "3")
    assert pool.proposed_CPUs == ("2", "3")
    for numbers_given in (["x"], ["-1"], ["4096"]):
        assert door.refused("cpu_pool.set_proposed_CPUs", pool, numbers_given)[0] == "INVALID_VALUE"
    assert door.refused("cpu_pool.add_to_proposed_CPUs", pool, -1)[0] == "INVALID_VALUE"
    assert door.refused("cpu_pool.set_ncpu", pool, 0)[0] == "INVALID_VALUE"


def test_deactivation_frees_the_processors(door: Door, pool: CpuPool, cpus: list[HostCpu]) -> None:
    assert door.refused("cpu_pool.deactivate", pool) == ["POOL_BAD_STATE", "deactivated"]
    door("cpu_pool.activate", pool)
    door("cpu_pool.deactivate", pool)
    assert (pool.activated, pool.host_CPUs) == (False, ())
    assert door("host_cpu.get_unassigned_cpus") == tuple(cpus[2:])
    door("cpu_pool.destroy", pool)
    assert door("cpu_pool.get_by_name_label", "mine") == []


def test_the_first_pool_is_never_deactivated(door: Door, first: CpuPool) -> None:
    assert door.refused("cpu_pool.deactivate", first) == ["POOL_BAD_STATE", "in use"]
    assert first.activated


def test_processors_are_added_and_removed_live(door: Door, pool: CpuPool, cpus: list[HostCpu]) -> None:
    for name in ("add", "remove"):
        refused = door.refused(f"cpu_pool.{name}_host_CPU_live", pool, cpus[3])
        assert refused == ["POOL_BAD_STATE", "deactivated"]
    door("cpu_pool.activate", pool)
    door("cpu_pool.add_host_CPU_live", pool, cpus[3])
    assert (numbers(pool), pool.ncpu, pool.proposed_CPUs) == ([2, 3], 2, ("2", "3"))
    assert door.refused("cpu_pool.add_host_CPU_live", pool, cpus[0])[0] == "INVALID_CPU"
    assert door.refused("cpu_pool.remove_host_CPU_live", pool, cpus[0])[0] == "INVALID_CPU"
    door("cpu_pool.remove_host_CPU_live", pool, cpus[2])
    assert (numbers(pool), pool.ncpu) == ([3], 1)


def test_the_last_processor_stays_while_machines_run_on_it(door: Door, pool: CpuPool, cpus: list[HostCpu]) -> None:
    door("cpu_pool.activate", pool)
    vm = door.vm(pool_name="mine")
    door("VM.start", vm, False)
    assert pool.started_VMs == (vm,)
    assert door.refused("cpu_pool.remove_host_CPU_live", pool, cpus[2])[0] == "LAST_CPU_NOT_REMOVEABLE"
    assert door.refused("cpu_pool.deactivate", pool) == ["POOL_BAD_STATE", "in use"]
    door("VM.hard_shutdown", vm)
    door("cpu_pool.remove_host_CPU_live", pool, cpus[2])
    assert pool.host_CPUs == ()


# --- machines


def test_a_machine_runs_in_the_first_pool_unless_told_otherwise(door: Door, first: CpuPool) -> None:
    vm = door.vm()
    assert list(vm.cpu_pool) == []
    door("VM.start", vm, False)
    assert (list(vm.cpu_pool), list(first.started_VMs)) == ([first], [vm])
    door("VM.hard_shutdown", vm)
    assert (list(vm.cpu_pool), list(first.started_VMs)) == ([], [])


def test_a_machine_is_moved_into_its_pool_at_each_start(door: Door, pool: CpuPool, machine: FakeMachine) -> None:
    door("cpu_pool.activate", pool)
    vm = door.vm()
    door("VM.set_pool_name", vm, "mine")
    door("VM.start", vm, False)
    assert vm.cpu_pool == (pool,)
    door("VM.clean_reboot", vm)
    assert vm.cpu_pool == (pool,)
    assert machine.node.cpu_pools.calls.count("move") == 2


def test_a_machine_does_not_start_while_its_pool_is_deactivated(door: Door, pool: CpuPool) -> None:
    vm = door.vm(pool_name="mine")
    assert door.refused("VM.start", vm, False) == ["POOL_BAD_STATE", "deactivated"]
    assert door.refused("VM.assert_can_boot_here", vm, pool.resident_on) == ["POOL_BAD_STATE", "deactivated"]
    door("cpu_pool.activate", pool)
    door("VM.start", vm, False)


def test_a_running_machine_moves(door: Door, pool: CpuPool, first: CpuPool, machine: FakeMachine) -> None:
    vm = door.vm(VCPUs_params={"weight": "512"})
    assert door.refused("VM.cpu_pool_migrate", vm, pool)[0] == "VM_BAD_POWER_STATE"
    door("VM.start", vm, False)
    assert door.refused("VM.cpu_pool_migrate", vm, pool) == ["POOL_BAD_STATE", "deactivated"]
    door("cpu_pool.activate", pool)
    door("VM.cpu_pool_migrate", vm, pool)
    assert (vm.cpu_pool, vm.pool_name, pool.started_VMs, first.started_VMs) == ((pool,), "mine", (vm,), ())
    assert machine.domains.calls[-1] == "set_scheduler"
    door("cpu_pool.set_name_label", pool, "yours")
    assert (vm.pool_name, vm.cpu_pool) == ("yours", (pool,))
    door("VM.clean_reboot", vm)
    assert vm.cpu_pool == (pool,)


def test_a_machine_that_cannot_be_moved_runs_on_and_is_shown_where_it_is(
    door: Door, pool: CpuPool, first: CpuPool, machine: FakeMachine
) -> None:
    door("cpu_pool.activate", pool)
    vm = door.vm(pool_name="mine")
    machine.node.cpu_pools.fail("move", OperationNotAllowed("xl refuses"))
    door("VM.start", vm, False)
    assert vm.power_state == "Running"
    door.observer.refresh_cpu_pools()
    assert vm.cpu_pool == (first,)


# --- what is seen


def look(door: Door, machine: FakeMachine) -> None:
    machine.domains.changed(None)
    door.idle()


def test_a_pool_of_xl_comes_and_goes_and_stays_if_it_was_deactivated_here(
    door: Door, machine: FakeMachine, cpus: list[HostCpu]
) -> None:
    machine.node.cpu_pools.create("theirs", "credit", [2, 3])
    look(door, machine)
    [theirs] = door("cpu_pool.get_by_name_label", "theirs")
    assert (theirs.activated, theirs.sched_policy, theirs.ncpu, theirs.proposed_CPUs) == (True, "credit", 2, ("2", "3"))
    machine.node.cpu_pools.destroy("theirs")
    look(door, machine)
    assert door("cpu_pool.get_by_name_label", "theirs") == []
    machine.node.cpu_pools.create("theirs", "credit", [2, 3])
    look(door, machine)
    [again] = door("cpu_pool.get_by_name_label", "theirs")
    assert again.uuid == theirs.uuid
    door("cpu_pool.deactivate", again)
    look(door, machine)
    door("cpu_pool.activate", again)
    assert (again.sched_policy, numbers(again)) == ("credit", [2, 3])


def test_a_pool_that_others_removed_is_deactivated(door: Door, pool: CpuPool, machine: FakeMachine) -> None:
    door("cpu_pool.activate", pool)
    machine.node.cpu_pools.destroy("mine")
    look(door, machine)
    assert (pool.activated, pool.host_CPUs) == (False, ())


def test_what_is_not_told_stays_as_it_was(door: Door, first: CpuPool, machine: FakeMachine, mocker: Any) -> None:
    mocker.patch.object(machine.node.cpu_pools, "list", return_value=None)
    look(door, machine)
    assert first.activated


def test_where_the_hypervisor_has_no_pools_nothing_is_made_up(machine: FakeMachine, mocker: Any) -> None:
    mocker.patch.object(machine.node.cpu_pools, "list", return_value=None)
    door = Door(machine.ports(), None)
    assert door("cpu_pool.get_all") == []
    assert door.refused("host_cpu.get_unassigned_cpus")[0] == "OPERATION_NOT_ALLOWED"
    pool = door("cpu_pool.create", {"name_label": "mine"})
    assert door.refused("cpu_pool.activate", pool)[0] == "OPERATION_NOT_ALLOWED"
    vm = door.vm()
    door("VM.start", vm, False)
    assert vm.cpu_pool == ()
    door.close()


def test_a_pool_is_activated_at_the_start_if_it_is_to_be(tmp_path: Any, mocker: Any) -> None:
    before = FakeMachine()
    door = Door(before.ports(), tmp_path / "journal")
    [first] = door("cpu_pool.get_all")
    door("cpu_pool.remove_host_CPU_live", first, first.host_CPUs[1])
    for name, wanted in (("wanted", True), ("too-many", True), ("other", False)):
        door("cpu_pool.create", {"name_label": name, "auto_power_on": wanted, "ncpu": 8 if name == "too-many" else 1})
    door.close()
    # The host was rebooted: Xen has one pool again, and somebody takes a processor out of it before the agent starts.
    after = FakeMachine()
    after.node.cpu_pools.list()
    after.node.cpu_pools.remove_cpu("Pool-0", 1)
    door = Door(after.ports(), tmp_path / "journal")
    state = {pool.name_label: pool.activated for pool in door("cpu_pool.get_all")}
    assert state == {"Pool-0": True, "wanted": True, "too-many": False, "other": False}
    [wanted] = door("cpu_pool.get_by_name_label", "wanted")
    door("cpu_pool.deactivate", wanted)
    look(door, after)
    assert not wanted.activated  # only at the start
    door.close()


def test_the_control_domain_is_not_moved(door: Door, pool: CpuPool, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    with door.store.transaction():
        vm.is_control_domain = True
    door("cpu_pool.activate", pool)
    assert door.refused("VM.cpu_pool_migrate", vm, pool)[0] == "OPERATION_NOT_ALLOWED"


def test_a_host_without_hvm_starts_no_machine_that_needs_it(door: Door, machine: FakeMachine) -> None:
    for fields in ({"domain_type": "hvm"}, {"domain_type": "pvh"}, {"HVM_boot_policy": "BIOS order"}):
        vm = door.vm(**fields)
        assert door.refused("VM.start", vm, False) == ["VM_HVM_REQUIRED", vm.ref]
    door("VM.start", door.vm(domain_type="pv"), False)


def test_machines_and_pools_agree_after_a_machine_is_destroyed(door: Door, first: CpuPool) -> None:
    vm: VM = door.vm()
    door("VM.start", vm, False)
    door("VM.hard_shutdown", vm)
    door("VM.destroy", vm)
    assert first.started_VMs == ()
