"""Machines that go up and down with the host: which, when, in what order, and what one that fails does to the others.
Clock and boot are the test's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import OperationNotAllowed
from agent.messages.guests import Boot
from tests.agent.messages.test_appliances import watch
from tests.door import Block, Door, eventually
from tests.fake_machine import FakeMachine


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def boot(door: Door, clock: Clock) -> Boot:
    """What the daemon does by the clock; it has seen the host as it was when the agent was installed."""
    made = Boot(door.site, clock)
    made.sweep()
    return made


def booted(door: Door, machine: FakeMachine, name: str = "second boot") -> None:
    """Have the host boot: all that ran is off."""
    machine.node.boot_id = name
    door.observer._resync()


def settle(door: Door, boot: Boot) -> None:
    """Begin what is due at this time, until nothing more is."""
    for _ in range(8):
        boot.sweep()
        door.idle()


def make(door: Door, name: str, *, order: int = 0, delay: int = 0, **fields: object) -> VM:
    vm = door.vm(name_label=name, **{"auto_power_on": True, **fields})
    door("VM.set_order", vm, str(order))
    door("VM.set_start_delay", vm, str(delay))
    door.idle()
    return vm


def messages_of(door: Door, vm: VM) -> list[tuple[str, str]]:
    return [(each.name, each.body) for each in door("message.get_all_records") if each.obj_uuid == vm.uuid]


def test_a_boot_of_the_host_starts_machines_and_a_start_of_the_agent_none(machine: FakeMachine, tmp_path: Path) -> None:
    for boot_id, state in (("first boot", "Halted"), ("first boot", "Halted"), ("second boot", "Running")):
        machine.node.boot_id = boot_id
        door = Door(machine.ports(), tmp_path / "journal")
        try:
            vms = door.store.all(VM)
            vm = next((each for each in vms if each.name_label == "web"), None) or make(door, "web")
            settle(door, Boot(door.site))
            assert vm.power_state == state
        finally:
            door.close()


@pytest.mark.parametrize(
    ("field", "of_machine", "of_pool", "starts"),
    [
        (True, {}, {}, True),
        (False, {"auto_poweron": "true"}, {"auto_poweron": "true"}, True),
        (False, {"auto_poweron": "true"}, {}, False),
        (False, {"auto_poweron": "true"}, {"auto_poweron": "false"}, False),
        (False, {"auto_poweron": "false"}, {"auto_poweron": "true"}, False),
        (False, {}, {"auto_poweron": "true"}, False),
    ],
)
def test_field_or_flag_of_machine_and_pool_say_so(
    door: Door,
    machine: FakeMachine,
    boot: Boot,
    field: bool,
    of_machine: dict[str, str],
    of_pool: dict[str, str],
    starts: bool,
) -> None:
    vm = make(door, "web", auto_power_on=field, other_config=of_machine)
    door("pool.set_other_config", door.observer.pool, of_pool)
    booted(door, machine)
    settle(door, boot)
    assert (vm.power_state == "Running") is starts


def test_what_is_no_halted_machine_is_not_started(door: Door, machine: FakeMachine, boot: Boot) -> None:
    vm = make(door, "web")
    kept: VM = door("VM.snapshot", vm, "kept")
    template = make(door, "pattern", is_a_template=True)
    door("VM.start", vm, False)
    door("VM.suspend", vm)
    started = watch(machine, "start")
    booted(door, machine)
    settle(door, boot)
    assert (started, door.observer.host.to_start) == ([], ())
    assert (kept.auto_power_on, template.auto_power_on) == (True, True)


def test_those_of_one_order_start_first_and_the_next_after_the_longest_delay(
    door: Door, machine: FakeMachine, boot: Boot, clock: Clock
) -> None:
    make(door, "front", order=2)
    make(door, "server a", order=1)
    make(door, "database", delay=9)
    make(door, "directory", delay=5)
    make(door, "server b", order=1)
    started = watch(machine, "start")
    booted(door, machine)
    settle(door, boot)
    assert sorted(started) == ["database", "directory"]
    clock.now = 8.9
    settle(door, boot)
    assert len(started) == 2
    clock.now = 9.0
    settle(door, boot)
    assert (sorted(started[2:4]), started[4:]) == (["server a", "server b"], ["front"])
    assert door.observer.host.to_start == ()


def test_no_more_start_at_once_than_the_configuration_says(door: Door, machine: FakeMachine, boot: Boot) -> None:
    door.site.guests.at_once = 2
    vms = [make(door, str(number)) for number in range(5)]
    block = Block(machine.domains, "start")
    booted(door, machine)
    boot.sweep()
    block.await_entry()
    boot.sweep()
    begun = [vm for vm in vms if vm.current_operations]
    block.release()
    settle(door, boot)
    assert len(begun) <= 2
    assert {vm.power_state for vm in vms} == {"Running"}


def test_one_that_cannot_start_is_told_of_and_the_rest_goes_on(door: Door, machine: FakeMachine, boot: Boot) -> None:
    bad, good = make(door, "bad"), make(door, "good", order=1)
    watch(machine, "start", "bad", OperationNotAllowed("no memory"))
    booted(door, machine)
    settle(door, boot)
    assert (bad.power_state, good.power_state) == ("Halted", "Running")
    [(name, body)] = messages_of(door, bad)
    assert name == "VM_START_FAILED"
    assert "bad" in body
    assert "no memory" in body
    settle(door, boot)
    assert len(messages_of(door, bad)) == 1


def test_an_agent_that_ends_amid_the_starts_goes_on_with_them(machine: FakeMachine, tmp_path: Path) -> None:
    first = Door(machine.ports(), tmp_path / "journal")
    boot = Boot(first.site, Clock())
    boot.sweep()
    vms = [make(first, "database", delay=60), make(first, "front", order=1)]
    booted(first, machine)
    settle(first, boot)
    uuids = [vm.uuid for vm in vms]
    assert first.observer.host.to_start == (uuids[1],)
    first.close()
    again = Door(machine.ports(), tmp_path / "journal")
    try:
        settle(again, Boot(again.site))
        assert [again.store.by_uuid(VM, uuid).power_state for uuid in uuids] == ["Running", "Running"]
    finally:
        again.close()


def test_a_machine_that_was_destroyed_is_waited_for_by_nobody(door: Door, machine: FakeMachine, boot: Boot) -> None:
    vm = make(door, "web")
    door("host.start_guests", door.observer.host)
    door("VM.destroy", vm)
    settle(door, boot)
    assert door.observer.host.to_start == ()


def test_they_are_started_when_a_client_asks(door: Door, boot: Boot) -> None:
    vm, other = make(door, "web"), make(door, "other", auto_power_on=False)
    door("host.start_guests", door.observer.host)
    settle(door, boot)
    assert (vm.power_state, other.power_state) == ("Running", "Halted")


def test_one_that_is_to_start_again_before_its_end_was_noted_does(door: Door, machine: FakeMachine, boot: Boot) -> None:
    vm = make(door, "web")
    booted(door, machine)
    boot.sweep()
    eventually(lambda: vm.power_state is PowerState.RUNNING)
    door.idle()
    door("host.stop_guests", door.observer.host)
    door("host.start_guests", door.observer.host)
    settle(door, boot)
    assert vm.power_state == "Running"


# --- down


@pytest.fixture
def running(door: Door) -> list[VM]:
    """A front and the database it needs, which run."""
    vms = [make(door, "database"), make(door, "front", order=1)]
    for vm in vms:
        door("VM.start", vm, False)
    return vms


def test_the_last_in_order_shuts_down_first(door: Door, machine: FakeMachine, running: list[VM]) -> None:
    asked = watch(machine, "shutdown")
    door("host.stop_guests", door.observer.host)
    assert asked == ["front", "database"]
    assert {vm.power_state for vm in running} == {"Halted"}
    assert machine.domains.calls.count("destroy") == 0


def test_one_that_does_not_shut_down_in_its_time_has_its_plug_pulled(
    door: Door, machine: FakeMachine, running: list[VM]
) -> None:
    machine.domains.shutdown = lambda vm: None  # type: ignore[method-assign]
    door.site.guests.shutdown_seconds = 86400
    for vm in running:
        door("VM.set_shutdown_delay", vm, "1")
    door("VM.pause", running[0])
    door("host.stop_guests", door.observer.host)
    assert {vm.power_state for vm in running} == {"Halted"}
    assert machine.domains.calls.count("destroy") == 2


def test_without_leave_to_pull_it_that_is_told_and_the_rest_goes_down(
    door: Door, machine: FakeMachine, running: list[VM]
) -> None:
    door.site.guests.hard_shutdown = False
    door("VM.pause", running[1])
    assert door.refused("host.stop_guests", door.observer.host) == ["OPERATION_PARTIALLY_FAILED", "stop_guests"]
    assert [vm.power_state for vm in running] == ["Halted", "Paused"]
    assert "VM_SHUTDOWN_FAILED" in [name for name, _ in messages_of(door, running[1])]


def test_others_machines_and_suspended_ones_are_left_alone(door: Door, machine: FakeMachine, running: list[VM]) -> None:
    theirs = make(door, "theirs")
    machine.domains.start(theirs, False)
    machine.domains.changed(theirs.uuid)
    eventually(lambda: theirs.power_state is PowerState.RUNNING)
    door("VM.suspend", running[0])
    door("host.stop_guests", door.observer.host)
    assert [vm.power_state for vm in (theirs, *running)] == ["Running", "Suspended", "Halted"]
    # What the agent has resumed is its own again.
    door("VM.resume", running[0], False)
    door("host.stop_guests", door.observer.host)
    assert running[0].power_state == "Halted"


def test_what_has_rebooted_is_still_the_agent_s_and_what_others_start_again_is_not(
    door: Door, machine: FakeMachine, running: list[VM]
) -> None:
    machine.domains.reboot(running[0])
    door.observer.refresh(running[0].uuid)
    door("VM.hard_shutdown", running[1])
    machine.domains.start(running[1], False)
    door.observer.refresh(running[1].uuid)
    door("host.stop_guests", door.observer.host)
    assert [vm.power_state for vm in running] == ["Halted", "Running"]


def test_going_down_ends_the_going_up(door: Door, machine: FakeMachine, boot: Boot) -> None:
    make(door, "database", delay=60)
    late = make(door, "late", order=1)
    booted(door, machine)
    settle(door, boot)
    door("host.stop_guests", door.observer.host)
    settle(door, boot)
    assert (late.power_state, door.observer.host.to_start) == ("Halted", ())
