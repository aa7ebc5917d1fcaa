"""The front door of an agent on a machine that only exists in memory, with all that is served beside calls."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from agent.classes import SR, VDI, Task
from agent.http.blobs import Blobs
from agent.http.paths import endpoints
from agent.http.transfers import Transfers
from agent.rpc.connection import Limits
from agent.rpc.server import Server
from tests.door import WAIT_SECONDS, Door

SIZE = 3 * 2**20
"""Of the disks that `Served.disk` makes."""


class Served:
    """The front door of a site, on a port."""

    def __init__(self, door: Door, state: Path) -> None:
        self.door = door
        self.state = state

    def on_loop(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.door.dispatch._loop).result(WAIT_SECONDS)

    def open(self, **limits: Any) -> None:
        async def opened() -> list[str]:
            door = self.door
            self.transfers = Transfers(door.site, door.tasks, door.dispatch)
            self.server = Server(
                door.dispatch,
                door.store,
                state=self.state,
                limits=Limits(**limits),
                endpoints=endpoints(self.transfers, Blobs(self.state / "blobs")),
            )
            return await self.server.start(["http://127.0.0.1:0"])

        url = urlsplit(self.on_loop(opened())[0])
        self.address = (url.hostname or "", url.port or 0)

    def close(self) -> None:
        self.on_loop(self.server.close(1.0))
        self.on_loop(self.transfers.close(1.0))

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=WAIT_SECONDS)

    def path(self, path: str, **query: str) -> str:
        given = {"session_id": self.door.session, **query}
        return f"{path}?" + "&".join(f"{key}={quote(value)}" for key, value in given.items())

    def ask(self, method: str, path: str, body: bytes | None = None, **query: str) -> tuple[int, bytes]:
        client = self.client()
        try:
            client.request(method, self.path(path, **query), body)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def disk(self) -> VDI:
        [sr] = self.door.store.all(SR)
        made: VDI = self.door("VDI.create", {"SR": sr.ref, "virtual_size": SIZE, "name_label": "disk"})
        return made

    def last_task(self) -> Task:
        return max(self.door.store.all(Task), key=lambda task: task.created)
