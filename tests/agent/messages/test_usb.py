"""USB devices of the host given to machines: each verb, each error of its docstring, and what a failing port leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.classes import PUSB, VM, VUSB, Host, USBGroup
from agent.errors import DeviceDetachRejected, OperationNotAllowed
from agent.roles import Role
from tests.door import Door
from tests.fake_machine import FakeMachine

FIRST, SECOND = "0951:1666:1:2", "0951:1666:1:3"


@pytest.fixture
def vm(door: Door, machine: FakeMachine) -> VM:
    door.observer.host.__dict__["capabilities"] = ("hvm-3.0-x86_64",)
    return door.vm(HVM_boot_policy="BIOS order")


@pytest.fixture
def group(door: Door) -> USBGroup:
    """The group of the two sticks, of which the first may be given."""
    [made] = door.store.all(USBGroup)
    door("PUSB.set_passthrough_enabled", at(door, "1-1"), True)
    return made


def at(door: Door, path: str) -> PUSB:
    """The device at this place."""
    return next(each for each in door.store.all(PUSB) if each.path == path)


def give(door: Door, vm: VM, group: USBGroup) -> VUSB:
    made: VUSB = door("VUSB.create", vm, group, {})
    door.idle()
    return made


def attached(vusb: VUSB) -> bool:
    return vusb.currently_attached


def test_the_devices_of_the_host_are_there_in_groups_of_a_kind(door: Door) -> None:
    host = door.store.only(Host)
    assert [each.path for each in host.PUSBs] == ["1-1", "1-2"]
    stick = at(door, "1-1")
    assert (stick.vendor_id, stick.product_id, stick.serial) == ("0951", "1666", "0001")
    assert (stick.vendor_desc, stick.product_desc, stick.version, stick.speed) == ("Kingston", "stick", "2.00", 480.0)
    assert stick.passthrough_enabled is False
    [group] = door.store.all(USBGroup)
    assert group.PUSBs == host.PUSBs
    assert group.name_label == "Group of Kingston stick USBs"


def test_a_scan_sees_what_came_and_what_was_pulled(door: Door, machine: FakeMachine) -> None:
    door("PUSB.set_passthrough_enabled", at(door, "1-2"), True)
    uuid = at(door, "1-2").uuid
    machine.node.seen_usb = [replace(machine.node.seen_usb[1], device="0951:1666:1:9")]
    door("PUSB.scan", door.observer.host)
    [left] = door.store.all(PUSB)
    assert (left.uuid, left.device, left.passthrough_enabled) == (uuid, "0951:1666:1:9", True)


def test_a_machine_gets_a_device_when_it_starts_and_has_it_while_it_runs(door: Door, vm: VM, group: USBGroup) -> None:
    vusb = give(door, vm, group)
    assert (vusb.VM, vusb.USB_group, vusb.currently_attached) == (vm, group, False)
    assert vusb.allowed_operations == ("attach",)
    door("VM.start", vm, False, False)
    assert vusb.device == FIRST
    assert attached(vusb)
    assert vusb.allowed_operations == ("unplug",)
    assert vm.VUSBs == group.VUSBs == (vusb,)
    door("VM.hard_shutdown", vm)
    assert not attached(vusb)


def test_a_running_machine_gets_it_at_once_and_gives_it_back(door: Door, vm: VM, group: USBGroup) -> None:
    door("VM.start", vm, False, False)
    vusb = give(door, vm, group)
    assert attached(vusb)
    assert door.refused("VUSB.destroy", vusb)[0] == "OPERATION_NOT_ALLOWED"
    door("VUSB.unplug", vusb)
    assert not attached(vusb)
    assert door.refused("VUSB.unplug", vusb) == ["DEVICE_ALREADY_DETACHED", vusb.ref]
    door("VUSB.destroy", vusb)
    assert vm.VUSBs == ()


def test_two_machines_get_two_devices_and_a_third_none(door: Door, vm: VM, group: USBGroup) -> None:
    door("PUSB.set_passthrough_enabled", at(door, "1-2"), True)
    machines = [vm, *(door.vm(HVM_boot_policy="BIOS order") for _ in range(2))]
    given = [give(door, each, group) for each in machines]
    for each in machines[:2]:
        door("VM.start", each, False, False)
    assert [each.device for each in given] == [FIRST, SECOND, ""]
    assert door.refused("VM.start", machines[2], False, False) == ["VM_REQUIRES_VUSB", machines[2].ref, group.ref]
    door("VM.hard_shutdown", vm)
    door("VM.start", machines[2], False, False)
    assert given[2].device == FIRST


def test_what_is_given_stays_so_while_a_machine_has_it(door: Door, vm: VM, group: USBGroup) -> None:
    give(door, vm, group)
    door("VM.start", vm, False, False)
    stick = at(door, "1-1")
    refused = door.refused("PUSB.set_passthrough_enabled", stick, False)
    assert refused == ["USB_ALREADY_ATTACHED", stick.ref, vm.ref]
    door("VM.hard_shutdown", vm)
    door("PUSB.set_passthrough_enabled", stick, False)
    assert stick.passthrough_enabled is False


@pytest.mark.parametrize("verb", ["VM.suspend", "VM.checkpoint"])
def test_a_machine_with_a_device_is_not_saved(door: Door, vm: VM, group: USBGroup, verb: str) -> None:
    give(door, vm, group)
    door("VM.start", vm, False, False)
    assert door.refused(verb, vm, *(["x"] if verb.endswith("checkpoint") else [])) == ["VM_HAS_VUSBS", vm.ref]


def test_who_cannot_have_a_device_is_told_so(door: Door, vm: VM, group: USBGroup) -> None:
    pv = door.vm()
    assert door.refused("VUSB.create", pv, group, {}) == ["VM_HVM_REQUIRED", pv.ref]
    template = door.vm(HVM_boot_policy="BIOS order", is_a_template=True)
    assert door.refused("VUSB.create", template, group, {})[0] == "VM_IS_TEMPLATE"
    give(door, vm, group)
    assert door.refused("VUSB.create", vm, group, {}) == ["USB_GROUP_CONFLICT", group.ref]
    empty = door("USB_group.create", "mine", "", {})
    assert door.refused("VUSB.create", vm, empty, {}) == ["USB_GROUP_CONTAINS_NO_PUSBS", empty.ref]


def test_a_machine_has_so_many_at_the_most(door: Door, machine: FakeMachine, vm: VM) -> None:
    stick = machine.node.seen_usb[0]
    machine.node.seen_usb = [
        replace(stick, path=f"2-{number}", kind=f"0951:000{number}", device=f"0951:000{number}:2:{number}")
        for number in range(1, 8)
    ]
    door("PUSB.scan", door.observer.host)
    for pusb in door.store.all(PUSB):
        door("PUSB.set_passthrough_enabled", pusb, True)
    groups = [pusb.USB_group for pusb in door.store.all(PUSB)]
    for group in groups[:6]:
        give(door, vm, group)
    assert door.refused("VUSB.create", vm, groups[6], {}) == ["TOO_MANY_VUSBS", "6"]


def test_a_group_that_is_of_use_stays(door: Door, machine: FakeMachine, vm: VM, group: USBGroup) -> None:
    assert door.refused("USB_group.destroy", group)[0] == "USB_GROUP_CONTAINS_PUSB"
    vusb = give(door, vm, group)
    machine.node.seen_usb = []
    door("PUSB.scan", door.observer.host)
    assert door.refused("USB_group.destroy", group) == ["USB_GROUP_CONTAINS_VUSB", vusb.ref]
    door("VUSB.destroy", vusb)
    door("USB_group.destroy", group)


def test_a_device_that_cannot_be_plugged_was_never_given(
    door: Door, vm: VM, group: USBGroup, machine: FakeMachine
) -> None:
    door("VM.start", vm, False, False)
    machine.domains.fail("plug_usb", OperationNotAllowed("no controller"))
    assert door.refused("VUSB.create", vm, group, {}) == ["OPERATION_NOT_ALLOWED", "no controller"]
    assert door.store.all(VUSB) == []


def test_a_device_that_the_guest_keeps_stays_given(door: Door, vm: VM, group: USBGroup, machine: FakeMachine) -> None:
    door("VM.start", vm, False, False)
    vusb = give(door, vm, group)
    machine.domains.fail("unplug_usb", DeviceDetachRejected("VUSB", vusb, "the guest keeps it"))
    assert door.refused("VUSB.unplug", vusb)[0] == "DEVICE_DETACH_REJECTED"
    assert attached(vusb)


def test_only_a_pool_admin_gives_devices_away(door: Door, vm: VM, group: USBGroup) -> None:
    lower = door.log_in(Role.POOL_OPERATOR)
    assert door.refused("VUSB.create", vm, group, {}, session=lower)[0] == "RBAC_PERMISSION_DENIED"
