"""The daemon as its users start it: a process of its own, a state folder, and the stock clients at its front door."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI
from pyroute2 import IPRoute

from agent.roles import Role
from agent.users import Users
from tests.contract.daemon import private_libvirtd

PASSWORD = "correct horse battery staple"
WAIT_SECONDS = 60.0
EMBEDDED = "test:///default"


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Wait until it holds, and return what it returned; fail naming it if it does not within a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := holds()):
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.01)
    return result


class Daemon:
    """``xen-host-agent serve`` with a state folder of its own."""

    def __init__(
        self,
        state: Path,
        connect: str = EMBEDDED,
        listen: tuple[str, ...] = ("http://127.0.0.1:0",),
        configuration: str = "",
        within: tuple[str, ...] = (),
    ) -> None:
        """`configuration` is the text of its file; without one it has the defaults. `within` is the command that is to
        run it.
        """
        self.state = state
        self.connect = connect
        self.listen = listen
        self.configuration = configuration
        self.within = within
        self.urls: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._sessions: list[Any] = []
        Users(state / "users.json").add("root", PASSWORD, Role.POOL_ADMIN)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def log(self) -> str:
        return (self.state / "log").read_text("utf-8")

    def start(self, **environment: str) -> None:
        command = [*self.within, str(Path(sys.executable).with_name("xen-host-agent"))]
        command += ["serve", "--connect", self.connect]
        command += ["--state", str(self.state)]
        for url in self.listen:
            command += ["--listen", url]
        if self.configuration:
            (self.state / "config.toml").write_text(self.configuration, "utf-8")
            command += ["--config", str(self.state / "config.toml")]
        with (self.state / "log").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment
            )
        assert self.process.stdout is not None
        self.urls = []
        for line in self.process.stdout:
            self.urls.append(line.removeprefix("listening on ").strip())
            if len(self.urls) == len(self.listen):
                return
        raise AssertionError(f"the daemon did not start: {self.log}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        for session in self._sessions:
            session._ServerProxy__close()
        self._sessions.clear()
        process, self.process = self.process, None
        process.send_signal(number)
        code = process.wait(WAIT_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def kill(self) -> None:
        """End it as a power cut would."""
        self.stop(signal.SIGKILL)

    def raw(self, name: str, *params: Any) -> Any:
        """Call a message with exactly these parameters; Failure for an error."""
        with xmlrpc.client.ServerProxy(self.url) as proxy:
            answer: Any = getattr(proxy, name)(*params)
        if answer["Status"] == "Success":
            return answer["Value"]
        raise XenAPI.Failure(answer["ErrorDescription"])

    def login(self, user: str = "root", password: str = PASSWORD) -> Any:
        """A session of the stock XenAPI package."""
        session = XenAPI.Session(self.url)
        self._sessions.append(session)
        session.xenapi.login_with_password(user, password, "1.0", "front door")
        return session


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon on libvirt's embedded test hypervisor, for a whole module."""
    started = Daemon(tmp_path_factory.mktemp("state"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that the test may stop, kill and start again."""
    started = Daemon(tmp_path / "state")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def libvirtd(tmp_path: Path) -> Iterator[str]:
    """The URI of a libvirtd with the test hypervisor, whose domains outlive the agent as those of Xen do."""
    folder = tmp_path / "libvirtd"
    folder.mkdir()
    with private_libvirtd(folder, "test") as uri:
        yield uri


@pytest.fixture
def within() -> Iterator[tuple[str, ...]]:
    """A command that runs another with a network and a ``/var/lib`` that nobody else has."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("binding ports below 1024 apart from everybody needs root, unshare and nsenter")
    command = ["unshare", "--net", "--mount", "sh", "-c", "mount -t tmpfs none /var/lib && echo ready; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            if not holder.stdout.readline():
                pytest.skip("this host lets nobody mount anything, even in a namespace")
            place = f"/proc/{holder.pid}/ns"
            with IPRoute(netns=f"{place}/net") as kernel:
                kernel.link("set", index=1, state="up")
            yield ("nsenter", f"--net={place}/net", f"--mount={place}/mnt")
        finally:
            holder.stdin.close()


@pytest.fixture
def api(daemon: Daemon) -> Iterator[Any]:
    """The messages, in a session of a pool admin: ``api.VM.get_all()``."""
    session = daemon.login()
    yield session.xenapi
    session.xenapi.session.logout()


def make_vm(api: Any, name: str = "web", **fields: Any) -> str:
    """A halted machine of 256 MiB."""
    memory = str(256 * 2**20)
    record = {
        "name_label": name,
        "memory_static_min": "0",
        "memory_static_max": memory,
        "memory_dynamic_min": memory,
        "memory_dynamic_max": memory,
        "VCPUs_max": "2",
        "VCPUs_at_startup": "1",
        "PV_bootloader": "pygrub",
    }
    made: str = api.VM.create(record | fields)
    return made


def make_disk(api: Any, vm: str, place: str = "0", size: int = 2**24) -> tuple[str, str]:
    """A disk of a machine: its VBD and VDI."""
    sr = api.pool.get_default_SR(api.pool.get_all()[0])
    disk = {"SR": sr, "virtual_size": str(size), "type": "user", "sharable": False, "read_only": False}
    vdi = api.VDI.create(disk | {"name_label": f"disk {place}", "other_config": {}})
    record = {"VM": vm, "VDI": vdi, "userdevice": place, "bootable": place == "0", "mode": "RW", "type": "Disk"}
    return api.VBD.create(record | {"empty": False, "other_config": {}, "qos_algorithm_type": ""}), vdi


def make_card(api: Any, vm: str, place: str = "0") -> str:
    """A card of a machine on a network that has a bridge."""
    network = next(ref for ref, record in api.network.get_all_records().items() if record["bridge"])
    made: str = api.VIF.create({"VM": vm, "network": network, "device": place, "MAC": "", "MTU": "1500"})
    return made


def remove_vm(api: Any, vm: str) -> None:
    """Take a machine apart, as the strict rule of destroy wants it."""
    if api.VM.get_power_state(vm) != "Halted":
        api.VM.hard_shutdown(vm)
    for vif in api.VM.get_VIFs(vm):
        api.VIF.destroy(vif)
    for vbd in api.VM.get_VBDs(vm):
        vdi = api.VBD.get_VDI(vbd)
        api.VBD.destroy(vbd)
        if vdi != "OpaqueRef:NULL" and not api.VDI.get_VBDs(vdi):
            api.VDI.destroy(vdi)
    api.VM.destroy(vm)
