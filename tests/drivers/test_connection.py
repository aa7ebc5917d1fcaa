"""The connection: opened, watched, lost and opened again; with a fake, and with a real daemon that is killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest
from pytest_mock import MockerFixture

from agent.errors import HostOffline
from drivers import connection as module
from drivers.connection import Connection
from drivers.failures import translated
from tests.contract.daemon import private_libvirtd, running_libvirtd
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
                watched = xen.connection.registerCloseCallback.call_args
                if tell and watched is not None:
                    watched.args[0](xen.connection, libvirt.VIR_CONNECT_CLOSE_REASON_EOF, None)


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
        connection.another()
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
    connection.handle  # noqa: B018
    daemon.kill(tell=tell)
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    assert not connection.connected
    daemon.up = True
    wait_for(lambda: len(seen) == 2)
    assert seen == [daemon.made[0].connection, daemon.made[2].connection]
    assert connection.epoch == 2
    assert connection.handle is daemon.made[3].connection
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


def test_on_connect_calls_at_once_where_there_is_a_connection(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    seen: list[libvirt.virConnect] = []
    connection.on_connect(seen.append)
    assert seen == [daemon.made[0].connection]


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
    assert calls == [daemon.made[0].connection, daemon.made[1].connection]


def test_each_thread_has_its_own_which_is_replaced_when_it_died(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    own = connection.handle
    assert own is daemon.made[1].connection
    assert connection.handle is own
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: connection.handle).result() is daemon.made[2].connection
    daemon.made[1].alive = False
    assert connection.suspect()
    assert connection.handle is daemon.made[3].connection
    assert not connection.suspect()
    assert connection.epoch == 1
    assert connection.another() is daemon.made[4].connection


def test_a_thread_that_can_have_none_is_told_so(connection: Connection, daemon: Daemon) -> None:
    connection.start()
    daemon.up = False
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    assert connection.connected


@pytest.mark.parametrize("how", ["lost", "closed"])
def test_who_waits_for_one_of_a_daemon_that_hangs_waits_no_longer_than_it_is_known(
    mocker: MockerFixture, how: str
) -> None:
    xen, hangs, gate = FakeXen(mocker), threading.Event(), threading.Event()

    def open(uri: str) -> Mock:
        if xen.connection.setKeepAlive.called:
            hangs.set()
            gate.wait()
        return xen.connection

    connection = Connection(URI, opener=open)
    connection.start()
    with ThreadPoolExecutor(2) as others:
        waiting = [others.submit(connection.another) for _ in range(2)]
        assert hangs.wait(60)
        if how == "lost":
            callback = xen.connection.registerCloseCallback.call_args.args[0]
            callback(xen.connection, libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE, None)
        else:
            connection.close()
        for each in waiting:
            with pytest.raises(HostOffline):
                each.result(60)
    gate.set()
    connection.close()


def test_a_few_long_calls_are_made_at_once(connection: Connection) -> None:
    connection.start()
    going, gate = threading.Semaphore(0), threading.Event()

    def call() -> None:
        with connection.long():
            going.release()
            gate.wait()

    with ThreadPoolExecutor(module.LONG_AT_ONCE + 1) as callers:
        for _ in range(module.LONG_AT_ONCE + 1):
            callers.submit(call)
        for _ in range(module.LONG_AT_ONCE):
            assert going.acquire(timeout=60)
        assert not going.acquire(timeout=0.2)
        gate.set()
        assert going.acquire(timeout=60)


def test_close_takes_registrations_back_and_closes_all(connection: Connection, daemon: Daemon) -> None:
    gone: list[libvirt.virConnect] = []
    connection.on_close(gone.append)
    connection.start()
    connection.close()
    assert gone == [daemon.made[0].connection]
    assert daemon.made[0].connection.close.call_count == 1
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018


def test_in_process_there_is_one_connection(tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text("<node/>")
    connection = Connection(f"test://{tmp_path}/node.xml")
    connection.start()
    assert connection.in_process
    assert connection.another() is connection.handle
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: connection.handle).result() is connection.handle
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
        connection.handle.lookupByName("test").suspend()
        wait_for(lambda: events == ["test"])
    wait_for(lambda: not connection.connected)
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018
    shutil.rmtree(folder)
    folder.mkdir()
    with private_libvirtd(folder, "storage"):
        wait_for(lambda: connection.connected)
        connection.handle.lookupByName("test").suspend()
        wait_for(lambda: events == ["test", "test"])
        connection.close()


@pytest.fixture
def soon_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that hangs is known to after two seconds."""
    monkeypatch.setattr(module, "KEEPALIVE_INTERVAL_SECONDS", 1)
    monkeypatch.setattr(module, "KEEPALIVE_COUNT", 1)


@pytest.mark.fault("F4")
@pytest.mark.usefixtures("soon_known")
def test_calls_of_many_threads_on_a_real_daemon_that_hangs_end_and_go_on_later(tmp_path: Path) -> None:
    with running_libvirtd(tmp_path, "test") as daemon, ThreadPoolExecutor(6) as callers:
        connection = Connection(daemon.uri)
        connection.start()

        def call_on(begun: threading.Barrier) -> None:
            begun.wait(60)
            while True:
                with translated(connection=connection):
                    for domain in connection.handle.listAllDomains():
                        domain.XMLDesc()

        for _ in range(3):
            begun = threading.Barrier(7)
            calls = [callers.submit(call_on, begun) for _ in range(6)]
            begun.wait(60)
            with daemon.held():
                for call in calls:
                    with pytest.raises(HostOffline):
                        call.result(60)
            wait_for(lambda: connection.connected)
            assert [domain.name() for domain in connection.handle.listAllDomains()] == ["test"]
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
