"""Store and hypervisor compared, with a hypervisor that forgets."""

from __future__ import annotations

from agent.classes import SR, VDI, VM
from agent.errors import HostOffline, OperationNotAllowed
from agent.upkeep.fsck import disks, machines
from tests.door import Door
from tests.fake_machine import LOCAL, FakeMachine


def lost(door: Door, machine: FakeMachine) -> VM:
    """A machine of ours that the hypervisor no longer has."""
    vm = door.vm()
    door.idle()
    machine.domains.known.pop(vm.uuid)
    return vm


def test_what_both_have_is_no_difference(door: Door, machine: FakeMachine) -> None:
    door.vm()
    door.idle()
    assert list(machines(door.store, machine.ports(), repair=True)) == []


def test_a_lost_machine_is_told_and_defined_only_where_that_is_asked(door: Door, machine: FakeMachine) -> None:
    vm = lost(door, machine)
    [found] = machines(door.store, machine.ports(), repair=False)
    assert vm.uuid in found.text
    assert (found.mended, found.harmless) == (False, True)
    assert vm.uuid not in machine.domains.known
    [found] = machines(door.store, machine.ports(), repair=True)
    assert found.mended
    assert vm.uuid in machine.domains.known


def test_a_machine_that_cannot_be_defined_is_left_and_says_why(door: Door, machine: FakeMachine) -> None:
    lost(door, machine)
    machine.domains.fail("define", OperationNotAllowed("it has no kernel"))
    [found] = machines(door.store, machine.ports(), repair=True)
    assert (found.mended, found.harmless) == (False, False)
    assert "it has no kernel" in found.todo


def test_a_domain_that_nobody_asked_for_stays(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door.idle()
    stranger = machine.domains.known[vm.uuid]
    door("VM.destroy", vm)
    door.idle()
    machine.domains.known[stranger.uuid] = stranger
    [found] = machines(door.store, machine.ports(), repair=True)
    assert found.harmless
    assert "adopts it" in found.todo
    assert stranger.uuid in machine.domains.known


def test_a_hypervisor_that_is_away_is_told(door: Door, machine: FakeMachine) -> None:
    machine.domains.fail("list", HostOffline("xen:///system"))
    [found] = machines(door.store, machine.ports(), repair=True)
    assert not found.harmless


def test_a_disk_without_its_volume_is_told(door: Door, machine: FakeMachine) -> None:
    sr = door.store.by_uuid(SR, LOCAL)
    vdi: VDI = door("VDI.create", {"name_label": "disk", "SR": sr.ref, "virtual_size": "1024", "type": "user"})
    assert list(disks(door.store, machine.ports())) == []
    machine.storage.volumes[LOCAL].clear()
    [found] = disks(door.store, machine.ports())
    assert vdi.uuid in found.text
    assert not found.harmless
