"""Consoles opened: a VNC server by its address, a text console by libvirt's stream. Either comes out as a socket.

A stream of libvirt has no file descriptor, so one end of a socket pair stands for it, and what is to move between the
two is moved in libvirt's event thread, as virsh does it: a call that blocks there would hold up all events, so both
ends are without blocking, and what does not go on is waited for with nothing more taken in from the other side. Ending
a stream asks the daemon and may wait for it, so that is done elsewhere.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, RLock, Thread

import libvirt

from agent.errors import OperationNotAllowed

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
CHUNK = 16 * 1024
"""The most that waits in either direction."""
WAIT = -2
"""What a stream without blocking answers where it would have to wait (libvirt-python 12.8.0)."""
STREAM_IN, STREAM_OUT = libvirt.VIR_STREAM_EVENT_READABLE, libvirt.VIR_STREAM_EVENT_WRITABLE
SOCKET_IN, SOCKET_OUT = libvirt.VIR_EVENT_HANDLE_READABLE, libvirt.VIR_EVENT_HANDLE_WRITABLE


def connect_vnc(place: str) -> socket.socket:
    """A connection to the VNC server at an address and port, or at the path of a Unix socket."""
    try:
        if place.startswith("/"):
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(CONNECT_SECONDS)
                made.connect(place)
            except OSError:
                made.close()
                raise
        else:
            name, _, port = place.rpartition(":")
            made = socket.create_connection((name.strip("[]"), int(port)), CONNECT_SECONDS)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise OperationNotAllowed(f"the VNC server at {place} does not answer: {error.strerror or error}") from error
    made.setblocking(False)
    return made


class TextConsole:
    """An open text console. It lives until either end is closed, or `end` is called."""

    def __init__(self, stream: libvirt.virStream, ended: Callable[[TextConsole], None]) -> None:
        """`ended` is told, in any thread, when it is over. The stream's connection should be nobody else's."""
        self.client, self._ours = socket.socketpair()
        self.client.setblocking(False)
        self._ours.setblocking(False)
        self._stream = stream
        self._ended = ended
        self._lock = RLock()
        self._open = True
        self._client_sends = True
        self._to_client = b""
        self._to_console = b""
        self._watch = -1

    def start(self) -> None:
        """Let it flow. libvirtError if the stream has ended already."""
        with self._lock:
            self._stream.eventAddCallback(STREAM_IN, self._stream_is_ready, None)
            self._watch = libvirt.virEventAddHandle(self._ours.fileno(), SOCKET_IN, self._socket_is_ready, None)

    def end(self) -> None:
        """Close it. What the client has not read by now it still may."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            with suppress(libvirt.libvirtError):
                self._stream.eventRemoveCallback()
            if self._watch >= 0:
                libvirt.virEventRemoveHandle(self._watch)
            self._ours.close()
            # The thread has the last reference, and with that ends the connection.
            Thread(target=_abort, args=(self._stream,), name="console end", daemon=True).start()
            del self._stream
        self._ended(self)

    # --- in libvirt's event thread

    def _stream_is_ready(self, stream: libvirt.virStream, events: int, opaque: object) -> None:
        self._go_on()

    def _socket_is_ready(self, watch: int, descriptor: int, events: int, opaque: object) -> None:
        # A client that has closed is told of as hung up whatever is waited for; one that only sends no more is not.
        if events & (libvirt.VIR_EVENT_HANDLE_HANGUP | libvirt.VIR_EVENT_HANDLE_ERROR):
            self.end()
        else:
            self._go_on()

    def _go_on(self) -> None:
        with self._lock:
            if not self._open:
                return
            try:
                if self._move_out():
                    self._move_in()
                    self._wait_for_more()
                    return
            except (libvirt.libvirtError, OSError) as error:
                log.debug("a text console ended: %s", error)
            self.end()

    def _move_out(self) -> bool:
        """What the console shows, to the client. False at its end."""
        if not self._to_client:
            got = self._stream.recv(CHUNK)
            if got == WAIT:
                return True
            if not got:
                return False
            self._to_client = got
        with suppress(BlockingIOError):
            self._to_client = self._to_client[self._ours.send(self._to_client) :]
        return True

    def _move_in(self) -> None:
        """What the client types, to the console."""
        if not self._to_console and self._client_sends:
            try:
                self._to_console = self._ours.recv(CHUNK)
                self._client_sends = bool(self._to_console)
            except BlockingIOError:
                return
        if self._to_console:
            taken = self._stream.send(self._to_console)
            if taken != WAIT:
                self._to_console = self._to_console[taken:]

    def _wait_for_more(self) -> None:
        """Have us called when what waits can go on, or where nothing waits, when something comes."""
        self._stream.eventUpdateCallback(
            (0 if self._to_client else STREAM_IN) | (STREAM_OUT if self._to_console else 0)
        )
        listen = SOCKET_IN if self._client_sends and not self._to_console else 0
        libvirt.virEventUpdateHandle(self._watch, listen | (SOCKET_OUT if self._to_client else 0))


def _abort(stream: libvirt.virStream) -> None:
    """End the stream as soon as the event thread has let go of it."""
    turned = Event()
    timer = libvirt.virEventAddTimeout(0, lambda timer, opaque: turned.set(), None)
    turned.wait()
    libvirt.virEventRemoveTimeout(timer)
    with suppress(libvirt.libvirtError):
        stream.abort()
