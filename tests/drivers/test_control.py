"""What is done to the host as a whole, by tools that are none of Xen's, and what is never done to another's host."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import OperationNotAllowed
from agent.ports import SeenSecurity
from drivers import control as control_module
from drivers.connection import Connection
from drivers.control import HostControl, NoControl, SimulatedControl
from drivers.node import LibvirtNode
from drivers.program import Program
from drivers.xl import Xl
from tests.drivers.fake_xl import XlHost


def tool(folder: Path, name: str, text: str) -> Program:
    """A program that is this shell script and notes its arguments."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{folder}/{name}.said\n{text}\n')
    path.chmod(0o755)
    return Program(str(path), timeout_seconds=60)


def said(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.said").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> XlHost:
    """A host with an xl."""
    return XlHost(tmp_path)


@pytest.fixture
def control(host: XlHost, tmp_path: Path) -> HostControl:
    """Its control, with a journal and a service manager that do nothing."""
    return HostControl(
        host.xl,
        journalctl=tool(tmp_path, "journalctl", "printf 'one\\033[1m\\ntwo\\t2\\n'"),
        systemctl=tool(tmp_path, "systemctl", ""),
    )


@pytest.mark.parametrize(("mode", "enforcing"), [("enforcing", True), ("permissive", False)])
def test_flask_is_found_though_xl_ends_with_its_mode(
    control: HostControl, host: XlHost, mode: str, enforcing: bool
) -> None:
    host.write(host.read() | {"flask": mode})
    assert control.security() == SeenSecurity("flask", enforcing)
    assert host.xl.list()[0].label == "system_u:system_r:dom0_t"  # type: ignore[index]


def test_the_log_is_the_journals_fit_to_be_shown(control: HostControl, tmp_path: Path) -> None:
    assert control.log() == "one[1m\ntwo     2"
    assert said(tmp_path, "journalctl") == ["--boot --no-pager --output=short-iso --lines=5000"]


def test_power_is_the_service_managers(control: HostControl, tmp_path: Path) -> None:
    control.reboot()
    control.shutdown()
    assert said(tmp_path, "systemctl") == ["--no-block reboot", "--no-block poweroff"]


@pytest.mark.parametrize(("state", "synchronized"), [(0, True), (4, True), (5, False)])
def test_the_kernel_says_whether_the_clock_follows_another(
    control: HostControl, monkeypatch: pytest.MonkeyPatch, state: int, synchronized: bool
) -> None:
    assert 0 <= control_module._clock_state() <= 5
    monkeypatch.setattr(control_module, "_clock_state", lambda: state)
    assert control.clock_synchronized() is synchronized


def test_what_the_tools_refuse_is_told_in_their_words(host: XlHost, tmp_path: Path) -> None:
    broken = tool(tmp_path, "broken", "echo 'Access denied' >&2; exit 1")
    control = HostControl(Xl(str(tmp_path / "broken")), journalctl=broken, systemctl=broken)
    for call in (control.reboot, control.shutdown, lambda: control.send_debug_keys("h")):
        with pytest.raises(OperationNotAllowed, match="Access denied"):
            call()
    for read in (control.log, lambda: control.dmesg(clear=True)):
        with pytest.raises(OperationNotAllowed):
            read()
    assert control.security() == SeenSecurity()


@pytest.mark.parametrize("control", [NoControl(), SimulatedControl()], ids=lambda made: type(made).__name__)
def test_a_host_that_is_not_ours_is_never_switched_off(control: NoControl) -> None:
    for call in (control.reboot, control.shutdown):
        with pytest.raises(OperationNotAllowed):
            call()


def test_another_hosts_messages_are_out_of_reach() -> None:
    control = NoControl()
    for call in (
        control.log,
        control.clock_synchronized,
        lambda: control.dmesg(clear=False),
        lambda: control.send_debug_keys("h"),
    ):
        with pytest.raises(OperationNotAllowed, match="does not run on the host"):
            call()
    assert control.security() == SeenSecurity()
    assert SimulatedControl().log() == ""


def test_only_the_xen_of_this_host_is_controlled() -> None:
    connection = Connection("test:///default")
    assert type(LibvirtNode(connection, simulated=True).control) is SimulatedControl
    assert type(LibvirtNode(connection, simulated=False).control) is NoControl
    assert type(LibvirtNode(connection, simulated=False, local=True).control) is HostControl
