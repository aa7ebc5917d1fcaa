"""The templates of a first start: each is offered once, and what is made of one is a machine like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agent.classes import SR, VM, Network
from agent.classes.enums import DomainType
from agent.observer import templates
from tests.door import Door
from tests.fake_machine import LAN, LOCAL, FakeMachine

KEYS = [each.key for each in templates.TEMPLATES if each.firmware != "uefi"]


def offered(door: Door) -> dict[str, VM]:
    templates.offer(door.store)
    return {vm.reference_label: vm for vm in door.store.all(VM) if vm.is_default_template}


def with_hvm(door: Door, machine: FakeMachine, *, uefi: bool) -> None:
    """The host is found to have hardware virtualisation."""
    told = machine.node.host
    machine.node.host = lambda: replace(told(), capabilities=("hvm-3.0-x86_64",), uefi=uefi)  # type: ignore[method-assign]
    machine.domains.changed(None)
    door.idle()


def test_they_are_templates_as_clients_know_them(door: Door, machine: FakeMachine) -> None:
    with_hvm(door, machine, uefi=True)
    made = offered(door)
    assert list(made) == [each.key for each in templates.TEMPLATES]
    for vm in made.values():
        assert vm.is_a_template
        assert vm.other_config["default_template"] == "true"
        assert {"cores-per-socket", "secureboot"} <= vm.platform.keys()
        assert {"order", "firmware"} <= vm.HVM_boot_params.keys()
        assert ElementTree.fromstring(vm.recommendations).tag == "restrictions"
        assert (vm.HVM_boot_policy != "") == (vm.domain_type is DomainType.HVM)
        assert "provision" in vm.allowed_operations
    firmware = {vm.HVM_boot_params["firmware"] for vm in made.values() if vm.domain_type is DomainType.HVM}
    assert firmware == {"bios", "uefi"}


def test_the_hypervisor_is_told_nothing_of_them(door: Door, machine: FakeMachine) -> None:
    before = set(machine.domains.known)
    offered(door)
    machine.domains.changed(None)
    door.idle()
    assert set(machine.domains.known) == before


def test_one_that_was_deleted_or_renamed_stays_so(door: Door) -> None:
    made = offered(door)
    door("VM.destroy", made["generic-pv"])
    door("VM.set_name_label", made["other-install-media"], "ours")
    again = offered(door)
    assert list(again) == [key for key in KEYS if key != "generic-pv"]
    assert again["other-install-media"].name_label == "ours"


def test_they_are_offered_once_in_the_life_of_a_store(machine: FakeMachine, tmp_path: Path) -> None:
    for _ in range(2):
        door = Door(machine.ports(), tmp_path / "journal")
        try:
            assert set(offered(door)) == set(KEYS)
        finally:
            door.close()


def test_uefi_is_offered_once_the_host_has_it(door: Door, machine: FakeMachine) -> None:
    assert "generic-hvm-uefi" not in offered(door)
    with_hvm(door, machine, uefi=True)
    assert "generic-hvm-uefi" in offered(door)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("copied", [False, True])
def test_what_is_made_of_one_runs_and_goes(door: Door, machine: FakeMachine, key: str, copied: bool) -> None:
    with_hvm(door, machine, uefi=False)
    template = offered(door)[key]
    sr = door.store.by_uuid(SR, LOCAL)
    made: VM = door("VM.copy", template, "web", sr) if copied else door("VM.clone", template, "web")
    assert (made.is_a_template, made.is_default_template) == (True, False)
    assert templates.MARK not in made.other_config
    assert made.other_config[templates.ORIGIN] == template.name_label
    wanted = "disks" in template.other_config
    door("VM.provision", made)
    assert not made.is_a_template
    assert "disks" not in made.other_config
    assert [(vbd.userdevice, vbd.bootable) for vbd in made.VBDs] == ([("0", True)] if wanted else [])
    assert [vbd.VDI.SR for vbd in made.VBDs if vbd.VDI is not None] == [sr for _ in made.VBDs]
    free = door("VM.get_allowed_VBD_devices", made)
    assert free[0] == ("1" if wanted else "0")
    disk = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**30, "name_label": "data"})
    door("VBD.create", {"VM": made.ref, "VDI": disk.ref, "userdevice": free[0]})
    card = door("VM.get_allowed_VIF_devices", made)[0]
    door("VIF.create", {"VM": made.ref, "network": door.store.by_uuid(Network, LAN).ref, "device": card})
    door("VM.start", made, False, False)
    assert made.power_state == "Running"
    door("VM.clean_shutdown", made)
    for part in (*made.VBDs, *made.VIFs):
        door(f"{part.wire_name}.destroy", part)
    door("VM.destroy", made)
    assert offered(door)[key] is template
