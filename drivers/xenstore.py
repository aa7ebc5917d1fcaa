"""A small client of xenstore, the registry that host and guests share: reads, lists and watches, and never for long.

It speaks the protocol of ``xen/include/public/io/xs_wire.h``: a header of four 32-bit words in the machine's byte order
(kind of message, number of the request, transaction, length of what follows) and a body of at most 4096 bytes, whose
texts end with a zero byte. Replies come in the order of the requests; between them come the events of watches. It is
spoken over xenstored's socket, or over the kernel's device where xenstored has a domain of its own.

What is stored under which name is not known here.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Self

TIMEOUT_SECONDS = 5.0
BODY_BYTES = 4096
PLACES: Sequence[Path] = (
    Path("/run/xenstored/socket"),
    Path("/var/run/xenstored/socket"),
    Path("/dev/xen/xenbus"),
    Path("/proc/xen/xenbus"),
)
"""Where xenstore is to be had, the best first."""

_HEADER = struct.Struct("=IIII")


class Kind(IntEnum):
    """The messages that are spoken here."""

    DIRECTORY = 1
    READ = 2
    WATCH = 4
    UNWATCH = 5
    WATCH_EVENT = 15
    ERROR = 16
    DIRECTORY_PART = 22


class XenstoreError(OSError):
    """xenstore is not there, hangs, or does not keep to the protocol. The connection is of no use any more."""


class Xenstore:
    """One connection, for one thread."""

    def __init__(self, descriptor: int, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._descriptor = descriptor
        self._timeout_seconds = timeout_seconds
        self._number = 0
        self._received = bytearray()
        self._rung: dict[str, None] = {}
        """Tokens of watches that rang since `rung` last told, each once."""

    @classmethod
    def connect(cls, places: Iterable[Path] = PLACES, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Self:
        """Connect to the first of `places` that answers. XenstoreError if none does."""
        reasons = []
        for place in places:
            try:
                return cls(_opened(place, timeout_seconds), timeout_seconds=timeout_seconds)
            except OSError as error:
                reasons.append(f"{place}: {error.strerror or error}")
        raise XenstoreError(f"there is no xenstore: {'; '.join(reasons)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and its watches with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- messages

    def read(self, path: str) -> str | None:
        """The value at `path`, as text however bad; None if there is none, or it is not to be read."""
        body = self._ask(Kind.READ, path)
        return None if body is None else body.decode("utf-8", errors="replace")

    def directory(self, path: str, limit_bytes: int = BODY_BYTES) -> Sequence[str]:
        """The names below `path`: all of them, or about so many bytes of them where somebody made very many."""
        try:
            body = self._ask(Kind.DIRECTORY, path)
        except _TooLongError:
            body = self._parts(path, limit_bytes)
        names = (body or b"").decode("utf-8", errors="replace").split("\0")
        return [name for name in names if name]

    def _parts(self, path: str, limit_bytes: int) -> bytes:
        """The names of a folder that are too many for one reply: each part has whole names, the last an empty one."""
        names = b""
        version: bytes | None = None
        while len(names) < limit_bytes:
            part = self._ask(Kind.DIRECTORY_PART, path, str(len(names)))
            now, _, more = (part or b"").partition(b"\0")
            if version not in (None, now):
                # It was changed in between, and its names begin anew.
                limit_bytes, names, version = limit_bytes - len(names), b"", None
                continue
            version = now
            if more.endswith(b"\0\0") or more in (b"", b"\0"):
                return names + more
            names += more
        return names

    def watch(self, path: str, token: str) -> None:
        """Have `rung` tell `token` when something at or below `path` changes; it does so once at first."""
        self._ask(Kind.WATCH, path, token)

    def unwatch(self, path: str, token: str) -> None:
        """End a watch. One that is gone is no error."""
        self._ask(Kind.UNWATCH, path, token)

    def rung(self, wait_seconds: float) -> Sequence[str]:
        """The tokens of the watches that rang since the last call, after waiting for one for so long at the most."""
        deadline = time.monotonic() + (0.0 if self._rung else wait_seconds)
        while True:
            for kind, _, body in self._messages():
                self._take_event(kind, body)
            if self._rung:
                # What a guest rings without end must not be read without end.
                deadline = min(deadline, time.monotonic() + 0.05)
            if not self._receive(max(0.0, deadline - time.monotonic())) or time.monotonic() > deadline:
                break
        rung, self._rung = list(self._rung), {}
        return rung

    # --- inside

    def _ask(self, kind: Kind, *texts: str) -> bytes | None:
        """The body of the reply; None where xenstore says that there is no such thing, or that it is not for us."""
        self._number = self._number % 0xFFFFFFFF + 1
        body = b"".join(text.encode(errors="replace") + b"\0" for text in texts)
        if len(body) > BODY_BYTES:
            return None
        deadline = time.monotonic() + self._timeout_seconds
        self._send(_HEADER.pack(kind, self._number, 0, len(body)) + body, deadline)
        while True:
            for said, number, answer in self._messages():
                if said == Kind.WATCH_EVENT:
                    self._take_event(said, answer)
                elif number != self._number:
                    raise XenstoreError(f"xenstore answers request {number} where it was asked {self._number}")
                elif said == Kind.ERROR:
                    _require_harmless(answer)
                    return None
                elif said != kind:
                    raise XenstoreError(f"xenstore answers a message of kind {kind} with one of kind {said}")
                else:
                    return answer
            left = deadline - time.monotonic()
            if left <= 0 or not self._receive(left):
                raise XenstoreError(f"xenstore does not answer within {self._timeout_seconds:.0f} s")

    def _take_event(self, kind: int, body: bytes) -> None:
        if kind != Kind.WATCH_EVENT:
            raise XenstoreError(f"xenstore sends a message of kind {kind} that nobody asked for")
        _, _, token = body.rstrip(b"\0").partition(b"\0")
        self._rung[token.decode("utf-8", errors="replace")] = None

    def _messages(self) -> Iterable[tuple[int, int, bytes]]:
        """The whole messages received so far: kind, number of the request, body."""
        while len(self._received) >= _HEADER.size:
            kind, number, _, length = _HEADER.unpack_from(self._received)
            if length > BODY_BYTES:
                raise XenstoreError(f"xenstore sends {length} bytes in one message")
            end = _HEADER.size + length
            if len(self._received) < end:
                return
            body = bytes(self._received[_HEADER.size : end])
            del self._received[:end]
            yield kind, number, body

    def _send(self, message: bytes, deadline: float) -> None:
        while message:
            try:
                message = message[os.write(self._descriptor, message) :]
            except BlockingIOError:
                if not self._ready(select.POLLOUT, deadline - time.monotonic()):
                    raise XenstoreError(f"xenstore does not listen for {self._timeout_seconds:.0f} s") from None
            except OSError as error:
                raise XenstoreError(f"xenstore is gone: {error.strerror}") from error

    def _receive(self, wait_seconds: float) -> bool:
        """Whether something came in time. XenstoreError if the connection has ended."""
        if not self._ready(select.POLLIN, wait_seconds):
            return False
        try:
            received = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            raise XenstoreError(f"xenstore is gone: {error.strerror}") from error
        if not received:
            raise XenstoreError("xenstore has ended the connection")
        self._received += received
        return True

    def _ready(self, event: int, wait_seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, event)
        return bool(poll.poll(max(0.0, wait_seconds) * 1000))


class _TooLongError(Exception):
    """A folder has more names than one reply can hold."""


def _require_harmless(body: bytes) -> None:
    """_TooLongError or XenstoreError for an error, unless it only says that a thing is not there or not for us."""
    name = body.rstrip(b"\0").decode("ascii", errors="replace")
    if name == errno.errorcode[errno.E2BIG]:
        raise _TooLongError
    if name not in ("ENOENT", "EACCES", "EINVAL", "EEXIST", "ENOSYS"):
        raise XenstoreError(f"xenstore refuses: {name}")


def _opened(place: Path, timeout_seconds: float) -> int:
    """A descriptor that never blocks."""
    if not place.is_socket():
        return os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(place))
        connection.setblocking(False)
        return connection.detach()
