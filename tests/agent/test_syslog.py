"""The agent's log sent to another host: to a real socket, by a thread that nobody waits for."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from agent.syslog import LINE_BYTES, Forwarder, Remote
from tests.door import WAIT_SECONDS, Door

HEADER = re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ xen-host-agent\[\d+\]: (.*)")


class Server:
    """A syslog server."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(WAIT_SECONDS)
        self.place = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def next(self) -> tuple[int, str]:
        """Priority and text of the next line."""
        match = HEADER.fullmatch(self.socket.recv(65536))
        assert match is not None
        return int(match[1]), match[2].decode()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.socket.close()


class Place:
    """Where the log is sent now."""

    now = ""


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def forwarder(place: Place) -> Iterator[Forwarder]:
    """The handler, hearing what loggers below ``told`` say, and ``agent.syslog`` itself."""
    made = Forwarder(lambda: place.now, FEW)
    loggers = [logging.getLogger(name) for name in ("told", "agent.syslog")]
    for logger in loggers:
        logger.addHandler(made)
        logger.setLevel(logging.INFO)
    yield made
    for logger in loggers:
        logger.removeHandler(made)
        logger.setLevel(logging.NOTSET)
    made.close()


log = logging.getLogger("told.here")
DAEMON = 3 * 8
FEW = 20
"""Lines that may wait: as many as surely fit into what a socket keeps for its reader."""


def test_entries_are_sent_where_the_destination_says(forwarder: Forwarder, place: Place, server: Server) -> None:
    log.warning("to nobody")
    forwarder._lines.put(logging.LogRecord("told", logging.INFO, "", 0, "also to nobody", (), None))
    while not forwarder._lines.empty():
        threading.Event().wait(0.01)
    place.now = server.place
    log.warning("to %s", "somebody")
    assert server.next() == (DAEMON + 4, "told.here: to somebody")
    other = Server()
    place.now = other.place
    log.error("to another\nmade up: line")
    assert other.next() == (DAEMON + 3, "told.here: to another\\nmade up: line")
    place.now = ""
    log.error("to nobody")
    place.now = server.place
    log.info("back")
    lines = [server.next()]
    if lines[-1][1] == "told.here: to nobody":  # the thread may look later than it was told
        lines.append(server.next())
    assert lines[-1] == (DAEMON + 6, "told.here: back")
    other.socket.close()


def test_a_long_entry_is_cut(forwarder: Forwarder, place: Place, server: Server) -> None:
    place.now = server.place
    log.info("ü" * LINE_BYTES)
    _, text = server.next()
    assert 0.9 * LINE_BYTES < len(text.encode()) < LINE_BYTES
    assert set(text.removeprefix("told.here: ")) == {"ü"}


@pytest.mark.fault("F21")
def test_nobody_waits_for_a_server(
    forwarder: Forwarder, place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go = threading.Event(), threading.Event()
    send = Remote.emit

    def slow(self: Remote, record: logging.LogRecord) -> None:
        held.set()
        assert go.wait(WAIT_SECONDS)
        send(self, record)

    monkeypatch.setattr(Remote, "emit", slow)
    place.now = server.place
    log.info("first")
    assert held.wait(WAIT_SECONDS)
    for number in range(FEW + 5):
        log.info("%d", number)
    go.set()
    assert server.next()[1] == "told.here: first"
    texts = [server.next()[1]]
    while not texts[-1].startswith("agent.syslog:"):
        texts.append(server.next()[1])
    assert texts[-1] == f"agent.syslog: 5 lines of the log were not sent to {server.place}: they came too fast"
    assert "told.here: 0" in texts


@pytest.mark.fault("F21")
def test_a_server_that_cannot_be_found_is_told_of_once(
    forwarder: Forwarder,
    place: Place,
    server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find, blind = socket.getaddrinfo, threading.Event()
    blind.set()

    def found(*args: object, **options: object) -> object:
        if blind.is_set():
            raise socket.gaierror(-2, "Name or service not known")
        return find(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    place.now = server.place
    for number in range(5):
        log.info("lost %d", number)
    while not forwarder._lines.empty():
        threading.Event().wait(0.01)
    blind.clear()
    log.info("found")
    assert server.next()[1] == "told.here: found"
    assert server.next()[1] == f"agent.syslog: the log is sent to {server.place} again"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [f"the log cannot be sent to {server.place}: [Errno -2] Name or service not known"]


def test_what_waits_is_sent_at_the_end(place: Place, server: Server) -> None:
    place.now = server.place
    forwarder = Forwarder(lambda: place.now, FEW)
    for text in ("one", "two"):
        forwarder.handle(logging.LogRecord("told", logging.INFO, "", 0, text, (), None))
    forwarder.close()
    assert not forwarder._thread.is_alive()
    assert [server.next()[1], server.next()[1]] == ["told: one", "told: two"]


# --- host.logging


@pytest.mark.parametrize(
    "value", ["", "log", "log.example.org", "192.0.2.7", "192.0.2.7:1514", "2001:db8::7", "[2001:db8::7]:514", "[::1]"]
)
def test_a_destination_is_a_host(door: Door, value: str) -> None:
    host = door.observer.host
    door("host.set_logging", host, {"syslog_destination": value})
    assert host.logging == {"syslog_destination": value}
    door("host.remove_from_logging", host, "syslog_destination")
    door("host.add_to_logging", host, "syslog_destination", value)


@pytest.mark.parametrize(
    "value", ["a b", "log:0", "log:65536", "log:", ":514", "http://log", "1::2::3", "[log]", "-v;x"]
)
def test_what_is_no_host_is_none(door: Door, value: str) -> None:
    host = door.observer.host
    assert door.refused("host.set_logging", host, {"syslog_destination": value})[:2] == ["INVALID_VALUE", "logging"]
    assert host.logging == {}


def test_other_keys_are_refused(door: Door) -> None:
    host = door.observer.host
    assert door.refused("host.set_logging", host, {"level": "debug"})[:3] == ["VALUE_NOT_SUPPORTED", "logging", "level"]


def test_a_client_can_have_it_said_where_the_log_goes(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    host = door.observer.host
    door("host.syslog_reconfigure", host)
    door("host.set_logging", host, {"syslog_destination": "log.example.org"})
    door("host.syslog_reconfigure", host)
    told = [record.getMessage() for record in caplog.records if "the log is sent" in record.getMessage()]
    assert told == ["the log is sent to no other host", "the log is sent to log.example.org"]
