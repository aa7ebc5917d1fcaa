"""The hypervisor's security policy and the labels of machines, with FLASK and without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.classes import VDI, VIF, VM, XSPolicy
from agent.classes.xs_policy import XsError
from agent.ports import SeenSecurity
from tests.door import Door
from tests.fake_machine import FakeMachine

LABEL = "system_u:system_r:domU_t"
NONE = [str(-XsError.POLICY_NOT_LOADED)]
UNSUPPORTED = [str(-XsError.POLICY_TYPE_UNSUPPORTED)]
OF_THE_BOOT_LOADER = (
    ("XSPolicy.set_xspolicy", 1, "<SecurityPolicyDefinition/>", 3, True),
    ("XSPolicy.reset_xspolicy", 1),
    ("XSPolicy.rm_xsbootpolicy",),
    ("XSPolicy.can_run", LABEL),
    ("XSPolicy.set_resource_label", "file:/srv/disk", LABEL, ""),
)


def error_of(door: Door, name: str, *params: object) -> list[str]:
    """The number of the SECURITY_ERROR that it must answer."""
    code, number, words = door.refused(name, *params)
    assert code == "SECURITY_ERROR"
    assert words
    return [number]


def look(door: Door, machine: FakeMachine) -> None:
    machine.domains.changed(None)
    door.idle()


@pytest.fixture
def flask(door: Door, machine: FakeMachine) -> XSPolicy:
    """A Xen with FLASK."""
    machine.node.control.seen = SeenSecurity("flask", True)
    look(door, machine)
    [policy] = door("XSPolicy.get_all")
    assert isinstance(policy, XSPolicy)
    return policy


@pytest.fixture
def vm(door: Door) -> VM:
    """A halted machine with a card and a disk."""
    made: VM = door.vm()
    network, sr = door("network.get_all")[0], door("SR.get_all")[0]
    door("VIF.create", {"VM": made.ref, "network": network.ref, "device": "0"})
    vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**20, "type": "user"})
    door("VBD.create", {"VM": made.ref, "VDI": vdi.ref, "userdevice": "0", "mode": "RW", "type": "Disk"})
    return made


# --- without


def test_without_a_module_there_is_no_policy_and_nothing_can_be_done(door: Door) -> None:
    assert door("XSPolicy.get_all") == door("ACMPolicy.get_all") == []
    assert door("XSPolicy.get_xstype") == 0
    state = door("XSPolicy.get_xspolicy")
    assert (state["xs_ref"], state["type"], state["flags"], state["xserr"]) == (None, 0, 0, 0)
    for name, *params in OF_THE_BOOT_LOADER:
        assert error_of(door, str(name), *params) == NONE
    assert door("XSPolicy.get_labeled_resources") == {}
    assert door("XSPolicy.get_resource_label", "file:/srv/disk") == ""


def test_without_a_module_no_machine_gets_a_label(door: Door, vm: VM) -> None:
    assert error_of(door, "VM.set_security_label", vm, LABEL, "") == NONE
    assert door("VM.set_security_label", vm, "", "") == 0
    assert vm.security_label == ""
    assert door.refused("ACMPolicy.get_VM_ssidref", vm)[0] == "VM_BAD_POWER_STATE"
    door("VM.start", vm, False)
    assert error_of(door, "ACMPolicy.get_VM_ssidref", vm) == NONE


# --- with FLASK


def test_flask_is_told_as_what_it_is(door: Door, flask: XSPolicy, machine: FakeMachine) -> None:
    assert (flask.type, flask.flags, flask.repr) == (2, 2, "")
    assert door("XSPolicy.get_xstype") == 2
    assert door("XSPolicy.get_xspolicy")["xs_ref"] is flask
    assert door("XSPolicy.get_record", flask) is flask
    look(door, machine)
    assert door("XSPolicy.get_all") == [flask]
    machine.node.control.seen = SeenSecurity()
    look(door, machine)
    assert door("XSPolicy.get_all") == []


def test_the_policy_is_the_boot_loaders(door: Door, flask: XSPolicy) -> None:
    for name, *params in OF_THE_BOOT_LOADER:
        assert error_of(door, str(name), *params) == UNSUPPORTED


def test_no_policy_is_one_of_acm(door: Door, flask: XSPolicy, vm: VM) -> None:
    wrong = [str(-XsError.WRONG_POLICY_TYPE)]
    for name in ("get_record", "get_header", "get_xml", "get_map", "get_binary", "get_enforced_binary"):
        assert error_of(door, f"ACMPolicy.{name}", flask) == wrong
    door("VM.start", vm, False)
    assert error_of(door, "ACMPolicy.get_VM_ssidref", vm) == wrong


def test_a_halted_machine_gets_a_label_and_keeps_it(door: Door, flask: XSPolicy, vm: VM, machine: FakeMachine) -> None:
    assert door("VM.set_security_label", vm, LABEL, "") == 0
    assert vm.security_label == LABEL
    door("VM.start", vm, False)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], security_label="a:b:seen_t")
    look(door, machine)
    machine.domains.changed(vm.uuid)
    door.idle()
    assert vm.security_label == "a:b:seen_t"
    assert error_of(door, "VM.set_security_label", vm, "a:b:c", "a:b:seen_t") == [str(-XsError.VM_WRONG_STATE)]
    door("VM.hard_shutdown", vm)
    assert vm.security_label == LABEL
    assert door("VM.set_security_label", vm, "", LABEL) == 0
    assert vm.wanted_label == ""


@pytest.mark.parametrize("label", ["a", "a:b", "a:b:c d", ":::", "a:b:c:d:e", "a:b:ü"])
def test_a_malformed_label_is_refused(door: Door, flask: XSPolicy, vm: VM, label: str) -> None:
    assert error_of(door, "VM.set_security_label", vm, label, "") == [str(-XsError.BAD_LABEL_FORMAT)]


def test_who_does_not_know_the_label_does_not_change_it(door: Door, flask: XSPolicy, vm: VM) -> None:
    assert error_of(door, "VM.set_security_label", vm, LABEL, "a:b:c") == [str(-XsError.BAD_LABEL)]
    assert vm.security_label == ""


def test_a_machine_with_a_label_does_not_start_without_the_module(
    door: Door, flask: XSPolicy, vm: VM, machine: FakeMachine
) -> None:
    door("VM.set_security_label", vm, LABEL, "")
    machine.node.control.seen = SeenSecurity()
    look(door, machine)
    assert error_of(door, "VM.start", vm, False) == NONE


def test_cards_and_disks_have_no_label(door: Door, flask: XSPolicy, vm: VM) -> None:
    parts: tuple[VIF | VDI | None, ...] = (vm.VIFs[0], vm.VBDs[0].VDI)
    for part in parts:
        assert part is not None
        assert error_of(door, f"{part.wire_name}.set_security_label", part, LABEL, "") == UNSUPPORTED
        assert error_of(door, f"{part.wire_name}.set_security_label", part, "", LABEL) == [str(-XsError.BAD_LABEL)]
        door(f"{part.wire_name}.set_security_label", part, "", "")
        assert part.security_label == ""
