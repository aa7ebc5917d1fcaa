"""The class task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes.enums import TaskOperation, TaskStatus
from agent.model.entity import Entity, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Task(Entity, name="task", role=Role.POOL_OPERATOR, destroys=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    name_label: str = runtime("TODO name label", default="", kept=True)
    name_description: str = runtime("TODO name description", default="", kept=True)
    status: TaskStatus = runtime("TODO status", default=TaskStatus.PENDING, kept=True)
    session: m.Session | None = runtime("TODO session", default=None, kept=True, weak=True)
    progress: float = runtime("TODO progress", default=0.0, kept=True)
    type: str = runtime("TODO type", default="", kept=True)
    result: str = runtime("TODO result", default="", kept=True)
    error_info: tuple[str, ...] = runtime("TODO error info", default=(), kept=True)
    allowed_operations: tuple[TaskOperation, ...] = runtime("TODO allowed operations", default=(), kept=True)
    current_operations: Mapping[str, TaskOperation] = runtime("TODO current operations", default={}, kept=True)
    created: datetime = runtime("TODO created", default=EPOCH, kept=True)
    finished: datetime = runtime("TODO finished", default=EPOCH, kept=True)
    resident_on: m.Host | None = runtime("TODO resident on", default=None, kept=True, weak=True)
    other_config: Mapping[str, str] = runtime("TODO other config", default={}, kept=True)
    subtask_of: m.Task | None = runtime("TODO subtask of", default=None, bound="subtasks", kept=True, weak=True)
    subtasks: tuple[m.Task, ...] = runtime("TODO subtasks", default=())
    backtrace: str = runtime("TODO backtrace", default="()", kept=True)
