"""Consoles at the front door: what a viewer and a VNC server say reaches the other, and it ends when it should."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from agent.classes import VM, Console
from agent.errors import OperationNotAllowed
from agent.http import consoles as module
from agent.ports import SeenConsole
from agent.roles import Role
from tests.agent.http.served import Served
from tests.door import WAIT_SECONDS, Door, eventually
from tests.fake_machine import FakeMachine

MIB = 2**20
BOUND = 32 * MIB
"""More than all buffers of agent and kernel on the way, and less than would come if nobody waited."""


class Screen:
    """A VNC server, of which the test is the screen."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(WAIT_SECONDS)
        self.port = self.listening.getsockname()[1]
        self.links: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """The next connection to it."""
        link, _ = self.listening.accept()
        link.settimeout(WAIT_SECONDS)
        self.links.append(link)
        return link

    def close(self) -> None:
        for link in (self.listening, *self.links):
            link.close()


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends are noticed soon."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)


@pytest.fixture
def vm(door: Door, machine: FakeMachine, screen: Screen) -> VM:
    """A running machine with that screen."""
    machine.domains.consoles = (SeenConsole("rfb", f"127.0.0.1:{screen.port}"),)
    made = door.vm()
    door("VM.start", made, False)
    return made


@pytest.fixture
def console(vm: VM) -> Console:
    [found] = vm.consoles
    return found


class Tunnel:
    """A connection that sent a CONNECT."""

    def __init__(self, served: Served, target: str, *headers: str, version: str = "1.0", more: bytes = b"") -> None:
        self.link = socket.create_connection(served.address, WAIT_SECONDS)
        head = "\r\n".join([f"CONNECT {target} HTTP/{version}", *headers, "", ""])
        self.link.sendall(head.encode() + more)
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            part = self.link.recv(1)
            if not part:
                break
            self.head += part

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def read(self, length: int) -> bytes:
        """So many bytes, or fewer at the end."""
        return read(self.link, length)

    def rest(self) -> bytes:
        """All until the end."""
        return read(self.link, BOUND)

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *raised: object) -> None:
        self.link.close()


def read(link: socket.socket, length: int) -> bytes:
    got = b""
    try:
        while len(got) < length and (part := link.recv(min(MIB, length - len(got)))):
            got += part
    except ConnectionResetError:
        pass
    return got


def path(served: Served, secret: str | None = None, **query: str) -> str:
    secret = served.door.session if secret is None else secret
    given = {**({"session_id": secret} if secret else {}), **query}
    return "/console?" + "&".join(f"{key}={quote(value)}" for key, value in given.items())


# --- by CONNECT


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", ["uuid", "ref", "ref of the machine", "uuid of the machine"])
def test_what_is_said_reaches_the_other(
    served: Served, screen: Screen, console: Console, version: str, name: str
) -> None:
    named = console.VM if "machine" in name else console
    query = {"uuid": named.uuid} if name.startswith("uuid") else {"ref": named.ref}
    with Tunnel(served, path(served, **query), version=version, more=b"at once") as tunnel:
        link = screen.accept()
        assert tunnel.status == 200
        assert read(link, 7) == b"at once"
        link.sendall(b"RFB 003.008\n")
        assert tunnel.read(12) == b"RFB 003.008\n"
        tunnel.link.sendall(b"\x00\x01POST / HTTP/1.1\r\n\r\n")
        assert read(link, 21) == b"\x00\x01POST / HTTP/1.1\r\n\r\n"


def test_a_session_may_be_a_cookie(served: Served, screen: Screen, console: Console) -> None:
    cookie = f"Cookie: session_id={served.door.session}"
    with Tunnel(served, path(served, "", ref=console.ref), cookie, "Host: x") as tunnel:
        screen.accept()
        assert tunnel.status == 200


def test_much_goes_both_ways_at_once_and_nothing_is_lost(served: Served, screen: Screen, console: Console) -> None:
    content = os.urandom(8 * MIB)
    with Tunnel(served, path(served, uuid=console.uuid)) as tunnel:
        link = screen.accept()
        there, back = hashlib.sha256(), hashlib.sha256()
        jobs = [
            threading.Thread(target=tunnel.link.sendall, args=(content,)),
            threading.Thread(target=link.sendall, args=(content,)),
            threading.Thread(target=lambda: there.update(read(link, len(content)))),
        ]
        for job in jobs:
            job.start()
        back.update(tunnel.read(len(content)))
        for job in jobs:
            job.join()
        assert there.digest() == back.digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("sender", ["console", "viewer"])
def test_who_does_not_read_makes_the_other_wait(served: Served, screen: Screen, console: Console, sender: str) -> None:
    with Tunnel(served, path(served, uuid=console.uuid)) as tunnel:
        link = screen.accept()
        end = link if sender == "console" else tunnel.link
        end.settimeout(1.0)
        sent = 0
        with suppress(TimeoutError):
            while sent < BOUND:
                sent += end.send(bytes(MIB))
        assert sent < BOUND


def test_a_viewer_that_sends_no_more_is_still_shown_the_console(
    served: Served, screen: Screen, console: Console
) -> None:
    with Tunnel(served, path(served, uuid=console.uuid)) as tunnel:
        link = screen.accept()
        tunnel.link.sendall(b"last words")
        tunnel.link.shutdown(socket.SHUT_WR)
        assert read(link, 100) == b"last words"
        link.sendall(b"and the answer")
        assert tunnel.read(14) == b"and the answer"
        link.close()
        assert tunnel.rest() == b""


def test_a_viewer_that_sends_no_more_and_is_shown_nothing_is_gone(
    served: Served, screen: Screen, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.05)
    with Tunnel(served, path(served, uuid=console.uuid)) as tunnel:
        link = screen.accept()
        tunnel.link.shutdown(socket.SHUT_WR)
        assert read(link, 1) == b""
        assert tunnel.rest() == b""


# --- as a WebSocket


def websocket(served: Served, talk: Any, target: str, **options: Any) -> Any:
    """What `talk` returns, which is given an open WebSocket of a stock client."""

    async def run() -> Any:
        url = "http://{}:{}".format(*served.address) + target
        async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as link:
            return await talk(link)

    return asyncio.run(asyncio.wait_for(run(), WAIT_SECONDS))


@pytest.mark.parametrize("protocols", [("binary",), ("base64", "binary"), ()])
def test_a_websocket_carries_the_console(
    served: Served, screen: Screen, console: Console, protocols: tuple[str, ...]
) -> None:
    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        console_end = await asyncio.to_thread(screen.accept)
        assert link.protocol == ("binary" if protocols else None)
        await link.send_bytes(b"\x03\x00")
        assert read(console_end, 2) == b"\x03\x00"
        await link.send_str("typed")
        assert read(console_end, 5) == b"typed"
        console_end.sendall(b"RFB 003.008\n")
        assert await link.receive_bytes() == b"RFB 003.008\n"
        await link.close()
        assert await asyncio.to_thread(read, console_end, 1) == b""

    websocket(served, talk, path(served, uuid=console.uuid), protocols=protocols)


def test_a_websocket_may_show_its_session_as_a_cookie(served: Served, screen: Screen, console: Console) -> None:
    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        (await asyncio.to_thread(screen.accept)).sendall(b"x")
        assert await link.receive_bytes() == b"x"

    headers = {"Cookie": f"session_id={served.door.session}"}
    websocket(served, talk, path(served, "", uuid=console.uuid), headers=headers)


def test_a_websocket_is_told_when_the_console_closes(served: Served, screen: Screen, console: Console) -> None:
    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        (await asyncio.to_thread(screen.accept)).close()
        message = await link.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        assert message.extra == "the console was closed"

    websocket(served, talk, path(served, uuid=console.uuid))


def test_a_message_without_end_is_not_collected(served: Served, screen: Screen, console: Console) -> None:
    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        await asyncio.to_thread(screen.accept)
        await link.send_bytes(bytes(module.MESSAGE_MAX + 1))
        message = await link.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)

    websocket(served, talk, path(served, uuid=console.uuid))


@pytest.mark.threat("T21", "T22")
def test_pages_of_others_cannot_use_what_a_browser_keeps(served: Served, screen: Screen, console: Console) -> None:
    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        (await asyncio.to_thread(screen.accept)).sendall(b"x")
        assert await link.receive_bytes() == b"x"

    cookie = {"Cookie": f"session_id={served.door.session}"}
    own, other = {"Origin": "http://{}:{}".format(*served.address)}, {"Origin": "http://elsewhere.example"}
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        websocket(served, talk, path(served, "", uuid=console.uuid), headers=cookie | other)
    websocket(served, talk, path(served, "", uuid=console.uuid), headers=cookie | own)
    websocket(served, talk, path(served, uuid=console.uuid), headers=other)


# --- the ends


@pytest.mark.threat("T21")
@pytest.mark.parametrize("how", ["the machine stops", "the session ends", "the viewer goes", "the agent stops"])
def test_it_ends_with_each_of_those_it_is_for(
    door: Door, served: Served, screen: Screen, console: Console, how: str
) -> None:
    secret = door.log_in(Role.VM_OPERATOR)
    with Tunnel(served, path(served, secret, uuid=console.uuid)) as tunnel:
        link = screen.accept()
        link.sendall(b"x")
        assert tunnel.read(1) == b"x"
        if how == "the machine stops":
            door("VM.hard_shutdown", console.VM)
        elif how == "the session ends":
            door.send("session.logout", secret)
        elif how == "the viewer goes":
            tunnel.link.close()
        else:
            served.close()
            served.open()
        assert read(link, 1) == b""
        if how != "the viewer goes":
            assert tunnel.rest() == b""
    with Tunnel(served, path(served, uuid=console.uuid)) as again:
        assert again.status == (404 if how == "the machine stops" else 200)


def test_use_of_a_console_is_use_of_its_session(door: Door, served: Served, screen: Screen, console: Console) -> None:
    session = door.sessions.find(door.session)
    with Tunnel(served, path(served, uuid=console.uuid)):
        link = screen.accept()
        long_ago = door.sessions._active[session] = door.sessions._active[session] - 1000.0
        link.sendall(b"x")
        eventually(lambda: door.sessions._active[session] > long_ago + 500.0, "the session's use")


# --- refusals


@pytest.mark.threat("T21")
def test_what_is_refused(door: Door, served: Served, machine: FakeMachine, console: Console) -> None:
    halted = door.vm(name_label="off")
    machine.domains.consoles = ()
    blind = door.vm(name_label="blind")
    door("VM.start", blind, False)
    reader = door.log_in(Role.READ_ONLY)
    nobody = "00000000-0000-4000-8000-000000000000"
    for target, status, words in (
        (path(served, "", uuid=console.uuid), 401, b"SESSION_INVALID"),
        (path(served, "OpaqueRef:wrong", uuid=console.uuid), 401, b"SESSION_INVALID"),
        (path(served, reader, uuid=console.uuid), 403, b"RBAC_PERMISSION_DENIED http/connect_console"),
        (path(served), 400, b"INVALID_VALUE"),
        (path(served, uuid=nobody), 404, b"UUID_INVALID"),
        (path(served, ref=f"OpaqueRef:{nobody}"), 404, b"HANDLE_INVALID"),
        (path(served, ref=halted.ref), 409, b"VM_BAD_POWER_STATE"),
        (path(served, ref=blind.ref), 409, b"the machine has no console"),
    ):
        with Tunnel(served, target) as tunnel:
            assert (tunnel.status, words in tunnel.rest()) == (status, True), target


def test_a_console_that_cannot_be_opened_is_said_to_be_so(
    served: Served, machine: FakeMachine, console: Console
) -> None:
    machine.domains.fail("open_console", OperationNotAllowed("the VNC server does not answer"))
    with Tunnel(served, path(served, uuid=console.uuid), more=b"keys" * 1000) as tunnel:
        assert tunnel.status == 409
        assert b"does not answer" in tunnel.rest()


def test_only_so_many_are_open_at_once(
    served: Served, screen: Screen, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.05)
    with Tunnel(served, path(served, uuid=console.uuid)), Tunnel(served, path(served, uuid=console.uuid)) as second:
        with Tunnel(served, path(served, uuid=console.uuid)) as third:
            assert (third.status, second.status) == (503, 200)
        second.link.close()
        screen.accept()
        assert read(screen.accept(), 1) == b""
        eventually(lambda: opens(served, console), "a free place")


def test_the_pool_may_limit_a_machine_to_one_client(
    door: Door, served: Served, screen: Screen, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.05)
    door("pool.set_limit_console_sessions", door.observer.pool, True)
    with Tunnel(served, path(served, uuid=console.uuid)) as first:
        with Tunnel(served, path(served, uuid=console.uuid)) as second:
            assert (first.status, second.status) == (200, 409)
            assert b"the pool limits that to one" in second.rest()
        first.link.close()
        eventually(lambda: opens(served, console), "a free place")


def test_the_pool_may_end_what_nobody_uses(door: Door, served: Served, screen: Screen, console: Console) -> None:
    door("pool.set_vm_console_idle_timeout", door.observer.pool, 1)
    assert door.refused("pool.set_vm_console_idle_timeout", door.observer.pool, -1)[0] == "INVALID_VALUE"

    async def talk(link: aiohttp.ClientWebSocketResponse) -> None:
        (await asyncio.to_thread(screen.accept)).sendall(b"shown")
        assert await link.receive_bytes() == b"shown"
        message = await link.receive()
        assert (message.type, message.extra) == (
            aiohttp.WSMsgType.CLOSE,
            "nobody used the console for 1 s",
        )

    websocket(served, talk, path(served, uuid=console.uuid))


def opens(served: Served, console: Console) -> bool:
    with Tunnel(served, path(served, uuid=console.uuid)) as tunnel:
        return tunnel.status == 200


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 426),
        ("GET", {"Upgrade": "websocket", "Connection": "Upgrade"}, 400),
        ("HEAD", {}, 405),
        ("OPTIONS", {}, 204),
        ("PUT", {}, 405),
    ],
)
def test_other_requests_at_its_path(
    served: Served, console: Console, method: str, headers: dict[str, str], status: int
) -> None:
    client = http.client.HTTPConnection(*served.address, timeout=WAIT_SECONDS)
    client.request(method, path(served, uuid=console.uuid), headers=headers)
    assert client.getresponse().status == status
    client.close()


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_connect_has_no_body(served: Served, console: Console, header: str) -> None:
    with Tunnel(served, path(served, uuid=console.uuid), header, version="1.1", more=b"hello") as tunnel:
        assert tunnel.status in (400, 413)


def test_the_method_that_stands_for_connect_is_no_clients(served: Served, console: Console) -> None:
    client = http.client.HTTPConnection(*served.address, timeout=WAIT_SECONDS)
    client.request("LINK", path(served, uuid=console.uuid))
    assert client.getresponse().status == 405
    client.close()
