"""The clients: plain sockets and as little Python as a client can do with, so that the server is what is measured.

They run in the process of the run, apart from every server. What is asked and what it is compared with, the lines say.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import Any, Self

from benchmarks.rows import Failed

TIMEOUT_SECONDS = 120.0
RECEIVE_BYTES = 1 << 20
Address = tuple[str, int]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def insecure_context() -> ssl.SSLContext:
    """TLS that takes the agent's self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(address: Address, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection, with TLS where there is a context."""
    plain = socket.create_connection(address, TIMEOUT_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain if context is None else context.wrap_socket(plain, server_hostname=address[0])


def post(body: bytes, path: str = "/", content_type: str = "text/xml") -> bytes:
    """A request as a client sends it."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + _HEAD_END + body


def xml_call(method: str, *params: Any) -> bytes:
    """The request of an XML-RPC call."""
    return post(xmlrpc.client.dumps(params, method, allow_none=True).encode())


class Channel:
    """One kept connection, for one request after the other."""

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self._socket = connect(address, context)
        self._buffer = bytearray(RECEIVE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def fetch(self, request: bytes) -> bytes:
        """The body of the answer. Failed unless the status is 200."""
        parts: list[bytes] = []
        self._read(request, lambda view: parts.append(bytes(view)))
        return b"".join(parts).partition(_HEAD_END)[2]

    def last_byte_seconds(self, request: bytes) -> float:
        """How long it takes from sending the request until the last octet of the answer is here. Nothing is kept."""
        begin = time.perf_counter()
        self._read(request, lambda view: None)
        return time.perf_counter() - begin

    def _read(self, request: bytes, take: Callable[[memoryview], None]) -> None:
        self._socket.sendall(request)
        view = memoryview(self._buffer)
        head, left = b"", -1
        while left:
            count = self._socket.recv_into(view)
            if not count:
                raise Failed("the server hung up")
            take(view[:count])
            if left < 0:
                head += view[:count]
                left = missing(head)
            else:
                left -= count

    def call(self, method: str, *params: Any) -> Any:
        """The value of a XenAPI call over XML-RPC. Failed if that fails."""
        answer = xmlrpc.client.loads(self.fetch(xml_call(method, *params)))[0][0]
        assert isinstance(answer, dict)
        if answer.get("Status") != "Success":
            raise Failed(f"{method}: {answer.get('ErrorDescription')}")
        return answer["Value"]


def missing(answer: bytes | bytearray) -> int:
    """How many octets of an answer are still to come; -1 while its head is not whole. Failed unless it is a 200."""
    end = answer.find(_HEAD_END)
    if end < 0:
        return -1
    length = _LENGTH.search(answer, 0, end)
    if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) or length is None:
        raise Failed(f"the answer is {bytes(answer[:60])!r}")
    return end + len(_HEAD_END) + int(length[1]) - len(answer)


class Crowd:
    """Many kept connections, driven by one epoll loop: as many requests under way as there are connections."""

    def __init__(self, address: Address, size: int, context: ssl.SSLContext | None = None) -> None:
        self._sockets = {}
        self._answers: dict[int, bytearray] = {}
        self._poll = select.epoll()
        for _ in range(size):
            one = connect(address, context)
            one.setblocking(False)
            self._sockets[one.fileno()] = one
            self._poll.register(one.fileno(), select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def members(self) -> Sequence[int]:
        """The numbers by which the connections are known."""
        return list(self._sockets)

    def close(self) -> None:
        """Hang up everywhere."""
        self._poll.close()
        for one in self._sockets.values():
            one.close()

    def send(self, member: int, request: bytes) -> None:
        """Send a request, which fits into the socket's buffer; its answer is among those that `answers` has."""
        self._answers[member] = bytearray()
        self._sockets[member].send(request)

    def answers(self, seconds: float) -> list[tuple[int, bytearray]]:
        """The answers that have come whole, of those members that wait for one; none if none comes in time."""
        come: list[tuple[int, bytearray]] = []
        deadline = time.monotonic() + seconds
        while not come and (left := deadline - time.monotonic()) > 0:
            for member, _ in self._poll.poll(left):
                answer = self._answers.get(member)
                if self._receive(member) and answer is not None and missing(answer) == 0:
                    del self._answers[member]
                    come.append((member, answer))
        return come

    def _receive(self, member: int) -> bool:
        """Take what is there. TLS may have more in its own buffer than the socket shows."""
        one = self._sockets[member]
        got = False
        while True:
            try:
                data = one.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return got
            if not data:
                raise Failed("the server hung up")
            self._answers[member] += data
            got = True
            if not isinstance(one, ssl.SSLSocket) or not one.pending():
                return got

    def hammer(self, request: bytes, count: int) -> None:
        """Send the request `count` times in all, every connection the next one as soon as it is answered."""
        for member in self.members:
            self.send(member, request)
        sent, answered = len(self), 0
        while answered < sent:
            come = self.answers(TIMEOUT_SECONDS)
            if not come:
                raise Failed("the server does not answer")
            for member, _ in come:
                answered += 1
                if sent < count:
                    sent += 1
                    self.send(member, request)
