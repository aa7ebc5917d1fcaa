"""One call on its way: who asks, as which task, and all that answering it may need. What the answer is, messages
decide.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agent.archives import Archives
from agent.errors import TaskCancelled
from agent.guests import Guests
from agent.holds import Holds
from agent.lanes import Lanes
from agent.logins import Caller, Logins
from agent.model.api import Api
from agent.model.entity import Entity
from agent.model.where import compile_where
from agent.observer import Observer
from agent.plugins import Plugins
from agent.ports import CpuPools, Domains, Machine, Networks, Node, Storage
from agent.process import Process
from agent.server_certificate import ServerCertificate
from agent.sessions import Sessions
from agent.store.store import Store
from agent.users import Users

if TYPE_CHECKING:
    from agent.classes import VM, Host, Pool, Session, Task

E = TypeVar("E", bound=Entity)
PROGRESS_STEP = 0.01
PROGRESS_SECONDS = 0.05
"""A task's progress is noted when it grew by so much, and no more often: who waits for the task is told of each."""


@dataclass(frozen=True)
class Site:
    """What all calls share."""

    api: Api
    store: Store
    machine: Machine
    observer: Observer
    lanes: Lanes
    sessions: Sessions
    users: Users
    version: str
    logins: Logins = field(default_factory=Logins)
    guests: Guests = field(default_factory=Guests)
    holds: Holds = field(default_factory=Holds)
    archives: Archives = field(default_factory=Archives)
    plugins: Plugins = field(default_factory=Plugins)
    certificate: ServerCertificate = field(default_factory=ServerCertificate)
    process: Process = field(default_factory=Process)
    batches: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """The latest answers of event.from, for clients that are at the same place; the messages of event keep it."""


@dataclass(slots=True)
class Call:
    """One message from one client."""

    site: Site
    session: Session | None = None
    secret: str = ""
    """What the client presented as its session."""
    caller: Caller = field(default=Caller(""))
    """Where it comes from."""
    task: Task | None = field(default=None)
    _done: float = field(default=0.0, init=False)
    """How much of the task is done; of which the task itself may not have been told yet."""
    _noted: float = field(default=-math.inf, init=False)
    """When it was told last, by the clock that only goes forward."""

    @property
    def store(self) -> Store:
        return self.site.store

    @property
    def observer(self) -> Observer:
        return self.site.observer

    @property
    def domains(self) -> Domains:
        return self.site.machine.domains

    @property
    def storage(self) -> Storage:
        return self.site.machine.storage

    @property
    def networks(self) -> Networks:
        return self.site.machine.networks

    @property
    def node(self) -> Node:
        return self.site.machine.node

    @property
    def cpu_pools(self) -> CpuPools:
        return self.site.machine.node.cpu_pools

    @property
    def host(self) -> Host:
        return self.site.observer.host

    @property
    def pool(self) -> Pool:
        return self.site.observer.pool

    def refresh(self, vm: VM) -> None:
        """Look at the machine and note what it is now."""
        self.site.observer.refresh(vm.uuid)

    def select(self, cls: type[E], expr: str) -> list[E]:
        """The objects for which an expression of get_all_records_where holds."""
        holds = compile_where(cls, expr)
        return [entity for entity in self.store.all(cls) if holds(entity)]

    def progress(self, part: float) -> None:
        """Note how much of the task is done, 0 to 1; less than before, such as 0, says nothing new. TASK_CANCELLED if
        it was told to stop, which the caller lets through.
        """
        task = self.task
        if task is None:
            return
        if task.status in ("cancelling", "cancelled"):
            raise TaskCancelled(task)
        self._done = max(self._done, min(part, 1.0))
        now = time.monotonic()
        if self._done - task.progress < PROGRESS_STEP or now - self._noted < PROGRESS_SECONDS:
            return
        if self.store.is_live(task):
            self._noted = now
            with self.store.transaction(wait=False):
                task.progress = self._done
