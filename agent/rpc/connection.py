"""One client's connection: what stands between the socket and aiohttp, and guards it.

aiohttp parses requests and frames answers. Before it sees a request, the head is checked here as a whole: its size, its
line ends, that there is one way to tell where the body ends, and the method. It has no time limits on heads and on
readers that do not read; they are here, as one look a few times in every limit instead of a timer for every request.
What a request means, ``server`` decides.

After a CONNECT, and after a request for a WebSocket, nothing more on the connection is HTTP.

Over the usual size: what guards one connection is one state, of which each limit reads what the others keep.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from agent.logins import Caller
from agent.rpc.tls import names_in

log = logging.getLogger(__name__)

METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"POST"})
ALLOW = "GET, HEAD, OPTIONS, POST"
CONNECT = "LINK"
"""The method that stands for CONNECT, which aiohttp 3.14 answers with "400 Invalid URL" where it names a path. No
client gets another one than METHODS, PUT and CONNECT past `framing`.
"""
REFUSED_PATH = "/.refused"
"""Path of the request that stands for a refused one, so that its answer waits its turn behind those before it."""
DISCARD_MAX = 64 * 1024 * 1024
READ_BYTES = 256 * 1024
"""So much of a body waits to be read, and as much again, before its sender has to."""
SMALL_BYTES = 16 * 1024
"""So short a body is taken however much is held for others."""
TUNNEL_BYTES = 64 * 1024
"""So much of what comes through a tunnel waits to be read, and as much again, before its sender has to."""
ARRIVED_SECONDS = 2.0
"""An answer that is as old has arrived, or will not."""
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding)([ \t]*):[ \t]*([^\r\n]*)")
_CREDENTIALS = struct.Struct("3i")
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a client may ask of the front door. Times in seconds, sizes in octets."""

    body_bytes: int = 4 * 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024
    """How much of bodies may be held for all clients together, until their calls are answered."""
    head_bytes: int = 16 * 1024
    connections: int = 4000
    read_seconds: float = 10.0
    """The longest wait for the next octets of a request, the first ones of a connection included."""
    request_seconds: float = 60.0
    """How long a head may take in all, and how long a body."""
    idle_seconds: float = 300.0
    """How long a connection may wait for its next request where there are many."""
    rest_seconds: float = 12 * 3600.0
    """How long where there are few. A client that comes back to a TLS connection that was ended may fail: Python's
    takes that for an error, and not for a connection to be made anew.
    """
    few: int = 500
    write_seconds: float = 30.0
    """How long a client may leave an answer unread."""
    linger_seconds: float = 2.0
    """How long what a refused client still sends is swallowed, so that it gets to read why."""
    stream_seconds: float = 120.0
    """How long a client may pause while it sends or fetches a disk, and leave unread what a console shows."""
    uploads: frozenset[str] = frozenset()
    """The paths that take a body of any length, by PUT."""
    tunnels: frozenset[str] = frozenset()
    """The paths to which a tunnel leads, by CONNECT or as a WebSocket."""


@dataclass(eq=False)
class Refusal(Exception):
    """A request that is refused for its form: the status and one line that says why."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


def caller_of(transport: asyncio.BaseTransport) -> Caller:
    """Who is at the other end: the user of a Unix socket as ``uid=0``, or an address and a certificate's names."""
    peer = transport.get_extra_info("socket")
    if peer.family == socket.AF_UNIX:
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return Caller(f"uid={_CREDENTIALS.unpack(raw)[1]}", local=True)
    name, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not name or not own:  # gone before it was looked at
        return Caller("")
    address = ipaddress.ip_address(name[0].partition("%")[0])
    ends = (name[0], name[1], own[0], own[1]) if address.is_loopback else None
    shown = transport.get_extra_info("peercert") or {}
    return Caller(name[0], local=address.is_loopback, names=names_in(shown), ends=ends)


def framing(
    head: bytes, body_bytes: int, uploads: frozenset[str] = frozenset(), tunnels: frozenset[str] = frozenset()
) -> tuple[int, bool]:
    """Length of the body that follows a head, and whether it comes in chunks instead. Refusal for a doubtful head.

    `uploads` are the paths that take a body of any length, by PUT; `tunnels` those that can be connected to.
    """
    method = head[: head.find(b" ")]
    if not method.isalpha() or not head[: head.find(b"\r\n")].endswith((b" HTTP/1.1", b" HTTP/1.0")):
        raise Refusal(400, "this is no HTTP")
    if method == b"CONNECT":
        if place(_path(head), tunnels) not in tunnels:
            raise Refusal(501, "no console is served here")
        body_bytes = 0
    upload = method == b"PUT" and place(_path(head), uploads) in uploads
    if method not in METHODS and method != b"CONNECT" and not upload:
        raise Refusal(405, "the method is not served")
    lines = head.count(b"\r\n")
    if lines != head.count(b"\n") or lines != head.count(b"\r"):
        raise Refusal(400, "lines of a head end with CR LF")
    if b"\r\n " in head or b"\r\n\t" in head or b"\0" in head:
        raise Refusal(400, "the head has a folded line or a NUL")
    fields = _FRAMING.findall(head.lower())
    if not fields:
        return 0, False
    name, blank, value = fields[0]
    value = value.rstrip(b" \t")
    if len(fields) > 1 or blank:
        raise Refusal(400, "the length of the body is told more than once, or oddly")
    if name == b"transfer-encoding":
        if method == b"CONNECT" or value != b"chunked" or b" HTTP/1.0\r\n" in head:
            raise Refusal(400, "the transfer encoding is not chunked")
        return 0, True
    if not value.isdigit():
        raise Refusal(400, "the length of the body is no number")
    if len(value) > 18 or (int(value) > body_bytes and not upload):
        raise Refusal(413, f"the body is longer than {body_bytes} octets")
    return int(value), False


def _path(head: bytes) -> str:
    """The path that a head asks for."""
    return head.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")


def place(path: str, known: Container[str]) -> str:
    """The longest of the `known` paths that this one begins with, by whole segments, or else the path itself.

    Clients of xapi may write more behind: some end ``/import/`` with a slash.
    """
    begin = path
    while begin and begin not in known:
        begin = begin.rpartition("/")[0]
    return begin or path


class Connections(web.Server):
    """All open connections, and the one clock that looks after them."""

    def __init__(
        self,
        handler: Any,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        requests: Callable[..., web.BaseRequest] | None = None,
    ) -> None:
        super().__init__(handler, request_factory=requests, loop=loop)
        self.limits = limits
        self.loop = loop
        self.open: set[Connection] = set()
        self.held_bytes = 0
        self.none_left: asyncio.Event = asyncio.Event()
        self.none_left.set()
        shortest = min(limits.read_seconds, limits.request_seconds, limits.idle_seconds, limits.write_seconds)
        self._period_seconds = shortest / 4
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> Connection:
        return Connection(self)

    def opened(self, connection: Connection) -> bool:
        """Note a new connection; False if there are too many."""
        if len(self.open) >= self.limits.connections:
            return False
        self.open.add(connection)
        self.none_left.clear()
        if self._timer is None:
            self._timer = self.loop.call_later(self._period_seconds, self._look)
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.open.discard(connection)
        if not self.open:
            self.none_left.set()

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        for connection in list(self.open):
            connection.look(now)
        if self.open:
            self._timer = self.loop.call_later(self._period_seconds, self._look)

    def end(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(web.RequestHandler):
    """One connection. It hands aiohttp whole heads only, and bodies as they come."""

    __slots__ = (
        "_body_left",
        "_chunked",
        "_connections",
        "_discarded",
        "_head",
        "_head_began",
        "_held",
        "_in_flight",
        "_last_read",
        "_served",
        "_stalled_since",
        "caller",
        "refusal",
        "streams",
        "task",
        "tunnel",
        "upgraded",
        "waits",
    )

    def __init__(self, connections: Connections) -> None:
        limits = connections.limits
        super().__init__(
            connections,
            loop=connections.loop,
            keepalive_timeout=2 * max(limits.idle_seconds, limits.rest_seconds),  # look() ends idle ones before
            tcp_keepalive=False,  # the listening socket's options are inherited
            lingering_time=0.0,  # refusals linger in their own way
            access_log=cast(logging.Logger, None),
            logger=log,
            # framing() has the whole head measured before aiohttp measures parts of it.
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
            max_headers=limits.head_bytes,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
        )
        self._connections = connections
        self._head = b""
        self._body_left = 0
        self._chunked = False
        self._discarded = 0
        self._held = 0
        self._in_flight = 0
        self._served = False
        self._last_read = self._head_began = connections.loop.time()
        self._stalled_since: float | None = None
        self.caller = Caller("")
        self.refusal: Refusal | None = None
        """Set when a request was refused: nothing after it is read."""
        self.task: asyncio.Task[Any] | None = None
        """What answers the request under way."""
        self.waits = False
        """Whether it only waits for something to happen. Any other call is finished even if its client goes away."""
        self.streams = False
        """Whether a disk is on its way or a console is open, which may pause for longer than an answer."""
        self.tunnel: asyncio.StreamReader | None = None
        """What comes after a CONNECT."""
        self.upgraded = False
        """Whether a WebSocket was asked for: what comes after that is aiohttp's to read."""

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._connections.opened(self):
            log.warning("more than %d connections: one more is turned away", self._connections.limits.connections)
            cast(asyncio.Transport, transport).abort()
            return
        self.caller = caller_of(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._connections.closed(self)
        if self.waits and self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = None

    def data_received(self, data: bytes) -> None:
        if not data or self._chunked or self.upgraded or self.refusal is not None:
            self._pass(data)
            return
        if self.tunnel is not None:
            self.tunnel.feed_data(data)
            return
        self._last_read = self._loop.time()
        if self._body_left:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            super().data_received(body)
        if data:
            if not self._head:
                self._head_began = self._last_read
            self._head += data
            try:
                self._take_requests()
            except Refusal as refusal:
                self.refuse(refusal)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own says so, aiohttp's returns None
        """The client sends no more. Whether it can be sent something all the same: TLS closes both ways at once."""
        if self.tunnel is None or self.refusal is not None:
            return False
        self.tunnel.feed_eof()
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def _pass(self, data: bytes) -> None:
        """What needs no look: aiohttp's own call to go on with what it has, a chunked body, what comes through a
        WebSocket, and what comes too late.
        """
        if self.refusal is None or not data:
            self._last_read = self._loop.time() if data else self._last_read
            super().data_received(data)
            return
        self._discarded += len(data)
        if self._discarded > DISCARD_MAX:
            self.abort()

    def _take_requests(self) -> None:
        limits = self._connections.limits
        while self._head:
            if self._head.startswith(b"\r\n"):  # an empty line before a request is forgiven
                self._head = self._head[2:]
                continue
            end = self._head.find(_HEAD_END) + len(_HEAD_END)
            if end < len(_HEAD_END):
                if not self._head[:1].isalpha():
                    raise Refusal(400, "this is no HTTP")
                if len(self._head) > limits.head_bytes:
                    raise Refusal(431, f"the head is longer than {limits.head_bytes} octets")
                return
            if end > limits.head_bytes:
                raise Refusal(431, f"the head is longer than {limits.head_bytes} octets")
            length, self._chunked = framing(self._head[:end], limits.body_bytes, limits.uploads, limits.tunnels)
            if self._head.startswith(b"CONNECT "):
                request = self._connect(end)
            elif self._upgrades(end):
                self.upgraded = True
                request, self._head = self._head, b""
            elif self._chunked:
                request, self._head = self._head, b""
            else:
                request, self._head = self._head[: end + length], self._head[end + length :]
                self._body_left = end + length - len(request)
            self._in_flight += 1
            self._served = True
            super().data_received(request)

    def _connect(self, end: int) -> bytes:
        """The request that stands for a CONNECT. It is one of HTTP/1.0, so that its answer is not framed either."""
        head, rest = self._head[:end], self._head[end:]
        self._head = b""
        # aiohttp's own reader pauses its parser too, which has ended (3.14: AssertionError).
        self.tunnel = asyncio.StreamReader(TUNNEL_BYTES, self._loop)
        self.tunnel.set_transport(cast(asyncio.Transport, self.transport))
        if rest:
            self.tunnel.feed_data(rest)
        target = head.split(b" ", 2)[1]
        return CONNECT.encode() + b" " + target + b" HTTP/1.0" + head[head.index(b"\r\n") :]

    def _upgrades(self, end: int) -> bool:
        """Whether the head asks for a WebSocket where there is one."""
        tunnels, head = self._connections.limits.tunnels, self._head
        wanted = head.startswith(b"GET ") and _UPGRADE.search(head, 0, end) is not None
        return wanted and place(_path(head), tunnels) in tunnels

    # --- the server's side

    def refuse(self, refusal: Refusal) -> None:
        """Answer no more than this one refusal, in its turn, and read nothing after it."""
        self.refusal = refusal
        self._head = b""
        self._in_flight += 1
        super().data_received(f"GET {REFUSED_PATH} HTTP/1.0\r\n\r\n".encode())

    def discard(self, refusal: Refusal) -> None:
        """From now on swallow what comes: the request under way is answered with this refusal."""
        self.refusal = refusal
        self.resume_reading()  # of a long body, much may be waiting to be read
        if self.tunnel is not None and self.transport is not None:
            self.transport.resume_reading()

    def leave(self) -> None:
        """End it, which has nothing under way. Over TLS its client is told, and should agree; that is waited for only
        while its last answer may be on its way, since a client that does nothing does not agree either.
        """
        transport, quiet_seconds = self.transport, self._loop.time() - self._last_read
        self.force_close()
        if transport is not None and quiet_seconds > ARRIVED_SECONDS:
            transport.abort()

    def abort(self) -> None:
        """End it at once, whatever is still to be written."""
        if self.transport is not None:
            self.transport.abort()

    def began(self) -> None:
        """The running task begins to answer a request."""
        self.task = asyncio.current_task()

    def finished(self) -> None:
        """The answer to a request is made."""
        self.task = None
        self._release()
        self._in_flight -= 1
        self._last_read = self._loop.time()

    def _release(self) -> None:
        self._connections.held_bytes -= self._held
        self._held = 0

    def cancelled_by_agent(self) -> bool:
        """Whether the CancelledError that was just caught says that the agent stops, and not that the client is gone.
        It is answered then, and over.
        """
        return self.transport is not None and self.task is not None and self.task.uncancel() == 0

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self._in_flight > 0

    @property
    def after_chunks(self) -> bool:
        """Whether a chunked body came: where it ends only aiohttp knows, so nothing is read after it."""
        return self._chunked

    async def body(self, request: web.BaseRequest) -> bytes:
        """The whole body. Refusal if it is too long or too slow."""
        content, limits = request.content, self._connections.limits
        if content.is_eof():
            whole = content.read_nowait()
            self._hold(whole)
            return whole
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(limits.request_seconds):
                while True:
                    async with asyncio.timeout(limits.read_seconds):
                        part = await content.readany()
                    if not part:
                        return b"".join(parts)
                    parts.append(part)
                    self._hold(part)
        except TimeoutError:
            raise Refusal(408, "the body did not come in time") from None
        except web.RequestPayloadError as error:
            raise Refusal(400, "the body is not framed as its head says") from error

    def _hold(self, part: bytes) -> None:
        """Count a part of a body. Refusal if that is too much, of this one or of all."""
        connections, limits = self._connections, self._connections.limits
        self._held += len(part)
        connections.held_bytes += len(part)
        if self._held > limits.body_bytes:
            raise Refusal(413, f"the body is longer than {limits.body_bytes} octets")
        if connections.held_bytes > limits.held_bytes and self._held > SMALL_BYTES:
            raise Refusal(503, "too many long requests come at once")

    async def parts(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body as it comes, never much of it at once. Refusal if it stalls or ends early."""
        try:
            while True:
                async with asyncio.timeout(self._connections.limits.stream_seconds):
                    part = await request.content.readany()
                if not part:
                    return
                yield part
        except TimeoutError:
            raise Refusal(408, "the body did not come in time") from None
        except (web.RequestPayloadError, ConnectionError) as error:
            if not request.content.is_eof():  # aiohttp (3.14) raises before it hands out what has come
                yield request.content._read_nowait(-1)
            raise Refusal(400, "the body is not framed as its head says") from error

    def lend_rest(self, request: web.BaseRequest) -> tuple[bytes, int]:
        """Leave what has not come of a body to whoever reads the socket: what has come, and how much that is.

        What follows the body is not read, so the answer must be the connection's last.
        """
        come = []
        while part := request.content.read_nowait():  # which may have aiohttp take in some more that it held back
            come.append(part)
        if self.transport is not None:
            self.transport.pause_reading()
        left, self._body_left = self._body_left, 0
        return b"".join(come), left

    async def plain_socket(self) -> socket.socket | None:
        """The socket once more, for who closes it, when all that was written is sent; None where that takes a while,
        and with TLS.
        """
        await asyncio.sleep(0)  # uvloop writes when it next comes by
        transport = self.transport
        if transport is None or transport.get_extra_info("sslcontext") or transport.get_write_buffer_size():
            return None
        return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))

    @property
    def limits(self) -> Limits:
        """What its client may ask."""
        return self._connections.limits

    @property
    def body_left(self) -> int:
        """How much of the body of the last request has not come yet, where its length was told."""
        return self._body_left

    def look(self, now: float) -> None:
        """End what takes too long."""
        limits = self._connections.limits
        transport = self.transport
        if transport is None:
            return
        if self._stalled_since is None and transport.is_closing():  # it does when all is sent, and not before
            self._stalled_since = now
        if self._stalled_since is not None:
            if now - self._stalled_since > (limits.stream_seconds if self.streams else limits.write_seconds):
                log.info("%s does not read its answer: disconnected", self.caller.peer)
                self.abort()
        elif self._head:
            if now - self._last_read > limits.read_seconds or now - self._head_began > limits.request_seconds:
                self.refuse(Refusal(408, "the head did not come in time"))
        elif not self.answering:
            waits = limits.rest_seconds if len(self._connections.open) <= limits.few else limits.idle_seconds
            if now - self._last_read > (waits if self._served else limits.read_seconds):
                transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp could not parse is the client's fault and none of the log's business; a bug of ours is."""
        if status == 500 and not isinstance(exc, ConnectionError):
            log.error("answering %s failed", self.caller.peer, exc_info=exc)
        else:
            log.debug("%s is gone or sent what is no HTTP: %s", self.caller.peer, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was already under way")
        reason = "the agent failed" if status == 500 else "this is no HTTP"
        response = web.Response(status=status, text=f"{reason}\n")
        response.force_close()
        return response
