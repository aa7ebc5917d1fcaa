"""Consoles of the daemon as its users start it: over TLS and without, by the URL that the API tells.

libvirt's test hypervisor plays no VNC server, but it names one where its description of the world does; the test is it.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from agent.roles import Role
from agent.users import Users
from tests.front_door.conftest import PASSWORD, Daemon, eventually

GREETING = b"RFB 003.008\n"
WAIT_SECONDS = 60.0
WORLD = """<node><domain type='test'><name>screened</name><memory>262144</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type></os><devices>
<graphics type='vnc' port='{port}' listen='127.0.0.1'/></devices></domain></node>"""


class Echo:
    """A VNC server that greets, and then says everything again."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    @staticmethod
    def _talk(link: socket.socket) -> None:
        with link:
            link.sendall(GREETING)
            while data := link.recv(65536):
                link.sendall(data)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("consoles")
    echo = Echo()
    world = folder / "world.xml"
    world.write_text(WORLD.format(port=echo.port))
    listen = ("http://127.0.0.1:0", "https://127.0.0.1:0")
    started = Daemon(folder / "state", f"test://{world}", listen)
    started.start()
    yield started
    started.stop()
    echo.server.close()


@pytest.fixture
def session(daemon: Daemon) -> Iterator[Any]:
    opened = daemon.login()
    yield opened
    opened.xenapi.session.logout()


@pytest.fixture
def record(session: Any) -> dict[str, Any]:
    """The one console there is."""
    [found] = session.xenapi.console.get_all_records().values()
    assert isinstance(found, dict)
    return found


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    link = socket.create_connection((parts.hostname, parts.port), WAIT_SECONDS)
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(link)
    return link


def read(link: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length and (part := link.recv(length - len(got))):
        got += part
    return got


def answered(link: socket.socket) -> bytes:
    """The head of an answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (part := link.recv(1)):
        head += part
    return head


def test_the_location_is_a_url_that_a_client_opens(daemon: Daemon, session: Any, record: dict[str, Any]) -> None:
    assert record["location"] == f"{daemon.urls[1]}/console?uuid={record['uuid']}"
    assert record["other_config"]["location_on_host"].startswith("vnc://127.0.0.1:")
    place = urlsplit(record["location"])
    for version in ("1.0", "1.1"):
        with connect(record["location"]) as link:
            cookie = f"Cookie: session_id={session._session}"
            link.sendall(f"CONNECT {place.path}?{place.query} HTTP/{version}\r\n{cookie}\r\n\r\n".encode())
            assert b" 200 " in answered(link).splitlines()[0]
            assert read(link, len(GREETING)) == GREETING
            link.sendall(b"keys")
            assert read(link, 4) == b"keys"


@pytest.mark.parametrize("who", ["session in the query", "session as a cookie", "user and password"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_browser_opens_it_as_a_websocket(
    daemon: Daemon, session: Any, record: dict[str, Any], tls: bool, who: str
) -> None:
    url, headers = f"{daemon.urls[tls]}/console?uuid={record['uuid']}", {}
    if who == "session in the query":
        url += f"&session_id={session._session}"
    elif who == "session as a cookie":
        headers["Cookie"] = f"session_id={session._session}"
    else:
        headers["Authorization"] = "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    content = bytes(range(256)) * 4096

    async def talk() -> bytes:
        context: Any = False if tls else None
        options: dict[str, Any] = {} if context is None else {"ssl": context}
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, headers=headers, protocols=("binary",), **options) as link,
        ):
            assert link.protocol == "binary"
            assert await link.receive_bytes() == GREETING
            sending = asyncio.ensure_future(sent(link))
            got = b""
            while len(got) < len(content):
                got += await link.receive_bytes()
            await sending
            return got

    async def sent(link: aiohttp.ClientWebSocketResponse) -> None:
        for start in range(0, len(content), 65536):
            await link.send_bytes(content[start : start + 65536])

    assert asyncio.run(asyncio.wait_for(talk(), WAIT_SECONDS)) == content


@pytest.mark.threat("T21")
def test_it_needs_a_role_and_ends_with_the_machine(daemon: Daemon, session: Any, record: dict[str, Any]) -> None:
    Users(daemon.state / "users.json").add("reader", PASSWORD, Role.READ_ONLY)
    Users(daemon.state / "users.json").add("operator", PASSWORD, Role.VM_OPERATOR)
    eventually(lambda: status(daemon, record, "reader").startswith(b"HTTP/1.0 403 "), "the refusal of a reader")
    with connect(daemon.url) as link:
        operator = daemon.login("operator")
        link.sendall(f"CONNECT /console?ref={record['VM']}&session_id={operator._session} HTTP/1.0\r\n\r\n".encode())
        assert b" 200 " in answered(link)
        assert read(link, len(GREETING)) == GREETING
        session.xenapi.VM.hard_shutdown(record["VM"])
        assert read(link, 1) == b""
        operator.xenapi.session.logout()
    assert session.xenapi.console.get_all() == []
    assert status(daemon, record, "root").startswith(b"HTTP/1.0 404 ")
    session.xenapi.VM.start(record["VM"], False, False)


def status(daemon: Daemon, record: dict[str, Any], user: str) -> bytes:
    with connect(daemon.url) as link:
        basic = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        target = f"/console?uuid={record['uuid']}"
        link.sendall(f"CONNECT {target} HTTP/1.1\r\nAuthorization: Basic {basic}\r\n\r\n".encode())
        return answered(link)


def test_the_agent_stops_though_a_console_is_open(daemon: Daemon) -> None:
    session = daemon.login()
    [console] = session.xenapi.console.get_all()
    with connect(daemon.url) as link:
        link.sendall(f"CONNECT /console?ref={console}&session_id={session._session} HTTP/1.0\r\n\r\n".encode())
        assert b" 200 " in answered(link)
        assert read(link, len(GREETING)) == GREETING
        assert daemon.stop() == 0
        assert read(link, 1) == b""
    assert "Traceback" not in daemon.log
    assert "unanswered" not in daemon.log
    daemon.start()


def test_the_default_world_has_no_console(tmp_path: Path) -> None:
    plain = Daemon(tmp_path / "state")
    plain.start()
    try:
        api = plain.login().xenapi
        [vm] = api.VM.get_by_name_label("test")
        assert api.VM.get_consoles(vm) == []
        with connect(plain.url) as link:
            basic = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
            link.sendall(f"CONNECT /console?ref={vm} HTTP/1.1\r\nAuthorization: Basic {basic}\r\n\r\n".encode())
            assert answered(link).startswith(b"HTTP/1.0 409 ")
            assert b"OPERATION_NOT_ALLOWED" in link.recv(1000)
    finally:
        plain.stop()
