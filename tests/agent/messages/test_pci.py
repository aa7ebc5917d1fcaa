"""PCI devices of the host given to machines: each verb, each error of its docstring, and what a failing port leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.classes import DPCI, PCI, PGPU, PPCI, PSCSI, PSCSIHBA, VM, GPUGroup, Host
from agent.errors import DeviceAlreadyDetached, DeviceDetachRejected, OperationNotAllowed, ValueNotSupported
from agent.ports import SeenPci, SeenScsi
from agent.roles import Role
from tests.door import Door, eventually
from tests.fake_machine import SPARE, FakeMachine


@pytest.fixture
def vm(door: Door) -> VM:
    return door.vm()


def ppci(door: Door, address: str = SPARE) -> PPCI:
    """The device of the host at this address."""
    return next(each for each in door.store.all(PPCI) if each.name == address)


def give(door: Door, vm: VM, address: str = SPARE) -> DPCI:
    made: DPCI = door("DPCI.create", {"VM": vm.ref, "PPCI": ppci(door, address).ref})
    door.idle()
    return made


def refusal(door: Door, vm: VM, address: str = SPARE) -> list[str]:
    return door.refused("DPCI.create", {"VM": vm.ref, "PPCI": ppci(door, address).ref})


def resync(door: Door, machine: FakeMachine) -> None:
    """Look at everything again."""
    machine.domains.changed(None)
    door.idle()


# --- the devices of the host


def test_the_devices_of_the_host_are_there_in_both_words(door: Door) -> None:
    host = door.store.only(Host)
    assert [each.name for each in host.PPCIs] == [each.pci_id for each in host.PCIs]
    card = ppci(door)
    assert (card.domain, card.bus, card.slot, card.func) == (0, 0, 16, 0)
    assert (card.vendor_id, card.vendor_name, card.device_id) == (0x8086, "Intel Corporation", 0x10D3)
    assert (card.class_code, card.class_name, card.driver) == (0x0200, "Ethernet controller", "")
    same = next(each for each in host.PCIs if each.pci_id == SPARE)
    assert (same.class_id, same.vendor_id, same.device_id) == ("0200", "8086", "10d3")


def test_functions_of_one_piece_of_hardware_depend_on_each_other(door: Door) -> None:
    at = {each.pci_id: each for each in door.store.all(PCI)}
    assert at["0000:04:00.0"].dependencies == (at["0000:04:00.1"],)
    assert at[SPARE].dependencies == ()


def test_a_card_knows_its_device(door: Door, machine: FakeMachine) -> None:
    [pif] = door.store.only(Host).PIFs
    before = pif.PCI
    machine.node.seen_interfaces = [replace(machine.node.seen_interfaces[0], pci_bus_path="0000:00:03.0")]
    resync(door, machine)
    assert (before, pif.PCI) == (None, next(pci for pci in door.store.all(PCI) if pci.pci_id == "0000:00:03.0"))


def test_a_device_that_is_gone_goes_and_one_that_comes_is_there(door: Door, machine: FakeMachine) -> None:
    uuid = ppci(door).uuid
    machine.node.seen_pci = [seen for seen in machine.node.seen_pci if seen.address != SPARE]
    machine.node.seen_pci.append(SeenPci("0000:05:00.0", 0x0300, vendor_id=0x10DE))
    resync(door, machine)
    names = [each.name for each in door.store.all(PPCI)]
    assert SPARE not in names
    assert "0000:05:00.0" in names
    machine.node.seen_pci.append(SeenPci(SPARE, vendor_id=0x8086))
    resync(door, machine)
    assert ppci(door).uuid == uuid


def test_scsi_devices_are_on_their_adapters(door: Door, machine: FakeMachine) -> None:
    [disk] = door.store.all(PSCSI)
    first, second = door.store.all(PSCSIHBA)
    assert (disk.physical_HCTL, disk.dev_name, disk.HBA, disk.type) == ("2:0:0:0", "/dev/sda", first, "disk")
    assert (first.physical_host, first.PSCSIs, second.PSCSIs) == (2, (disk,), ())
    assert disk.host.PSCSIs == (disk,)
    machine.node.seen_scsi, machine.node.seen_adapters = [SeenScsi(3, 0, 1, 0)], [3]
    resync(door, machine)
    assert [each.physical_HCTL for each in door.store.all(PSCSI)] == ["3:0:1:0"]
    assert [each.physical_host for each in door.store.all(PSCSIHBA)] == [3]


# --- giving and taking


def test_a_halted_machine_has_the_device_from_its_next_start_on(door: Door, vm: VM, machine: FakeMachine) -> None:
    dpci = give(door, vm)
    assert vm.DPCIs == (dpci,)
    assert machine.domains.known[vm.uuid].pci == (SPARE,)
    before = vm.attached_PCIs
    door("VM.start", vm, False, False)
    assert [pci.pci_id for pci in vm.attached_PCIs] == [SPARE]
    door("VM.hard_shutdown", vm)
    assert vm.attached_PCIs == before == ()


def test_a_running_machine_has_it_at_once_and_no_more_once_it_is_taken(
    door: Door, vm: VM, machine: FakeMachine
) -> None:
    door("VM.start", vm, False, False)
    dpci = give(door, vm)
    assert [pci.pci_id for pci in vm.attached_PCIs] == [SPARE]
    door("DPCI.destroy", dpci)
    assert (len(vm.DPCIs), len(vm.attached_PCIs)) == (0, 0)
    assert machine.domains.known[vm.uuid].pci == ()


def test_taking_it_from_a_halted_machine_changes_the_definition(door: Door, vm: VM, machine: FakeMachine) -> None:
    door("DPCI.destroy", give(door, vm))
    door.idle()
    assert machine.domains.known[vm.uuid].pci == ()
    assert "unplug_pci" not in machine.domains.calls


@pytest.mark.parametrize("address", ["0000:00:00.0", "0000:00:03.0"])
def test_what_the_host_uses_is_not_given_away(door: Door, vm: VM, address: str) -> None:
    code, reason = refusal(door, vm, address)
    assert code == "OPERATION_NOT_ALLOWED"
    assert address in reason
    assert vm.DPCIs == ()


def test_a_machine_does_not_start_with_a_device_that_the_host_took_since(
    door: Door, vm: VM, machine: FakeMachine
) -> None:
    give(door, vm)
    machine.node.seen_pci = [replace(seen, driver="e1000e") for seen in machine.node.seen_pci]
    resync(door, machine)
    assert "e1000e" in door.refused("VM.start", vm, False, False)[1]
    assert "e1000e" in door.refused("VM.assert_can_boot_here", vm, door.store.only(Host))[1]


def test_a_device_that_is_gone_stays_with_the_machine_that_was_given_it_and_is_no_start(
    door: Door, vm: VM, machine: FakeMachine
) -> None:
    dpci = give(door, vm)
    machine.node.seen_pci = []
    resync(door, machine)
    assert door.store.is_live(dpci)
    assert (dpci.PPCI.name, dpci.PPCI.vendor_id, dpci.PPCI.class_name) == (SPARE, 0, "")
    assert SPARE in door.refused("VM.start", vm, False, False)[1]
    door("DPCI.destroy", dpci)
    resync(door, machine)
    assert door.store.all(PPCI) == []


def test_two_may_be_given_a_device_and_one_of_them_runs(door: Door, vm: VM) -> None:
    other = door.vm(name_label="other")
    first = give(door, vm)
    give(door, other)
    door("VM.start", vm, False, False)
    assert door.refused("VM.start", other, False, False) == ["DEVICE_ALREADY_ATTACHED", first.ref]
    third = door.vm(name_label="third")
    door("VM.start", third, False, False)
    assert refusal(door, third) == ["DEVICE_ALREADY_ATTACHED", first.ref]
    door("VM.hard_shutdown", vm)
    door("VM.start", other, False, False)


def test_a_machine_is_given_a_device_once(door: Door, vm: VM) -> None:
    give(door, vm)
    assert refusal(door, vm) == ["DEVICE_ALREADY_EXISTS", SPARE]


def test_who_cannot_be_given_a_device(door: Door, vm: VM) -> None:
    door("VM.start", vm, False, False)
    door("VM.suspend", vm)
    assert refusal(door, vm) == ["VM_BAD_POWER_STATE", vm.ref, "halted, running, paused", "suspended"]
    template = door.vm(is_a_template=True)
    assert refusal(door, template) == ["VM_IS_TEMPLATE", template.ref]


def test_a_slot_cannot_be_chosen(door: Door, vm: VM) -> None:
    record = {"VM": vm.ref, "PPCI": ppci(door).ref, "hotplug_slot": "5"}
    assert door.refused("DPCI.create", record)[:3] == ["VALUE_NOT_SUPPORTED", "hotplug_slot", "5"]


def test_only_a_pool_admin_gives_devices_away(door: Door, vm: VM) -> None:
    record = {"VM": vm.ref, "PPCI": ppci(door).ref}
    lower = door.log_in(Role.POOL_OPERATOR)
    assert door.refused("DPCI.create", record, session=lower)[0] == "RBAC_PERMISSION_DENIED"


# --- what a refusing hypervisor leaves


def test_a_device_that_cannot_be_plugged_was_never_given(door: Door, vm: VM, machine: FakeMachine) -> None:
    door("VM.start", vm, False, False)
    machine.domains.fail("plug_pci", OperationNotAllowed("no FLR"))
    assert refusal(door, vm) == ["OPERATION_NOT_ALLOWED", "no FLR"]
    assert door.store.all(DPCI) == []


def test_a_device_that_the_definition_cannot_say_was_never_given(door: Door, vm: VM, machine: FakeMachine) -> None:
    machine.domains.fail("check", ValueNotSupported("DPCIs", SPARE, "not for PVH"))
    assert refusal(door, vm)[:2] == ["VALUE_NOT_SUPPORTED", "DPCIs"]
    assert vm.DPCIs == ()


def test_a_device_that_the_guest_keeps_stays_given(door: Door, vm: VM, machine: FakeMachine) -> None:
    door("VM.start", vm, False, False)
    dpci = give(door, vm)
    machine.domains.fail("unplug_pci", DeviceDetachRejected("DPCI", dpci, "the guest keeps it"))
    assert door.refused("DPCI.destroy", dpci)[0] == "DEVICE_DETACH_REJECTED"
    assert vm.DPCIs == (dpci,)


def test_a_device_that_others_took_away_is_given_back_all_the_same(door: Door, vm: VM, machine: FakeMachine) -> None:
    door("VM.start", vm, False, False)
    dpci = give(door, vm)
    machine.domains.fail("unplug_pci", DeviceAlreadyDetached(dpci))
    door("DPCI.destroy", dpci)
    assert vm.DPCIs == ()


def test_what_others_plug_in_is_noted(door: Door, vm: VM, machine: FakeMachine) -> None:
    door("VM.start", vm, False, False)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], pci=("0000:04:00.0",))
    resync(door, machine)
    eventually(lambda: bool(vm.DPCIs), "the device that others plugged in")
    assert [dpci.PPCI.name for dpci in vm.DPCIs] == ["0000:04:00.0"]


def test_a_copy_of_a_machine_has_none_of_its_devices(door: Door, vm: VM) -> None:
    give(door, vm)
    twin: VM = door("VM.clone", vm, "twin")
    assert twin.DPCIs == ()


def test_a_machine_with_a_device_is_destroyed_by_the_strict_rule(door: Door, vm: VM) -> None:
    dpci = give(door, vm)
    assert door.refused("VM.destroy", vm)[0] == "OPERATION_NOT_ALLOWED"
    door("DPCI.destroy", dpci)
    door("VM.destroy", vm)


# --- graphics cards

GRAPHICS = SeenPci(
    "0000:05:00.0", 0x0300, "VGA", 0x10DE, "NVIDIA", 0x1EB8, "Tesla T4", driver="nouveau", boot_display=True
)


def test_graphics_cards_are_shown_in_groups_of_a_model(door: Door, machine: FakeMachine) -> None:
    machine.node.seen_pci += [GRAPHICS, replace(GRAPHICS, address="0000:06:00.0", driver="pciback", boot_display=False)]
    resync(door, machine)
    first, second = sorted(door.store.all(PGPU), key=lambda card: card.PCI.pci_id)
    [group] = door.store.all(GPUGroup)
    assert (group.name_label, group.GPU_types) == ("Group of NVIDIA Tesla T4 GPUs", ("10de/1eb8",))
    assert (set(group.PGPUs), door.store.only(Host).PGPUs) == ({first, second}, (first, second))
    assert [str(card.dom0_access) for card in (first, second)] == ["enabled", "disabled"]
    assert [card.is_system_display_device for card in (first, second)] == [True, False]
    machine.node.seen_pci.pop()
    resync(door, machine)
    assert (door.store.all(PGPU), group.PGPUs) == ([first], (first,))


def test_a_graphics_card_is_put_into_a_group_of_its_model(door: Door, machine: FakeMachine) -> None:
    machine.node.seen_pci += [GRAPHICS, replace(GRAPHICS, address="0000:06:00.0", device_id=1, device_name="other")]
    resync(door, machine)
    one, two = sorted(door.store.all(PGPU), key=lambda card: card.PCI.pci_id)
    mine: GPUGroup = door("GPU_group.create", "mine")
    door("PGPU.set_GPU_group", one, mine)
    resync(door, machine)
    assert (one.GPU_group, mine.GPU_types) == (mine, ("10de/1eb8",))
    refused = door.refused("PGPU.set_GPU_group", two, mine)
    assert refused == ["PGPU_NOT_COMPATIBLE_WITH_GPU_GROUP", "10de/0001", "10de/1eb8"]
    assert door.refused("GPU_group.destroy", mine) == ["GPU_GROUP_CONTAINS_PGPU", one.ref]
    door("PGPU.set_GPU_group", one, door("GPU_group.create"))
    door("GPU_group.destroy", mine)
