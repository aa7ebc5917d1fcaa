"""Appliances: in which order machines are started and stopped, and what one that fails does to the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.classes import VM, Task, VMAppliance
from agent.errors import OperationNotAllowed, XenError
from agent.messages import vm_appliance
from agent.model.types import NULL
from agent.roles import Role
from tests.door import Block, Door, eventually
from tests.fake_machine import FakeMachine


@pytest.fixture
def appliance(door: Door) -> VMAppliance:
    made: VMAppliance = door("VM_appliance.create", {"name_label": "shop"})
    return made


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between groups, which take no time."""
    clock = [0.0]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        pauses.append(seconds)

    monkeypatch.setattr(vm_appliance, "sleep", sleep)
    monkeypatch.setattr(vm_appliance, "monotonic", lambda: clock[0])
    return pauses


@pytest.fixture
def machines(door: Door, appliance: VMAppliance) -> list[VM]:
    """A database, two servers and a front, in that order."""
    made = []
    for name, order in (("front", 2), ("server a", 1), ("database", 0), ("server b", 1)):
        vm = door.vm(name_label=name)
        door("VM.set_order", vm, str(order))
        door("VM.set_appliance", vm, appliance)
        made.append(vm)
    door.idle()
    return made


def watch(machine: FakeMachine, verb: str, refused: str = "", error: XenError | None = None) -> list[str]:
    """The names of the machines that the driver is asked to do this to, in order; one of them is refused."""
    seen: list[str] = []
    real: Callable[..., None] = getattr(machine.domains, verb)

    def note(vm: VM, *more: bool) -> None:
        seen.append(vm.name_label)
        if vm.name_label == refused and error is not None:
            raise error
        real(vm, *more)

    setattr(machine.domains, verb, note)
    return seen


def test_machines_and_appliance_know_each_other(door: Door, appliance: VMAppliance) -> None:
    vm = door.vm()
    door("VM.set_appliance", vm, appliance)
    assert (appliance.VMs, vm.appliance) == ((vm,), appliance)
    door("VM.set_appliance", vm, NULL)
    assert (appliance.VMs, vm.appliance) == ((), None)
    door("VM.set_appliance", vm, appliance)
    door("VM_appliance.destroy", appliance)
    assert (vm.appliance, door("VM_appliance.get_all")) == (None, [])


def test_what_is_no_machine_belongs_to_none(door: Door, appliance: VMAppliance) -> None:
    vm = door.vm()
    door("VM.set_appliance", vm, appliance)
    kept: VM = door("VM.snapshot", vm, "kept")
    copied: VM = door("VM.clone", vm, "copied")
    assert [kept.appliance, copied.appliance] == [None, None]
    assert door.refused("VM.set_appliance", kept, appliance)[0] == "OPERATION_NOT_ALLOWED"
    door("VM.revert", kept)
    assert vm.appliance is appliance


def test_machines_start_in_order_and_stop_in_the_other(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM], slept: list[float]
) -> None:
    started = watch(machine, "start")
    assert door("VM_appliance.get_allowed_operations", appliance) == ("start",)
    door("VM_appliance.start", appliance, False)
    assert (started[0], sorted(started[1:3]), started[3]) == ("database", ["server a", "server b"], "front")
    assert {vm.power_state for vm in machines} == {"Running"}
    assert door("VM_appliance.get_allowed_operations", appliance) == ("clean_shutdown", "hard_shutdown", "shutdown")
    stopped = watch(machine, "shutdown")
    door("VM_appliance.clean_shutdown", appliance)
    assert (stopped[0], sorted(stopped[1:3]), stopped[3]) == ("front", ["server a", "server b"], "database")
    assert ({vm.power_state for vm in machines}, slept) == ({"Halted"}, [])


def test_the_longest_delay_of_each_group_but_the_last_is_waited_for(
    door: Door, appliance: VMAppliance, machines: list[VM], slept: list[float]
) -> None:
    for vm, start, stop in zip(machines, (9, 2, 1, 3), (5, 1, 9, 0), strict=True):
        door("VM.set_start_delay", vm, str(start))
        door("VM.set_shutdown_delay", vm, str(stop))
    door("VM_appliance.start", appliance, False)
    started = sum(slept)
    door("VM_appliance.shutdown", appliance)
    assert (started, sum(slept) - started) == (1 + 3, 5 + 1)


def test_only_what_is_halted_is_started_and_paused_if_so_asked(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    door("VM.start", machines[2], False, False)
    started = watch(machine, "start")
    door("VM_appliance.start", appliance, True)
    assert sorted(started) == ["front", "server a", "server b"]
    assert [vm.power_state for vm in machines] == ["Paused", "Paused", "Running", "Paused"]


def test_plugs_are_pulled_whatever_the_state(door: Door, appliance: VMAppliance, machines: list[VM]) -> None:
    door("VM_appliance.start", appliance, False)
    door("VM.pause", machines[0])
    door("VM.suspend", machines[1])
    door("VM_appliance.hard_shutdown", appliance)
    assert {vm.power_state for vm in machines} == {"Halted"}


def test_what_one_machine_is_refused_stops_what_comes_after_it(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    started = watch(machine, "start", "server a", OperationNotAllowed("no memory"))
    assert door.refused("VM_appliance.start", appliance, False) == ["OPERATION_PARTIALLY_FAILED", "start"]
    assert (sorted(started), machines[0].power_state) == (["database", "server a", "server b"], "Halted")
    assert (machines[3].power_state, appliance.current_operations) == ("Running", {})
    stopped = watch(machine, "destroy", "server b", OperationNotAllowed("stuck"))
    assert door.refused("VM_appliance.hard_shutdown", appliance) == ["OPERATION_PARTIALLY_FAILED", "hard_shutdown"]
    assert stopped == ["server b"]


def test_a_task_tells_what_is_done_and_one_thing_is_done_at_a_time(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM_appliance.start", appliance, False)
    block.await_entry()
    assert (appliance.current_operations, appliance.allowed_operations) == ({task.ref: "start"}, ())
    assert machines[2].current_operations == {task.ref: "start"}
    refused = door.refused("VM_appliance.hard_shutdown", appliance)
    assert refused == ["OTHER_OPERATION_IN_PROGRESS", "VM_appliance", appliance.ref, "start", task.ref]
    block.release()
    assert (door.ended(task).status, task.progress, appliance.current_operations) == ("success", 1.0, {})


def test_a_task_tells_how_many_are_done(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM_appliance.start", appliance, False)
    block.await_entry()
    second = Block(machine.domains, "start")
    block.release()
    second.await_entry()
    eventually(lambda: task.progress == 0.25, "a quarter")
    second.release()
    assert door.ended(task).status == "success"


def test_a_cancelled_start_goes_no_further(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM_appliance.start", appliance, False)
    block.await_entry()
    door("task.cancel", task)
    eventually(lambda: task.status == "cancelled", "the end of the task")
    block.release()
    door.idle()
    assert {vm.power_state for vm in machines if vm is not machines[2]} == {"Halted"}


def test_no_more_than_a_few_are_worked_on_at_once(
    door: Door, machine: FakeMachine, appliance: VMAppliance, machines: list[VM]
) -> None:
    block = Block(machine.domains, "start")
    tasks: list[Task] = [door("Async.VM_appliance.start", appliance, False)]
    block.await_entry()
    for number in range(vm_appliance.AT_ONCE - 1):
        other: VMAppliance = door("VM_appliance.create", {"name_label": str(number)})
        door("VM.set_appliance", door.vm(), other)
        tasks.append(door("Async.VM_appliance.start", other, False))
    eventually(lambda: all(each.current_operations for each in door.store.all(VMAppliance)), "all of them")
    last: VMAppliance = door("VM_appliance.create", {"name_label": "last"})
    assert door.refused("VM_appliance.start", last, False) == ["TOO_MANY_PENDING_TASKS"]
    block.release()
    assert {door.ended(task).status for task in tasks} == {"success"}


def test_appliances_are_a_pool_operator_s(door: Door, appliance: VMAppliance) -> None:
    low = door.log_in(Role.VM_POWER_ADMIN)
    assert door.refused("VM_appliance.start", appliance, False, session=low)[0] == "RBAC_PERMISSION_DENIED"
