"""The connection: opened, watched, lost and opened again; with a fake, and with a real daemon that is killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest
from pytest_mock import MockerFixture

from agent.errors import HostOffline
from drivers import connection as module
from drivers.connection import Connection
from drivers.failures import translated
from tests.contract.daemon import private_libvirtd
from tests.drivers.fake_xen import FakeXen, closed, error

URI = "xen:///system"


def wait_for(condition: Callable[[], bool]) -> None:
    """Until the condition holds; a minute is for ever here."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Daemon:
    """A libvirtd that comes and goes: each attempt to reach it gets what it is then."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.mocker = mocker
        self.up = True
        self.made: list[FakeXen] = []
        self.attempts = 0

    def open(self, uri: str) -> Mock:
        self.attempts += 1
        if not self.up:
            words = "Failed to connect socket to '/var/run/libvirt/libvirt-sock'"
            raise error(libvirt.VIR_ERR_SYSTEM_ERROR, words, libvirt.VIR_FROM_RPC)
        self.made.append(FakeXen(self.mocker))
        return self.made[-1].connection

    def kill(self, *, tell: bool) -> None:
        """End it; with `tell`, its clients' libraries notice at once."""
        self.up = False
        for xen in self.made:
            if xen.alive:
                xen.alive = False
                callback = xen.connection.registerCloseCallback.call_args.args[0]
                if tell:
                    callback(xen.connection, libvirt.VIR_CONNECT_CLOSE_REASON_EOF, None)


@pytest.fixture
def daemon(mocker: MockerFixture) -> Daemon:
    """A daemon, which is up."""
    return Daemon(mocker)


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Connection]:
    """A connection to it, not started yet."""
    made = Connection(URI, opener=daemon.open)
    yield made
    made.close()


def test_start_connects_and_watches_with_keepalive(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    handle = daemon.made[0].connection
    assert connection.connected
    assert connection.handle is handle
    assert handle.setKeepAlive.call_count == 1
    assert handle.registerCloseCallback.call_count == 1


def test_a_driver_without_keepalive_is_connected_all_the_same(mocker: MockerFixture) -> None:
    xen = FakeXen(mocker)
    xen.connection.setKeepAlive.side_effect = error(libvirt.VIR_ERR_NO_SUPPORT)
    connection = Connection(URI, opener=lambda uri: xen.connection)
    connection.start()
    assert connection.connected
    connection.close()


def test_before_start_it_is_offline(connection: Connection) -> None:
    assert not connection.connected
    with pytest.raises(HostOffline) as told:
        connection.handle  # noqa: B018
    assert told.value.host == URI


def test_start_returns_when_nobody_answers_and_tries_on(connection: Connection, daemon: Daemon) -> None:
    daemon.up = False
    connection.start()
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    with pytest.raises(HostOffline):
        connection.long  # noqa: B018
    wait_for(lambda: daemon.attempts > 2)
    daemon.up = True
    wait_for(lambda: connection.connected)


def test_start_does_not_wait_for_a_daemon_that_hangs(mocker: MockerFixture) -> None:
    mocker.patch("drivers.connection.FIRST_ATTEMPT_SECONDS", 0.05)
    xen, gate = FakeXen(mocker), threading.Event()

    def hang(uri: str) -> Mock:
        gate.wait()
        return xen.connection

    connection = Connection(URI, opener=hang)
    connection.start()
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    gate.set()
    wait_for(lambda: connection.connected)
    connection.close()


@pytest.mark.parametrize("tell", [True, False], ids=["close callback", "found out by a call"])
def test_a_lost_connection_is_opened_again_and_everybody_registers_anew(
    connection: Connection, daemon: Daemon, tell: bool
) -> None:
    seen: list[libvirt.virConnect] = []
    connection.on_connect(seen.append)
    connection.start()
    daemon.kill(tell=tell)
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    assert not connection.connected
    daemon.up = True
    wait_for(lambda: len(seen) == 2)
    assert seen == [xen.connection for xen in daemon.made]
    assert connection.handle is daemon.made[1].connection
    wait_for(lambda: daemon.made[0].connection.close.call_count == 1)


def test_a_call_on_a_dead_connection_is_host_offline_and_begins_the_repair(
    connection: Connection, daemon: Daemon
) -> None:
    connection.start()
    handle = connection.handle
    daemon.kill(tell=False)
    with pytest.raises(HostOffline), translated(connection=connection):
        handle.listAllDomains()
    daemon.up = True
    wait_for(lambda: connection.connected)


def test_the_end_of_an_old_connection_does_not_end_the_new_one(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    callback = daemon.made[0].connection.registerCloseCallback.call_args.args[0]
    daemon.kill(tell=True)
    daemon.up = True
    wait_for(lambda: connection.connected)
    callback(daemon.made[0].connection, libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE, None)
    assert connection.connected
    assert len(daemon.made) == 2


def test_on_connect_calls_at_once_where_there_is_a_connection(connection: Connection) -> None:
    connection.start()
    seen: list[libvirt.virConnect] = []
    connection.on_connect(seen.append)
    assert seen == [connection.handle]


def test_a_connection_that_dies_while_all_register_is_not_taken_for_one(connection: Connection, daemon: Daemon) -> None:
    calls: list[libvirt.virConnect] = []

    def register(handle: libvirt.virConnect) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise closed()

    connection.on_connect(register)
    connection.start()
    wait_for(lambda: len(calls) == 2)
    wait_for(lambda: connection.connected)
    assert connection.handle is daemon.made[1].connection


def test_long_calls_have_a_second_connection_which_is_replaced_when_it_died(
    connection: Connection, daemon: Daemon
) -> None:
    connection.start()
    long = connection.long
    assert long is daemon.made[1].connection
    assert connection.long is long
    daemon.made[1].alive = False
    assert connection.suspect()
    assert connection.long is daemon.made[2].connection
    assert not connection.suspect()
    assert connection.handle is daemon.made[0].connection


def test_long_is_offline_where_no_second_connection_can_be_had(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    daemon.up = False
    with pytest.raises(HostOffline):
        connection.long  # noqa: B018
    assert connection.connected


def test_close_takes_registrations_back_and_closes_all(connection: Connection, daemon: Daemon) -> None:
    gone: list[libvirt.virConnect] = []
    connection.on_close(gone.append)
    connection.start()
    connection.long  # noqa: B018
    connection.close()
    assert gone == [daemon.made[0].connection]
    for xen in daemon.made:
        assert xen.connection.close.call_count == 1
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018


def test_in_process_there_is_one_connection(tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text("<node/>")
    connection = Connection(f"test://{tmp_path}/node.xml")
    connection.start()
    assert connection.in_process
    assert connection.long is connection.handle
    connection.close()


def test_a_real_daemon_that_is_killed_and_comes_back_is_connected_again(tmp_path: Path) -> None:
    folder = tmp_path / "daemon"
    folder.mkdir()
    events: list[str] = []

    def lifecycle(handle: libvirt.virConnect, domain: libvirt.virDomain, *rest: object) -> None:
        events.append(domain.name())

    def register(handle: libvirt.virConnect) -> None:
        handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)

    connection = Connection(f"test+unix:///default?socket={folder / 'libvirt-sock'}")
    connection.on_connect(register)
    with private_libvirtd(folder, "storage"):
        connection.start()
        assert connection.connected
        assert connection.long is not connection.handle
        connection.handle.lookupByName("test").suspend()
        wait_for(lambda: events == ["test"])
    wait_for(lambda: not connection.connected)
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    shutil.rmtree(folder)
    folder.mkdir()
    with private_libvirtd(folder, "storage"):
        wait_for(lambda: connection.connected)
        connection.long.lookupByName("test").suspend()
        wait_for(lambda: events == ["test", "test"])
        connection.close()


def test_it_is_alive_while_its_threads_are_whatever_the_daemon_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(uri: str) -> libvirt.virConnect:
        raise libvirt.libvirtError("no daemon")

    connection = Connection("xen:///system", opener=refuse)
    assert not connection.alive()
    connection.start()
    assert not connection.connected
    assert connection.alive()
    monkeypatch.setattr(module, "LONGEST_SILENCE_SECONDS", 0.0)
    assert not connection.alive()
    monkeypatch.undo()
    connection.close()
    assert not connection.alive()
