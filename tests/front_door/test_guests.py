"""Machines that go up and down with the host, at a daemon. The host of the embedded test hypervisor is booted with the
process; behind a libvirtd, the agent is merely restarted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.front_door.conftest import EMBEDDED, Daemon, eventually, make_vm


@pytest.fixture
def beside_socket(tmp_path: Path) -> Iterator[Daemon]:
    """An agent that root of this host needs no password for."""
    started = Daemon(
        tmp_path / "state", EMBEDDED, ("http://127.0.0.1:0", f"unix:{tmp_path}/socket"), "[autostart]\nat_once = 1\n"
    )
    started.start()
    yield started
    started.stop()


def guests(daemon: Daemon, action: str) -> subprocess.CompletedProcess[str]:
    """What the service manager runs."""
    command = [str(Path(sys.executable).with_name("xen-host-agent")), "guests", action, "--url", daemon.urls[1]]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root, whom the agent asks for no password")
def test_a_boot_of_the_host_starts_them_in_order_and_its_end_stops_them(beside_socket: Daemon) -> None:
    daemon = beside_socket
    api = daemon.login().xenapi
    names = {"database": 0, "server": 1, "front": 2}
    vms = {name: make_vm(api, name, auto_power_on=True, order=str(order)) for name, order in names.items()}
    bad = make_vm(api, "bad", auto_power_on=True)
    by_flag = make_vm(api, "by flag", other_config={"auto_poweron": "true"}, order="2")
    stays = make_vm(api, "stays", other_config={"auto_poweron": "false"})
    api.pool.add_to_other_config(api.pool.get_all()[0], "auto_poweron", "true")
    api.VM.add_to_blocked_operations(bad, "start", "BROKEN")

    daemon.stop()
    daemon.start()
    api = daemon.login().xenapi
    up = [*vms.values(), by_flag]
    eventually(lambda: {api.VM.get_power_state(vm) for vm in up} == {"Running"}, "the machines that start")
    assert [api.VM.get_power_state(vm) for vm in (bad, stays)] == ["Halted", "Halted"]
    told = [(each["name"], each["obj_uuid"]) for each in api.message.get_all_records().values()]
    assert ("VM_START_FAILED", api.VM.get_uuid(bad)) in told
    numbers = [int(api.VM.get_domid(vm)) for vm in vms.values()]
    assert numbers == sorted(numbers)

    done = guests(daemon, "stop")
    assert (done.returncode, done.stderr) == (0, "")
    assert {api.VM.get_power_state(vm) for vm in up} == {"Halted"}
    [test] = api.VM.get_by_name_label("test")  # which is the hypervisor's own, and was not started by the agent
    assert api.VM.get_power_state(test) == "Running"

    done = guests(daemon, "start")
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: {api.VM.get_power_state(vm) for vm in up} == {"Running"}, "the machines that start again")


def crash(api: Any, vm: str) -> None:
    """Have the guest crash, whose machine restarts it, and wait until the agent has seen that or stopped it."""
    before = api.VM.get_domid(vm)
    api.VM.send_sysrq(vm, "c")
    eventually(lambda: api.VM.get_domid(vm) != before, "the next domain")


def test_a_guest_that_crashes_again_and_again_is_stopped(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", configuration="[guests]\nrapid_crashes = 2\n")
    daemon.start()
    try:
        api = daemon.login().xenapi
        vm, steady = (make_vm(api, name, actions_after_crash="restart") for name in ("looping", "steady"))
        for each in (vm, steady):
            api.VM.start(each, False, False)
            crash(api, each)
        assert [api.VM.get_power_state(each) for each in (vm, steady)] == ["Running", "Running"]
        crash(api, vm)
        eventually(lambda: api.VM.get_power_state(vm) == "Halted", "the end of the loop")
        assert api.VM.get_power_state(steady) == "Running"
        why = "has crashed 2 times in a row, each time within 120 s of its start"
        urgent = [each["body"] for each in api.message.get_all_records().values() if each["priority"] == "2"]
        assert sorted(urgent) == sorted(
            [*["looping has crashed."] * 2, "steady has crashed.", f"looping {why}, and was stopped."]
        )
        assert f"{why}: it is stopped" in daemon.log
    finally:
        daemon.stop()


def test_a_restart_of_the_agent_neither_starts_nor_stops_machines(libvirtd: str, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", connect=libvirtd)
    held = libvirt.open(libvirtd)  # the test driver forgets its domains with the last connection
    daemon.start()
    try:
        api = daemon.login().xenapi
        halted, running = make_vm(api, "halted", auto_power_on=True), make_vm(api, "running", auto_power_on=True)
        api.VM.start(running, False, False)
        domid = api.VM.get_domid(running)
        daemon.stop()
        daemon.start()
        api = daemon.login().xenapi
        assert api.VM.get_power_state(halted) == "Halted"
        api.host.start_guests(api.host.get_all()[0])  # now it is asked for
        eventually(lambda: api.VM.get_power_state(halted) == "Running", "the start that was asked for")
        names = [message["name"] for message in api.message.get_all_records().values()]
        assert names.count("VM_SHUTDOWN") == 0
        assert api.VM.get_domid(running) == domid
    finally:
        daemon.stop()
        held.close()
