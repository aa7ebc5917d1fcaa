"""``xen-host-agent call`` and ``watch``: a small XenAPI client over JSON-RPC, for the shell.

It uses the standard library only, and knows no class and nothing of the agent's inside: what a message is called and
what it takes is for the server to say.
"""

from __future__ import annotations

import argparse
import errno
import getpass
import hashlib
import hmac
import http.client
import json
import os
import shlex
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Self
from urllib.parse import urlsplit

from agent.cli import PASSWORD_VARIABLE, complain, password_line
from agent.terminal import as_json, printable
from agent.users import UsersError

CONNECT_SECONDS = 10.0
POLL_SECONDS = 30.0
RETRY_STEPS, RETRY_STEP_SECONDS = 10, 0.1
LOGINS = ("session.login_with_password", "session.slave_local_login_with_password")
"""What takes no session; messages that need none but allow one are sent with it."""


class Failure(Exception):
    """The agent answered with a XenAPI error: its code and parameters."""

    def __init__(self, code: str, params: list[str]) -> None:
        super().__init__(shlex.join([code, *params]))
        self.code = code
        self.params = params


class Unreachable(Exception):
    """Nobody answers at the address, or what answers does not speak XenAPI."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class PinnedConnection(http.client.HTTPSConnection):
    """HTTP over TLS, to the one whose certificate has this SHA-256 fingerprint, where one is given."""

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext, fingerprint: str | None) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS, context=context)
        self._fingerprint = fingerprint

    def connect(self) -> None:
        """Open the connection; ssl.SSLError where it is another's."""
        super().connect()
        found = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if self._fingerprint and not hmac.compare_digest(found, self._fingerprint):
            self.close()
            raise ssl.SSLError(f"the certificate has the fingerprint {found}")


class Agent:
    """One agent at an address, and the session there. Not for several threads."""

    def __init__(
        self, url: str, *, insecure: bool = False, ca: Path | None = None, fingerprint: str | None = None
    ) -> None:
        self.url = url
        self.session = ""
        self._insecure = insecure
        self._ca = ca
        self._fingerprint = fingerprint
        self._number = 0
        self._interrupted = False
        self._http = self.connection()

    def connection(self) -> http.client.HTTPConnection:
        """A connection of its own, not yet opened; Unreachable where the address is none."""
        if self.url.startswith("unix:"):
            return UnixConnection(self.url.removeprefix("unix:"), CONNECT_SECONDS)
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Unreachable(f"{self.url}: {error}") from None
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise Unreachable(f"{self._ca}: {error.strerror or error}") from None
        if self._insecure or self._fingerprint:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return PinnedConnection(host, port, context, self._fingerprint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.logout()
        self.close()

    def login(self, user: str, password: str) -> None:
        """Open a session."""
        self.session = str(self.send(LOGINS[0], user, password, "1.0", "xen-host-agent"))

    def logout(self) -> None:
        """End the session if there is one, and the agent is there to be told."""
        if self.session:
            # A message may have been interrupted half-way: the connection of Python 3.11's http.client keeps what it
            # had put together even when it is closed, and would send it before the next request.
            self.close()
            self._http = self.connection()
            self._interrupted = False
            with suppress(Failure, Unreachable):
                self.send("session.logout", self.session)

    def interrupt(self) -> None:
        """Have the message under way, or the next one, end as if the agent had gone away. Safe in a signal handler."""
        self._interrupted = True
        connected = self._socket()
        if connected is not None:
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up; the next message connects anew."""
        self._http.close()

    def _socket(self) -> socket.socket | None:
        return self._http.sock

    def _connect(self) -> None:
        """Connect where that is needed: http.client hangs up by itself when an answer says that it is the last."""
        if self._socket() is None:
            self._http.connect()
            connected = self._socket()
            if connected is not None:
                connected.settimeout(None)  # a verb may take hours

    def send(self, method: str, *params: object) -> Any:
        """The result of one message. Failure or Unreachable."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        try:
            self._connect()
            if self._interrupted:
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
            self._http.request("POST", "/jsonrpc", json.dumps(request), {"Content-Type": "application/json"})
            response = self._http.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(
                f"{self.url}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
            ) from error
        if response.status != 200:
            raise Unreachable(f"{self.url} answers {response.status} {response.reason}")
        try:
            reply = json.loads(body)
            if "error" in reply:
                raise Failure(reply["error"]["message"], [str(param) for param in reply["error"]["data"]])
            return reply["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"{self.url} answers something that is not JSON-RPC: {body[:80]!r}") from error


def _password(args: argparse.Namespace) -> str:
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if args.password_file is not None:
        try:
            return str(args.password_file.read_text("utf-8").partition("\n")[0])
        except (OSError, UnicodeDecodeError) as error:
            raise UsersError(f"{args.password_file}: {getattr(error, 'strerror', None) or error}") from None
    if sys.stdin.isatty():
        return getpass.getpass(f"Password for {args.user} at {args.url}: ")
    return password_line()


def _agent(args: argparse.Namespace) -> Agent:
    return Agent(args.url, insecure=args.insecure, ca=args.ca, fingerprint=args.fingerprint)


def trusted(args: argparse.Namespace) -> bool:
    """Whether the agent asks this user for no password."""
    return os.geteuid() == 0 and args.user == "root" and str(args.url).startswith("unix:")


@contextmanager
def connected(args: argparse.Namespace) -> Iterator[Agent]:
    """The agent that the options of the command line name, logged in."""
    password = _needed_password(args)
    with _agent(args) as agent:
        agent.login(args.user, password)
        yield agent


def _needed_password(args: argparse.Namespace) -> str:
    """Over a Unix socket the agent takes root at his word: then nothing needs to be typed or read."""
    known = args.password_file is not None or PASSWORD_VARIABLE in os.environ
    return "" if trusted(args) and not known else _password(args)


def argument(text: str) -> object:
    """An ARG as it is sent: what it says as JSON, else the text itself."""

    def refuse(word: str) -> object:
        raise ValueError(word)

    try:
        # Python's reader takes NaN and Infinity, which are no JSON: a machine may be called so.
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def run_call(args: argparse.Namespace) -> int:
    """``call``: one message, its result as JSON."""
    params = [argument(text) for text in args.args]
    try:
        with _agent(args) as agent:
            if args.message not in LOGINS:
                agent.login(args.user, _needed_password(args))
                params.insert(0, agent.session)
            result = agent.send(args.message, *params)
    except Failure as failure:
        print(printable(str(failure)), file=sys.stderr)
        return 1
    except (Unreachable, UsersError) as error:
        return complain(error)
    print(as_json(result))
    return 0


def run_guests(args: argparse.Namespace) -> int:
    """``guests``: start or stop the machines that go up and down with the host."""
    try:
        with connected(args) as agent:
            for host in agent.send("host.get_all", agent.session):
                agent.send(f"host.{args.action}_guests", agent.session, host)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except (Unreachable, UsersError) as error:
        return complain(error)
    return 0


def run_watch(args: argparse.Namespace) -> int:
    """``watch``: events until SIGINT or SIGTERM, which is its good end."""
    try:
        password = _needed_password(args)
        with _agent(args) as agent:
            watcher = Watcher(agent, args.user, password, args.classes or ["*"], changes_only=args.changes_only)
            # SIGINT too: a shell has what it runs in the background ignore it.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, watcher.end)
            watcher.run()
    except Failure as failure:
        print(printable(str(failure)), file=sys.stderr)
        return 1
    except (Unreachable, UsersError) as error:
        return complain(error)
    return 0


def _note(text: str) -> None:
    print(printable(f"xen-host-agent: {text}"), file=sys.stderr, flush=True)


class Watcher:
    """Follows the events of some classes, and prints them."""

    def __init__(self, agent: Agent, user: str, password: str, classes: list[str], *, changes_only: bool) -> None:
        self._agent = agent
        self._user = user
        self._password = password
        self._classes = classes
        self._silent = changes_only
        self._token = ""
        self._names: dict[str, str] = {}
        self._ended = False

    def end(self, number: int, frame: FrameType | None) -> None:
        """Take a signal. It raises nothing: Python drops an exception that comes up while it finalizes an object."""
        self._ended = True
        self._agent.interrupt()

    def _over(self) -> bool:
        return self._ended

    def run(self) -> None:
        """Print events until `end`. Failure, or Unreachable where nobody has ever answered."""
        connected = False
        while not self._over():
            try:
                if not self._agent.session:
                    self._agent.login(self._user, self._password)
                    connected = True
                self._batch()
            except Unreachable as error:
                if self._over():
                    return
                if not connected:
                    raise
                _note(f"{error}; trying again")
                self._pause()
            except Failure as failure:
                self._mend(failure)

    def _mend(self, failure: Failure) -> None:
        if failure.code == "EVENTS_LOST":
            _note("events were lost; everything comes anew")
            self._token = ""
        elif failure.code == "SESSION_INVALID":
            _note("the session is over; logging in again")
            self._agent.session = ""
        else:
            raise failure

    def _pause(self) -> None:
        for _ in range(RETRY_STEPS):
            if not self._over():
                time.sleep(RETRY_STEP_SECONDS)

    def _batch(self) -> None:
        """Wait for events, half a minute at the most, and print them."""
        reply = self._agent.send("event.from", self._agent.session, self._classes, self._token, POLL_SECONDS)
        for event in reply["events"]:
            line = self._line(event)
            if not self._silent:
                print(printable(line), flush=True)
        if self._silent:
            _note("watching")
        self._silent = False
        self._token = reply["token"]

    def _line(self, event: dict[str, Any]) -> str:
        ref = event["ref"]
        # A deleted object has no record any more; its name is the last one known.
        name = self._names.pop(ref, "") if event["operation"] == "del" else ""
        snapshot = event.get("snapshot")
        if isinstance(snapshot, dict) and event["operation"] != "del":
            name = self._names[ref] = str(snapshot.get("name_label", ""))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{now} {event['class']} {event['operation']} {ref} {' '.join(name.split())}".rstrip()
