"""Sockets that the service manager holds open, against the URLs of the configuration."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent import systemd
from agent.rpc.listeners import Listener, Passed, bind

Listen = Callable[..., socket.socket]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Makes sockets that listen, as a manager would."""
    with ExitStack() as made:

        def start(family: int = socket.AF_INET, place: str = "127.0.0.1", *, v6only: bool = False) -> socket.socket:
            bound = made.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            bound.bind(place if family == socket.AF_UNIX else (place, 0))
            bound.listen()
            return bound

        yield start


def bound(url: str, passed: Passed) -> list[Listener]:
    listeners = asyncio.run(bind(url, passed))
    for listener in listeners:
        if not listener.passed:
            listener.socket.close()
    return listeners


def test_the_url_of_a_passed_socket_says_what_it_speaks(listen: Listen, tmp_path: Path) -> None:
    tcp, unix = listen(), listen(socket.AF_UNIX, str(tmp_path / "socket"))
    passed = Passed([(tcp, ""), (unix, "")])
    url = f"https://127.0.0.1:{tcp.getsockname()[1]}"
    [first] = bound(url, passed)
    assert (first.socket, first.url, first.secure, first.passed) == (tcp, url, True, True)
    [second] = bound(f"unix:{tmp_path}/socket", passed)
    assert second.socket is unix
    second.remove()
    assert (tmp_path / "socket").is_socket()
    assert passed.rest() == []


def test_a_socket_on_all_addresses_serves_an_ipv4_url_unless_it_was_told_not_to(listen: Listen) -> None:
    both = listen(socket.AF_INET6, "::")
    port = both.getsockname()[1]
    [listener] = bound(f"http://127.0.0.1:{port}", Passed([(both, "")]))
    assert listener.socket is both
    only = listen(socket.AF_INET6, "::", v6only=True)
    port = only.getsockname()[1]
    [listener] = bound(f"http://127.0.0.1:{port}", Passed([(only, "")]))
    assert not listener.passed


@pytest.mark.parametrize(
    ("place", "name", "scheme"),
    [
        ("127.0.0.1", "", "http"),
        ("127.0.0.1", "https", "https"),
        ("0.0.0.0", "", "https"),
        ("0.0.0.0", "http", "http"),
        ("0.0.0.0", "xen-host-agent.socket", "https"),
    ],
)
def test_without_a_url_the_name_or_the_address_says_it(listen: Listen, place: str, name: str, scheme: str) -> None:
    tcp = listen(place=place)
    [listener] = Passed([(tcp, name)]).rest()
    assert listener.url == f"{scheme}://{place}:{tcp.getsockname()[1]}"


def test_a_url_that_nothing_was_passed_for_is_bound(listen: Listen) -> None:
    passed = Passed([(listen(), "")])
    [listener] = bound("http://127.0.0.1:0", passed)
    assert not listener.passed
    assert len(passed.rest()) == 1


def test_a_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as idle, pytest.raises(OSError, match="listens for no"):
        Passed([(idle, "")])


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}],
)
def test_what_was_passed_to_another_process_is_not_ours(environment: dict[str, str]) -> None:
    assert systemd.Passed(environment).sockets() == []
    assert environment == {}


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_where_the_manager_asks_us(
    environment: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert systemd.watchdog_seconds() == seconds
