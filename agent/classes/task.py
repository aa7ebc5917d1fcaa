"""The class task. How verbs run as tasks is in ``agent.rpc.tasks``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import lifecycle
from agent.classes.enums import TaskOperation, TaskStatus
from agent.model.entity import Entity, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Task(Entity, name="task", role=Role.POOL_OPERATOR, destroys=True):
    """Something that takes a while: an ``Async.`` call, or work that a client reports on itself.

    A finished task is kept for about an hour, so that its result can be fetched.
    """

    uuid: str = runtime("permanent name of this task")
    name_label: str = runtime("what is done: the message, or a client's own words", default="", kept=True)
    name_description: str = runtime("more of what is done, for people", default="", kept=True)
    status: TaskStatus = runtime("is it under way, and how did it end", default=TaskStatus.PENDING, kept=True)
    session: m.Session | None = runtime(
        "session that began it; null when that has ended", default=None, bound="tasks", kept=True, weak=True
    )
    progress: float = runtime("part that is done, from 0 to 1", default=0.0, kept=True)
    type: str = runtime("always <none/>: the result says itself what it is", default="<none/>", kept=True)
    result: str = runtime("XML-RPC value that the message answered; empty if none or not yet", default="", kept=True)
    error_info: tuple[str, ...] = runtime("code and parameters of the error that ended it", default=(), kept=True)
    allowed_operations: tuple[TaskOperation, ...] = runtime("what can be done to the task now", default=(), kept=True)
    current_operations: Mapping[str, TaskOperation] = runtime(
        "always empty: cancelling a task is no task of its own", default={}, kept=True
    )
    created: datetime = runtime("when it was begun", default=EPOCH, kept=True)
    finished: datetime = runtime("when it ended; 1970 before that", default=EPOCH, kept=True)
    resident_on: m.Host | None = runtime("host that does it", default=None, kept=True, weak=True)
    other_config: Mapping[str, str] = runtime(
        "notes of clients, which the agent keeps and does not read", default={}, kept=True
    )
    subtask_of: m.Task | None = runtime(
        "always null: no task is a part of another", default=None, bound="subtasks", kept=True, weak=True
    )
    subtasks: tuple[m.Task, ...] = runtime("always empty: no task is a part of another", default=())
    backtrace: str = runtime("always (): where an error came from is in the agent's log", default="()", kept=True)

    derive_from = frozenset({"status"})

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_task(self)
