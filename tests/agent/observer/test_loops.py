"""Guests that crash or reboot again and again: when their machine is stopped, and when it is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import InternalError, OperationNotAllowed
from tests.door import Door
from tests.fake_machine import FakeMachine

RUNNING, HALTED = PowerState.RUNNING, PowerState.HALTED
pytestmark = pytest.mark.fault("F6")


@pytest.fixture
def vm(door: Door) -> VM:
    """A machine that the agent has started."""
    made = door.vm(name_label="web")
    door("VM.start", made, False)
    return made


def ran(door: Door, vm: VM, seconds: int) -> None:
    """Have it be started so long ago."""
    assert vm.metrics is not None
    with door.store.transaction():
        vm.metrics.start_time -= timedelta(seconds=seconds)


def come_back(door: Door, machine: FakeMachine, vm: VM, *, told: str = "") -> None:
    """Let the hypervisor start it anew. That the guest crashed may be told "before" the new domain, "after" it, or
    not.
    """
    crashed = machine.domains.crashed
    assert crashed is not None
    if told == "before":
        crashed(vm.uuid)
    seen = machine.domains.known[vm.uuid]
    machine.domains.known[vm.uuid] = replace(seen, domid=next(machine.domains.domids))
    machine.domains.changed(vm.uuid)
    if told == "after":
        door.idle()
        crashed(vm.uuid)
        machine.domains.changed(vm.uuid)
    door.idle()


def told_of(door: Door, vm: VM) -> list[tuple[str, str]]:
    """The messages that an admin should look at now."""
    found = [each for each in door("message.get_all_records") if each.obj_uuid == vm.uuid and each.priority == 2]
    return [(each.name, each.body) for each in found]


@pytest.mark.parametrize("told", ["before", "after"])
def test_the_third_rapid_crash_in_a_row_is_the_last(door: Door, machine: FakeMachine, vm: VM, told: str) -> None:
    for crash in range(1, 4):
        assert vm.power_state is RUNNING
        ran(door, vm, 100)
        come_back(door, machine, vm, told=told)
        assert told_of(door, vm)[:crash] == [("VM_CRASHED", "web has crashed.")] * crash
    assert vm.power_state is HALTED
    assert machine.domains.known[vm.uuid].power_state is HALTED
    words = "web has crashed 3 times in a row, each time within 120 s of its start, and was stopped."
    assert told_of(door, vm)[3:] == [("VM_CRASHED", words)]

    door("VM.start", vm, False)
    for _ in range(2):
        come_back(door, machine, vm, told=told)
        assert vm.power_state is RUNNING


def test_reboots_from_inside_have_a_limit_of_their_own(door: Door, machine: FakeMachine, vm: VM) -> None:
    for _ in range(9):
        come_back(door, machine, vm)
        assert vm.power_state is RUNNING
    assert told_of(door, vm) == []
    come_back(door, machine, vm)
    assert vm.power_state is HALTED
    words = "web has rebooted 10 times in a row, each time within 120 s of its start, and was stopped."
    assert told_of(door, vm) == [("VM_REBOOTED", words)]


@pytest.mark.parametrize("told", ["before", "after"])
def test_a_guest_that_gets_further_counts_from_the_beginning(
    door: Door, machine: FakeMachine, vm: VM, told: str
) -> None:
    for seconds in (0, 119, 120, 0, 0, 7200, 0, 0):
        ran(door, vm, seconds)
        come_back(door, machine, vm, told=told)
    assert vm.power_state is RUNNING


def test_a_clock_that_is_put_back_makes_no_run_short(door: Door, machine: FakeMachine, vm: VM) -> None:
    for _ in range(4):
        ran(door, vm, -3600)
        come_back(door, machine, vm, told="after")
    assert vm.power_state is RUNNING


@pytest.mark.parametrize("verbs", [("clean_reboot",), ("hard_reboot",), ("suspend", "resume")])
def test_what_a_client_asks_for_is_no_crash(door: Door, machine: FakeMachine, vm: VM, verbs: tuple[str, ...]) -> None:
    for _ in range(12):
        for verb in verbs:
            door(f"VM.{verb}", vm, *([False] if verb == "resume" else []))
    for _ in range(2):
        come_back(door, machine, vm, told="after")
    assert vm.power_state is RUNNING


def test_a_machine_that_others_started_is_left_alone(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    machine.domains.start(vm, False)
    machine.domains.changed(vm.uuid)
    door.idle()
    for _ in range(12):
        come_back(door, machine, vm, told="after")
    assert vm.power_state is RUNNING
    assert {name for name, _ in told_of(door, vm)} == {"VM_CRASHED"}


def test_limits_of_0_are_none(door: Door, machine: FakeMachine, vm: VM) -> None:
    door.site.guests.rapid_crashes = door.site.guests.rapid_reboots = 0
    for _ in range(12):
        come_back(door, machine, vm, told="before")
    assert vm.power_state is RUNNING


def test_a_machine_that_cannot_be_stopped_is_tried_again(door: Door, machine: FakeMachine, vm: VM) -> None:
    machine.domains.fail("destroy", OperationNotAllowed("it is stuck"))
    for _ in range(3):
        come_back(door, machine, vm, told="after")
    assert vm.power_state is RUNNING
    assert len(told_of(door, vm)) == 3
    del machine.domains.plan["destroy"]
    come_back(door, machine, vm, told="after")
    assert vm.power_state is HALTED


def test_an_agent_that_is_restarted_counts_on(machine: FakeMachine, tmp_path: Path) -> None:
    first = Door(machine.ports(), tmp_path / "journal")
    vm = first.vm()
    first("VM.start", vm, False)
    come_back(first, machine, vm, told="after")
    first.close()
    seen = machine.domains.known[vm.uuid]
    machine.domains.known[vm.uuid] = replace(seen, domid=next(machine.domains.domids))  # a crash that nobody told of

    second = Door(machine.ports(), tmp_path / "journal")
    try:
        again = second("VM.get_by_uuid", vm.uuid)
        come_back(second, machine, again, told="after")
        assert again.power_state is RUNNING
        come_back(second, machine, again, told="after")
        assert again.power_state is HALTED
    finally:
        second.close()


def test_a_crash_that_ends_a_machine_is_told(door: Door, machine: FakeMachine, vm: VM) -> None:
    assert machine.domains.crashed is not None
    machine.domains.crashed(vm.uuid)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], power_state=HALTED, domid=-1)
    machine.domains.changed(vm.uuid)
    door.idle()
    assert vm.power_state is HALTED
    assert told_of(door, vm) == [("VM_CRASHED", "web has crashed.")]


@pytest.mark.parametrize(("verb", "call"), [("hard_reboot", "start"), ("resume", "resume")], ids=["reboot", "resume"])
def test_what_a_client_asked_for_is_not_counted_whenever_it_is_seen(
    door: Door, machine: FakeMachine, vm: VM, verb: str, call: str
) -> None:
    if verb == "resume":
        door("VM.suspend", vm)
    # The verb is cut off before it can look at what it did, as by a kill.
    machine.domains.plan[call] = lambda: machine.domains.fail("look", InternalError("gone"))
    params = (False, False) if verb == "resume" else ()
    door.refused(f"VM.{verb}", vm, *params)
    machine.domains.plan.clear()
    machine.domains.changed(vm.uuid)
    door.idle()
    assert vm.power_state is RUNNING
    assert vm.metrics is not None
    assert vm.metrics.rapid_restarts == 0
    come_back(door, machine, vm)
    assert vm.metrics.rapid_restarts == 1
