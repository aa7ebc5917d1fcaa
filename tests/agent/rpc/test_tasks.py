"""Tasks: begun at once, true while they run, ended as they ended; cancelled ones leave nothing behind."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.call import Call
from agent.classes import SR, VDI, VM, Task
from agent.classes.checks import TEXT_MAX
from agent.classes.enums import TaskStatus, VmOperation
from agent.errors import InternalError, XenError
from agent.messages import task as task_messages
from agent.roles import Role
from agent.rpc import tasks as module
from agent.rpc.tasks import Tasks
from tests.agent.store.conftest import killed
from tests.door import WAIT_SECONDS, Block, Door, eventually
from tests.fake_machine import LOCAL, FakeMachine

GIB = 2**30


class SlowCopy:
    """A copy of a volume that stands still when half of it is done, until `go`."""

    def __init__(self, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.half_done = threading.Event()
        self.go = threading.Event()
        monkeypatch.setattr(machine.storage, "steps", self._steps)

    def _steps(self) -> Iterator[float]:
        yield 0.5
        self.half_done.set()
        assert self.go.wait(WAIT_SECONDS)
        yield 1.0

    def await_half(self) -> None:
        assert self.half_done.wait(WAIT_SECONDS)


@pytest.fixture
def slow(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> SlowCopy:
    return SlowCopy(machine, monkeypatch)


@pytest.fixture
def disk(door: Door) -> VDI:
    """A disk of a gibibyte."""
    made: VDI = door("VDI.create", {"SR": door.store.by_uuid(SR, LOCAL).ref, "virtual_size": GIB, "name_label": "root"})
    return made


@pytest.fixture
def vm(door: Door, disk: VDI) -> VM:
    """A machine with that disk."""
    made = door.vm()
    door("VBD.create", {"VM": made.ref, "VDI": disk.ref, "userdevice": "0"})
    return made


# --- a task's life


def test_a_task_is_returned_at_once_and_is_pending_while_the_verb_runs(
    door: Door, machine: FakeMachine, vm: VM
) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    assert (task.name_label, task.status, task.progress) == ("Async.VM.start", "pending", 0.0)
    assert (task.result, task.error_info, task.finished.year) == ("", (), 1970)
    assert task.allowed_operations == ("cancel",)
    assert task.resident_on is door.observer.host
    assert task.session is door.sessions.find(door.session)
    assert datetime.now(UTC) - task.created < timedelta(minutes=1)
    block.release()
    door.ended(task)


def test_a_task_that_succeeds_says_so(door: Door, vm: VM) -> None:
    task: Task = door.ended(door("Async.VM.start", vm, False))
    assert (task.status, task.progress, task.error_info) == ("success", 1.0, ())
    assert (task.result, task.type) == ("", "<none/>")
    assert task.allowed_operations == ("destroy",)
    assert task.finished >= task.created
    assert vm.power_state == "Running"


def test_the_result_of_a_task_is_the_value_that_the_message_answers(door: Door, vm: VM) -> None:
    task = door.ended(door("Async.VM.clone", vm, "copy"))
    (made,) = door("VM.get_by_name_label", "copy")
    assert task.result == f"<value>{made.ref}</value>"


def test_a_task_that_fails_has_the_error(door: Door, vm: VM) -> None:
    task = door.ended(door("Async.VM.pause", vm))
    assert (task.status, task.progress, task.result) == ("failure", 1.0, "")
    assert task.error_info == ("VM_BAD_POWER_STATE", vm.ref, "running", "halted")
    assert task.finished >= task.created


def test_a_task_that_fails_unexpectedly_is_logged_under_the_id_it_has(
    door: Door, machine: FakeMachine, vm: VM, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> None:
        raise ZeroDivisionError

    machine.domains.plan["start"] = explode
    task = door.ended(door("Async.VM.start", vm, False))
    code, text = task.error_info
    assert (task.status, code, text[:18]) == ("failure", "INTERNAL_ERROR", "ZeroDivisionError:")
    assert f"Async.VM.start failed unexpectedly [{text[-8:]}]" in caplog.text


def test_what_is_wrong_with_the_call_is_told_at_once(door: Door, vm: VM) -> None:
    before = door.store.count("task")
    assert door.refused("Async.VM.start", vm)[0] == "MESSAGE_PARAMETER_COUNT_MISMATCH"
    assert door.refused("Async.VM.start", "OpaqueRef:gone", False)[0] == "HANDLE_INVALID"
    assert door.store.count("task") == before


def test_progress_is_true_while_a_disk_is_copied(door: Door, disk: VDI, slow: SlowCopy) -> None:
    task: Task = door("Async.VDI.copy", disk)
    slow.await_half()
    assert (task.status, task.progress) == ("pending", 0.5)
    slow.go.set()
    assert door.ended(task).progress == 1.0


def test_progress_that_comes_often_is_noted_now_and_then_and_never_lost(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    task: Task = door("task.create", "by hand", "")
    call = Call(door.site, task=task)
    monkeypatch.setattr("agent.call.PROGRESS_SECONDS", 3600.0)
    call.progress(0.25)
    call.progress(0.5)
    call.progress(0.75)
    assert task.progress == 0.25
    monkeypatch.setattr("agent.call.PROGRESS_SECONDS", 0.0)
    call.progress(0.0)  # as by a worker that waits
    assert task.progress == 0.75


def test_progress_of_a_machine_is_that_of_all_its_disks(door: Door, vm: VM, disk: VDI, slow: SlowCopy) -> None:
    larger = door("VDI.create", {"SR": disk.SR.ref, "virtual_size": 3 * GIB})
    door("VBD.create", {"VM": vm.ref, "VDI": larger.ref, "userdevice": "1"})
    task: Task = door("Async.VM.clone", vm, "copy")
    slow.await_half()
    assert task.progress == 0.125  # half of one of four gibibytes
    slow.go.set()
    door.ended(task)


def test_a_verb_that_runs_is_named_by_its_object(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    assert vm.current_operations == {task.ref: VmOperation.START}
    assert "pause" not in vm.allowed_operations
    block.release()
    door.ended(task)
    assert vm.current_operations == {}
    assert "pause" in vm.allowed_operations


def test_a_verb_that_a_client_waits_for_is_a_task_to_others_meanwhile(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    starting = door.later("VM.start", vm, False)
    block.await_entry()
    (task,) = door.store.all(Task)
    assert (task.name_label, task.status) == ("VM.start", "pending")
    assert vm.current_operations == {task.ref: VmOperation.START}
    block.release()
    starting.result(WAIT_SECONDS)
    assert vm.current_operations == {}
    eventually(lambda: door.store.count("task") == 0, "the end of the task")


def test_a_verb_that_fails_is_named_no_more(door: Door, machine: FakeMachine, vm: VM) -> None:
    machine.domains.fail("start", InternalError("on demand"))
    door.refused("VM.start", vm, False)
    assert vm.current_operations == {}
    assert "start" in vm.allowed_operations


def test_the_plug_can_be_pulled_in_a_task_too(door: Door, machine: FakeMachine, vm: VM) -> None:
    door("VM.start", vm, False)
    block = Block(machine.domains, "suspend")
    suspending: Task = door("Async.VM.suspend", vm)
    block.await_entry()
    assert door.ended(door("Async.VM.hard_shutdown", vm)).status == "success"
    assert vm.power_state == "Halted"
    block.release()
    assert door.ended(suspending).error_info[0] == "VM_BAD_POWER_STATE"


@pytest.mark.parametrize(("name", "params"), [("VM.set_memory", [GIB]), ("VM.set_memory_static_range", [0, 2 * GIB])])
def test_a_change_of_fields_can_be_a_task(door: Door, vm: VM, name: str, params: list[int]) -> None:
    task = door.ended(door(f"Async.{name}", vm, *params))
    assert (task.status, vm.memory_static_max) == ("success", params[-1])


def test_what_a_change_of_fields_refuses_is_undone(door: Door, vm: VM) -> None:
    task = door.ended(door("Async.VM.set_memory_limits", vm, 3, 2, 1, 0))
    assert task.error_info[0] == "MEMORY_CONSTRAINT_VIOLATION"
    assert vm.memory_static_max == VM().memory_static_max


def test_a_task_outlives_the_session_that_began_it(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    secret = door.log_in(Role.VM_ADMIN)
    task: Task = door.send("Async.VM.start", secret, vm, False)
    waiting: Task = door.send("Async.VM.pause", secret, vm)
    block.await_entry()
    foreground = door.later("VM.unpause", vm, session=secret)
    door.send("session.logout", secret)
    assert (task.session, waiting.session) == (None, None)
    block.release()
    assert door.ended(task).status == door.ended(waiting).status == "success"
    foreground.result(WAIT_SECONDS)
    assert vm.power_state == "Running"


# --- cancelling


@pytest.mark.parametrize("name", ["VDI.copy", "VDI.clone", "VDI.snapshot"])
def test_a_cancelled_copy_of_a_disk_leaves_nothing(
    door: Door, machine: FakeMachine, disk: VDI, slow: SlowCopy, name: str
) -> None:
    task: Task = door(f"Async.{name}", disk)
    slow.await_half()
    door("task.cancel", task)
    assert (task.status, task.allowed_operations) == ("cancelling", ())
    slow.go.set()
    door.ended(task)
    assert (task.status, task.error_info, task.result) == ("cancelled", ("TASK_CANCELLED", task.ref), "")
    assert task.progress == 1.0
    assert door.store.all(VDI) == [disk]
    assert list(machine.storage.volumes[LOCAL]) == [disk.location]


@pytest.mark.parametrize("name", ["VM.clone", "VM.snapshot"])
def test_a_cancelled_copy_of_a_machine_leaves_nothing(
    door: Door, machine: FakeMachine, vm: VM, disk: VDI, slow: SlowCopy, name: str
) -> None:
    door.idle()
    task: Task = door(f"Async.{name}", vm, "copy")
    slow.await_half()
    door("task.cancel", task)
    slow.go.set()
    assert door.ended(task).status == "cancelled"
    assert door.store.all(VM) == [vm]
    assert door.store.all(VDI) == [disk]
    assert list(machine.storage.volumes[LOCAL]) == [disk.location]
    assert list(machine.domains.known) == [vm.uuid]


def test_a_task_cancelled_before_its_turn_does_nothing(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    starting: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    pausing: Task = door("Async.VM.pause", vm)
    door("task.cancel", pausing)
    block.release()
    door.ended(starting)
    assert door.ended(pausing).status == "cancelled"
    assert vm.power_state == "Running"


def test_a_verb_that_cannot_stop_any_more_goes_on(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    door("task.cancel", task)
    block.release()
    assert door.ended(task).status == "success"
    assert vm.power_state == "Running"


def test_a_verb_that_a_client_waits_for_can_be_cancelled_by_another(door: Door, vm: VM, slow: SlowCopy) -> None:
    cloning = door.later("VM.clone", vm, "copy")
    slow.await_half()
    (task,) = door.store.all(Task)
    door("task.cancel", task)
    assert task.status == "cancelling"
    slow.go.set()
    with pytest.raises(XenError, match=f"TASK_CANCELLED {task.ref}"):
        cloning.result(WAIT_SECONDS)
    assert door.store.all(VM) == [vm]


def test_a_task_that_has_ended_cannot_be_cancelled(door: Door, vm: VM) -> None:
    task = door.ended(door("Async.VM.start", vm, False))
    assert door.refused("task.cancel", task) == ["OPERATION_NOT_ALLOWED", "the task is success, not pending"]
    assert task.status == "success"


def test_a_task_cannot_be_cancelled_twice(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    door("task.cancel", task)
    assert door.refused("task.cancel", task) == ["OPERATION_NOT_ALLOWED", "the task is cancelling, not pending"]
    block.release()
    door.ended(task)


# --- whose task it is


def test_a_task_that_is_under_way_cannot_be_dropped(door: Door, machine: FakeMachine, vm: VM) -> None:
    block = Block(machine.domains, "start")
    task: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    assert door.refused("task.destroy", task)[0] == "OPERATION_NOT_ALLOWED"
    door("task.cancel", task)
    assert door.refused("task.destroy", task)[0] == "OPERATION_NOT_ALLOWED"
    block.release()
    door.ended(task)
    door("task.destroy", task)
    assert not door.store.is_live(task)


@pytest.mark.threat("T1", "T15")
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("task.cancel", []),
        ("task.destroy", []),
        ("task.set_status", ["success"]),
        ("task.set_progress", [0.5]),
        ("task.set_result", ["x"]),
        ("task.set_error_info", [["x"]]),
        ("task.set_other_config", [{}]),
        ("task.add_to_other_config", ["a", "b"]),
        ("task.remove_from_other_config", ["a"]),
    ],
)
def test_another_users_task_is_not_ones_own(door: Door, name: str, params: list[object]) -> None:
    ada, bob = door.log_in(Role.VM_ADMIN, "ada"), door.log_in(Role.VM_ADMIN, "bob")
    task: Task = door.send("task.create", ada, "upload", "")
    assert door.refused(name, task, *params, session=bob) == [
        "PERMISSION_DENIED",
        "the task belongs to another user",
    ]
    assert task.status == "pending"
    door.send(name, door.log_in(Role.VM_ADMIN, "ada"), task, *params)  # another session of the same user
    if door.store.is_live(task):
        assert door.send("task.get_uuid", bob, task) == task.uuid


@pytest.mark.threat("T15")
@pytest.mark.parametrize("role", [Role.POOL_OPERATOR, Role.POOL_ADMIN])
def test_an_operator_of_the_pool_may_cancel_anybodys_task(door: Door, role: Role) -> None:
    task: Task = door.send("task.create", door.log_in(Role.VM_ADMIN, "ada"), "upload", "")
    door.send("task.cancel", door.log_in(role, "bob"), task)
    assert task.status == "cancelled"


@pytest.mark.parametrize(
    ("name", "value"), [("status", "success"), ("progress", 0.5), ("result", "x"), ("error_info", ["x"])]
)
def test_the_fields_of_the_agents_tasks_are_the_agents(door: Door, vm: VM, name: str, value: object) -> None:
    task = door.ended(door("Async.VM.start", vm, False))
    before = getattr(task, name)
    assert door.refused(f"task.set_{name}", task, value) == [
        "OPERATION_NOT_ALLOWED",
        "this task's fields are the agent's to set",
    ]
    assert getattr(task, name) == before


def test_a_client_can_report_on_work_of_its_own(door: Door) -> None:
    task: Task = door("task.create", "upload", "of a disk")
    assert (task.name_label, task.name_description, task.status) == ("upload", "of a disk", "pending")
    door("task.set_progress", task, 0.25)
    assert task.progress == 0.25
    door("task.set_progress", task, 7.0)
    assert task.progress == 1.0
    door("task.set_result", task, "fine")
    door("task.set_error_info", task, ["CODE", "why"])
    door("task.add_to_other_config", task, "a", "b")
    assert door.refused("task.add_to_other_config", task, "a", "c")[0] == "MAP_DUPLICATE_KEY"
    door("task.remove_from_other_config", task, "a")
    door("task.set_status", task, "failure")
    assert (task.status, task.result, task.error_info) == ("failure", "fine", ("CODE", "why"))
    assert (task.other_config, task.allowed_operations) == ({}, ("destroy",))
    assert task.finished >= task.created


@pytest.mark.parametrize("label", ["Async.VM.start", "VM.start", "Async.VIF.plug"])
def test_a_client_cannot_pass_its_task_off_as_the_agents(door: Door, label: str) -> None:
    code, field, _ = door.refused("task.create", label, "")
    assert (code, field) == ("INVALID_VALUE", "label")


# --- limits and leftovers


def test_no_more_than_so_many_are_under_way_at_once(
    door: Door, machine: FakeMachine, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.PENDING_MAX == 200
    monkeypatch.setattr(module, "PENDING_MAX", 3)
    for _ in range(5):
        door("task.create", "a client's own", "")
    block = Block(machine.domains, "start")
    tasks = [door("Async.VM.start", vm, False) for _ in range(3)]
    assert door.refused("Async.VM.start", vm, False) == ["TOO_MANY_PENDING_TASKS"]
    assert door("VM.get_power_state", vm) == "Halted"
    block.release()
    for task in tasks:
        door.ended(task)
    assert door.ended(door("Async.VM.pause", vm)).status == "success"


@pytest.mark.fault("F13")
def test_no_more_than_so_many_of_clients_are_kept(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert task_messages.CLIENTS_MAX == 1000
    monkeypatch.setattr(task_messages, "CLIENTS_MAX", 3)
    reader = door.log_in(Role.READ_ONLY)
    first, second, third = (door.send("task.create", reader, "upload", "") for _ in range(3))
    assert door.refused("task.create", "one more", "") == ["TOO_MANY_PENDING_TASKS"]
    door.send("task.set_status", reader, third, "success")
    door.send("task.cancel", reader, first)
    fourth = door("task.create", "one more", "")
    assert set(door.store.all(Task)) == {first, second, fourth}


@pytest.mark.fault("F13")
def test_no_more_than_so_many_that_have_ended_are_kept(door: Door, vm: VM, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.KEPT_MAX == 5000
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    own = door("task.create", "upload", "")
    _, second, third = [door.ended(door("Async.VM.pause", vm)) for _ in range(3)]
    assert set(door.store.all(Task)) == {own, second, third}


@pytest.mark.threat("T5")
@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("create", ["x" * (TEXT_MAX + 1), ""], "label"),
        ("create", ["x", "x" * (TEXT_MAX + 1)], "description"),
        ("set_result", ["x" * (TEXT_MAX + 1)], "result"),
        ("set_error_info", [["x", "x" * TEXT_MAX]], "error_info"),
        ("set_other_config", [{"k": "x" * TEXT_MAX}], "other_config"),
        ("add_to_other_config", ["k", "x" * (TEXT_MAX - 5)], "other_config"),
    ],
)
def test_what_clients_say_of_a_task_is_short_enough(door: Door, name: str, params: list[object], field: str) -> None:
    task: Task = door("task.create", "x" * TEXT_MAX, "x" * TEXT_MAX)
    door("task.set_other_config", task, {"known": "x"})
    given = params if name == "create" else [task, *params]
    assert door.refused(f"task.{name}", *given)[:2] == ["INVALID_VALUE", field]
    assert (task.result, task.error_info, task.other_config) == ("", (), {"known": "x"})


def test_a_task_that_was_dropped_holds_nothing_more(door: Door) -> None:
    task: Task = door("task.create", "upload", "of a disk")
    door("task.set_result", task, "x" * TEXT_MAX)
    door("task.destroy", task)
    assert (task.name_label, task.name_description, task.result) == ("", "", "")


@pytest.mark.fault("F1")
def test_what_was_under_way_when_the_agent_was_killed_is_a_failure(machine: FakeMachine, tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    door = Door(machine.ports(), file)
    vm = door.vm()
    block = Block(machine.domains, "start")
    running, waiting = door("Async.VM.start", vm, False), door("Async.VM.pause", vm)
    own = door("task.create", "upload", "")
    block.await_entry()
    copy = killed(file, "killed")
    block.release()
    door.ended(waiting)
    done = door.ended(door("Async.VM.hard_shutdown", vm))
    door("VM.set_name_label", vm, "later")  # the journal keeps its order: what is told after this is durable too
    second = killed(file, "later")
    door.close()

    again = Door(FakeMachine().ports(), copy)
    for task in (running, waiting, own):
        found = again.store.get(Task, task.ref)
        assert (found.status, found.error_info) == (
            "failure",
            ("INTERNAL_ERROR", "the agent ended while this task was under way; what it did is as it stands"),
        )
        assert (found.progress, found.allowed_operations) == (1.0, ("destroy",))
    again.close()
    last = Door(FakeMachine().ports(), second)
    assert last.store.get(Task, done.ref).status == "success"
    last.close()


def aged(door: Door, task: Task, minutes: int) -> None:
    """Let it have ended so long ago."""
    with door.store.transaction():
        task.finished = datetime.now(UTC) - timedelta(minutes=minutes)


def test_a_task_is_dropped_an_hour_after_its_end(door: Door, machine: FakeMachine, vm: VM) -> None:
    old, recent = (door.ended(door("Async.VM.pause", vm)) for _ in range(2))
    aged(door, old, 66)
    aged(door, recent, 64)
    cancelled: Task = door("task.create", "upload", "")
    door("task.cancel", cancelled)
    own: Task = door("task.create", "another", "")
    block = Block(machine.domains, "start")
    running: Task = door("Async.VM.start", vm, False)
    block.await_entry()
    door.tasks.sweep()
    assert set(door.store.all(Task)) == {recent, cancelled, own, running}
    block.release()
    door.ended(running)


@pytest.mark.fault("F13")
def test_a_task_that_its_client_has_forgotten_is_dropped_after_a_day(door: Door) -> None:
    forgotten, recent, lent = (door("task.create", name, "") for name in ("forgotten", "recent", "lent"))
    now = datetime.now(UTC)
    with door.store.transaction():
        forgotten.created = lent.created = now - timedelta(hours=25)
        recent.created = now - timedelta(hours=23)

    def work() -> str:
        door.tasks.sweep()
        return "done"

    assert door.tasks.carry(lent, work) is None
    assert set(door.store.all(Task)) == {recent, lent}
    assert lent.result == "done"


def test_an_end_that_could_not_be_noted_is_noted_later(
    door: Door, machine: FakeMachine, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(rows: Any) -> None:
        if rows:
            raise sqlite3.OperationalError("database or disk is full")

    door("VM.start", vm, False)
    block = Block(machine.domains, "pause")  # which changes nothing that the journal keeps
    task: Task = door("Async.VM.pause", vm)
    block.await_entry()
    eventually(lambda: task in [change.entity for change in door.store.changes.since(0)], "the task on disk")
    with monkeypatch.context() as patched:
        patched.setattr(door.store._journal, "write", full)
        block.release()
        eventually(lambda: bool(door.tasks._unnoted), "the attempt to note the end")
        with pytest.raises(XenError):
            door.tasks.sweep()
        assert task.status == "pending"
    door.tasks.sweep()
    assert task.status == TaskStatus.SUCCESS
    assert not door.tasks._unnoted


def test_an_agent_that_was_ended_in_order_recovers_nothing(door: Door, vm: VM) -> None:
    task = door.ended(door("Async.VM.start", vm, False))
    Tasks(door.site).recover()
    assert task.status == "success"
