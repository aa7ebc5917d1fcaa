"""The connection to libvirt: opened, watched, and opened again when it was lost. What is done through it is not here.

libvirtd comes and goes (it ends itself after two idle minutes, and upgrades restart it); the guests live on. A
connection whose daemon is gone never recovers (libvirt 9.0.0: every later call fails with 1 "client socket is closed")
and takes its event registrations with it, so one thread opens a new one and has everybody register again. Nobody waits
for that: `Connection.handle` answers or raises at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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
        self._lost: list[libvirt.virConnect] = []
        self._long: libvirt.virConnect | None = None
        self._long_lock = threading.Lock()
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
        """End it. Calls that are under way end with an error."""
        with self._state:
            self._closing = True
            handle, self._handle = self._handle, None
            self._state.notify_all()
        long, self._long = self._long, None
        if handle is not None:
            self._discard(handle)
        if long is not None:
            self._close(long)
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
        handle = self._handle
        return handle is not None and bool(handle.isAlive())

    def alive(self) -> bool:
        """Whether the threads that keep it are at work, whatever the daemon at its other end does."""
        keeper, loop = self._thread, self._loop
        turning = time.monotonic() - self._beat < LONGEST_SILENCE_SECONDS
        return turning and keeper is not None and keeper.is_alive() and loop is not None and loop.is_alive()

    @property
    def handle(self) -> libvirt.virConnect:
        """The live connection. HOST_OFFLINE at once if there is none."""
        handle = self._handle
        if handle is None:
            raise HostOffline(self.uri)
        if not handle.isAlive():
            self._lose(handle, "it is dead")
            raise HostOffline(self.uri)
        return handle

    @property
    def long(self) -> libvirt.virConnect:
        """A second connection for calls that take long: the daemon works on five calls of one connection at a time.

        HOST_OFFLINE if the first is lost or no second can be had. In process there is but one: its state is its own.
        """
        handle = self.handle
        if self.in_process:
            return handle
        with self._long_lock:
            if self._long is None or not self._long.isAlive():
                dead, self._long = self._long, None
                if dead is not None:
                    self._close(dead)
                try:
                    self._long = self._open()
                except libvirt.libvirtError as error:
                    raise HostOffline(self.uri) from error
            return self._long

    def suspect(self) -> bool:
        """Whether the connection is dead, to be asked after a call on it failed; if it is, the repair begins."""
        return not self._still_there()

    # --- inside

    def _still_there(self) -> bool:
        try:
            self.handle  # noqa: B018 - raises if it is gone
        except HostOffline:
            return False
        long = self._long
        return long is None or bool(long.isAlive())

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
                self._state.wait_for(lambda: self._handle is None or self._closing)
                lost, self._lost = self._lost, []
                closing = self._closing
            for handle in lost:
                self._discard(handle)
            if closing:
                return
            if self._connect():
                pause_seconds = FIRST_PAUSE_SECONDS
                continue
            with self._state:
                if self._state.wait_for(lambda: self._closing, pause_seconds):
                    return
            pause_seconds = min(2 * pause_seconds, self._longest_pause_seconds)

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
            self._state.notify_all()
        log.warning("%s is lost: %s", self.uri, why)

    def _discard(self, handle: libvirt.virConnect) -> None:
        for callback in list(self._close_callbacks):
            with suppress(libvirt.libvirtError):
                callback(handle)
        with suppress(libvirt.libvirtError):
            handle.unregisterCloseCallback()
        self._close(handle)

    @staticmethod
    def _close(handle: libvirt.virConnect) -> None:
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
