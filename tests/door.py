"""An agent without its HTTP: the dispatch on a loop of its own, called from a test as if by a client that is logged
in.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

from agent import messages
from agent.access import tell_roles
from agent.call import Site
from agent.classes import VDI, VM, Task
from agent.errors import XenError
from agent.guests import Guests
from agent.lanes import Lanes
from agent.logins import Caller
from agent.model.api import Api
from agent.model.entity import Entity
from agent.observer import Observer
from agent.ports import Machine
from agent.roles import Role
from agent.rpc.dispatch import Dispatch, Result
from agent.rpc.tasks import Tasks
from agent.sessions import Sessions
from agent.store.journal import Journal
from agent.store.store import Store
from agent.users import Users
from tests.fake_machine import Failing

WAIT_SECONDS = 30.0


@cache
def sealed() -> Api:
    """The table, sealed once for all tests."""
    return messages.api()


def eventually(holds: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until it holds; fail naming it if it does not within half a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.005)


class Block:
    """Holds a method of the fake machine, from when it is next called until `release`."""

    def __init__(self, port: Failing, name: str) -> None:
        self._entered = threading.Event()
        self._go = threading.Event()
        port.plan[name] = self._hold

    def _hold(self) -> None:
        self._entered.set()
        assert self._go.wait(WAIT_SECONDS), "nobody released it"

    def await_entry(self) -> None:
        """Return when somebody is held."""
        assert self._entered.wait(WAIT_SECONDS), "nobody came"

    def release(self) -> None:
        """Hold nobody any more."""
        self._go.set()


class Door:
    """One agent on the given ports. Values are given and come back as the agent keeps them, objects by reference."""

    def __init__(
        self,
        machine: Machine,
        state: Path | None,
        *,
        cascade: bool = False,
        users: Path | None = None,
        roles: bool = True,
    ) -> None:
        api = sealed()
        self.store = Store(api.classes, Journal(state), cascade=cascade)
        self.store.load()
        self.lanes = Lanes(16)
        guests = Guests()
        machine.storage.decide(lambda uuid: self.store.known(VDI, uuid) is not None)
        self.observer = Observer(self.store, machine, self.lanes, guests, sweep_seconds=3600.0)
        self.observer.start()
        if roles:
            tell_roles(self.store, api)
        self.sessions = Sessions(self.store)
        self.site = Site(
            api,
            self.store,
            machine,
            self.observer,
            self.lanes,
            self.sessions,
            Users(users or Path("no-such-folder/users")),
            "0",
            guests=guests,
        )
        self.tasks = Tasks(self.site)
        self.tasks.recover()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.dispatch = asyncio.run_coroutine_threadsafe(self._dispatch(), self._loop).result()
        self.session = self.sessions.open("root", Role.POOL_ADMIN, "test")

    async def _dispatch(self) -> Dispatch:
        return Dispatch(self.site, self.tasks, login_delay_seconds=0.0)

    def send(self, name: str, *params: Any) -> Any:
        """Call a message with exactly these raw parameters."""
        return self._send(name, params).result(WAIT_SECONDS).value

    def send_from(self, peer: str, name: str, *params: Any) -> Any:
        """Call a message as another peer would, such as ``uid=0``."""
        return self._send(name, params, peer).result(WAIT_SECONDS).value

    def _send(self, name: str, params: Iterable[Any], peer: str = "test") -> Future[Result]:
        raw = [param.ref if isinstance(param, Entity) else param for param in params]
        return asyncio.run_coroutine_threadsafe(self.dispatch.call(name, raw, Caller(peer)), self._loop)

    def later(self, name: str, *params: Any, session: str | None = None) -> Future[Result]:
        """Send a message and do not wait for its answer."""
        return self._send(name, (self.session if session is None else session, *params))

    def __call__(self, name: str, *params: Any) -> Any:
        """Call a message in the session of a pool admin."""
        return self.send(name, self.session, *params)

    def refused(self, name: str, *params: Any, session: str | None = None) -> list[str]:
        """The ErrorDescription of a message that must be refused, in the session of a pool admin or another."""
        try:
            answer = self.send(name, self.session if session is None else session, *params)
        except XenError as error:
            return error.description
        raise AssertionError(f"{name} was not refused but answered {answer!r}")

    def log_in(self, role: Role, user: str = "somebody") -> str:
        """Open another session; returns its secret."""
        return self.sessions.open(user, role, "test")

    def ended(self, task: Task) -> Task:
        """Wait until a task is under way no more."""
        eventually(lambda: task.status not in ("pending", "cancelling"), f"the end of {task}")
        return task

    def idle(self) -> None:
        """Wait until no lane has anything left to do."""
        eventually(self.lanes.idle, "idle lanes")

    def vm(self, **fields: Any) -> VM:
        """Make a machine."""
        made: VM = self("VM.create", {"name_label": "web", **fields})
        return made

    def close(self) -> None:
        """End it as the daemon would."""
        self.observer.close()
        self.lanes.close(WAIT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.store.close()
