"""A connection lent to a worker, which moves the octets of a long body itself: the loop touches none of them.

It costs no hand-over and no copy for every piece. Where there is TLS, or where the body ends is not known before it
does, bodies go through the loop (``streams``).

Downloads are read and sent, not handed to sendfile: that has the kernel send the pages of the file, and a client on
this host that reads late would get what a guest has written to them meanwhile. Nor is it faster there: what the agent
saves, such a client pays.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from threading import Lock

LENT_BYTES = 1024 * 1024
"""Shorter bodies are not worth it."""
LOOK_SECONDS = 1.0
"""How often a worker that waits looks whether it is still to."""


class Wire:
    """The socket of a connection, for one worker. OSErrors are passed on; TimeoutError is the client that pauses."""

    def __init__(self, connected: socket.socket, patience_seconds: float) -> None:
        """`connected` is this object's from now on. It does not block, and stays so: the loop has it too."""
        self._socket = connected
        self._patience_seconds = patience_seconds
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._open = True
        self._lock = Lock()

    def send(self, data: bytes, watch: Callable[[], None]) -> None:
        """Send all of it. What `watch` raises ends the waiting for the client."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, watch)

    def receive(self, into: memoryview, watch: Callable[[], None]) -> int:
        """Receive something, and tell how much; 0 where the client has ended it."""
        while True:
            try:
                return self._socket.recv_into(into)
            except BlockingIOError:
                self._wait(select.POLLIN, watch)

    def _wait(self, event: int, watch: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._patience_seconds
        poll = select.poll()
        poll.register(self._socket, event)
        poll.register(self._alarm, select.POLLIN)
        while not (ready := poll.poll(LOOK_SECONDS * 1000)):
            watch()
            if time.monotonic() > deadline:
                raise TimeoutError
        if any(descriptor == self._alarm for descriptor, _ in ready):
            raise ConnectionAbortedError

    def cut(self) -> None:
        """Wake the worker, which waits for the client no more. Called by the loop; the connection stays as it is."""
        with self._lock:
            if self._open:
                os.eventfd_write(self._alarm, 1)

    def close(self) -> None:
        """Let go of it; the connection stays the loop's."""
        with self._lock:
            if self._open:
                self._open = False
                self._socket.close()
                os.close(self._alarm)
