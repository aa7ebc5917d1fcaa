"""Tasks: clients may make their own, and watch, cancel and drop those that verbs run as."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from agent.call import Call
from agent.classes import Task, checks
from agent.classes.enums import TaskOperation, TaskStatus
from agent.errors import InvalidValue, MapDuplicateKey, OperationNotAllowed, PermissionDenied, TooManyPendingTasks
from agent.model.api import Api
from agent.model.messages import Kind, message
from agent.roles import Role
from agent.store.store import Store

OPEN = (TaskStatus.PENDING, TaskStatus.CANCELLING)
CLIENTS_MAX = 1000
"""Tasks that clients made, of all clients together."""


def is_a_verbs(api: Api, task: Task) -> bool:
    """Whether the agent runs a verb as this task. Clients cannot give their own tasks the name of one."""
    return _names_a_verb(api, task.name_label)


TRANSFERS = frozenset({"VDI.import_raw", "VDI.export_raw", "VM.import", "VM.export"})
"""The names of tasks that an upload or a download runs as, where the client lends none."""


def _names_a_verb(api: Api, label: str) -> bool:
    return label.removeprefix("Async.") in api.messages or label in TRANSFERS


def drop(store: Store, task: Task) -> None:
    """Take a task out. The ring of changes may hold it for long: let it hold little."""
    task.name_label = task.name_description = task.result = ""
    task.error_info, task.other_config = (), {}
    store.destroy(task)


def make_room(store: Store, tasks: Sequence[Task], most: int) -> None:
    """Let one more task be one of so many at the most: of these, the one that ended first goes. In a transaction.

    TOO_MANY_PENDING_TASKS where none has ended.
    """
    surplus = len(tasks) + 1 - most
    if surplus <= 0:
        return
    ended = sorted((task for task in tasks if task.status not in OPEN), key=lambda task: task.finished)
    if len(ended) < surplus:
        raise TooManyPendingTasks
    for task in ended[:surplus]:
        drop(store, task)


def _require_modest(field: str, value: str | Collection[str] | Mapping[str, str]) -> None:
    try:
        checks.modest(value)
    except ValueError as error:
        raise InvalidValue(field, str(error)) from None


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

    INVALID_VALUE for the name of a message: such tasks are the agent's. TOO_MANY_PENDING_TASKS where clients have 1000
    that have not ended. One that has not ended after a day is dropped, unless an upload or a download runs as it.
    """
    _require_modest("label", label)
    _require_modest("description", description)
    api = call.site.api
    if _names_a_verb(api, label):
        raise InvalidValue("label", f"{label!r}: the agent calls its own tasks so")
    make_room(call.store, [task for task in call.store.all(Task) if not is_a_verbs(api, task)], CLIENTS_MAX)
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
    drop(call.store, self)


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
    _require_modest("result", value)
    self.result = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_error_info(call: Call, self: Task, value: tuple[str, ...]) -> None:
    """Set the error of a task that a client made."""
    _made_by_client(call, self)
    _require_modest("error_info", value)
    self.error_info = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def set_other_config(call: Call, self: Task, value: Mapping[str, str]) -> None:
    """Set other_config whole."""
    require_own_task(call, self)
    _require_modest("other_config", value)
    self.other_config = value


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def add_to_other_config(call: Call, self: Task, key: str, value: str) -> None:
    """Add a key to other_config; MAP_DUPLICATE_KEY if it is there."""
    require_own_task(call, self)
    if key in self.other_config:
        raise MapDuplicateKey("task", "other_config", self, key)
    set_other_config(call, self, {**self.other_config, key: value})


@message(Task, kind=Kind.WRITE, role=Role.READ_ONLY)
def remove_from_other_config(call: Call, self: Task, key: str) -> None:
    """Take a key out of other_config; nothing happens if it is not there."""
    require_own_task(call, self)
    self.other_config = {name: value for name, value in self.other_config.items() if name != key}
