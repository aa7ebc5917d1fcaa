"""Snapshots with memory: what they are, and what a failing call to the machine below leaves."""

from __future__ import annotations

import pytest

from agent.classes import SR, VDI, VM
from agent.errors import InternalError
from tests.door import Door
from tests.fake_machine import LOCAL, FakeMachine

BROKEN = InternalError("on demand")
MIB = 2**20


@pytest.fixture
def vm(door: Door) -> VM:
    """A running machine with a disk and an empty drive."""
    made: VM = door.vm()
    sr = door.store.by_uuid(SR, LOCAL)
    vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": MIB, "name_label": "root"})
    door("VBD.create", {"VM": made.ref, "VDI": vdi.ref, "userdevice": "0"})
    door("VBD.create", {"VM": made.ref, "VDI": "OpaqueRef:NULL", "userdevice": "3", "type": "CD", "empty": True})
    door("VM.start", made, False)
    door.idle()
    return made


def disk_of(vm: VM) -> VDI:
    (vdi,) = (vbd.VDI for vbd in vm.VBDs if vbd.VDI is not None)
    return vdi


def traces(door: Door, machine: FakeMachine) -> object:
    counted = {name: door.store.count(name) for name in ("VM", "VBD", "VDI", "VIF", "VM_metrics", "VBD_metrics")}
    return counted, sorted(machine.storage.volumes[LOCAL]), dict(machine.domains.memories), machine.domains.ready


def test_a_checkpoint_has_the_memory_and_its_machine_goes_on(door: Door, machine: FakeMachine, vm: VM) -> None:
    machine.domains.calls.clear()
    taken: VM = door("VM.checkpoint", vm, "with memory")
    steps = ("suspend", "save_memory", "resume", "settle_memory")
    assert [call for call in machine.domains.calls if call in steps] == list(steps)
    assert vm.power_state == "Running"
    assert (taken.power_state, taken.is_a_snapshot, taken.snapshot_of) == ("Suspended", True, vm)
    assert taken.snapshot_info["power-state-at-snapshot"] == "Running"
    assert machine.domains.memories == {taken.uuid: vm.uuid}
    assert disk_of(taken).snapshot_of is disk_of(vm)


@pytest.mark.parametrize("state", ["Halted", "Paused", "Suspended"])
def test_only_a_running_machine_has_memory_to_keep(door: Door, vm: VM, state: str) -> None:
    door({"Halted": "VM.hard_shutdown", "Paused": "VM.pause", "Suspended": "VM.suspend"}[state], vm)
    assert door.refused("VM.checkpoint", vm, "no")[0] == "VM_BAD_POWER_STATE"


@pytest.mark.parametrize(
    ("port", "method", "error"),
    [
        ("domains", "suspend", ["VM_CHECKPOINT_SUSPEND_FAILED"]),
        ("domains", "save_memory", ["VM_CHECKPOINT_SUSPEND_FAILED"]),
        ("storage", "copy_volume", BROKEN.description),
    ],
)
def test_a_checkpoint_that_fails_leaves_nothing_and_the_machine_running(
    door: Door, machine: FakeMachine, vm: VM, port: str, method: str, error: list[str]
) -> None:
    before = traces(door, machine)
    getattr(machine, port).fail(method, BROKEN)
    assert door.refused("VM.checkpoint", vm, "no")[: len(error)] == error
    assert traces(door, machine) == before
    assert vm.power_state == "Running"


def test_a_machine_that_does_not_go_on_is_suspended_with_nothing_lost(door: Door, machine: FakeMachine, vm: VM) -> None:
    before = traces(door, machine)
    machine.domains.fail("resume", BROKEN)
    assert door.refused("VM.checkpoint", vm, "no") == ["VM_CHECKPOINT_RESUME_FAILED", vm.ref]
    assert traces(door, machine) == before
    assert vm.power_state == "Suspended"
    machine.domains.plan.clear()
    door("VM.resume", vm, False)
    assert vm.power_state == "Running"


@pytest.mark.parametrize("before", ["Running", "Halted", "Suspended"])
def test_a_revert_to_a_checkpoint_ends_suspended_and_goes_on(
    door: Door, machine: FakeMachine, vm: VM, before: str
) -> None:
    taken: VM = door("VM.checkpoint", vm, "with memory")
    if before != "Running":
        door({"Halted": "VM.hard_shutdown", "Suspended": "VM.suspend"}[before], vm)
    for _ in range(2):
        ready: list[list[str]] = []
        machine.domains.plan["put_memory"] = lambda: ready.append(machine.domains.ready[vm.uuid])  # noqa: B023
        door("VM.revert", taken)
        assert ready == [[disk_of(vm).location]]
        assert vm.power_state == "Suspended"
        door("VM.resume", vm, False)
        assert vm.power_state == "Running"
    assert machine.domains.memories == {taken.uuid: vm.uuid}


@pytest.mark.parametrize(("port", "method"), [("domains", "ready_memory"), ("storage", "copy_volume")])
def test_a_revert_that_cannot_have_the_memory_leaves_the_machine_running(
    door: Door, machine: FakeMachine, vm: VM, port: str, method: str
) -> None:
    taken: VM = door("VM.checkpoint", vm, "with memory")
    before, disk = traces(door, machine), disk_of(vm)
    getattr(machine, port).fail(method, BROKEN)
    assert door.refused("VM.revert", taken) == BROKEN.description
    assert traces(door, machine) == before
    assert (vm.power_state, disk_of(vm)) == ("Running", disk)


def test_a_revert_that_cannot_stop_its_machine_makes_nothing_ready(door: Door, machine: FakeMachine, vm: VM) -> None:
    taken: VM = door("VM.checkpoint", vm, "with memory")
    before = traces(door, machine)
    machine.domains.fail("destroy", BROKEN)
    assert door.refused("VM.revert", taken) == BROKEN.description
    assert traces(door, machine) == before


def test_a_revert_puts_the_medium_back_that_the_guest_knows_of(door: Door, vm: VM) -> None:
    sr = door.store.by_uuid(SR, LOCAL)
    (drive,) = (vbd for vbd in vm.VBDs if vbd.type == "CD")
    medium = door("VDI.create", {"SR": sr.ref, "virtual_size": MIB, "name_label": "cd"})
    door("VBD.insert", drive, medium)
    taken: VM = door("VM.checkpoint", vm, "with memory")
    door("VBD.eject", drive)
    door("VM.revert", taken)
    assert (drive.VDI, drive.empty) == (medium, False)


def test_the_disks_of_a_checkpoint_are_in_nobodys_way(door: Door, vm: VM) -> None:
    """It is shown as suspended, and yet as halted as any snapshot."""
    taken: VM = door("VM.checkpoint", vm, "with memory")
    assert {"clone", "copy", "revert", "destroy"} <= {each.value for each in taken.allowed_operations}
    made: VM = door("VM.clone", taken, "without memory")
    assert made.power_state == "Halted"
    door("VDI.resize", disk_of(taken), 2 * MIB)


@pytest.mark.parametrize("end", ["VM.destroy", "VM.set_is_a_template"])
def test_the_memory_goes_with_its_snapshot(door: Door, machine: FakeMachine, vm: VM, end: str) -> None:
    taken: VM = door("VM.checkpoint", vm, "with memory")
    door(end, taken, *([False] if end != "VM.destroy" else []))
    assert machine.domains.memories == {}
    if end != "VM.destroy":
        assert taken.power_state == "Halted"
