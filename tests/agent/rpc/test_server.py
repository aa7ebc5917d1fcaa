"""The front door over real sockets: calls of real clients, every hostile request with its exact answer, and the end.

A fake stands for the dispatch. After every hostile request an honest one must work: `House.good` says so.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import socket
import ssl
import stat
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from cryptography import x509

from agent import classes as c
from agent.errors import InvalidValue
from agent.logins import Caller
from agent.model import types
from agent.model.types import Map, Ref, Set, String
from agent.rpc import connection
from agent.rpc import server as server_module
from agent.rpc.connection import Limits
from agent.rpc.dispatch import Result
from agent.rpc.server import Server, accepts_gzip
from agent.store.store import Store

WAIT_SECONDS = 30.0
BODY_MAX = 4 * 1024 * 1024
ALL = Map(Ref("network"), types.Record("network"))


class FakeCalls:
    """A dispatch of a few messages."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.callers: list[Caller] = []
        self.waiting = 0
        self.woken = 0
        self.finished = 0
        self.release = asyncio.Event()

    async def call(self, name: str, params: Sequence[object], caller: Caller) -> Result:
        self.callers.append(caller)
        match name:
            case "echo":
                return Result(String(), params[0])
            case "system.listMethods":
                return Result(Set(String()), ("echo",))
            case "network.get_all_records":
                return Result(ALL, {entity: entity for entity in self.store.all(c.Network)})
            case "event.from" | "slow":
                self.waiting += 1
                try:
                    await self.release.wait()
                    self.finished += 1
                finally:
                    self.waiting -= 1
                return Result(String(), "released")
            case "bug":
                return Result(Ref("VM"), "no object")
        raise InvalidValue("name", name)

    def wake(self) -> None:
        self.woken += 1


class House:
    """A server on a loop of its own, and what a client needs to talk to it octet by octet."""

    def __init__(self, store: Store, state: Path, limits: Limits | None = None) -> None:
        self._store, self._state, self._limits = store, state, limits
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._closed = False
        self.socket_path = state / "socket"
        self.calls: FakeCalls = self.run(self._make())
        self.urls = self.run(self.server.start(["http://127.0.0.1:0", f"unix:{self.socket_path}"]))
        self.port = urlsplit(self.urls[0]).port or 0

    async def _make(self) -> FakeCalls:
        calls = FakeCalls(self._store)
        self.server = Server(calls, self._store, state=self._state, limits=self._limits)
        return calls

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    def on_loop(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def close(self, grace_seconds: float = 5.0) -> None:
        if not self._closed:
            self._closed = True
            self.run(self.server.close(grace_seconds))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WAIT_SECONDS)
            self._loop.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)

    def talk(self, *sent: bytes) -> bytes:
        """Send, and read until the server closes."""
        with self.connect() as link:
            for part in sent:
                try:
                    link.sendall(part)
                except ConnectionError:  # it has had enough
                    break
            return read_all(link)

    def good(self) -> None:
        """An honest call works."""
        with xmlrpc.client.ServerProxy(self.urls[0]) as proxy:
            assert proxy.echo("good") == {"Status": "Success", "Value": "good"}

    @property
    def open_connections(self) -> int:
        return len(self.server._connections.open)


def read_all(link: socket.socket) -> bytes:
    parts = []
    try:
        while part := link.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_answer(link: socket.socket) -> tuple[int, bytes]:
    """One answer with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = link.recv(65536)
        assert part, f"the answer ends in its head: {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += link.recv(65536)
    return int(head.split()[1]), body


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:200]
    return int(answer.split()[1])


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.005)


def xml_call(name: str = "echo", value: str = "x") -> bytes:
    return (
        f"<methodCall><methodName>{name}</methodName>"
        f"<params><param><value>{value}</value></param></params></methodCall>"
    ).encode()


def post(body: bytes, *headers: str, path: str = "/", version: str = "1.1", length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def json_post(body: bytes) -> bytes:
    return post(body, "Connection: close", path="/jsonrpc")


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.fixture
def house(store: Store, tmp_path: Path) -> Iterator[House]:
    """A server with the usual limits."""
    made = House(store, tmp_path)
    yield made
    made.close()


@pytest.fixture
def hasty(store: Store, tmp_path: Path) -> Iterator[House]:
    """A server of little patience."""
    limits = Limits(
        read_seconds=0.3,
        request_seconds=0.6,
        idle_seconds=0.4,
        write_seconds=0.5,
        linger_seconds=0.2,
        connections=20,
        few=0,
    )
    made = House(store, tmp_path, limits)
    yield made
    made.close()


# --- good calls


@pytest.mark.parametrize("path", ["", "/", "/RPC2", "/xmlrpc", "/anything/else", "/jsonrpcs", "/of/jsonrpc"])
def test_every_path_but_those_of_json_speaks_xml_rpc(house: House, path: str) -> None:
    with xmlrpc.client.ServerProxy(house.urls[0] + path) as proxy:
        assert proxy.echo("a < b & c > d ]]> é \U0001f600") == {
            "Status": "Success",
            "Value": "a < b & c > d ]]> é \U0001f600",
        }


@pytest.mark.parametrize("path", ["/jsonrpc", "/json", "/jsonrpc/", "/jsonrpc/of/anything", "/json?x=/RPC2"])
def test_the_paths_of_json_speak_json_rpc(house: House, path: str) -> None:
    call = {"jsonrpc": "2.0", "method": "echo", "params": ["é\n"], "id": "x"}
    answer = house.talk(post(json.dumps(call).encode(), "Connection: close", path=path))
    assert json.loads(body_of(answer)) == {"jsonrpc": "2.0", "result": "é\n", "id": "x"}


@pytest.mark.parametrize(
    ("request_", "content_type"),
    [
        (post(xml_call(), "Connection: close"), b"text/xml"),
        (json_post(b'{"method":"echo","params":["x"],"id":1}'), b"application/json"),
    ],
)
def test_the_content_type_is_exactly_that(house: House, request_: bytes, content_type: bytes) -> None:
    head = house.talk(request_).partition(b"\r\n\r\n")[0]
    lines = [line.partition(b": ") for line in head.split(b"\r\n")]
    assert [value for name, _, value in lines if name.lower() == b"content-type"] == [content_type]
    assert [value for name, _, value in lines if name.lower() == b"server"] == [b"xen-host-agent"]


def test_an_error_is_a_failure_in_xml_and_an_error_in_json(house: House) -> None:
    with xmlrpc.client.ServerProxy(house.urls[0]) as proxy:
        assert proxy.nothing("x") == {"Status": "Failure", "ErrorDescription": ["INVALID_VALUE", "name", "nothing"]}
    answer = house.talk(json_post(b'{"jsonrpc":"2.0","method":"nothing","params":[],"id":1}'))
    assert json.loads(body_of(answer))["error"] == {"code": 1, "message": "INVALID_VALUE", "data": ["name", "nothing"]}


def test_a_message_of_system_answers_without_an_envelope(house: House) -> None:
    with xmlrpc.client.ServerProxy(house.urls[0]) as proxy:
        assert proxy.system.listMethods() == ["echo"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_serves_many_calls(house: House, version: str) -> None:
    request = post(xml_call(), "Connection: keep-alive", version=version)
    with house.connect() as link:
        for _ in range(3):
            link.sendall(request)
            status, body = read_answer(link)
            assert status == 200
            assert b"Success" in body


def test_a_call_of_http_1_0_ends_its_connection(house: House) -> None:
    assert b"Success" in house.talk(post(xml_call(), version="1.0"))


def test_calls_sent_at_once_are_answered_in_order(house: House) -> None:
    with house.connect() as link:
        link.sendall(b"".join(post(xml_call(value=f"call {number}")) for number in range(5)))
        data = b""
        while data.count(b"</methodResponse>") < 5:
            data += link.recv(65536)
    places = [data.index(f"call {number}".encode()) for number in range(5)]
    assert places == sorted(places)


def test_a_call_may_come_octet_by_octet(house: House) -> None:
    with house.connect() as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in post(xml_call()):
            link.send(bytes([octet]))
        assert read_answer(link)[0] == 200


def test_a_chunked_call_is_read_and_ends_its_connection(house: House) -> None:
    body = xml_call()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = house.talk(head, b"%x\r\n" % 10, body[:10], b"\r\n%x\r\n" % len(body[10:]), body[10:], b"\r\n0\r\n\r\n")
    assert status_of(answer) == 200
    assert b"Success" in answer
    assert b"connection: close" in answer.lower()


def test_a_client_that_asks_is_told_to_go_on(house: House) -> None:
    body = xml_call()
    with house.connect() as link:
        link.sendall(post(b"", "Expect: 100-continue", length=len(body)))
        assert link.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(body)
        assert read_answer(link)[0] == 200


def test_the_caller_is_an_address_or_a_user(house: House) -> None:
    house.good()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(house.socket_path))
        link.sendall(post(xml_call(), "Connection: close"))
        assert b"Success" in read_all(link)
    first, second = house.calls.callers
    assert (first.peer, first.local, first.uid) == ("127.0.0.1", True, None)
    assert first.ends is not None
    assert first.ends[0] == first.ends[2] == "127.0.0.1"
    assert second == Caller(f"uid={os.getuid()}", local=True)


def test_a_big_body_is_taken_whole(house: House) -> None:
    text = "x" * (BODY_MAX - 500)
    with xmlrpc.client.ServerProxy(house.urls[0]) as proxy:
        answer = proxy.echo(text)
    assert answer["Value"] == text  # type: ignore[index,call-overload]


def test_many_records_arrive_whole(house: House, store: Store) -> None:
    with store.transaction():
        for number in range(1000):
            store.add(c.Network(name_label=f"network {number}"))
    with xmlrpc.client.ServerProxy(house.urls[0]) as proxy:
        records = proxy.network.get_all_records()["Value"]  # type: ignore[index,call-overload]
    assert list(records) == [network.ref for network in store.all(c.Network)]
    call = b'{"jsonrpc":"2.0","method":"network.get_all_records","params":[],"id":1}'
    answer = house.talk(post(call, "Connection: close", path="/jsonrpc"))
    assert list(json.loads(body_of(answer))["result"]) == list(records)


# --- pages


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 200, b"XenAPI"),
        ("GET", "/healthz", 200, b"ok"),
        ("HEAD", "/healthz", 200, b""),
        ("GET", "/no-such-thing", 404, b""),
        ("GET", "/jsonrpc", 405, b""),
        ("GET", "/RPC2", 405, b""),
        ("PUT", "/", 405, b""),
        ("DELETE", "/RPC2", 405, b""),
        ("PATCH", "/", 405, b""),
        ("BREW", "/", 405, b""),
        ("OPTIONS", "/jsonrpc", 204, b""),
        ("CONNECT", "/console?ref=OpaqueRef:00000000-0000-0000-0000-000000000000", 501, b""),
    ],
)
def test_other_methods_than_post(house: House, method: str, path: str, status: int, text: bytes) -> None:
    answer = house.talk(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) == status
    assert text in body_of(answer)
    assert b"access-control" not in answer.lower()
    assert (b"\r\nallow: " in answer.lower()) == (status in (204, 405))
    house.good()


# --- hostile bodies

LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n + 1} '&a{n};&a{n};'>" for n in range(60)) + "]>"
).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no XML",
        b"<methodCall>",
        xml_call().replace(b"</value>", b""),
        b"<methodCall><methodName>a</methodName><params><param>" + b"<value><array><data>" * 200_000,
        xml_call(value=f"<int>{'9' * 4_000_000}</int>"),
        xml_call(value="NUL \0"),
        xml_call(value="bell \x07"),
        xml_call(value="&#1;"),
        xml_call(value="<b>markup</b>"),
        xml_call(value="<base64>AAAA</base64>"),
        xml_call(
            value="<struct><member><name>k</name><value>a</value></member>"
            "<member><name>k</name><value>b</value></member></struct>"
        ),
        xml_call().replace(b">x<", b">\xff<"),
        xml_call().decode().encode("utf-16"),
    ],
)
def test_what_is_no_xml_call_gets_a_fault(house: House, body: bytes) -> None:
    answer = house.talk(post(body, "Connection: close"))
    assert status_of(answer) == 200
    with pytest.raises(xmlrpc.client.Fault) as fault:
        xmlrpc.client.loads(body_of(answer))
    assert fault.value.faultCode == -1
    assert 0 < len(fault.value.faultString) < 200
    assert not house.calls.callers
    house.good()


@pytest.mark.threat("T4")
@pytest.mark.parametrize(
    "doctype",
    [
        LAUGHS,
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>",
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
        b"<!DOCTYPE x>" + b" " * 2_000_000,
    ],
)
def test_a_document_type_is_a_bad_request(house: House, doctype: bytes) -> None:
    answer = house.talk(post(doctype + xml_call(value="&e;&a60;"), "Connection: close"))
    assert status_of(answer) == 400
    with pytest.raises(xmlrpc.client.Fault, match="document type"):
        xmlrpc.client.loads(body_of(answer))
    house.good()


@pytest.mark.threat("T4")
def test_an_external_entity_is_fetched_by_nobody(house: House) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as bait:
        bait.setblocking(False)
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/"
        for doctype in (f"<!DOCTYPE x SYSTEM '{url}'>", f"<!DOCTYPE x [<!ENTITY % p SYSTEM '{url}'> %p;]>"):
            assert status_of(house.talk(post(doctype.encode() + xml_call(), "Connection: close"))) == 400
        with pytest.raises(BlockingIOError):
            bait.accept()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"[" * 200_000 + b"]" * 200_000, -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":[' + b"9" * 4_000_000 + b"]}", -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":["\0"]}', -32700),
        (rb'{"jsonrpc":"2.0","method":"echo","id":1,"params":["\ud800"]}', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":[{"k":1,"k":2}]}', -32700),
        (b'{"jsonrpc":"2.0","method":"echo","id":1,"params":["\xff"]}', -32700),
        (b'[{"jsonrpc":"2.0","method":"echo","id":1,"params":["x"]}]', -32600),
        (b'{"jsonrpc":"2.0","method":"echo","params":["x"]}', -32600),
    ],
)
def test_what_is_no_json_call_gets_an_error(house: House, body: bytes, code: int) -> None:
    answer = house.talk(json_post(body))
    assert status_of(answer) == 200
    told = json.loads(body_of(answer))
    assert told["jsonrpc"] == "2.0"
    assert told["error"]["code"] == code
    assert told["id"] is None
    assert not house.calls.callers
    house.good()


def test_markup_in_a_string_stays_a_string(house: House) -> None:
    with xmlrpc.client.ServerProxy(house.urls[0]) as proxy:
        text = "</value></member><member><name>Status</name><value>Success"
        assert proxy.echo(text) == {"Status": "Success", "Value": text}


def test_a_bug_of_ours_is_a_500_and_the_server_lives(house: House, caplog: pytest.LogCaptureFixture) -> None:
    assert status_of(house.talk(post(xml_call("bug")))) == 500
    assert "AttributeError" in caplog.text
    house.good()


# --- hostile framing


@pytest.mark.threat("T5")
@pytest.mark.parametrize(
    "request_",
    [
        post(b"", length=BODY_MAX + 1),
        post(b"x" * 1000, length=10_000_000_000_000),
        post(b"x" * (BODY_MAX + 1)),
        post(b"", length=10**30),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n" % (BODY_MAX + 1)
        + b"x" * (BODY_MAX + 1)
        + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10\r\n" + b"x" * 16 + b"\r\n"
        b"10000000\r\n" + b"x" * (BODY_MAX + 1000),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n%b\r\n" % (b"x" * 1024) * 5000,
    ],
)
def test_a_body_of_more_than_4_mib_is_too_long(house: House, request_: bytes) -> None:
    assert status_of(house.talk(request_)) == 413
    house.good()


@pytest.mark.threat("T5")
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"c" * 16384 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
        b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"no end" * 4000,
        b"POST / HTTP/1.1\r\n" + b"B: c\r\n" * 2_000_000,
    ],
)
def test_a_head_of_more_than_16_kib_is_too_long(house: House, head: bytes) -> None:
    assert status_of(house.talk(head)) == 431
    house.good()


def test_a_head_of_nearly_16_kib_is_fine(house: House) -> None:
    assert b"Success" in house.talk(post(xml_call(), "Cookie: " + "c" * 16000, "Connection: close"))
    many = [f"H{number}: {number}" for number in range(800)]
    assert b"Success" in house.talk(post(xml_call(), *many, "Connection: close"))


FIELDS = b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"


@pytest.mark.threat("T6")
@pytest.mark.parametrize(
    "head",
    [
        FIELDS % b"Content-Length: 5\r\nContent-Length: 6",
        FIELDS % b"Content-Length: 5\r\ncontent-length: 5",
        FIELDS % b"Content-Length: 5, 5",
        FIELDS % b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        FIELDS % b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        FIELDS % b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        FIELDS % b"Transfer-Encoding: xchunked",
        FIELDS % b"Transfer-Encoding: gzip, chunked",
        FIELDS % b"Transfer-Encoding: \x0bchunked",
        FIELDS % b"Transfer-Encoding : chunked",
        FIELDS % b"Content-Length : 5",
        FIELDS % b"Content-Length: -5",
        FIELDS % b"Content-Length: +5",
        FIELDS % b"Content-Length: 0x5",
        FIELDS % b"Content-Length: 5 5",
        FIELDS % b"Content-Length:",
        FIELDS % b"Folded: a\r\n b",
        FIELDS % b"\r\n",
        FIELDS % b"NUL: \0",
        FIELDS % b"Bare: a\nContent-Length: 5",
        FIELDS % b"Bare: a\rContent-Length: 5",
        FIELDS % b"no colon",
        FIELDS % b": no name",
        FIELDS % b"sp ace: x",
        (FIELDS % b"Content-Length: 0").replace(b"\r\n", b"\n") + b"\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/3.0\r\nHost: x\r\n\r\n",
        b"POST /\r\n\r\n",
        b"POST / \0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0",
        b"<methodCall/>",
    ],
)
def test_a_doubtful_head_is_refused_and_the_connection_closed(house: House, head: bytes) -> None:
    smuggled = post(xml_call(value="smuggled"))
    if head == FIELDS % b"\r\n":  # an honest head without a body, and then an empty line: all of that is HTTP
        assert status_of(house.talk(head, b"GET / HTTP/1.0\r\n\r\n")) == 200
    else:
        answer = house.talk(head, smuggled)
        assert status_of(answer) == 400
        assert answer.count(b"HTTP/1.") == 1
        assert not house.calls.callers
    house.good()


@pytest.mark.threat("T6")
@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-1\r\n\r\n", b"5\r\nhelloX\r\n", b"5\r\nhel\r\n0\r\n\r\n"])
def test_a_body_in_faulty_chunks_is_refused(hasty: House, chunks: bytes) -> None:
    answer = hasty.talk(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunks)
    # aiohttp 3.14 does not tell a waiting reader of a chunk size that is none: that body just never comes.
    assert status_of(answer) in (400, 408)
    assert answer.count(b"HTTP/1.") == 1
    assert not hasty.calls.callers
    hasty.good()


@pytest.mark.threat("T6")
def test_what_follows_a_connect_is_not_read(house: House) -> None:
    answer = house.talk(b"CONNECT /console?uuid=x HTTP/1.0\r\n\r\n" + post(xml_call(value="smuggled")))
    assert status_of(answer) == 501
    assert answer.count(b"HTTP/1.") == 1
    assert not house.calls.callers


@pytest.mark.threat("T6")
def test_a_length_longer_than_the_body_swallows_no_other_request(house: House) -> None:
    with house.connect() as link:
        link.sendall(post(xml_call(), length=len(xml_call()) + 10))
        link.shutdown(socket.SHUT_WR)
        assert b"Success" not in read_all(link)
    assert not house.calls.callers
    house.good()


@pytest.mark.threat("T6")
def test_a_length_shorter_than_the_body_makes_its_rest_no_call(hasty: House) -> None:
    answer = hasty.talk(post(b"<>" + xml_call(), length=0))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"<fault>" in answer
    assert b"HTTP/1.0 400 Bad Request\r\n" in answer
    assert status_of(hasty.talk(post(b"A" + xml_call(), "Connection: keep-alive", length=0))) == 200
    assert not hasty.calls.callers
    hasty.good()


@pytest.mark.threat("T5")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-unknown"])
def test_a_compressed_body_is_refused_unread(house: House, coding: str) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    assert status_of(house.talk(post(bomb, f"Content-Encoding: {coding}"))) == 415
    house.good()


def test_an_unknown_expectation_is_refused(house: House) -> None:
    assert status_of(house.talk(post(xml_call(), "Expect: miracles"))) == 417
    house.good()


def test_a_refusal_waits_its_turn_behind_earlier_calls(house: House) -> None:
    answer = house.talk(post(xml_call(value="first")) + b"CONNECT x HTTP/1.1\r\n\r\n")
    assert answer.index(b"first") < answer.index(b" 501 ")


# --- slow and greedy clients


@pytest.mark.threat("T7")
def test_a_head_that_stalls_is_timed_out(hasty: House) -> None:
    assert status_of(hasty.talk(b"POST / HTTP/1.1\r\nHo")) == 408
    hasty.good()


@pytest.mark.threat("T7")
def test_a_head_that_trickles_is_timed_out(hasty: House) -> None:
    with hasty.connect() as link:
        link.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + WAIT_SECONDS
        link.send(b"POST / HTTP/1.1\r\nA: ")
        while not answer and time.monotonic() < deadline:
            try:
                link.send(b"x")
                answer = link.recv(1000)
            except TimeoutError:
                pass
    assert status_of(answer) == 408
    hasty.good()


@pytest.mark.threat("T7")
def test_a_body_that_stalls_is_timed_out(hasty: House) -> None:
    assert status_of(hasty.talk(post(b"<methodCall>", length=1000))) == 408
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert status_of(hasty.talk(head)) == 408
    hasty.good()


@pytest.mark.threat("T7")
def test_a_body_that_trickles_is_timed_out(hasty: House) -> None:
    with hasty.connect() as link:
        link.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + WAIT_SECONDS
        link.send(post(b"", length=100_000))
        while not answer and time.monotonic() < deadline:
            try:
                link.send(b"x")
                answer = link.recv(1000)
            except TimeoutError:
                pass
    assert status_of(answer) == 408
    hasty.good()


@pytest.mark.threat("T7")
def test_a_connection_without_a_request_is_closed(hasty: House) -> None:
    assert hasty.talk() == b""
    hasty.good()


def test_a_connection_that_waits_too_long_for_its_next_request_is_closed(hasty: House) -> None:
    assert hasty.talk(post(xml_call())).count(b"HTTP/1.") == 1
    eventually(lambda: hasty.open_connections == 0, "no open connection")


def test_where_there_are_few_connections_idle_ones_are_left_alone_for_long(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path, Limits(idle_seconds=0.2, rest_seconds=60.0, few=2))
    try:
        with house.connect() as one, house.connect() as other:
            for _ in range(2):
                for each in (one, other):
                    each.sendall(post(xml_call()))
                    assert read_answer(each)[0] == 200
                time.sleep(0.5)
            with house.connect():  # now there are many
                assert (one.recv(1), other.recv(1)) == (b"", b"")
    finally:
        house.close()


def test_an_idle_connection_ends_some_day_where_there_are_few(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path, Limits(idle_seconds=0.1, rest_seconds=0.3, few=2))
    try:
        assert house.talk(post(xml_call())).count(b"HTTP/1.") == 1
        eventually(lambda: house.open_connections == 0, "no open connection")
    finally:
        house.close()


def test_a_connection_with_a_call_under_way_is_not_idle(hasty: House) -> None:
    with hasty.connect() as link:
        link.sendall(post(xml_call("slow")))
        eventually(lambda: hasty.calls.waiting == 1, "a waiting call")
        time.sleep(1.0)  # more than all of its limits
        hasty.on_loop(hasty.calls.release.set)
        assert b"released" in read_answer(link)[1]


@pytest.mark.fault("F12")
def test_a_client_that_does_not_read_is_dropped_and_delays_nobody(hasty: House, store: Store) -> None:
    with store.transaction():
        for number in range(2000):
            store.add(c.Network(name_label=f"network {number}", name_description="d" * 2000))
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(WAIT_SECONDS)
        link.connect(("127.0.0.1", hasty.port))
        link.sendall(post(xml_call("network.get_all_records")))
        assert link.recv(10) == b"HTTP/1.1 2"
        hasty.good()
        eventually(lambda: hasty.open_connections == 0, "the reader's disconnection")


@pytest.mark.fault("F12")
@pytest.mark.parametrize("headers", [["Connection: keep-alive"], ["Connection: close"]])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_client_that_leaves_a_short_answer_unread_is_dropped_too(
    hasty: House, headers: list[str], calls: int
) -> None:
    def keep_little() -> None:
        for each in hasty.server._connections.open:
            assert each.transport is not None
            each.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", hasty.port))
        eventually(lambda: hasty.open_connections == 1, "a connection")
        hasty.on_loop(keep_little)
        link.sendall(post(xml_call(value="x" * 50_000), *headers) + post(xml_call()) * (calls - 1))
        eventually(lambda: len(hasty.calls.callers) > 0, "the call")
        eventually(lambda: hasty.open_connections == 0, "the reader's disconnection")


@pytest.mark.threat("T7")
def test_connections_beyond_the_limit_are_turned_away(hasty: House) -> None:
    links = [hasty.connect() for _ in range(20)]
    eventually(lambda: hasty.open_connections == 20, "twenty connections")
    with hasty.connect() as one_more:
        assert read_all(one_more) == b""
    for link in links:
        link.close()
    eventually(lambda: hasty.open_connections == 0, "no connection")
    hasty.good()


@pytest.mark.threat("T5")
def test_bodies_that_come_in_pieces_share_one_allowance(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path, Limits(held_bytes=1_000_000, linger_seconds=0.1))
    try:
        with house.connect() as first:
            first.sendall(post(b"x" * 900_000, length=2_000_000))
            eventually(lambda: house.server._connections.held_bytes > 500_000, "a long body on its way")
            assert status_of(house.talk(post(b"x" * 1_000_000, length=2_000_000))) == 503
            house.good()
        eventually(lambda: house.server._connections.held_bytes == 0, "nothing held")
    finally:
        house.close()


@pytest.mark.threat("T5")
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_body_is_counted_until_its_call_is_answered(house: House, pieces: int) -> None:
    request = post(xml_call("slow", "x" * 3000))
    with house.connect() as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(request), len(request) // pieces + 1):
            link.sendall(request[place : place + len(request) // pieces + 1])
            time.sleep(0.05)
        eventually(lambda: house.calls.waiting == 1, "a call under way")
        held = house.server._connections.held_bytes
        assert held > 3000
    eventually(lambda: house.open_connections == 0, "no connection")
    assert house.server._connections.held_bytes == held
    house.on_loop(house.calls.release.set)
    eventually(lambda: house.server._connections.held_bytes == 0, "nothing held")


@pytest.mark.threat("T5")
def test_a_short_body_is_taken_however_much_is_held(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path, Limits(held_bytes=100_000, linger_seconds=0.1))
    try:
        with house.connect() as first:
            first.sendall(post(xml_call("slow", "x" * 99_000)))
            eventually(lambda: house.calls.waiting == 1, "a call under way")
            assert b"Success" in house.talk(post(xml_call(value="x" * 10_000), "Connection: close"))
            assert status_of(house.talk(post(xml_call(value="x" * 20_000), "Connection: close"))) == 503
            house.on_loop(house.calls.release.set)
            assert read_answer(first)[0] == 200
    finally:
        house.close()


# --- long polls


@pytest.mark.fault("F11")
def test_a_client_that_goes_away_frees_its_waiter(house: House) -> None:
    for _ in range(3):
        with house.connect() as link:
            link.sendall(post(xml_call("event.from")))
            eventually(lambda: house.calls.waiting == 1, "a waiter")
        eventually(lambda: house.calls.waiting == 0, "no waiter")
    eventually(lambda: house.open_connections == 0, "no connection")
    assert house.calls.finished == 0


@pytest.mark.fault("F11")
def test_a_client_that_goes_away_before_it_waits_does_not_wait(house: House) -> None:
    decodes = threading.Event()
    house.server._decoder.submit(decodes.wait, WAIT_SECONDS)
    with house.connect() as link:
        link.sendall(post(xml_call("event.from", "x" * 100_000)))
        eventually(lambda: house.server._connections.held_bytes > 100_000, "a call that is to be decoded")
    eventually(lambda: house.open_connections == 0, "no connection")
    decodes.set()
    eventually(lambda: house.server._connections.held_bytes == 0, "the end of the call")
    assert not house.calls.callers


def test_a_call_that_has_begun_is_finished_for_a_client_that_goes_away(house: House) -> None:
    with house.connect() as link:
        link.sendall(post(xml_call("slow")))
        eventually(lambda: house.calls.waiting == 1, "a call under way")
    eventually(lambda: house.open_connections == 0, "no connection")
    assert house.calls.waiting == 1
    house.on_loop(house.calls.release.set)
    eventually(lambda: house.calls.finished == 1, "the end of the call")
    house.good()


def test_a_hundred_waiters_are_all_answered(house: House) -> None:
    links = [house.connect() for _ in range(100)]
    for link in links:
        link.sendall(post(xml_call("event.from")))
    eventually(lambda: house.calls.waiting == 100, "a hundred waiters")
    house.good()
    house.on_loop(house.calls.release.set)
    for link in links:
        assert b"released" in read_answer(link)[1]
        link.close()


# --- gzip


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip; q=1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("x-gzip-like", False),
    ],
)
def test_gzip_is_taken_by_who_says_so(accepted: str, taken: bool) -> None:
    assert accepts_gzip(accepted) is taken


@pytest.mark.parametrize("size", [2000, 3_000_000])
def test_an_answer_to_a_remote_client_is_compressed(house: House, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(connection, "caller_of", lambda transport: Caller("192.0.2.1"))
    text = "x" * size
    with closing(http.client.HTTPConnection("127.0.0.1", house.port, timeout=WAIT_SECONDS)) as client:
        client.request("POST", "/", xml_call(value=text), {"Accept-Encoding": "gzip"})
        response = client.getresponse()
        data = response.read()
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Content-Type"] == "text/xml"
    assert int(response.headers["Content-Length"]) == len(data) < size
    ((envelope,), _) = xmlrpc.client.loads(gzip.decompress(data))
    assert envelope["Value"] == text  # type: ignore[index,call-overload]


def test_an_answer_that_is_short_or_stays_at_home_is_not_compressed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coding(text: str) -> str | None:
        with closing(http.client.HTTPConnection("127.0.0.1", house.port, timeout=WAIT_SECONDS)) as client:
            client.request("POST", "/", xml_call(value=text), {"Accept-Encoding": "gzip"})
            response = client.getresponse()
            response.read()
            return response.headers["Content-Encoding"]

    assert coding("x" * 2000) is None
    monkeypatch.setattr(connection, "caller_of", lambda transport: Caller("192.0.2.1"))
    assert coding("x" * 2000) == "gzip"
    assert coding("x" * 10) is None


# --- listening


def starting(house: House, *urls: str, state: Path | None = None) -> Any:
    """Start another server beside the house's, and end it. Returns its URLs."""

    async def main() -> list[str]:
        server = Server(house.calls, house._store, state=state or house._state)
        try:
            return await server.start(urls)
        finally:
            await server.close(0.0)

    return house.run(main())


@pytest.mark.threat("T24")
def test_a_socket_file_is_for_owner_and_group(house: House) -> None:
    mode = house.socket_path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_the_socket_of_a_dead_agent_is_replaced(house: House, tmp_path: Path) -> None:
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert starting(house, f"unix:{path}") == [f"unix:{path}"]
    assert not path.exists()


def test_the_socket_of_a_living_agent_is_left_alone(house: House) -> None:
    with pytest.raises(OSError, match="another process listens there"):
        starting(house, f"unix:{house.socket_path}")
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(house.socket_path))


def test_a_file_that_is_no_socket_is_left_alone(house: House, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="something else than a socket"):
        starting(house, f"unix:{path}")
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1:1", "http://", "http://127.0.0.1:99999", "nonsense", "http://127.0.0.1:0/path", "unix:"]
)
def test_an_address_that_is_none_is_refused_by_name(house: House, url: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {url}: "):
        starting(house, url)


def test_a_start_that_fails_leaves_nothing_open(house: House, tmp_path: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(OSError, match=f"cannot listen on {house.urls[0]}: "):
        starting(house, f"unix:{path}", house.urls[0])
    assert not path.exists()
    assert starting(house, f"unix:{path}") == [f"unix:{path}"]


def test_the_folder_of_a_socket_is_made(house: House, tmp_path: Path) -> None:
    path = tmp_path / "lib" / "xcp" / "xapi"
    assert starting(house, f"unix:{path}") == [f"unix:{path}"]


# --- TLS


@pytest.fixture
def secure(house: House, tmp_path: Path) -> Iterator[int]:
    """The port of an https listener beside the house's own."""

    async def start() -> tuple[Server, list[str]]:
        server = Server(house.calls, house._store, state=tmp_path)
        return server, await server.start(["https://127.0.0.1:0"])

    server, urls = house.run(start())
    yield urlsplit(urls[0]).port or 0
    house.run(server.close(1.0))


@pytest.mark.threat("T20")
def test_a_first_start_makes_a_certificate_that_clients_can_trust(house: House, secure: int, tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    trust = ssl.create_default_context(cafile=path)
    for host in ("localhost", "127.0.0.1"):
        with xmlrpc.client.ServerProxy(f"https://{host}:{secure}", context=trust) as proxy:
            assert proxy.echo("x") == {"Status": "Success", "Value": "x"}
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert socket.gethostname() in names.get_values_for_type(x509.DNSName)
    assert certificate.public_key().key_size == 2048  # type: ignore[union-attr]


def test_a_later_start_keeps_the_certificate(house: House, secure: int, tmp_path: Path) -> None:
    before = (tmp_path / "server.pem").read_bytes()
    starting(house, "https://127.0.0.1:0")
    assert (tmp_path / "server.pem").read_bytes() == before


def test_a_certificate_file_that_is_none_stops_the_start(house: House, tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_text("nonsense")
    with pytest.raises(OSError, match=r"server\.pem is no private key followed by its certificate"):
        starting(house, "https://127.0.0.1:0")


def test_the_suite_that_old_clients_insist_on_is_offered(house: House, secure: int) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with house_link(secure) as plain, old.wrap_socket(plain) as link:
        assert link.version() == "TLSv1.2"


def house_link(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)


@pytest.mark.threat("T20")
def test_what_is_older_than_tls_1_2_is_refused(house: House, secure: int) -> None:
    # A hello of TLS 1.1, written by hand since today's OpenSSL may not offer it any more.
    hello = b"\x03\x02" + b"r" * 32 + b"\0" + b"\0\x04\xc0\x13\xc0\x14" + b"\x01\0"
    hello = b"\x01" + len(hello).to_bytes(3, "big") + hello
    with house_link(secure) as link:
        link.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        answer = read_all(link)
    assert answer[:1] in (b"", b"\x15")  # an alert, or nothing
    with closing(http.client.HTTPConnection("127.0.0.1", secure, timeout=WAIT_SECONDS)) as plain:
        plain.request("GET", "/")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
    house.good()


@pytest.mark.threat("T7")
def test_a_handshake_that_is_not_finished_is_timed_out(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.2)

    async def start() -> tuple[Server, list[str]]:
        server = Server(house.calls, house._store, state=tmp_path)
        return server, await server.start(["https://127.0.0.1:0"])

    server, urls = house.run(start())
    with house_link(urlsplit(urls[0]).port or 0) as link:
        link.sendall(b"\x16\x03\x01")
        assert read_all(link) == b""
    house.run(server.close(1.0))


# --- the end


@pytest.mark.fault("F2")
def test_the_end_answers_calls_and_ends_who_waits(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path)
    with house.connect() as waiting, house.connect() as calling, house.connect() as idle, house.connect() as slow:
        waiting.sendall(post(xml_call("event.from")))
        calling.sendall(post(xml_call("slow")))
        slow.sendall(b"POST / HTTP/1.1\r\n")
        eventually(lambda: house.calls.waiting == 2, "a long poll and a call")
        closed = threading.Thread(target=house.close)
        closed.start()
        assert status_of(read_all(waiting)) == 503
        assert read_all(idle) == b""
        assert read_all(slow) == b""
        assert house.calls.woken == 1
        house.on_loop(house.calls.release.set)
        answer = read_all(calling)
        assert b"released" in answer
        closed.join(WAIT_SECONDS)
        assert not closed.is_alive()
    assert not house.socket_path.exists()
    with pytest.raises(ConnectionRefusedError):
        house.connect()


@pytest.mark.fault("F2")
def test_the_end_does_not_wait_longer_than_its_grace(store: Store, tmp_path: Path) -> None:
    house = House(store, tmp_path)
    with house.connect() as calling:
        calling.sendall(post(xml_call("slow")))
        eventually(lambda: house.calls.waiting == 1, "a call")
        house.close(grace_seconds=0.05)
        assert read_all(calling) == b""
    assert house.calls.finished == 0


@pytest.mark.fault("F2")
def test_the_end_waits_for_no_quiet_client_to_agree(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def start() -> tuple[Server, list[str]]:
        server = Server(house.calls, house._store, state=tmp_path)
        return server, await server.start(["https://127.0.0.1:0"])

    def let_time_pass() -> None:
        for each in server._connections.open:
            each._last_read -= 60

    server, urls = house.run(start())
    trust = ssl.create_default_context(cafile=tmp_path / "server.pem")
    plain = house_link(urlsplit(urls[0]).port or 0)
    with trust.wrap_socket(plain, server_hostname="localhost") as link:
        link.sendall(post(xml_call()))
        assert read_answer(link)[0] == 200
        house.on_loop(let_time_pass)
        house.run(server.close(1.5))
        assert link.recv(1) == b""  # it was told, as TLS wants it
    assert "unanswered" not in caplog.text
