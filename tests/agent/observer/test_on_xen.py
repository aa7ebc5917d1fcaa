"""What only a Xen with other tools beside us shows: domains out of reach, reboots on their way, guests that talk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.classes import VBD, VIF, VM, VMGuestMetrics
from agent.classes.enums import PowerState, Tristate
from agent.errors import InternalError, XenError
from agent.ports import GuestReading, SeenDisk, SeenDomain, SeenNic
from tests.door import Door
from tests.fake_machine import FakeMachine

THEIRS = "77777777-7777-4777-8777-777777777777"
GIB = 2**30
RUNNING, PAUSED, HALTED = PowerState.RUNNING, PowerState.PAUSED, PowerState.HALTED
TOLD = GuestReading(
    os_version={"name": "Debian", "major": "12"},
    PV_drivers_version={"major": "7"},
    memory={"total": "79332", "free": "45400"},
    networks={"0/ip": "10.0.2.101", "0/ipv4/0": "10.0.2.101"},
    other={"feature-poweroff": "1"},
    PV_drivers_detected=True,
    can_use_hotplug_vbd=True,
    last_updated=datetime(2026, 1, 1, tzinfo=UTC),
)


def look(door: Door, machine: FakeMachine, uuid: str | None) -> None:
    """Tell the agent that something changed, and wait until it has looked."""
    machine.domains.changed(uuid)
    door.idle()


def see(machine: FakeMachine, vm: VM, **fields: Any) -> None:
    """Let the machine's domain be different."""
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], **fields)


@pytest.fixture
def vm(door: Door) -> VM:
    """A machine of ours that runs."""
    made = door.vm()
    door("VM.start", made, False)
    return made


@pytest.fixture
def theirs(door: Door, machine: FakeMachine) -> VM:
    """A domain that xl made."""
    machine.domains.known[THEIRS] = SeenDomain(
        THEIRS,
        "theirs",
        RUNNING,
        domid=9,
        persistent=False,
        foreign=True,
        memory=GIB,
        memory_max=GIB,
        disks=(SeenDisk("xvda", source="/srv/theirs.raw"),),
        nics=(SeenNic("00:16:3e:77:00:01", "xenbr0"),),
    )
    look(door, machine, THEIRS)
    return door.store.by_uuid(VM, THEIRS)


# --- domains of xl


def test_a_domain_of_xl_is_shown_as_what_it_is(theirs: VM) -> None:
    assert (theirs.name_label, theirs.power_state, theirs.domid) == ("theirs", RUNNING, 9)
    assert [str(operation) for operation in theirs.allowed_operations] == ["get_boot_record"]
    (disk,), (card,) = theirs.VBDs, theirs.VIFs
    assert (disk.currently_attached, card.currently_attached) == (True, True)
    assert (disk.allowed_operations, card.allowed_operations) == ((), ())


@pytest.mark.parametrize(
    ("message", "params"),
    [
        ("VM.pause", []),
        ("VM.clean_shutdown", []),
        ("VM.hard_shutdown", []),
        ("VM.hard_reboot", []),
        ("VM.suspend", []),
        ("VM.destroy", []),
        ("VM.power_state_reset", []),
        ("VM.clone", ["copy"]),
        ("VM.snapshot", ["copy"]),
        ("VM.set_name_label", ["ours"]),
        ("VM.set_is_a_template", [True]),
        ("VM.add_to_other_config", ["key", "value"]),
        ("VM.set_memory_target_live", [GIB]),
        ("VM.set_VCPUs_number_live", [1]),
    ],
)
def test_a_domain_of_xl_is_only_looked_at(
    theirs: VM, door: Door, machine: FakeMachine, message: str, params: list[Any]
) -> None:
    before, calls = dict(theirs.__dict__), list(machine.domains.calls)
    with pytest.raises(XenError) as refused:
        door(message, theirs, *params)
    code, reason = refused.value.description
    assert code == "OPERATION_NOT_ALLOWED"
    assert "made with xl, which libvirt does not know" in reason
    door.idle()
    assert theirs.__dict__ == before
    assert machine.domains.calls == calls


def test_the_parts_of_a_domain_of_xl_are_only_looked_at(theirs: VM, door: Door) -> None:
    (disk,), (card,) = theirs.VBDs, theirs.VIFs
    record = {"VM": theirs.ref, "network": card.network.ref, "device": "3"}
    for message, params in (
        ("VBD.unplug", [disk]),
        ("VBD.set_bootable", [disk, True]),
        ("VBD.destroy", [disk]),
        ("VIF.unplug", [card]),
        ("VIF.destroy", [card]),
        ("VIF.create", [record]),
    ):
        with pytest.raises(XenError, match="OPERATION_NOT_ALLOWED"):
            door(message, *params)
    assert len(door.store.all(VIF)) == 1
    assert door("VM.get_boot_record", theirs) is not None


def test_a_domain_of_xl_that_is_gone_leaves_nothing_behind(theirs: VM, door: Door, machine: FakeMachine) -> None:
    machine.domains.known.pop(THEIRS)
    look(door, machine, THEIRS)
    assert (theirs.power_state, theirs.foreign) == (HALTED, True)
    with pytest.raises(XenError, match="OPERATION_NOT_ALLOWED"):
        door("VM.start", theirs, False)
    look(door, machine, None)
    assert door.store.known(VM, THEIRS) is None
    assert (door.store.all(VBD), door.store.all(VIF)) == ([], [])
    assert "undefine" not in machine.domains.calls


def test_a_machine_of_ours_that_xl_runs_is_out_of_reach_until_it_ends(vm: VM, door: Door, machine: FakeMachine) -> None:
    ours = machine.domains.known[vm.uuid]
    see(machine, vm, foreign=True, domid=77)
    look(door, machine, vm.uuid)
    assert (vm.power_state, vm.domid, vm.foreign) == (RUNNING, 77, True)
    with pytest.raises(XenError, match="OPERATION_NOT_ALLOWED"):
        door("VM.hard_shutdown", vm)
    machine.domains.known[vm.uuid] = replace(ours, power_state=HALTED, domid=-1)
    look(door, machine, vm.uuid)
    assert (vm.power_state, vm.foreign) == (HALTED, False)
    door("VM.start", vm, False)
    assert vm.power_state is RUNNING


# --- reboots


@pytest.mark.fault("F6")
def test_a_machine_that_reboots_is_not_shown_as_halted(vm: VM, door: Door, machine: FakeMachine) -> None:
    before = vm.domid
    see(machine, vm, power_state=HALTED, domid=-1, in_transition=True)
    for sweep in (vm.uuid, None):
        look(door, machine, sweep)
        assert (vm.power_state, vm.domid) == (RUNNING, before)
    see(machine, vm, power_state=RUNNING, domid=before + 1, in_transition=False)
    look(door, machine, vm.uuid)
    assert (vm.power_state, vm.domid) == (RUNNING, before + 1)


@pytest.mark.fault("F6")
def test_a_transition_that_ends_in_a_halt_is_a_halt(vm: VM, door: Door, machine: FakeMachine) -> None:
    see(machine, vm, power_state=HALTED, domid=-1, in_transition=True)
    look(door, machine, vm.uuid)
    see(machine, vm, in_transition=False)
    look(door, machine, vm.uuid)
    assert vm.power_state is HALTED


def test_a_machine_that_is_being_started_by_others_is_halted_until_it_runs(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    see(machine, vm, in_transition=True)
    look(door, machine, vm.uuid)
    assert vm.power_state is HALTED


@pytest.mark.parametrize(
    ("params", "given"),
    [
        ({"cap": "40"}, (None, 40)),
        ({"cap": "40", "weight": "512"}, (512, 40)),
        ({"cap": "0"}, (None, 0)),
        ({"weight": "512"}, None),
        ({"cap": "-1"}, None),
        ({"cap": "much"}, None),
        ({}, None),
    ],
)
def test_a_machine_has_its_cap_again_after_a_reboot(
    door: Door, machine: FakeMachine, params: dict[str, str], given: tuple[int | None, int | None] | None
) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    with door.store.transaction():
        vm.VCPUs_params = params
    heard: list[tuple[int | None, int | None]] = []
    machine.domains.set_scheduler = lambda vm, weight, cap: heard.append((weight, cap))  # type: ignore[method-assign]
    look(door, machine, vm.uuid)
    assert heard == []
    see(machine, vm, domid=vm.domid + 1)
    look(door, machine, vm.uuid)
    look(door, machine, vm.uuid)
    assert heard == ([] if given is None else [given])


def test_a_cap_that_cannot_be_given_is_no_failure_of_the_start(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    with door.store.transaction():
        vm.VCPUs_params = {"cap": "40"}
    machine.domains.fail("set_scheduler", InternalError("no"))
    door("VM.start", vm, False)
    assert vm.power_state is RUNNING


# --- guests


def test_what_a_guest_tells_is_its_report(vm: VM, door: Door, machine: FakeMachine) -> None:
    assert door.store.all(VMGuestMetrics) == []
    see(machine, vm, guest=TOLD)
    look(door, machine, vm.uuid)
    report = vm.guest_metrics
    assert report is not None
    assert (report.os_version, report.networks, report.other) == (TOLD.os_version, TOLD.networks, TOLD.other)
    assert (report.PV_drivers_version, report.memory) == (TOLD.PV_drivers_version, TOLD.memory)
    assert (report.PV_drivers_detected, report.live, report.last_updated) == (True, True, TOLD.last_updated)
    assert (report.can_use_hotplug_vbd, report.can_use_hotplug_vif) == (Tristate.YES, Tristate.UNSPECIFIED)
    assert door("VM_guest_metrics.get_networks", report)["0/ip"] == "10.0.2.101"


def test_a_report_stays_the_same_object_while_it_changes(vm: VM, door: Door, machine: FakeMachine) -> None:
    see(machine, vm, guest=TOLD)
    look(door, machine, vm.uuid)
    report = vm.guest_metrics
    see(machine, vm, guest=replace(TOLD, networks={"0/ip": "10.0.2.102"}))
    # Nobody said so: the slow sweep finds it.
    look(door, machine, None)
    door.idle()
    assert vm.guest_metrics is report
    assert report is not None
    assert report.networks == {"0/ip": "10.0.2.102"}


@pytest.mark.parametrize("how", ["halted", "gone", "silent"])
def test_there_is_no_report_of_a_guest_that_does_not_run_or_tell(
    vm: VM, door: Door, machine: FakeMachine, how: str
) -> None:
    see(machine, vm, guest=TOLD)
    look(door, machine, vm.uuid)
    if how == "halted":
        see(machine, vm, power_state=HALTED, domid=-1)
    elif how == "gone":
        machine.domains.known.pop(vm.uuid)
    else:
        see(machine, vm, guest=None)
    look(door, machine, vm.uuid)
    assert vm.guest_metrics is None
    assert door.store.all(VMGuestMetrics) == []


def test_reading_a_report_measures_its_memory(vm: VM, door: Door, machine: FakeMachine) -> None:
    see(machine, vm, guest=TOLD)
    look(door, machine, vm.uuid)
    # Nobody says that a guest's memory changed.
    see(machine, vm, guest=replace(TOLD, memory={"total": "79332", "free": "1"}))
    assert door("VM_guest_metrics.get_memory", vm.guest_metrics) == {"total": "79332", "free": "1"}


def test_the_memory_of_a_guest_makes_no_events(vm: VM, door: Door, machine: FakeMachine) -> None:
    see(machine, vm, guest=TOLD)
    look(door, machine, vm.uuid)
    generation = door.store.changes.generation
    see(machine, vm, guest=replace(TOLD, memory={"total": "79332", "free": "1"}, last_updated=datetime.now(UTC)))
    look(door, machine, vm.uuid)
    assert vm.guest_metrics is not None
    assert vm.guest_metrics.memory["free"] == "1"
    assert door.store.changes.generation == generation
