"""Verbs as tasks: runs them, in the background or for a client that waits, and keeps the task's fields true.

A verb's function is called on a worker thread, in its lane. While it runs, the objects it works on name it in
current_operations. A finished background task is kept 65 minutes, if there are not too many; one that the last run of
the agent left unfinished is a failure, and says so.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.audit import Entry
from agent.call import Call, Site
from agent.classes import VM, Task
from agent.classes.enums import TaskStatus
from agent.classes.lifecycle import require_reach
from agent.errors import (
    HandleInvalid,
    InternalError,
    OperationNotAllowed,
    TaskCancelled,
    TooManyPendingTasks,
    XenError,
)
from agent.messages import operations
from agent.messages.task import drop, is_a_verbs, make_room, require_own_task
from agent.model.entity import Entity
from agent.model.messages import Kind, Message
from agent.rpc.xmlrpc import value_text
from agent.store.journal import Commit

log = logging.getLogger(__name__)
KEPT = timedelta(minutes=65)
ABANDONED = timedelta(days=1)
"""When a task that a client made, and never ended, is dropped."""
PENDING_MAX = 200
KEPT_MAX = 5000
"""Background tasks that are kept, those under way included."""
UNFINISHED = (TaskStatus.PENDING, TaskStatus.CANCELLING)


def follow(site: Site, args: Sequence[Any], value: object) -> None:
    """After a change of a machine or its devices: let the hypervisor's definition of the machine follow it."""
    subject = args[0] if args and isinstance(args[0], Entity) else value
    machine = (
        subject if isinstance(subject, VM) else subject.__dict__.get("VM") if isinstance(subject, Entity) else None
    )
    if isinstance(machine, VM):
        site.observer.redefine(machine)


def require_live(site: Site, args: Sequence[Any]) -> None:
    """HANDLE_INVALID where an object that a parameter names has gone while the call waited its turn."""
    for arg in args:
        for item in arg.values() if isinstance(arg, Mapping) else arg if isinstance(arg, tuple) else (arg,):
            if isinstance(item, Entity) and not site.store.is_live(item):
                raise HandleInvalid(item.wire_name, item.ref)


def require_in_reach(args: Sequence[Any]) -> None:
    """OPERATION_NOT_ALLOWED for a change to a machine, or to a part of one, that can only be looked at."""
    subject = args[0] if args else None
    fields = subject if isinstance(subject, Mapping) else subject.__dict__ if isinstance(subject, Entity) else {}
    machine = subject if isinstance(subject, VM) else fields.get("VM")
    if isinstance(machine, VM):
        require_reach(machine)


class Tasks:
    """The tasks of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._unnoted: deque[Callable[[], None]] = deque()
        """What notes the end of tasks whose end the journal could not take."""
        self._carried: set[Task] = set()
        """The tasks that work runs as now."""

    def recover(self) -> None:
        """At start: what was under way when the agent ended is a failure."""
        left = [task for task in self._site.store.all(Task) if task.status in UNFINISHED]
        if left:
            error = InternalError("the agent ended while this task was under way; what it did is as it stands")
            with self._site.store.transaction():
                for task in left:
                    self._finish(task, TaskStatus.FAILURE, error=error)

    def sweep(self) -> None:
        """Drop finished tasks that are older than clients can expect, and those that clients have forgotten; and note
        how those ended that could not be noted when they did.
        """
        while self._unnoted:
            self._unnoted[0]()
            self._unnoted.popleft()
        now = datetime.now(UTC)
        old = [task for task in self._site.store.all(Task) if self._is_old(task, now)]
        if old:
            with self._site.store.transaction():
                for task in old:
                    if self._site.store.is_live(task):
                        drop(self._site.store, task)

    def _is_old(self, task: Task, now: datetime) -> bool:
        if task.status not in UNFINISHED:
            return task.finished < now - KEPT
        forgotten = task.created < now - ABANDONED and not is_a_verbs(self._site.api, task)
        return forgotten and task not in self._carried

    def enter(self, message: Message, call: Call) -> tuple[Task, Commit | None]:
        """A task for a verb that is to run in the background, and the transaction that makes it.

        Begin it when that is durable: a client that was told of a task finds it after a power cut.
        TOO_MANY_PENDING_TASKS beyond 200.
        """
        store, api = self._site.store, self._site.api
        with store.transaction(wait=False) as transaction:
            verbs = [task for task in store.all(Task) if is_a_verbs(api, task)]
            if sum(task.status in UNFINISHED for task in verbs) >= PENDING_MAX:
                raise TooManyPendingTasks
            make_room(store, verbs, KEPT_MAX)
            task = store.add(self._new(f"Async.{message.full_name}", call))
        return task, transaction.commit

    def begin(
        self,
        task: Task,
        message: Message,
        call: Call,
        args: Sequence[Any],
        lane: str | None,
        entry: Entry | None = None,
    ) -> None:
        """Run a verb in the background, in a lane or in none; `entry` is its line of the audit."""
        call = replace(call, task=task)
        if entry is not None:
            entry.call = call

        def run() -> None:
            failure = self._background(message, call, task, args)
            if entry is not None:
                entry.end(failure)

        if lane is None:
            self._site.lanes.beside(run)
        else:
            self._site.lanes.submit(lane, run)

    def foreground(self, message: Message, call: Call, args: Sequence[Any]) -> Callable[[], Any]:
        """What runs a verb for a client that waits. Where the verb is an operation, a task shows it to others
        meanwhile.
        """
        if not message.operation:
            return lambda: self._transacted(message, call, args)

        def run() -> Any:
            with self._site.store.transaction(wait=False):
                task = self._site.store.add(self._new(message.full_name, call), volatile=True)
            try:
                return self._run(message, replace(call, task=task), task, args)
            finally:
                with self._site.store.transaction(wait=False):
                    if self._site.store.is_live(task):
                        self._site.store.destroy(task)

        return run

    def lend(self, name: str, call: Call, task: Task | None) -> Task:
        """The task that work outside of any message is to run as: the client's own, else a new one of this name.

        OPERATION_NOT_ALLOWED for one that has ended, PERMISSION_DENIED for another user's.
        """
        if task is not None:
            require_own_task(call, task)
            if task.status is not TaskStatus.PENDING:
                raise OperationNotAllowed(f"the task is {task.status}: it cannot be used again")
            return task
        with self._site.store.transaction():
            return self._site.store.add(self._new(name, call))

    def carry(self, task: Task, work: Callable[[], str]) -> XenError | None:
        """Do the work, whose result it returns as a task holds it, and note how that ended. Returns what it failed
        with.
        """
        status, text = TaskStatus.FAILURE, ""
        failure: XenError | None = None
        self._carried.add(task)
        try:
            if task.status in (TaskStatus.CANCELLING, TaskStatus.CANCELLED):
                raise TaskCancelled(task)
            text = work()
            status = TaskStatus.SUCCESS
        except TaskCancelled as error:
            status, failure = TaskStatus.CANCELLED, error
        except XenError as error:
            failure = error
        except Exception as error:
            number = secrets.token_hex(4)
            log.error("%s failed unexpectedly [%s]", task.name_label, number, exc_info=error)
            failure = InternalError(f"{type(error).__name__}: the agent's log has the rest under {number}")
        self._end(task, lambda: self._finish(task, status, text, failure))
        self._carried.discard(task)
        return failure

    def _new(self, name: str, call: Call) -> Task:
        task = Task()
        task.name_label = name
        task.created = datetime.now(UTC)
        task.session = call.session if call.session is not None and self._site.store.is_live(call.session) else None
        task.resident_on = self._site.observer.host
        return task

    def _background(self, message: Message, call: Call, task: Task, args: Sequence[Any]) -> XenError | None:
        return self.carry(task, lambda: value_text(message.result, self._run(message, call, task, args)))

    def _end(self, task: Task, finish: Callable[[], None]) -> None:
        """Note how a task ended; where the journal cannot take it now, the next sweep tries again."""

        def note() -> None:
            with self._site.store.transaction():
                if self._site.store.is_live(task):
                    finish()

        try:
            note()
        except InternalError as error:
            log.error("%r has ended, which cannot be noted yet: %s", task, error)
            self._unnoted.append(note)

    def _run(self, message: Message, call: Call, task: Task, args: Sequence[Any]) -> Any:
        """Call the function, with the operation noted on its object while it runs."""
        subject = args[0] if args and isinstance(args[0], Entity) else None
        noted = subject is not None and message.operation and "current_operations" in subject.fields
        if not noted or subject is None:
            return self._transacted(message, call, args)
        with operations.noted(self._site.store, subject, message.operation, task):
            return self._transacted(message, call, args)

    def _transacted(self, message: Message, call: Call, args: Sequence[Any]) -> Any:
        if message.kind is not Kind.WRITE:
            require_live(self._site, args)
            require_in_reach(args)
            return message.function(call, *args)
        with self._site.store.transaction():
            require_live(self._site, args)
            require_in_reach(args)
            value = message.function(call, *args)
        follow(self._site, args, value)
        return value

    @staticmethod
    def _finish(task: Task, status: TaskStatus, result: str = "", error: XenError | None = None) -> None:
        task.status = status
        task.result = result
        task.type = "<none/>"
        task.error_info = tuple(error.description) if error is not None else ()
        task.progress = 1.0
        task.finished = datetime.now(UTC)
        task.allowed_operations = ()
