"""The connection to libvirt: opened, watched, and opened again when it was lost. What is done through it is not here.

libvirtd comes and goes (it ends itself after two idle minutes, and upgrades restart it); the guests live on. A
connection whose daemon is gone never recovers (libvirt 9.0.0: every later call fails with 1 "client socket is closed")
and takes its event registrations with it, so one thread opens a new one and has everybody register again. Nobody waits
for that: without one, `Connection.handle` raises at once.

Events have a connection of their own, and so has each thread that makes calls. Where two threads share one, libvirt's
client (9.0.0, until 10.4: CVE-2024-4418) keeps in its poll what lies on the stack of a thread that has gone, and when
the daemon hangs and keepalive ends the call of one, the other polls on for ever, or the process dies of what it reads
there. Then, too, the daemon's limit of five calls at a time on a connection lets no long call hold up a short one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import ClassVar

import libvirt

from agent.errors import HostOffline
from drivers import reasons

log = logging.getLogger(__name__)

KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_REMOTE_SECONDS = 30.0
"""An attempt at another host costs an ssh or TLS handshake."""
BEAT_SECONDS = 2
LONGEST_SILENCE_SECONDS = 20.0
"""libvirt's event loop runs callbacks of seconds at the most; one that turns so slowly stands."""
FIRST_ATTEMPT_SECONDS = 10.0
"""How long start waits for a daemon that takes the connection and then says nothing."""
LONG_AT_ONCE = 12
"""Calls that hold one of the daemon's workers for long: it has 20 (max_workers), and ours are not its only clients."""


class Connection:
    """One hypervisor, by libvirt URI. Safe to use from any thread."""

    _loop_lock: ClassVar[threading.Lock] = threading.Lock()
    _loop: ClassVar[threading.Thread | None] = None
    """libvirt has one event loop a process, and no way to take it back; so there is one thread that runs it."""
    _beat: ClassVar[float] = 0.0
    """When that loop last turned, on the monotonic clock."""

    def __init__(self, uri: str, *, opener: Callable[[str], libvirt.virConnect] = libvirt.open) -> None:
        self.uri = uri
        scheme, _, rest = uri.partition(":")
        self.in_process = scheme == "test"
        """Whether the hypervisor is libvirt's own simulation within this process: it cannot be lost."""
        self.local = rest.startswith("///")
        """Whether the hypervisor is on this host."""
        remote = "+" in scheme and not self.local
        self._longest_pause_seconds = LONGEST_PAUSE_REMOTE_SECONDS if remote else LONGEST_PAUSE_SECONDS
        self._opener = opener
        self._state = threading.Condition()
        self._handle: libvirt.virConnect | None = None
        """The one with the events. But in process, only the thread that keeps it makes calls on it."""
        self._lost: list[libvirt.virConnect] = []
        self._doubted = False
        self._wishes: list[Future[libvirt.virConnect]] = []
        self._own = threading.local()
        self._long = threading.BoundedSemaphore(LONG_AT_ONCE)
        self.epoch = 0
        """How often it was connected: what was known of the daemon before may not hold any more."""
        self._attempted = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._connect_callbacks: list[Callable[[libvirt.virConnect], None]] = []
        self._close_callbacks: list[Callable[[libvirt.virConnect], None]] = []

    # --- life

    def start(self) -> None:
        """Begin; returns when the first attempt has ended, or has hung for ten seconds. No answer is no error."""
        self._run_event_loop()
        self._thread = threading.Thread(target=self._supervise, name=f"libvirt {self.uri}", daemon=True)
        self._thread.start()
        with self._state:
            if not self._state.wait_for(lambda: self._attempted, FIRST_ATTEMPT_SECONDS):
                log.warning("%s does not answer; the attempt goes on", self.uri)

    def close(self) -> None:
        """End it. Calls that are under way in other threads go on to their end."""
        with self._state:
            self._closing = True
            if self._handle is not None:
                self._lost.append(self._handle)
            self._handle = None
            self._refuse_wishes()
            self._state.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=LONGEST_PAUSE_SECONDS)

    def on_connect(self, callback: Callable[[libvirt.virConnect], None]) -> None:
        """Have `callback` called with each new live connection, the first included; at once if there is one now."""
        with self._state:
            self._connect_callbacks.append(callback)
            handle = self._handle
        if handle is not None:
            self._run([callback], handle)

    def on_close(self, callback: Callable[[libvirt.virConnect], None]) -> None:
        """Have `callback` called before a connection is closed, alive or dead: the place to take registrations back."""
        self._close_callbacks.append(callback)

    # --- use

    @property
    def connected(self) -> bool:
        """Whether there is a connection and nothing speaks against it."""
        return self._handle is not None

    def alive(self) -> bool:
        """Whether the threads that keep it are at work, whatever the daemon at its other end does."""
        keeper, loop = self._thread, self._loop
        turning = time.monotonic() - self._beat < LONGEST_SILENCE_SECONDS
        return turning and keeper is not None and keeper.is_alive() and loop is not None and loop.is_alive()

    @property
    def handle(self) -> libvirt.virConnect:
        """The live connection of the calling thread; no other thread may use it, nor an object that came from it.

        HOST_OFFLINE at once if the daemon is not there. In process all share one: its state is its own.
        """
        shared = self._handle
        if shared is None:
            raise HostOffline(self.uri)
        if self.in_process or threading.current_thread() is self._thread:
            return shared
        own: libvirt.virConnect | None = getattr(self._own, "handle", None)
        if own is None or not own.isAlive():
            self._own.handle = None
            own = self._own.handle = self.another()
        return own

    def another(self) -> libvirt.virConnect:
        """A connection beside, closed when nothing refers to it any more, nor to an object that came from it.

        HOST_OFFLINE if none can be had, or as soon as it is known that the daemon hangs. In process it is the one.
        """
        wish: Future[libvirt.virConnect] = Future()
        with self._state:
            if self._handle is None:
                raise HostOffline(self.uri)
            if self.in_process:
                return self._handle
            self._wishes.append(wish)
            self._state.notify_all()
        return wish.result()

    @contextmanager
    def long(self) -> Iterator[None]:
        """While a call is made that takes long: of those a few are made at once, and others wait their turn here."""
        if self.in_process:
            yield
            return
        with self._long:
            yield

    def suspect(self) -> bool:
        """Whether the connection is dead, to be asked after a call on it failed; if it is, the repair begins."""
        shared = self._handle
        if shared is None:
            return True
        own = shared if self.in_process else getattr(self._own, "handle", None)
        if own is not None and own.isAlive():
            return False
        with self._state:
            self._doubted = True
            self._state.notify_all()
        return True

    # --- inside

    def _open(self) -> libvirt.virConnect:
        handle = self._opener(self.uri)
        try:
            handle.setKeepAlive(KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            # The in-process driver, libvirt 9.0.0: "this function is not supported by the connection driver".
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        return handle

    def _supervise(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            with self._state:
                self._state.wait_for(lambda: self._handle is None or self._doubted or self._wishes)
                lost, self._lost = self._lost, []
                self._doubted = False
                shared, closing = self._handle, self._closing
                wish = self._wishes[0] if self._wishes else None
            for handle in lost:
                self._discard(handle)
            if closing:
                return
            if shared is not None:
                if not shared.isAlive():
                    self._lose(shared, "it is dead")
                elif wish is not None:
                    self._grant(wish)
                continue
            if self._connect():
                pause_seconds = FIRST_PAUSE_SECONDS
                continue
            with self._state:
                if self._state.wait_for(lambda: self._closing, pause_seconds):
                    continue
            pause_seconds = min(2 * pause_seconds, self._longest_pause_seconds)

    def _grant(self, wish: Future[libvirt.virConnect]) -> None:
        """Open a connection for a thread. Where the daemon hangs this may take for ever; who waits does not."""
        made: libvirt.virConnect | None = None
        with suppress(libvirt.libvirtError):
            made = self._open()
        with self._state:
            if wish.done():
                return
            self._wishes.remove(wish)
            if made is None:
                wish.set_exception(HostOffline(self.uri))
            else:
                wish.set_result(made)

    def _refuse_wishes(self) -> None:
        """With the lock held: those who wait for a connection need not any longer."""
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish.set_exception(HostOffline(self.uri))

    def _connect(self) -> bool:
        try:
            handle = self._open()
            handle.registerCloseCallback(self._closed, None)
        except libvirt.libvirtError as error:
            if not self._attempted:
                log.warning("%s cannot be reached, trying on: %s", self.uri, error)
            self._end_attempt()
            return False
        with self._state:
            closing = self._closing
            if not closing:
                self._handle = handle
                self.epoch += 1
            callbacks = list(self._connect_callbacks)
        if closing:
            self._discard(handle)
            return False
        log.info("%s is connected", self.uri)
        whole = self._run(callbacks, handle)
        self._end_attempt()
        return whole

    def _end_attempt(self) -> None:
        with self._state:
            self._attempted = True
            self._state.notify_all()

    def _run(self, callbacks: list[Callable[[libvirt.virConnect], None]], handle: libvirt.virConnect) -> bool:
        """Whether all ran; a connection that dies meanwhile is lost, and the next one calls them all again."""
        for callback in callbacks:
            try:
                callback(handle)
            except (libvirt.libvirtError, HostOffline) as error:
                self._lose(handle, str(error))
                return False
        return True

    def _closed(self, handle: libvirt.virConnect, reason: int, opaque: object) -> None:
        # Runs in whatever thread was doing libvirt's input and output just then.
        reasons = {libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "the daemon closed it"}
        reasons[libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "the daemon does not answer"
        self._lose(handle, reasons.get(reason, f"reason {reason}"))

    def _lose(self, handle: libvirt.virConnect, why: str) -> None:
        with self._state:
            if handle is not self._handle:
                return
            self._handle = None
            self._lost.append(handle)
            self._refuse_wishes()
            self._state.notify_all()
        log.warning("%s is lost: %s", self.uri, why)

    def _discard(self, handle: libvirt.virConnect) -> None:
        for callback in list(self._close_callbacks):
            with suppress(libvirt.libvirtError):
                callback(handle)
        with suppress(libvirt.libvirtError):
            handle.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            handle.close()

    @classmethod
    def _note_beat(cls, timer: int, opaque: object) -> None:
        Connection._beat = time.monotonic()

    @classmethod
    def _run_event_loop(cls) -> None:
        """Events and keepalive need a loop that was registered before the first connection was opened."""
        with cls._loop_lock:
            if cls._loop is None:
                reasons.keep()
                libvirt.virEventRegisterDefaultImpl()
                cls._note_beat(0, None)
                libvirt.virEventAddTimeout(BEAT_SECONDS * 1000, cls._note_beat, None)
                cls._loop = threading.Thread(target=_run_events, name="libvirt events", daemon=True)
                cls._loop.start()


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.error("libvirt's event loop: %s", error)
            time.sleep(1)
