"""The agent's service in dom0, as those outside reach it; and waiting, for as long as emulation may need."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xmlrpc.client import SafeTransport

import XenAPI

from lab.dom0 import Dom0

if TYPE_CHECKING:
    from _typeshed import SizedBuffer

PATIENCE_SECONDS = 600.0
"""An emulated machine on busy processors is slow; that is no failure."""
USER = "root"
PASSWORD = "lab"


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition for as long as emulation may need; fail naming it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.2)


def trusting() -> ssl.SSLContext:
    """For the certificate that the agent made itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Transport(SafeTransport):
    """Python's own, for a service that is started anew: it connects once more where a call finds its connection ended,
    but not over TLS if it was still sending (docs/clients/xenapi.md).
    """

    def send_content(self, connection: http.client.HTTPConnection, request_body: SizedBuffer) -> None:
        try:
            super().send_content(connection, request_body)
        except ssl.SSLEOFError as ended:
            raise BrokenPipeError(errno.EPIPE, str(ended)) from ended


@dataclass(frozen=True)
class InstalledAgent:
    """The agent's service in dom0, and the way to it from outside."""

    dom0: Dom0
    url: str

    @contextmanager
    def session(self, user: str = USER, password: str = PASSWORD) -> Iterator[XenAPI.Session]:
        """A session with the stock client, of the pool admin if nobody else is named."""
        session = XenAPI.Session(self.url, transport=Transport(context=trusting()))
        try:
            session.xenapi.login_with_password(user, password)
            yield session
            session.xenapi.session.logout()
        finally:
            session._ServerProxy__close()  # its connection; the name is Python's for ServerProxy's private method

    @contextmanager
    def opened(self, location: str) -> Iterator[socket.socket]:
        """A connection to the console at this URL of the agent's, by CONNECT; the lab's port stands for dom0's."""
        place, there = urlsplit(location), urlsplit(self.url)
        assert place.scheme == "https"
        with (
            self.session() as session,
            socket.create_connection((there.hostname, there.port), PATIENCE_SECONDS) as plain,
            trusting().wrap_socket(plain) as connection,
        ):
            request = f"CONNECT {place.path}?{place.query}&session_id={session.handle} HTTP/1.0\r\n\r\n"
            connection.sendall(request.encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                assert byte, f"the agent ended the connection after {head!r}"
                head += byte
            assert b" 200 " in head.splitlines()[0], head
            yield connection

    def answers(self) -> bool:
        """Can one log in."""
        try:
            with self.session():
                return True
        except OSError:
            return False

    def log(self) -> str:
        """What the service logged last, for those who wonder why a test failed."""
        return self.dom0.run("journalctl --unit xen-host-agent --no-pager --lines 200", check=False).stdout
