"""Snapshots with memory, as every hypervisor keeps them: the machine goes on from it, and from disks that lie
elsewhere by then.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent import classes as c
from agent.classes.enums import PowerState
from agent.errors import OperationNotAllowed
from tests.contract.conftest import Bench

SNAPSHOT = "5a5a5a5a-0000-4000-8000-000000000001"
OTHER = "5a5a5a5a-0000-4000-8000-000000000002"
FIRST, SECOND = "/var/lib/libvirt/images/first.raw", "/var/lib/libvirt/images/second.raw"


def running(bench: Bench) -> tuple[c.VM, c.VBD]:
    vm = bench.machines.vm()
    vbd = bench.machines.disk(vm, "0", FIRST)
    bench.start(vm)
    return vm, vbd


def move(bench: Bench, vbd: c.VBD, location: str) -> c.VBD:
    """The disk as it is after a revert: another volume in the same place."""
    vdi = bench.machines.vdi(location)
    with bench.machines._store.transaction():
        vbd.VDI = vdi
    return vbd


def known(*machines: c.VM) -> Callable[[str], c.VM | None]:
    return lambda uuid: next((vm for vm in machines if vm.uuid == uuid), None)


def snapshot_of(bench: Bench, vm: c.VM) -> c.VM:
    made = bench.machines.vm("snapshot", SNAPSHOT)
    with bench.machines._store.transaction():
        made.is_a_snapshot, made.is_a_template, made.snapshot_of = True, True, vm
    return made


def test_a_machine_whose_memory_is_kept_is_suspended_and_goes_on(bench: Bench) -> None:
    vm, _ = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    assert bench.see(vm).power_state is PowerState.SUSPENDED
    bench.domains.resume(vm, False)
    bench.domains.settle_memory(SNAPSHOT)
    assert bench.see(vm).power_state is PowerState.RUNNING


def test_a_machine_goes_on_from_a_memory_again_and_again_with_the_disk_it_is_given(bench: Bench) -> None:
    vm, vbd = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    bench.domains.resume(vm, False)
    for location in (SECOND, FIRST):
        bench.domains.destroy(vm)
        bench.domains.ready_memory(vm, SNAPSHOT, [move(bench, vbd, location)])
        assert bench.see(vm).power_state is PowerState.HALTED
        bench.domains.put_memory(vm)
        bench.domains.define(vm)
        assert bench.see(vm).power_state is PowerState.SUSPENDED
        bench.domains.resume(vm, False)
        seen = bench.see(vm)
        assert (seen.power_state, [disk.source for disk in seen.disks]) == (PowerState.RUNNING, [location])


def test_a_machine_that_waits_with_a_memory_can_be_halted(bench: Bench) -> None:
    vm, vbd = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    bench.domains.destroy(vm)
    bench.domains.ready_memory(vm, SNAPSHOT, [vbd])
    bench.domains.put_memory(vm)
    bench.domains.destroy(vm)
    assert bench.see(vm).power_state is PowerState.HALTED


def test_a_memory_that_does_not_go_with_the_disks_is_refused(bench: Bench) -> None:
    vm, vbd = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    bench.domains.destroy(vm)
    with pytest.raises(OperationNotAllowed):
        bench.domains.ready_memory(vm, SNAPSHOT, [])
    with pytest.raises(OperationNotAllowed):
        bench.domains.ready_memory(vm, OTHER, [vbd])
    bench.domains.drop_memory(SNAPSHOT)
    bench.domains.drop_memory(SNAPSHOT)
    with pytest.raises(OperationNotAllowed):
        bench.domains.ready_memory(vm, SNAPSHOT, [vbd])


# --- what a crash leaves


def test_a_machine_that_was_saved_when_the_agent_ended_goes_on(bench: Bench) -> None:
    vm, vbd = running(bench)
    with bench.machines._store.transaction():
        vm.held_still = True
    bench.domains.save_memory(vm, SNAPSHOT)
    assert bench.domains.recover_memories(known(vm)) == set()
    assert bench.see(vm).power_state is PowerState.RUNNING
    bench.domains.destroy(vm)
    with pytest.raises(OperationNotAllowed):  # of the snapshot that never was, nothing is left
        bench.domains.ready_memory(vm, SNAPSHOT, [vbd])


def test_a_machine_that_was_suspended_since_stays_so(bench: Bench) -> None:
    vm, _ = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    bench.domains.settle_memory(SNAPSHOT)
    taken = snapshot_of(bench, vm)
    assert bench.domains.recover_memories(known(vm, taken)) == {SNAPSHOT}
    assert bench.see(vm).power_state is PowerState.SUSPENDED


def test_a_machine_that_a_client_suspended_stays_so_whatever_note_is_left(bench: Bench) -> None:
    vm, _ = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    assert bench.domains.recover_memories(known(vm)) == set()
    assert bench.see(vm).power_state is PowerState.SUSPENDED


@pytest.mark.parametrize("reverted", [True, False])
def test_a_revert_that_was_cut_off_is_finished_where_the_disks_are_there(bench: Bench, reverted: bool) -> None:
    vm, vbd = running(bench)
    bench.domains.save_memory(vm, SNAPSHOT)
    bench.domains.settle_memory(SNAPSHOT)
    bench.domains.destroy(vm)
    move(bench, vbd, SECOND)
    bench.domains.ready_memory(vm, SNAPSHOT, [vbd])
    if not reverted:
        move(bench, vbd, FIRST)
    taken = snapshot_of(bench, vm)
    for _ in range(2):
        assert bench.domains.recover_memories(known(vm, taken)) == {SNAPSHOT}
        assert bench.see(vm).power_state is (PowerState.SUSPENDED if reverted else PowerState.HALTED)
