"""Tasks: clients may make their own, and watch, cancel and drop those that verbs run as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from agent.call import Call
from agent.classes import Task
from agent.classes.enums import TaskOperation, TaskStatus
from agent.errors import InvalidValue, MapDuplicateKey, OperationNotAllowed, PermissionDenied
from agent.model.api import Api
from agent.model.messages import Kind, message
from agent.roles import Role

OPEN = (TaskStatus.PENDING, TaskStatus.CANCELLING)


def is_a_verbs(api: Api, task: Task) -> bool:
    """Whether the agent runs a verb as this task. Clients cannot give their own tasks the name of one."""
    return _names_a_verb(api, task.name_label)


TRANSFERS = frozenset({"VDI.import_raw", "VDI.export_raw", "VM.import", "VM.export"})
"""The names of tasks that an upload or a download runs as, where the client lends none."""


def _names_a_verb(api: Api, label: str) -> bool:
    return label.removeprefix("Async.") in api.messages or label in TRANSFERS


def require_own_task(call: Call, task: Task) -> None:
    """PERMISSION_DENIED unless it is the caller's own task, or the caller may manage everybody's."""
    caller = call.session
    if caller is None or Role.from_wire(caller.role_name) >= Role.POOL_OPERATOR:
        return
    if task.session is None or task.session.this_user is not caller.this_user:
        raise PermissionDenied("the task belongs to another user")


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def create(call: Call, label: str, description: str) -> Task:
    """Make a task of one's own, such as one that an upload reports its progress to.

    INVALID_VALUE for the name of a message: such tasks are the agent's.
    """
    if _names_a_verb(call.site.api, label):
        raise InvalidValue("label", f"{label!r}: the agent calls its own tasks so")
    task = Task()
    task.name_label, task.name_description = label, description
    task.created = datetime.now(UTC)
    task.session, task.resident_on = call.session, call.host
    return call.store.add(task)


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def destroy(call: Call, self: Task) -> None:
    """Drop a task. One that a verb still runs as cannot be dropped: cancel it, or let it end."""
    require_own_task(call, self)
    if self.status in OPEN and is_a_verbs(call.site.api, self):
        raise OperationNotAllowed("the task is under way: cancel it first, or wait for its end")
    call.store.destroy(self)


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def cancel(call: Call, task: Task) -> None:
    """Tell a task to stop. It ends as cancelled once it has undone what it began, or goes on where it cannot stop any
    more.

    OPERATION_NOT_ALLOWED if it has ended.
    """
    require_own_task(call, task)
    if TaskOperation.CANCEL not in task.allowed_operations:
        raise OperationNotAllowed(f"the task is {task.status}, not pending")
    if is_a_verbs(call.site.api, task):
        task.status = TaskStatus.CANCELLING
    else:
        task.status, task.finished = TaskStatus.CANCELLED, datetime.now(UTC)


def _made_by_client(call: Call, task: Task) -> None:
    require_own_task(call, task)
    if is_a_verbs(call.site.api, task):
        raise OperationNotAllowed("this task's fields are the agent's to set")


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_status(call: Call, self: Task, value: TaskStatus) -> None:
    """Set the status of a task that a client made."""
    _made_by_client(call, self)
    self.status = value
    if value not in OPEN:
        self.finished = datetime.now(UTC)


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_progress(call: Call, self: Task, value: float) -> None:
    """Set how much of a task that a client made is done, 0 to 1."""
    _made_by_client(call, self)
    self.progress = min(max(value, 0.0), 1.0)


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_result(call: Call, self: Task, value: str) -> None:
    """Set the result of a task that a client made."""
    _made_by_client(call, self)
    self.result = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_error_info(call: Call, self: Task, value: tuple[str, ...]) -> None:
    """Set the error of a task that a client made."""
    _made_by_client(call, self)
    self.error_info = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_other_config(call: Call, self: Task, value: Mapping[str, str]) -> None:
    """Set other_config whole."""
    require_own_task(call, self)
    self.other_config = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def add_to_other_config(call: Call, self: Task, key: str, value: str) -> None:
    """Add a key to other_config; MAP_DUPLICATE_KEY if it is there."""
    require_own_task(call, self)
    if key in self.other_config:
        raise MapDuplicateKey("task", "other_config", self, key)
    self.other_config = {**self.other_config, key: value}


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def remove_from_other_config(call: Call, self: Task, key: str) -> None:
    """Take a key out of other_config; nothing happens if it is not there."""
    require_own_task(call, self)
    self.other_config = {name: value for name, value in self.other_config.items() if name != key}
