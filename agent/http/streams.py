"""Between the loop and a worker: an upload that a worker reads as it comes, a download that the loop sends as it is
made.

Never more than a few MiB are between the two. Both ends may give up at any time; the other one is told. A long body on
a plain connection need not come between them at all: the loop lends the worker the connection (``wires``).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from agent.errors import VdiIoError, XenError
from agent.http.wires import LOOK_SECONDS, Wire

HELD_BYTES = 4 * 1024 * 1024
"""So much may wait between the two."""


class _Pipe:
    def __init__(self, watch: Callable[[], None]) -> None:
        """`watch` is called by a worker that waits, now and then; what it raises ends the waiting."""
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        self._parts: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._failure: XenError | None = None
        self._wire: Wire | None = None
        self._changed = threading.Condition()
        self._wanted = 0
        """How many bytes the worker waits for; it is not woken for fewer."""
        self._on_loop = asyncio.Event()
        self._loop_waits = False

    def _wake_loop(self) -> None:
        """Let the loop's end look again, if it waits. Under the lock."""
        if self._loop_waits:
            self._loop_waits = False
            with suppress(RuntimeError):  # the loop has ended: nobody waits there
                self._loop.call_soon_threadsafe(self._on_loop.set)

    def _wait(self) -> None:
        """Wait as a worker, under the lock, for a while or until something changed."""
        if not self._changed.wait(LOOK_SECONDS):
            self._changed.release()
            try:
                self._watch()
            finally:
                self._changed.acquire()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait on the loop until it holds, which is asked under the lock."""
        while True:
            with self._changed:
                if holds():
                    return
                self._on_loop.clear()
                self._loop_waits = True
            await self._on_loop.wait()


class Upload(_Pipe):
    """A body on its way in. `feed`, `end` and `fail` are called on the loop, the rest by one worker."""

    def __init__(self, length: int | None, bounded: bool, watch: Callable[[], None]) -> None:
        """`length` is what the client announced, None for nothing that means anything; `bounded` whether where it ends
        can be told at all.
        """
        super().__init__(watch)
        self.length = length
        self.bounded = bounded
        self._abandoned = False
        self._left = 0
        """Of what comes on the wire."""
        self._early: XenError = VdiIoError("the upload ended before its end")

    async def feed(self, part: bytes) -> bool:
        """Hand it on, when there is room for it. False if nobody wants any more."""
        await self._until(lambda: self._bytes < HELD_BYTES or self._abandoned)
        with self._changed:
            if self._abandoned:
                return False
            self._parts.append(part)
            self._bytes += len(part)
            if self._bytes >= self._wanted:
                self._changed.notify()
        return True

    def end(self) -> None:
        """All of it has come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def lend(self, wire: Wire, left: int, early: XenError) -> None:
        """So many octets more come on the wire. `early` is raised where they do not."""
        with self._changed:
            self._wire, self._left, self._early, self._ended = wire, left, early, not left
            if self._abandoned:
                wire.close()
            self._changed.notify()

    def fail(self, failure: XenError) -> None:
        """No more of it will come. Nothing happens where all of it has."""
        with self._changed:
            if not self._ended:
                self._failure = self._failure or failure
                if self._wire is not None:
                    self._wire.cut()
            self._changed.notify()

    def read(self, length: int) -> bytes:
        """So many bytes, fewer only where it ends. What `fail` said is raised as soon as it was said."""
        data = bytearray(length)
        return bytes(memoryview(data)[: self.read_into(memoryview(data))])

    def read_into(self, view: memoryview) -> int:
        """The same into a buffer, which is filled; returns how many bytes."""
        got = 0
        while got < len(view) and (more := self._take(view[got:])):
            got += more
        return got

    def _take(self, view: memoryview) -> int:
        """Some bytes, at the end none."""
        got = 0
        with self._changed:
            self._wanted = min(len(view), HELD_BYTES // 2)
            while not (self._bytes >= self._wanted or self._ended or self._failure or self._wire):
                self._wait()
            if self._failure is not None:
                raise self._failure
            while self._parts and got < len(view):
                part = self._parts.popleft()
                if len(part) > len(view) - got:
                    self._parts.appendleft(part[len(view) - got :])
                    part = part[: len(view) - got]
                view[got : got + len(part)] = part
                got += len(part)
            self._bytes -= got
            self._wake_loop()
            if got or self._wire is None or self._ended:
                return got
        return self._receive(self._wire, view[: self._left])

    def _receive(self, wire: Wire, view: memoryview) -> int:
        got = 0
        with suppress(OSError):
            got = wire.receive(view, self._watch)
        with self._changed:
            if not got:
                raise self._failure or self._early
            self._left -= got
            self._ended = not self._left
        return got

    def abandon(self) -> None:
        """Nothing more of it is wanted."""
        with self._changed:
            self._abandoned = True
            self._parts.clear()
            self._bytes = 0
            self._wake_loop()
            if self._wire is not None:
                self._wire.close()


class Download(_Pipe):
    """A body on its way out. `write` and `end` are called by one worker, the rest on the loop."""

    _opened = False

    def open(self, wire: Wire | None = None) -> None:
        """Its head is sent: what is written goes out, on the wire if there is one."""
        with self._changed:
            self._opened, self._wire = True, wire
            if self._ended and wire is not None:
                wire.close()
            self._changed.notify()

    def write(self, data: bytes) -> None:
        """Hand it on, when there is room for it. What `abandon` said is raised."""
        with self._changed:
            while (not self._opened or self._bytes >= HELD_BYTES) and self._failure is None:
                self._wait()
            if self._failure is not None:
                raise self._failure
            wire = self._wire
            if wire is None:
                self._parts.append(data)
                self._bytes += len(data)
                self._wake_loop()
                return
        try:
            wire.send(data, self._watch)
        except OSError:
            raise self._failure or VdiIoError("the client went away before the end") from None

    def end(self) -> None:
        """All of it was handed on, or as much as there will be."""
        with self._changed:
            self._ended = True
            self._wake_loop()
            if self._wire is not None:
                self._wire.close()

    async def part(self) -> bytes:
        """The next part that is the loop's to send; empty at the end."""
        await self._until(lambda: bool(self._parts) or self._ended)
        with self._changed:
            if not self._parts:
                return b""
            data = self._parts.popleft()
            self._bytes -= len(data)
            self._changed.notify()
            return data

    def abandon(self, failure: XenError) -> None:
        """Nobody takes any more of it."""
        with self._changed:
            self._failure = failure
            self._parts.clear()
            if self._wire is not None:
                self._wire.cut()
            self._changed.notify()
