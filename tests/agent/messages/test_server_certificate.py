"""The certificate of the front door, read and replaced by messages."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.rpc.certificate import self_signed
from agent.rpc.tls import Tls
from agent.server_certificate import ServerCertificate
from tests.door import Door
from tests.fake_machine import FakeMachine


def pair(name: str) -> tuple[str, str]:
    """A certificate and its key."""
    text = self_signed([name], []).decode()
    key, begin, rest = text.partition("-----BEGIN CERTIFICATE-----")
    if "PRIVATE KEY" in rest:
        certificate, end, key = text.partition("-----END CERTIFICATE-----\n")
        return certificate + end, key
    return begin + rest, key


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    return [pair("one.example"), pair("two.example")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.pem"


@pytest.fixture
def house(machine: FakeMachine, path: Path) -> Iterator[Door]:
    door = Door(machine.ports(), None)
    use(door, ServerCertificate(path))
    yield door
    door.close()


def use(door: Door, certificate: ServerCertificate) -> None:
    door.site = door.dispatch.site = door.tasks._site = replace(door.site, certificate=certificate)


def test_what_is_installed_is_what_clients_see(house: Door, path: Path, pairs: list[tuple[str, str]]) -> None:
    host = house.observer.host
    (first, key), (second, other) = pairs
    assert house.refused("host.get_server_certificate", host)[0] == "OPERATION_NOT_ALLOWED"
    house("host.install_server_certificate", host, first, key)
    assert house("host.get_server_certificate", host) == first
    assert path.stat().st_mode & 0o777 == 0o600
    tls = Tls(path, make=False)
    house("host.install_server_certificate", host, second.replace("\n", "\r\n"), other, first)
    assert tls.replaced()
    assert house("host.get_server_certificate", host) == second
    assert "PRIVATE" not in house("host.get_server_certificate", host)
    assert [each.name for each in path.parent.iterdir()] == ["server.pem"]


def test_what_is_none_is_refused_and_the_old_one_stays(house: Door, path: Path, pairs: list[tuple[str, str]]) -> None:
    host = house.observer.host
    (first, key), (second, other) = pairs
    house("host.install_server_certificate", host, first, key)
    before = path.read_bytes()
    for given, code in (
        (("", other), "SERVER_CERTIFICATE_INVALID"),
        ((other, other), "SERVER_CERTIFICATE_INVALID"),
        ((second[:200], other), "SERVER_CERTIFICATE_INVALID"),
        ((second, ""), "SERVER_CERTIFICATE_KEY_INVALID"),
        ((second, other[:100] + other[200:]), "SERVER_CERTIFICATE_KEY_INVALID"),
        ((second, key), "SERVER_CERTIFICATE_KEY_MISMATCH"),
        ((second, other, "no chain"), "SERVER_CERTIFICATE_CHAIN_INVALID"),
        ((second, other, key), "SERVER_CERTIFICATE_CHAIN_INVALID"),
    ):
        assert house.refused("host.install_server_certificate", host, *given)[0] == code
    assert path.read_bytes() == before


def test_a_fresh_one_takes_its_place(house: Door, path: Path, pairs: list[tuple[str, str]]) -> None:
    host = house.observer.host
    house("host.install_server_certificate", host, *pairs[0])
    house("host.reset_server_certificate", host)
    assert house("host.get_server_certificate", host) != pairs[0][0]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_files_that_the_configuration_names_are_the_admins(
    house: Door, path: Path, pairs: list[tuple[str, str]]
) -> None:
    use(house, ServerCertificate(path, own=False))
    for name, params in (("install", pairs[0]), ("reset", ()), ("refresh", ())):
        refused = house.refused(f"host.{name}_server_certificate", house.observer.host, *params)
        assert refused[0] == "OPERATION_NOT_ALLOWED"
