"""Pages of the web that may call: those that the configuration names, and no other."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.rpc.server import Server
from agent.store.store import Store
from tests.agent.rpc.test_server import FakeCalls, House

PAGE = "https://xo.example.org"
CALL = b'{"jsonrpc":"2.0","method":"echo","params":["x"],"id":1}'
Open = Callable[..., House]


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Iterator[Open]:
    """Opens a front door for the pages of the given origins."""
    houses: list[House] = []

    def open_(*origins: str) -> House:
        class Named(House):
            async def _make(self) -> FakeCalls:
                calls = FakeCalls(store)
                self.server = Server(calls, store, state=tmp_path, cors_origins=origins)
                return calls

        houses.append(Named(store, tmp_path))
        return houses[-1]

    yield open_
    for house in houses:
        house.close()


def ask(house: House, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    link = http.client.HTTPConnection("127.0.0.1", house.port)
    try:
        link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = link.getresponse()
        response.read()
        return response
    finally:
        link.close()


def allowed(response: http.client.HTTPResponse) -> str | None:
    return response.getheader("Access-Control-Allow-Origin")


@pytest.mark.threat("T22")
@pytest.mark.parametrize(("origins", "told"), [((PAGE,), PAGE), (("*",), "*"), (("https://a.example", PAGE), PAGE)])
def test_a_page_that_is_named_may_ask_call_and_read(opened: Open, origins: tuple[str, ...], told: str) -> None:
    house = opened(*origins)
    asked = ask(
        house,
        "OPTIONS",
        "/jsonrpc",
        Origin=PAGE,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type",
    )
    assert (asked.status, allowed(asked)) == (204, told)
    assert "POST" in (asked.getheader("Access-Control-Allow-Methods") or "")
    assert asked.getheader("Access-Control-Allow-Headers") == "content-type"
    called = ask(house, "POST", "/jsonrpc", CALL, Origin=PAGE, Content_Type="application/json")
    assert (called.status, allowed(called), called.getheader("Content-Type")) == (200, told, "application/json")
    assert called.getheader("Access-Control-Allow-Credentials") is None
    assert called.getheader("Vary") == (None if told == "*" else "Origin")
    assert allowed(ask(house, "GET", "/healthz", Origin=PAGE)) == told
    assert allowed(ask(house, "DELETE", "/", Origin=PAGE)) is None  # refused for its form, before anybody looks at it


@pytest.mark.threat("T22")
@pytest.mark.parametrize("origins", [(), ("https://a.example",)])
@pytest.mark.parametrize("origin", [PAGE, "null", "https://a.example.evil.example", "https://A.example"])
def test_no_other_page_may(opened: Open, origins: tuple[str, ...], origin: str) -> None:
    house = opened(*origins)
    asked = ask(house, "OPTIONS", "/jsonrpc", Origin=origin, Access_Control_Request_Method="POST")
    called = ask(house, "POST", "/jsonrpc", CALL, Origin=origin)
    assert allowed(asked) is allowed(called) is None
    assert called.status == 200  # clients that are no browsers may send the header as well


@pytest.mark.threat("T22")
def test_who_is_no_page_is_told_nothing_of_it(opened: Open) -> None:
    assert allowed(ask(opened(PAGE), "POST", "/jsonrpc", CALL)) is None
