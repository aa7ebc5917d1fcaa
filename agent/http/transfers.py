"""Uploads and downloads of disks and machines: who may, as which task, and how the loop and a worker share the work.

A request is answered on the loop; what it asks for is plain synchronous code on a worker of its own, which reads an
Upload or writes a Download. The worker notes how its task ended before the client is told. What is sent and fetched,
``disks``, ``machine_export`` and ``machine_import`` know.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agent.audit import NAME_SHOWN, Entry
from agent.call import Call, Site
from agent.classes import Task
from agent.errors import (
    RbacPermissionDenied,
    SessionInvalid,
    TooManyPendingTasks,
    VdiIoError,
    XenError,
)
from agent.http.jobs import Job, Reply, find, refusal
from agent.http.streams import Download, Upload
from agent.http.wires import LENT_BYTES, Wire
from agent.roles import Role
from agent.rpc.connection import Connection, Refusal
from agent.rpc.dispatch import Dispatch
from agent.rpc.server import go_on
from agent.rpc.tasks import Tasks

AT_ONCE = 16
"""Transfers under way at the same time; one more is answered TOO_MANY_PENDING_TASKS."""
SUBJECTS = ("vdi", "ref", "uuid", "sr_id", "sr_uuid")
"""The parameters by which requests name what they are about."""
NO_LENGTH = 2**50
"""What Xen Orchestra announces for a stream whose length it does not know."""


@dataclass
class Endpoint:
    """One path."""

    transfers: Transfers
    name: str
    """Of the task, where the client lends none."""
    permission: str
    methods: frozenset[str]
    work: Callable[[Job], str]
    """What a worker does; its result is the task's."""
    ended_early: Callable[[], XenError] = field(default=lambda: VdiIoError("the upload ended before its end"))
    least: Role = Role.VM_ADMIN
    """Who may use it."""

    async def answer(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        try:
            async with self.transfers.session(connection, request) as call:
                return await self.transfers.serve(self, call, connection, request)
        except XenError as error:
            raise refusal(error) from None


class Transfers:
    """The transfers of one site."""

    def __init__(self, site: Site, tasks: Tasks, dispatch: Dispatch) -> None:
        self._site = site
        self._tasks = tasks
        self._dispatch = dispatch
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="transfer")
        self._running: set[Future[XenError | None]] = set()

    @property
    def site(self) -> Site:
        return self._site

    async def close(self, grace_seconds: float) -> None:
        """Take no more, and let what runs end, which its connection told it to."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        running = [asyncio.wrap_future(future) for future in self._running]
        if running:
            await asyncio.wait(running, timeout=grace_seconds)

    # --- who asks

    @asynccontextmanager
    async def session(self, connection: Connection, request: web.BaseRequest) -> AsyncIterator[Call]:
        """The session that a request names in its query or cookie, or one for this request alone: by user and password,
        or by what vouches for the client without these.

        SESSION_INVALID for none.
        """
        secret = request.query.get("session_id") or request.cookies.get("session_id") or ""
        login = None if secret else _basic(request.headers.get("Authorization", ""))
        if not secret and login is None and self._site.logins.vouches(connection.caller):
            login = ("", "")
        if login is not None:
            result = await self._dispatch.call(
                "session.login_with_password", [*login, "1.0", "http"], connection.caller
            )
            secret = result.value
        try:
            session = self._site.sessions.find(secret)
            yield Call(self._site, session=session, secret=secret, caller=connection.caller)
        finally:
            if login is not None:
                with suppress(SessionInvalid):
                    await self._dispatch.call("session.logout", [secret], connection.caller)

    # --- one transfer

    async def serve(
        self, endpoint: Endpoint, call: Call, connection: Connection, request: web.BaseRequest
    ) -> web.StreamResponse:
        """Begin it on a worker, and be the loop's end of it."""
        lent = request.query.get("task_id") or request.cookies.get("task_id")
        denied = _denied(endpoint, call)
        entry = Entry(endpoint.name, call) if request.method == "PUT" else None
        if entry is not None:
            entry.who(call.session)
            entry.about = _named(request.query)
        if denied is not None and not lent:
            if entry is not None:
                entry.end(denied)
            raise denied
        if request.method == "PUT" and request.content_length == 0 and not lent:
            # Xen Orchestra asks so, before it sends a stream, whether it would be redirected.
            return web.Response(headers={"Server": "xen-host-agent"})
        if len(self._running) >= AT_ONCE:
            raise TooManyPendingTasks
        parts = connection.parts(request)
        early = None
        if request.method == "PUT" and request.content_length == NO_LENGTH:
            # It asks whether it would be redirected by a body that it never begins, and so does xen-api (4.7.6) before
            # it sends one: both want their answer at once. How the transfer ends, the task says.
            early = await _go_ahead(request)
            first = await _begun(parts)
            if not first:
                return early
            parts = _again(first, parts)
        found = find(call, Task, lent) if lent else None
        task = await asyncio.wrap_future(self._site.lanes.beside(self._tasks.lend, endpoint.name, call, found))
        call.task = task
        begun: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        job = _job(call, request, begun)
        try:
            ended = self._pool.submit(self._tasks.carry, task, lambda: _worked(endpoint, job, denied))
        except RuntimeError:
            raise Refusal(503, "the agent is stopping") from None
        if entry is not None:
            entry.call = call
            ended.add_done_callback(lambda future: entry.end(future.exception() or future.result()))
        self._running.add(ended)
        ended.add_done_callback(self._running.discard)
        ending = asyncio.wrap_future(ended)
        # What such a client has sent is read to its end even if it has gone: it goes as soon as it has sent it.
        connection.waits, connection.streams = early is None, True
        try:
            await _first(begun, ending)
            if begun.done():
                if job.upload is not None:
                    return await _receive(endpoint, job.upload, ending, connection, request, task, parts, early)
                assert job.download is not None
                return await _send(job, begun.result(), ending, connection, request, task)
            failure = ending.result()
            if early is not None:
                connection.abort()
                return early
            raise refusal(failure or VdiIoError("nothing came of it"), task)
        except asyncio.CancelledError:
            if not connection.cancelled_by_agent():
                raise
            raise Refusal(503, "the agent is stopping") from None
        finally:
            connection.waits = connection.streams = False
            if not ending.done():  # the client is gone, or the agent stops
                gone = endpoint.ended_early()
                if job.upload is not None:
                    job.upload.fail(gone)
                if job.download is not None:
                    job.download.abandon(VdiIoError("the client went away before the end"))


def _named(query: Mapping[str, str]) -> str:
    """What an upload says it is about, as it says it."""
    return next((query[name][:NAME_SHOWN] for name in SUBJECTS if query.get(name)), "")


def _job(call: Call, request: web.BaseRequest, begun: asyncio.Future[Reply | None]) -> Job:
    loop = asyncio.get_running_loop()

    def begin(reply: Reply | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle, begun, reply)

    def watch() -> None:
        """Whether the task was cancelled."""
        call.progress(0.0)

    boundless = request.content_length == NO_LENGTH
    length = None if boundless else request.content_length
    incoming = request.method == "PUT"
    return Job(
        call,
        {**request.cookies, **request.query},
        request.headers,
        Upload(length, not boundless, watch) if incoming else None,
        None if incoming else Download(watch),
        request.method == "HEAD",
        begin,
    )


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _settle(future: asyncio.Future[Reply | None], reply: Reply | None) -> None:
    if not future.done():
        future.set_result(reply)


def _denied(endpoint: Endpoint, call: Call) -> XenError | None:
    """Why the caller may not, if he may not."""
    assert call.session is not None
    role, least = call.session.role_name, endpoint.least
    if Role.from_wire(role) >= least:
        return None
    return RbacPermissionDenied(endpoint.permission, f"the role {role} may not; it needs {least.wire} or higher")


def _worked(endpoint: Endpoint, job: Job, denied: XenError | None) -> str:
    try:
        if denied is not None:
            raise denied
        return endpoint.work(job)
    finally:
        if job.upload is not None:
            job.upload.abandon()
        if job.download is not None:
            job.download.end()


async def _go_ahead(request: web.BaseRequest) -> web.StreamResponse:
    """Answer before the body has come. The answer ends when the connection does."""
    early = web.StreamResponse(headers={"Server": "xen-host-agent"})
    early.force_close()
    await early.prepare(request)
    return early


async def _begun(parts: AsyncIterator[bytes]) -> bytes:
    """The first part; empty where the client goes without having sent any."""
    try:
        return await anext(parts, b"")
    except Refusal:
        return b""


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The parts with the first one, which was read to look."""
    yield first
    async for part in rest:
        yield part


async def _receive(
    endpoint: Endpoint,
    upload: Upload,
    ending: asyncio.Future[XenError | None],
    connection: Connection,
    request: web.BaseRequest,
    task: Task,
    parts: AsyncIterator[bytes],
    early: web.StreamResponse | None,
) -> web.StreamResponse:
    """Feed the worker until it has enough, or there is no more. `early` is an answer whose head is sent already."""
    if "Expect" in request.headers:
        await go_on(request)

    async def pump() -> Refusal | None:
        try:
            if early is None and (wire := await _wire(connection, connection.body_left)) is not None:
                come, left = connection.lend_rest(request)
                await upload.feed(come)
                upload.lend(wire, left, endpoint.ended_early())
                return None
            async for part in parts:
                if not await upload.feed(part):
                    return None
            upload.end()
        except Refusal as cut:
            if early is not None:
                upload.end()  # what it has got may be all
            else:
                upload.fail(endpoint.ended_early())
            return cut
        return None

    pumping = asyncio.ensure_future(pump())
    try:
        await _first(pumping, ending)
        failure = await asyncio.shield(ending)
    finally:
        pumping.cancel()
    if early is not None:
        if failure is not None:
            connection.abort()
        return early
    if failure is not None:
        raise refusal(failure, task)
    response = web.Response(headers={"Server": "xen-host-agent", "Task-Id": task.ref})
    if not request.content.at_eof():
        response.force_close()
    return response


async def _wire(connection: Connection, length: int) -> Wire | None:
    """The connection for a body of so many bytes, where the worker can have it to itself."""
    connected = await connection.plain_socket() if length >= LENT_BYTES else None
    return None if connected is None else Wire(connected, connection.limits.stream_seconds)


async def _send(
    job: Job,
    reply: Reply | None,
    ending: asyncio.Future[XenError | None],
    connection: Connection,
    request: web.BaseRequest,
    task: Task,
) -> web.StreamResponse:
    """Send what the worker makes. A client that is sent less than all of it sees its connection end."""
    assert reply is not None
    assert job.download is not None
    fixed = {"Server": "xen-host-agent", "Task-Id": task.ref, "X-Content-Type-Options": "nosniff"}
    response = web.StreamResponse(status=reply.status, headers={**fixed, **reply.headers})
    if reply.length is not None:
        response.content_length = reply.length
    elif request.version >= (1, 1):
        response.enable_chunked_encoding()
    else:
        response.force_close()
    await response.prepare(request)
    job.download.open(await _wire(connection, reply.length or 0))
    try:
        while part := await job.download.part():
            await response.write(part)
        failure = await asyncio.shield(ending)
        if failure is None:
            await response.write_eof()
        else:
            connection.abort()
    except ConnectionError:
        connection.abort()
        raise
    return response


def _basic(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None
