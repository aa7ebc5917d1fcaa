"""``/console``: the screen or terminal of a running machine, by CONNECT or as a WebSocket.

The driver gives a socket to the console; what comes from one end goes to the other as it is, no more of it held than a
few buffers. It ends with the machine, with the console, with the session that opened it, and with either end.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from agent.audit import Entry
from agent.call import Call
from agent.classes import VM, Console
from agent.classes.enums import ConsoleProtocol, PowerState
from agent.classes.lifecycle import small
from agent.errors import (
    HandleInvalid,
    InvalidValue,
    OperationNotAllowed,
    RbacPermissionDenied,
    SessionInvalid,
    TooManyPendingTasks,
    UuidInvalid,
    VMBadPowerState,
    XenError,
)
from agent.http.jobs import refusal
from agent.http.transfers import Transfers
from agent.roles import Role
from agent.rpc.connection import CONNECT, Connection, Refusal

AT_ONCE = 128
"""Consoles open at the same time; one more is answered TOO_MANY_PENDING_TASKS."""
CHUNK = 64 * 1024
MESSAGE_MAX = 1024 * 1024
"""The longest message of a WebSocket; viewers send keys and what is pasted."""
PING_SECONDS = 30.0
"""How often a WebSocket is asked whether it is still there. Other connections have TCP's keepalive."""
LOOK_SECONDS = 1.0
"""How often it is looked whether machine and session are still there."""
SILENCE_SECONDS = 10.0
"""How long a console may be silent towards a client that sends no more, and may be gone."""
ALIVE = (PowerState.RUNNING, PowerState.PAUSED)


class Viewer(Protocol):
    """The client's end."""

    @property
    def response(self) -> web.StreamResponse:
        """What its request is answered with."""

    async def read(self) -> bytes | None:
        """What comes next; empty when the client sends no more, None when it is gone."""

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client does not read."""

    async def close(self, why: str) -> None:
        """End it, and say why where that can be said."""


class Tunnel:
    """A client that sent a CONNECT."""

    def __init__(self, connection: Connection) -> None:
        assert connection.tunnel is not None
        self._incoming = connection.tunnel
        self.response = web.StreamResponse(headers={"Server": "xen-host-agent", "Cache-Control": "no-store"})
        self.response.force_close()

    async def read(self) -> bytes | None:
        return await self._incoming.read(CHUNK)

    async def write(self, data: bytes) -> None:
        await self.response.write(data)

    async def close(self, why: str) -> None:
        """The end of the connection says it all."""


class Socket:
    """A client that asked for a WebSocket."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.response = web.WebSocketResponse(
            protocols=("binary",), heartbeat=PING_SECONDS, compress=False, max_msg_size=MESSAGE_MAX
        )
        if not self.response.can_prepare(request).ok:
            raise Refusal(400, "this is no request for a WebSocket of version 13")

    async def read(self) -> bytes | None:
        message = await self.response.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        return str(message.data).encode() if message.type is WSMsgType.TEXT else None

    async def write(self, data: bytes) -> None:
        await self.response.send_bytes(data)

    async def close(self, why: str) -> None:
        with suppress(ConnectionError):
            await self.response.close(code=WSCloseCode.GOING_AWAY, message=why.encode())


class Consoles:
    """What is at ``/console``."""

    methods = frozenset({"GET", CONNECT})

    def __init__(self, transfers: Transfers) -> None:
        """`transfers` knows whose session a request names."""
        self._transfers = transfers
        self._open: Counter[str] = Counter()
        """How many consoles of a machine are open, by its reference."""

    async def answer(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request: show the console until it ends."""
        if request.method == "GET" and not connection.upgraded:
            raise Refusal(426, "a console is opened by CONNECT or as a WebSocket", {"Upgrade": "websocket"})
        _require_own_page(request)
        try:
            async with self._transfers.session(connection, request) as call:
                console = _wanted(call, request)
                entry = Entry("console", call)
                entry.who(call.session)
                entry.what(console.VM)
                try:
                    _require_role(call, console.VM)
                except XenError as error:
                    entry.end(error)
                    raise
                entry.end()
                viewer: Viewer = Tunnel(connection) if request.method == CONNECT else Socket(request)
                with self._counted(call, console.VM):
                    return await self._show(call, console, viewer, connection, request)
        except XenError as error:
            raise refusal(error) from None

    @contextmanager
    def _counted(self, call: Call, vm: VM) -> Iterator[None]:
        """One more console of the machine is open meanwhile."""
        if self._open.total() >= AT_ONCE:
            raise TooManyPendingTasks
        if call.pool.limit_console_sessions and self._open[vm.ref]:
            raise OperationNotAllowed("somebody has a console of this machine, and the pool limits that to one")
        self._open[vm.ref] += 1
        try:
            yield
        finally:
            self._open[vm.ref] -= 1
            self._open += Counter()  # forgets machines of which none is open

    async def _opened(self, call: Call, console: Console) -> socket.socket:
        """A connection to the console, made by a worker."""
        opening = call.site.lanes.beside(call.domains.open_console, console)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise

    async def _show(
        self, call: Call, console: Console, viewer: Viewer, connection: Connection, request: web.BaseRequest
    ) -> web.StreamResponse:
        connection.waits = connection.streams = True
        try:
            link = await self._opened(call, console)
            reader, writer = await _streams(link)
            try:
                await viewer.response.prepare(request)
                why = await Relay(call, console, viewer, reader, writer).run()
            finally:
                writer.close()
            await viewer.close(why)
        except asyncio.CancelledError:
            if not connection.cancelled_by_agent():
                raise
            if not viewer.response.prepared:
                raise Refusal(503, "the agent is stopping") from None
            await viewer.close("the agent stops")
        finally:
            connection.waits = connection.streams = False
        return viewer.response


class Relay:
    """What goes on between a viewer and a console."""

    def __init__(
        self, call: Call, console: Console, viewer: Viewer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._call = call
        self._console = console
        self._viewer = viewer
        self._reader = reader
        self._writer = writer
        self._busy = True
        """Whether anything went either way since the last look."""
        self._viewer_sends = True
        self._typed = self._shown = asyncio.get_running_loop().time()
        """When the viewer last sent, and the console last showed something, by the loop's clock."""

    async def run(self) -> str:
        """Carry on until one of the two is gone, or may not go on. Returns why it ended."""
        ways = [asyncio.ensure_future(way) for way in (self._in(), self._out(), self._watch())]
        try:
            ended, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            return ended.pop().result()
        except OSError:  # an end that is gone without a word
            return "the connection broke"
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _in(self) -> str:
        """What the viewer sends. Goes on for ever, for nothing, where it sends no more and still listens."""
        while data := await self._viewer.read():
            self._busy = True
            self._typed = asyncio.get_running_loop().time()
            self._writer.write(data)
            await self._writer.drain()
        if data is None:
            return "the viewer is gone"
        self._viewer_sends = False
        self._writer.write_eof()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this future")

    async def _out(self) -> str:
        """What the console shows."""
        while data := await self._reader.read(CHUNK):
            self._busy = True
            self._shown = asyncio.get_running_loop().time()
            await self._viewer.write(data)
        return "the console was closed"

    async def _watch(self) -> str:
        """Look whether machine and session are still there. A console that is used keeps its session in use."""
        sessions, session = self._call.site.sessions, self._call.session
        assert session is not None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._busy:
                    self._busy = False
                    sessions.find(self._call.secret)
            except SessionInvalid:
                return "the session has ended"
            if not sessions.is_open(session):
                return "the session has ended"
            if not self._call.store.is_live(self._console):
                return "the machine has this console no more"
            now = asyncio.get_running_loop().time()
            if not self._viewer_sends and now - self._shown > SILENCE_SECONDS:
                return "the viewer sends no more and is shown nothing"
            limit = self._call.pool.vm_console_idle_timeout
            if limit and now - self._typed > limit:
                return f"nobody used the console for {limit} s"


def _close_unused(opening: Future[socket.socket]) -> None:
    """A client that went away while its console was opened leaves it open otherwise."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _streams(link: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        if link.family == socket.AF_UNIX:
            return await asyncio.open_unix_connection(sock=link, limit=CHUNK)
        return await asyncio.open_connection(sock=link, limit=CHUNK)
    except BaseException:
        link.close()
        raise


def _wanted(call: Call, request: web.BaseRequest) -> Console:
    """The console that a request names, by itself or by its machine: UUID_INVALID, HANDLE_INVALID for none such."""
    uuid, ref = request.query.get("uuid", "")[:100], request.query.get("ref", "")[:100]
    with call.store.lock:
        if uuid:
            named: object = call.store.known(Console, uuid) or call.store.known(VM, uuid)
            unknown: XenError = UuidInvalid("console", uuid)
        elif ref:
            named = call.store.find("console", ref) or call.store.find("VM", ref)
            unknown = HandleInvalid("console", ref)
        else:
            raise InvalidValue("uuid", "the uuid or ref of a console must be given")
        if isinstance(named, VM):
            return _of_machine(named)
        if isinstance(named, Console):
            return named
        raise unknown


def _of_machine(vm: VM) -> Console:
    """The screen of a machine, else its terminal."""
    if vm.power_state not in ALIVE:
        raise VMBadPowerState(vm, "running", small(vm.power_state))
    if not vm.consoles:
        raise OperationNotAllowed("the machine has no console")
    return min(vm.consoles, key=lambda console: console.protocol is not ConsoleProtocol.RFB)


def _require_role(call: Call, vm: VM) -> None:
    """Whoever operates machines may see them; the control domain's console is for who may do everything."""
    assert call.session is not None
    least = Role.POOL_ADMIN if vm.is_control_domain else Role.VM_OPERATOR
    role = call.session.role_name
    if Role.from_wire(role) < least:
        permission = "http/connect_console" + ("/host_console" if vm.is_control_domain else "")
        raise RbacPermissionDenied(permission, f"the role {role} may not; it needs {least.wire} or higher")


def _require_own_page(request: web.BaseRequest) -> None:
    """A browser sends cookies and passwords along whoever's page asks it to: pages of others must show the session."""
    origin = request.headers.get("Origin")
    if origin is None or request.query.get("session_id"):
        return
    if urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
        raise Refusal(403, "a page of another origin gives its session in the query")
