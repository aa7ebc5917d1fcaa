"""The front door: HTTP on TCP, TLS and Unix sockets, and from a request's body through the dispatch to its answer.

``/jsonrpc`` and ``/json`` speak JSON-RPC, every other path XML-RPC: clients of xapi post to ``/``, ``/RPC2`` and more.
Limits and timeouts of a connection are ``connection``'s, the formats ``xmlrpc``'s and ``jsonrpc``'s, sockets
``listeners``' business. Nothing here logs a body, a session or a query.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from aiohttp import web
from isal import isal_zlib

from agent.errors import XenError
from agent.logins import Caller
from agent.rpc import jsonrpc, xmlrpc
from agent.rpc.answers import Answers
from agent.rpc.connection import ALLOW, CONNECT, REFUSED_PATH, Connection, Connections, Limits, Refusal, place
from agent.rpc.dispatch import Result
from agent.rpc.listeners import Listener, Passed, bind
from agent.rpc.origins import Origins
from agent.rpc.tls import OWN_CERTIFICATE, Tls
from agent.store.store import Store

log = logging.getLogger(__name__)
T = TypeVar("T")

JSON_PATHS = frozenset({"/jsonrpc", "/json"})
RPC_PATHS = JSON_PATHS | {"/RPC2", "/xmlrpc"}
LONG_POLLS = frozenset({"event.from", "event.next"})
"""The messages that wait for something to happen; they are ended when the agent stops."""
BACKLOG = 1024
HANDSHAKE_SECONDS = 10.0
TLS_SHUTDOWN_SECONDS = 2.0
INLINE_MAX = 64 * 1024
"""A longer body is decoded beside the loop; a longer answer is written chunk by chunk."""
GZIP_MIN = 1024
GZIP_LEVEL = 1
GZIP_CHUNKS = 4
"""How many chunks are compressed before the loop has its turn: a third of a millisecond."""
_GZIP_WINDOW = 31
"""zlib's number for 32 KiB with a gzip header."""
PAGE = """\
This is xen-host-agent, which serves the XenAPI of this Xen host.

XML-RPC: POST to /
JSON-RPC, versions 1.0 and 2.0: POST to /jsonrpc
Health: GET /healthz
"""


class Calls(Protocol):
    """What the front door needs of the dispatch."""

    async def call(self, name: str, params: list[Any], caller: Caller) -> Result:
        """Answer one call, whose raw parameters may be let go. Raises XenError, and nothing else."""

    def wake(self) -> None:
        """Let everybody who waits look again."""


class Endpoint(Protocol):
    """Something that is served beside calls, at a path of its own."""

    methods: frozenset[str]

    async def answer(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; Refusal for one that is refused for its form."""


class Stopping(Exception):
    """The agent stops while a client waits for something to happen."""


class Server:
    """The front door. All methods run on the loop that made it."""

    def __init__(
        self,
        dispatch: Calls,
        store: Store,
        *,
        state: Path,
        certificate: Path | None = None,
        certificate_key: Path | None = None,
        client_authority: Path | None = None,
        limits: Limits | None = None,
        endpoints: Mapping[str, Endpoint] = {},
        cors_origins: Sequence[str] = (),
        asks_nobody: Callable[[], bool] = lambda: False,
    ) -> None:
        """`certificate` and its key are those of https listeners; without one it is that of the folder `state`.
        `client_authority` signs the certificates that clients may show there.
        `endpoints` are what is served beside calls, by path; `cors_origins` the pages of the web that may call.
        `asks_nobody` tells whether nobody on this host is asked for a password now.
        """
        self._dispatch = dispatch
        self._certificate = certificate or state / OWN_CERTIFICATE
        self._certificate_key = certificate_key
        self._make_certificate = certificate is None
        self._client_authority = client_authority
        self._asks_nobody = asks_nobody
        self._endpoints = endpoints
        uploads = frozenset(path for path, endpoint in endpoints.items() if "PUT" in endpoint.methods)
        tunnels = frozenset(path for path, endpoint in endpoints.items() if CONNECT in endpoint.methods)
        self._limits = replace(limits or Limits(), uploads=uploads, tunnels=tunnels)
        self._xml = Answers(store, xmlrpc.WIRE)
        self._json = Answers(store, jsonrpc.WIRE)
        loop = asyncio.get_running_loop()
        self._connections = Connections(self._handle, self._limits, loop, Origins(cors_origins).requests(loop))
        self.tls: Tls | None = None
        """The certificate in use, where there is an https listener."""
        self._listeners: list[Listener] = []
        self._accepting: list[asyncio.AbstractServer] = []
        self._stopping = asyncio.Event()
        # One thread: a crowd of big bodies must not take both the loop's time and the memory.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")

    # --- opening and closing

    async def start(
        self,
        urls: Sequence[str],
        passed: Sequence[tuple[socket.socket, str]] = (),
        refused: Callable[[str], str] = lambda url: "",
    ) -> list[str]:
        """Listen on all of ``http://HOST:PORT``, ``https://HOST:PORT``, ``unix:PATH``, and on the `passed` sockets of
        the service manager, each with its name. Returns what is listened on.

        OSError, naming the URL, if one of them cannot be, or is `refused` for a reason; then none is.
        """
        try:
            waiting = Passed(passed)
            for url in urls:
                self._listeners += await bind(url, waiting)
            self._listeners += waiting.rest()
            for listener in self._listeners:
                if reason := refused(listener.url):
                    raise OSError(reason)
            if any(item.secure for item in self._listeners):
                self.tls = Tls(
                    self._certificate,
                    self._certificate_key,
                    make=self._make_certificate,
                    client_authority=self._client_authority,
                )
            for listener in self._listeners:
                self._accepting.append(await self._accept(listener))
        except OSError:
            unused = self._listeners[len(self._accepting) :]
            await self.close(0.0)
            for listener in unused:
                listener.socket.close()
            raise
        return [listener.url for listener in self._listeners]

    async def _accept(self, listener: Listener) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        if listener.url.startswith("unix:"):
            return await loop.create_unix_server(self._connections, sock=listener.socket, backlog=BACKLOG)
        if not listener.secure:
            return await loop.create_server(self._connections, sock=listener.socket, backlog=BACKLOG)
        return await loop.create_server(
            self._connections,
            sock=listener.socket,
            backlog=BACKLOG,
            ssl=self.tls.context if self.tls is not None else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
        )

    async def close(self, grace_seconds: float) -> None:
        """Accept no more, end those who wait, answer the others, and be done when the grace is over at the latest."""
        self._stopping.set()
        for server in self._accepting:
            server.close()
        for listener in self._listeners:
            listener.remove()
        self._listeners.clear()
        self._dispatch.wake()
        for connection in list(self._connections.open):
            if not connection.answering:
                connection.leave()
                continue
            connection.close()
            if connection.waits and connection.task is not None:
                connection.task.cancel()
        try:
            await asyncio.wait_for(self._connections.none_left.wait(), grace_seconds)
        except TimeoutError:
            log.warning("%d connections are ended unanswered", len(self._connections.open))
            for connection in list(self._connections.open):
                if connection.task is not None:
                    connection.task.cancel()
                connection.abort()
        self._connections.end()
        self._decoder.shutdown(wait=False, cancel_futures=True)

    # --- requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        connection.began()
        try:
            response = await self._respond(connection, request)
        except Refusal as refusal:
            connection.discard(refusal)
            response = await self._refuse(connection, request, refusal)
        finally:
            connection.finished()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s %r: %d", connection.caller.peer, request.method, request.path, response.status)
        return response

    async def _respond(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        if connection.refusal is not None and request.path == REFUSED_PATH:
            raise connection.refusal
        if connection.caller.ends is not None and self._asks_nobody():
            _require_own_name(request)
        endpoint = self._endpoints.get(place(request.path, self._endpoints))
        if endpoint is not None and request.method in endpoint.methods:
            if "Expect" in request.headers and request.headers["Expect"].lower() != "100-continue":
                raise Refusal(417, "only 100-continue can be expected")
            return await endpoint.answer(connection, request)
        if request.method != "POST":
            return self._page(request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refusal(415, "a compressed body is not taken")
        if "Expect" in request.headers:
            await self._expected(request)
        body = await connection.body(request)
        try:
            if place(request.path, JSON_PATHS) in JSON_PATHS:
                chunks = await self._answer_json(connection, body)
                return await self._send(connection, request, 200, "application/json", chunks)
            status, chunks = await self._answer_xml(connection, body)
            return await self._send(connection, request, status, "text/xml", chunks)
        except Stopping:
            raise Refusal(503, "the agent is stopping") from None

    def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": ALLOW, "Server": "xen-host-agent"})
        if path in RPC_PATHS:
            return _text(405, "calls are sent by POST\n", {"Allow": "OPTIONS, POST"})
        if (endpoint := self._endpoints.get(place(path, self._endpoints))) is not None:
            allowed = {"CONNECT" if method == CONNECT else method for method in endpoint.methods}
            return _text(405, "the method is not served here\n", {"Allow": ", ".join(sorted(allowed))})
        if path == "/healthz":
            return _text(200, "ok")
        return _text(200, PAGE) if path == "/" else _text(404, "there is nothing here\n")

    async def _refuse(self, connection: Connection, request: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
        """Say why, and swallow for a while what the client still sends: a reset would take the answer from it."""
        headers = {"Allow": ALLOW} if refusal.status == 405 else refusal.headers
        response = _text(refusal.status, f"{refusal.reason}\n", headers)
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        transport = connection.transport
        if transport is not None and transport.can_write_eof():
            transport.write_eof()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._limits.linger_seconds)
        return response

    @staticmethod
    async def _expected(request: web.BaseRequest) -> None:
        if request.headers["Expect"].lower() != "100-continue":
            raise Refusal(417, "only 100-continue can be expected")
        await go_on(request)

    # --- calls

    async def _answer_xml(self, connection: Connection, body: bytes) -> tuple[int, list[bytes]]:
        try:
            name, params = await self._decoded(xmlrpc.decode, body)
        except xmlrpc.Forbidden as error:
            return 400, [xmlrpc.fault(str(error))]
        except xmlrpc.Malformed as error:
            return 200, [xmlrpc.fault(str(error))]
        try:
            result = await self._call(connection, name, params)
            value = await self._xml.write(result.type, result.value)
        except XenError as error:
            return 200, [xmlrpc.failure(error.description)]
        before, after = xmlrpc.BARE if name.startswith("system.") else xmlrpc.SUCCESS
        return 200, [before, *value, after]

    async def _answer_json(self, connection: Connection, body: bytes) -> list[bytes]:
        try:
            asked = await self._decoded(jsonrpc.decode, body)
        except jsonrpc.Malformed as error:
            return [error.answer]
        try:
            result = await self._call(connection, asked.method, asked.params)
            value = await self._json.write(result.type, result.value)
        except XenError as error:
            return [asked.failure(error.description)]
        before, after = asked.success()
        return [before, *value, after]

    async def _decoded(self, decode: Callable[[bytes], T], body: bytes) -> T:
        if len(body) <= INLINE_MAX:
            return decode(body)
        return await asyncio.get_running_loop().run_in_executor(self._decoder, decode, body)

    async def _call(self, connection: Connection, name: str, params: list[Any]) -> Result:
        called = self._dispatch.call(name, params, connection.caller)
        return await (self._long_poll(connection, called) if name in LONG_POLLS else called)

    async def _long_poll(self, connection: Connection, called: Coroutine[Any, Any, Result]) -> Result:
        """Wait, but no longer than the agent serves. A client that goes away ends its waiting."""
        if connection.transport is None:  # gone while its call was decoded
            called.close()
            raise ConnectionResetError
        connection.waits = True
        try:
            return await called
        except asyncio.CancelledError:
            if not connection.cancelled_by_agent():
                raise
            raise Stopping from None
        finally:
            connection.waits = False

    # --- answers

    async def _send(
        self, connection: Connection, request: web.BaseRequest, status: int, content_type: str, chunks: list[bytes]
    ) -> web.StreamResponse:
        # Exactly these types: npm's xen-api compares them with ===, so a charset would break it.
        headers = {"Content-Type": content_type, "Server": "xen-host-agent"}
        size = sum(map(len, chunks))
        if size > GZIP_MIN and not connection.caller.local and accepts_gzip(request.headers.get("Accept-Encoding", "")):
            chunks = await gzipped(chunks)
            size = sum(map(len, chunks))
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        if size <= INLINE_MAX:
            response: web.StreamResponse = web.Response(status=status, body=b"".join(chunks), headers=headers)
        else:
            response = web.StreamResponse(status=status, headers=headers)
            response.content_length = size
        if connection.after_chunks:
            response.force_close()
        if size > INLINE_MAX:
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
        return response


async def go_on(request: web.BaseRequest) -> None:
    """Tell a client that asked first, by Expect, to send its body."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer has not begun


def _require_own_name(request: web.BaseRequest) -> None:
    """Refuse what names another host, where whose a connection is is all that is asked: a browser of this host that was
    told that a name of the web is here would send so.
    """
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
        own = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        own = False
    if not own:
        raise Refusal(421, "a connection within this host names localhost or a loopback address as its Host")


def _text(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    fixed = {"Content-Type": "text/plain", "Server": "xen-host-agent", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=text.encode(), headers={**fixed, **(headers or {})})


def accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    for item in accepted.lower().split(","):
        coding, _, quality = item.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def gzipped(chunks: Sequence[bytes]) -> list[bytes]:
    """The same octets as one gzip stream."""
    stream = isal_zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    packed: list[bytes] = []
    for number, chunk in enumerate(chunks, 1):
        packed.append(stream.compress(chunk))
        if number % GZIP_CHUNKS == 0:
            await asyncio.sleep(0)
    packed.append(stream.flush())
    return packed
