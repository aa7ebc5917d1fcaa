"""Consoles opened on a Xen that is not there: real sockets for VNC, and a real terminal behind libvirt's stream."""

from __future__ import annotations

import os
import select
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import libvirt
import pytest
from lxml import etree
from pytest_mock import MockerFixture

from agent.classes import VM, Console
from agent.classes.enums import ConsoleProtocol
from agent.errors import HostOffline, InternalError, OperationNotAllowed, VMBadPowerState
from drivers.connection import Connection
from drivers.consoles import WAIT, TextConsole
from drivers.domains import LibvirtDomains
from tests.contract.daemon import private_libvirtd, running_libvirtd
from tests.door import WAIT_SECONDS, eventually
from tests.drivers.fake_xen import FakeDomain, FakeXen, closed, error
from tests.drivers.machines import Machines

MIB = 2**20


class Terminal:
    """A terminal; `stream` is what libvirt would have given for it, served by libvirt's own event loop."""

    def __init__(self, mocker: MockerFixture) -> None:
        self._ours, self.guest = os.openpty()
        tty.setraw(self.guest)
        os.set_blocking(self._ours, False)
        self._watch = -1
        self.ended = threading.Event()
        self.stream: Mock = mocker.create_autospec(libvirt.virStream, instance=True)
        self.stream.recv.side_effect = self._recv
        self.stream.send.side_effect = self._send
        self.stream.eventAddCallback.side_effect = self._listen
        self.stream.eventUpdateCallback.side_effect = lambda events: libvirt.virEventUpdateHandle(self._watch, events)
        self.stream.eventRemoveCallback.side_effect = self._deafen
        self.stream.abort.side_effect = self.ended.set

    def _listen(self, events: int, callback: Callable[..., None], opaque: object) -> None:
        def ready(watch: int, descriptor: int, events: int, opaque: object) -> None:
            callback(self.stream, events, opaque)

        self._watch = libvirt.virEventAddHandle(self._ours, events, ready, opaque)

    def _deafen(self) -> None:
        if self._watch < 0:
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: stream does not have a callback registered")
        libvirt.virEventRemoveHandle(self._watch)

    def _recv(self, length: int) -> Any:
        try:
            return os.read(self._ours, length)
        except BlockingIOError:
            return WAIT
        except OSError:  # nobody has the other end any more
            return b""

    def _send(self, data: bytes) -> int:
        try:
            return os.write(self._ours, data)
        except BlockingIOError:
            return WAIT

    def read(self, length: int) -> bytes:
        """So many bytes of what was typed."""
        got = b""
        while len(got) < length:
            ready, _, _ = select.select([self.guest], [], [], WAIT_SECONDS)
            assert ready, f"only {len(got)} of {length} bytes came"
            got += os.read(self.guest, length - len(got))
        return got

    def hang_up(self) -> None:
        """The guest is gone."""
        if self.guest >= 0:
            os.close(self.guest)
            self.guest = -1

    def close(self) -> None:
        self.hang_up()
        os.close(self._ours)


@pytest.fixture
def terminal(mocker: MockerFixture, xen: FakeXen) -> Iterator[Terminal]:
    made = Terminal(mocker)
    xen.connection.newStream.return_value = made.stream
    yield made
    made.close()


@pytest.fixture
def vm(domains: LibvirtDomains, machines: Machines) -> VM:
    """A running machine that has a screen and a terminal."""
    made = machines.hvm()
    domains.start(made, False)
    return made


@pytest.fixture
def live(xen: FakeXen, vm: VM) -> FakeDomain:
    return xen.domains[vm.uuid]


def console_of(domains: LibvirtDomains, vm: VM, protocol: ConsoleProtocol) -> Console:
    """The console as the observer makes it."""
    seen = domains.look(vm.uuid)
    assert seen is not None
    made = Console()
    made.VM, made.protocol = vm, protocol
    made.endpoint = next(console.location for console in seen.consoles if console.protocol == protocol)
    return made


@pytest.fixture
def text(domains: LibvirtDomains, vm: VM) -> Console:
    return console_of(domains, vm, ConsoleProtocol.VT100)


@pytest.fixture
def opened(domains: LibvirtDomains, text: Console, terminal: Terminal) -> Iterator[socket.socket]:
    """The client's end of the terminal."""
    made = domains.open_console(text)
    made.settimeout(WAIT_SECONDS)
    yield made
    made.close()


def read(link: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length and (part := link.recv(length - len(got))):
        got += part
    return got


# --- terminals


def test_what_is_typed_and_shown_reaches_the_other(
    opened: socket.socket, terminal: Terminal, live: FakeDomain, xen: FakeXen
) -> None:
    os.write(terminal.guest, b"login: ")
    assert read(opened, 7) == b"login: "
    opened.sendall(b"root\r")
    assert terminal.read(5) == b"root\r"
    xen.connection.newStream.assert_called_once_with(libvirt.VIR_STREAM_NONBLOCK)
    live.mock.openConsole.assert_called_once_with(None, terminal.stream, 0)


def test_a_client_that_does_not_read_makes_the_guest_wait(opened: socket.socket, terminal: Terminal) -> None:
    content, sent = os.urandom(4 * MIB), 0
    os.set_blocking(terminal.guest, False)
    while select.select([], [terminal.guest], [], 1.0)[1]:
        sent += os.write(terminal.guest, content[sent : sent + 65536])
        assert sent < len(content)
    assert read(opened, sent) == content[:sent]
    os.write(terminal.guest, b"more")
    assert read(opened, 4) == b"more"


def test_a_guest_that_does_not_read_makes_the_client_wait(opened: socket.socket, terminal: Terminal) -> None:
    content, sent = os.urandom(4 * MIB), 0
    opened.setblocking(False)
    while select.select([], [opened], [], 1.0)[1]:
        with suppress(BlockingIOError):
            sent += opened.send(content[sent : sent + 65536])
        assert sent < len(content)
    os.write(terminal.guest, b"still shown")
    opened.settimeout(WAIT_SECONDS)
    assert read(opened, 11) == b"still shown"
    assert terminal.read(sent) == content[:sent]


def test_a_client_that_sends_no_more_is_still_shown_the_terminal(opened: socket.socket, terminal: Terminal) -> None:
    opened.sendall(b"exit\r")
    opened.shutdown(socket.SHUT_WR)
    assert terminal.read(5) == b"exit\r"
    os.write(terminal.guest, b"goodbye")
    assert read(opened, 7) == b"goodbye"


def test_a_guest_that_is_gone_ends_it(opened: socket.socket, terminal: Terminal) -> None:
    os.write(terminal.guest, b"bye")
    assert read(opened, 3) == b"bye"
    terminal.hang_up()
    assert read(opened, 1) == b""
    assert terminal.ended.wait(WAIT_SECONDS)


def test_a_client_that_is_gone_ends_it(opened: socket.socket, terminal: Terminal, domains: LibvirtDomains) -> None:
    opened.close()
    assert terminal.ended.wait(WAIT_SECONDS)
    eventually(lambda: not domains._open_consoles, "nothing kept")


def test_a_stream_that_fails_ends_it(opened: socket.socket, terminal: Terminal) -> None:
    terminal.stream.recv.side_effect = closed()
    os.write(terminal.guest, b"x")
    assert read(opened, 1) == b""


def test_a_lost_connection_ends_it(opened: socket.socket, connection: Connection, xen: FakeXen) -> None:
    xen.alive = False
    with pytest.raises(HostOffline):
        connection.handle  # noqa: B018 - notices it
    assert read(opened, 1) == b""


def test_a_terminal_that_somebody_has_is_refused(
    domains: LibvirtDomains, text: Console, terminal: Terminal, live: FakeDomain
) -> None:
    words = "operation failed: Active console session exists for this domain"
    live.mock.openConsole.side_effect = error(libvirt.VIR_ERR_OPERATION_FAILED, words)
    with pytest.raises(OperationNotAllowed, match="Active console session exists"):
        domains.open_console(text)


def test_a_hypervisor_without_such_a_call_is_told_of(
    domains: LibvirtDomains, text: Console, terminal: Terminal, live: FakeDomain
) -> None:
    live.mock.openConsole.side_effect = error(libvirt.VIR_ERR_NO_SUPPORT, "virDomainOpenConsole")
    with pytest.raises(OperationNotAllowed, match="no way to do this"):
        domains.open_console(text)


def test_a_stream_that_ended_at_once_leaves_nothing_open(
    domains: LibvirtDomains, text: Console, terminal: Terminal
) -> None:
    terminal.stream.eventAddCallback.side_effect = error(libvirt.VIR_ERR_INTERNAL_ERROR, "stream is not open")
    with pytest.raises(InternalError, match="stream is not open"):
        domains.open_console(text)
    assert terminal.ended.wait(WAIT_SECONDS)
    assert not domains._open_consoles


def test_of_several_terminals_the_first_is_opened(
    domains: LibvirtDomains, text: Console, terminal: Terminal, live: FakeDomain
) -> None:
    assert live.live is not None
    devices = live.live.find("devices")
    assert devices is not None
    etree.SubElement(devices, "console", type="pty", tty="/dev/pts/99")
    domains.open_console(text).close()
    text.endpoint = "/dev/pts/99"
    with pytest.raises(OperationNotAllowed, match="the first only"):
        domains.open_console(text)


def test_a_stream_of_a_real_libvirtd_is_carried_both_ways(tmp_path: Path) -> None:
    """The content of a volume stands for a console's: no libvirt without a hypervisor has consoles."""
    folder, daemon = tmp_path / "pool", tmp_path / "daemon"
    folder.mkdir()
    daemon.mkdir()
    content = os.urandom(4 * MIB)
    (folder / "volume").write_bytes(content)
    with private_libvirtd(daemon, "storage") as uri:
        connection = Connection(uri)
        connection.start()
        text = f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>"
        volume = connection.handle.storagePoolCreateXML(text, 0).storageVolLookupByName("volume")
        for way in ("download", "upload"):
            ended = threading.Event()
            own = connection.another()
            stream = own.newStream(libvirt.VIR_STREAM_NONBLOCK)
            getattr(own.storageVolLookupByPath(volume.path()), way)(stream, 0, 0, 0)
            console = TextConsole(stream, lambda console, ended=ended: ended.set())  # type: ignore[misc]
            console.start()
            with console.client as link:
                link.settimeout(WAIT_SECONDS)
                if way == "download":
                    assert read(link, 2 * len(content)) == content
                else:
                    link.sendall(content[::-1])
                    eventually(lambda: (folder / "volume").read_bytes() == content[::-1], "what was sent")
            assert ended.wait(WAIT_SECONDS)
        connection.close()


@pytest.mark.fault("F4")
def test_events_go_on_where_a_console_is_closed_while_libvirtd_hangs(tmp_path: Path) -> None:
    folder, place = tmp_path / "pool", tmp_path / "daemon"
    folder.mkdir()
    place.mkdir()
    (folder / "volume").write_bytes(bytes(MIB))
    with running_libvirtd(place, "storage") as daemon:
        connection = Connection(daemon.uri)
        connection.start()
        text = f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>"
        own = connection.another()
        stream = own.newStream(libvirt.VIR_STREAM_NONBLOCK)
        own.storagePoolCreateXML(text, 0).storageVolLookupByName("volume").download(stream, 0, 0, 0)
        ended, turned = threading.Event(), threading.Event()
        console = TextConsole(stream, lambda console: ended.set())
        with daemon.held():
            console.start()
            console.client.close()
            assert ended.wait(WAIT_SECONDS)
            timer = libvirt.virEventAddTimeout(100, lambda timer, opaque: turned.set(), None)
            assert turned.wait(WAIT_SECONDS)
            libvirt.virEventRemoveTimeout(timer)
        connection.close()


# --- screens


def have_screen(live: FakeDomain, **attributes: str) -> None:
    """Its VNC server is there."""
    assert live.live is not None
    [graphics] = live.live.iterfind("devices/graphics")
    for name in ("port", "listen"):
        graphics.attrib.pop(name, "")
    for name, value in attributes.items():
        graphics.set(name, value)


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_screen_on_a_port(domains: LibvirtDomains, vm: VM, live: FakeDomain, listen: str) -> None:
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.create_server((listen, 0), family=family) as server:
        have_screen(live, port=str(server.getsockname()[1]), listen=listen)
        with domains.open_console(console_of(domains, vm, ConsoleProtocol.RFB)) as link:
            other, _ = server.accept()
            with other:
                link.settimeout(WAIT_SECONDS)
                other.sendall(b"RFB 003.008\n")
                assert read(link, 12) == b"RFB 003.008\n"
                link.sendall(b"x")
                assert read(other, 1) == b"x"


def test_a_screen_at_a_unix_socket(domains: LibvirtDomains, vm: VM, live: FakeDomain, tmp_path: Path) -> None:
    path = str(tmp_path / "vnc")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        have_screen(live, socket=path)
        with domains.open_console(console_of(domains, vm, ConsoleProtocol.RFB)) as link:
            other, _ = server.accept()
            with other:
                other.sendall(b"RFB")
                link.settimeout(WAIT_SECONDS)
                assert read(link, 3) == b"RFB"


@pytest.mark.parametrize("where", ["port", "socket"])
def test_a_screen_that_does_not_answer(
    domains: LibvirtDomains, vm: VM, live: FakeDomain, tmp_path: Path, where: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    have_screen(live, **({"port": str(port)} if where == "port" else {"socket": str(tmp_path / "none")}))
    with pytest.raises(OperationNotAllowed, match="does not answer"):
        domains.open_console(console_of(domains, vm, ConsoleProtocol.RFB))


def test_a_screen_that_moved_is_not_there(domains: LibvirtDomains, vm: VM, live: FakeDomain) -> None:
    screen = console_of(domains, vm, ConsoleProtocol.RFB)
    have_screen(live, port="5999")
    with pytest.raises(OperationNotAllowed, match="no more"):
        domains.open_console(screen)


def test_a_screen_of_another_host_is_not_looked_for_here(xen: FakeXen, machines: Machines) -> None:
    connection = Connection("xen+ssh://elsewhere/system", opener=lambda uri: xen.connection)
    far = LibvirtDomains(connection)
    connection.start()
    vm = machines.hvm()
    far.start(vm, False)
    with pytest.raises(OperationNotAllowed, match="on another host"):
        far.open_console(console_of(far, vm, ConsoleProtocol.RFB))
    connection.close()


def test_a_halted_machine_has_no_console(domains: LibvirtDomains, vm: VM, text: Console) -> None:
    domains.destroy(vm)
    with pytest.raises(VMBadPowerState):
        domains.open_console(text)
