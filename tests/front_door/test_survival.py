"""What an admin relies on when something dies: the agent, at any moment; libvirt, stopped or hung."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
import XenAPI

from agent.failpoints import ENVIRONMENT
from tests.front_door.conftest import PASSWORD, Daemon, eventually, make_card, make_disk, make_vm


def from_token(api: Any, classes: list[str], token: str, seconds: float) -> Any:
    return getattr(api.event, "from")(classes, token, seconds)


@pytest.fixture
def beside_libvirtd(libvirtd: str, tmp_path: Path) -> Iterator[Daemon]:
    """An agent whose hypervisor is another process."""
    started = Daemon(tmp_path / "state", connect=libvirtd)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def behind_our_back(libvirtd: str) -> Iterator[Any]:
    """A connection to the same libvirt, as virsh would make it."""
    connection = libvirt.open(libvirtd)
    yield connection
    connection.close()


def libvirtd_pid(tmp_path: Path) -> int:
    return int((tmp_path / "libvirtd" / "pid").read_text())


@pytest.mark.fault("F7")
def test_what_was_acknowledged_survives_a_kill(own_daemon: Daemon) -> None:
    session = own_daemon.login()
    api = session.xenapi
    vm = make_vm(api, "survivor", other_config={"owner": "ops"})
    vbd, vdi = make_disk(api, vm)
    make_card(api, vm)
    before = api.VM.get_record(vm)
    token = from_token(api, ["vm"], "", 0.0)["token"]
    secret = session._session
    own_daemon.kill()
    own_daemon.start()
    after = own_daemon.raw("VM.get_record", secret, vm)  # the session is still good
    assert after == before
    assert own_daemon.raw("VBD.get_VDI", secret, vbd) == vdi
    with pytest.raises(XenAPI.Failure) as lost:
        own_daemon.raw("event.from", secret, ["vm"], token, 1.0)
    assert lost.value.details == ["EVENTS_LOST"]


@pytest.mark.fault("F1")
def test_a_kill_amid_writes_loses_nothing_acknowledged_and_halves_nothing(own_daemon: Daemon) -> None:
    secret = own_daemon.login()._session
    acknowledged: list[dict[str, str]] = [{} for _ in range(6)]
    network = own_daemon.raw("network.get_all", secret)[0]
    url = own_daemon.url

    def write(number: int) -> None:
        with xmlrpc.client.ServerProxy(url) as proxy:
            try:
                for round_number in range(10_000):
                    name = f"{number}-{round_number}"
                    vm: Any = proxy.VM.create(secret, {"name_label": name})
                    proxy.VIF.create(secret, {"VM": vm["Value"], "network": network, "device": "0"})
                    acknowledged[number][vm["Value"]] = name
            except (OSError, xmlrpc.client.Error):
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(len(acknowledged))]
    for writer in writers:
        writer.start()
    eventually(lambda: sum(map(len, acknowledged)) > 60, "some writes")
    own_daemon.kill()
    for writer in writers:
        writer.join()
    own_daemon.start()
    records = own_daemon.raw("VM.get_all_records", secret)
    cards = own_daemon.raw("VIF.get_all_records", secret)
    for made in acknowledged:
        for vm, name in made.items():
            assert records[vm]["name_label"] == name
            assert len(records[vm]["VIFs"]) == 1
    for ref, card in cards.items():
        assert ref in records[card["VM"]]["VIFs"]
        assert card["metrics"] != "OpaqueRef:NULL"
    assert all(record["metrics"] != "OpaqueRef:NULL" for record in records.values())


@pytest.mark.fault("F1")
def test_running_machines_are_not_touched_when_the_agent_dies(beside_libvirtd: Daemon, behind_our_back: Any) -> None:
    session = beside_libvirtd.login()
    api = session.xenapi
    vm = make_vm(api, "runs on")
    api.VM.start(vm, False, False)
    domid = api.VM.get_domid(vm)
    secret = session._session
    beside_libvirtd.kill()
    domain = behind_our_back.lookupByUUIDString(vm.removeprefix("OpaqueRef:"))
    assert (domain.isActive(), domain.ID()) == (1, int(domid))
    beside_libvirtd.start()
    assert beside_libvirtd.raw("VM.get_power_state", secret, vm) == "Running"
    assert beside_libvirtd.raw("VM.get_domid", secret, vm) == domid
    assert beside_libvirtd.stop() == 0
    assert domain.isActive() == 1


@pytest.mark.fault("F1")
def test_a_start_writes_no_definition_that_says_what_is_wanted(beside_libvirtd: Daemon, behind_our_back: Any) -> None:
    api = beside_libvirtd.login().xenapi
    odd = {"name_description": "of two\nlines", "actions_after_reboot": "destroy", "actions_after_crash": "preserve"}
    made = [make_vm(api, "plain"), make_vm(api, "odd", **odd), make_vm(api, "<&>")]
    for kind in ({"domain_type": "hvm"}, {"domain_type": "pvh", "PV_kernel": ""}, {"HVM_boot_policy": "boot me"}):
        made.append(make_vm(api, "other", PV_bootloader="", **kind))
    make_card(api, made[0])
    drive = {"VM": made[3], "VDI": "OpaqueRef:NULL", "type": "CD", "mode": "RO", "empty": True}
    api.VBD.create(drive | {"userdevice": "3"})
    beside_libvirtd.stop()
    beside_libvirtd.start(**{ENVIRONMENT: "Domains.define: begun=kill"})
    assert len(beside_libvirtd.login().xenapi.VM.get_all()) > len(made)
    beside_libvirtd.stop()
    # One that says something else is written, or this test could not fail.
    domain = behind_our_back.lookupByUUIDString(made[0].removeprefix("OpaqueRef:"))
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "else", None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    with pytest.raises(AssertionError, match="did not start"):
        beside_libvirtd.start(**{ENVIRONMENT: "Domains.define: begun=kill"})


@pytest.mark.fault("F5")
def test_a_change_behind_our_back_reaches_a_waiting_client(beside_libvirtd: Daemon, behind_our_back: Any) -> None:
    api = beside_libvirtd.login().xenapi
    (vm,) = api.VM.get_by_name_label("test")
    token = from_token(api, ["vm"], "", 0.0)["token"]
    heard: list[Any] = []
    waiting = beside_libvirtd.login()
    waiter = threading.Thread(target=lambda: heard.append(from_token(waiting.xenapi, [f"vm/{vm}"], token, 60.0)))
    waiter.start()
    behind_our_back.lookupByName("test").suspend()
    waiter.join()
    assert heard[0]["events"][0]["snapshot"]["power_state"] == "Paused"
    behind_our_back.lookupByName("test").destroy()
    eventually(lambda: api.VM.get_power_state(vm) == "Halted", "the destroyed domain's state")
    behind_our_back.createXML(
        "<domain type='test'><name>stranger</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    (stranger,) = eventually(lambda: api.VM.get_by_name_label("stranger"), "the adoption")
    assert api.VM.get_power_state(stranger) == "Running"


@pytest.mark.fault("F1")
def test_a_task_under_way_at_a_kill_ends_as_failed(beside_libvirtd: Daemon, tmp_path: Path) -> None:
    session = beside_libvirtd.login()
    api, secret = session.xenapi, session._session
    vm = make_vm(api, "interrupted")
    libvirt_pid = libvirtd_pid(tmp_path)
    os.kill(libvirt_pid, signal.SIGSTOP)
    try:
        task = api.Async.VM.start(vm, False, False)
        assert api.task.get_status(task) == "pending"
        assert api.VM.get_name_label(vm) == "interrupted"  # reads do not wait for libvirt
        beside_libvirtd.kill()
    finally:
        os.kill(libvirt_pid, signal.SIGCONT)
    beside_libvirtd.start()
    record = beside_libvirtd.raw("task.get_record", secret, task)
    assert record["status"] == "failure"
    assert record["error_info"][0] == "INTERNAL_ERROR"
    assert "ended while" in record["error_info"][1]
    assert beside_libvirtd.raw("VM.get_power_state", secret, vm) in ("Halted", "Running")
    assert beside_libvirtd.raw("VM.get_record", secret, vm)["current_operations"] == {}


@pytest.mark.fault("F4")
def test_the_agent_lives_without_libvirt_and_finds_it_again(
    beside_libvirtd: Daemon, tmp_path: Path, libvirtd: str
) -> None:
    api = beside_libvirtd.login().xenapi
    vm = make_vm(api, "patient")
    pid = libvirtd_pid(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert api.VM.get_record(vm)["name_label"] == "patient"
        assert time.monotonic() - started < 30.0, "a read waited for a libvirt that hangs"
    finally:
        os.kill(pid, signal.SIGCONT)
    api.VM.start(vm, False, False)
    assert api.VM.get_power_state(vm) == "Running"


@pytest.mark.fault("F20")
def test_a_second_agent_on_the_same_state_refuses_to_start(own_daemon: Daemon) -> None:
    own_daemon.login()
    command = Path(str(own_daemon.process.args[0])) if own_daemon.process is not None else Path()  # type: ignore[index]
    second = subprocess.run(
        [
            command,
            "serve",
            "--connect",
            "test:///default",
            "--state",
            own_daemon.state,
            "--listen",
            "http://127.0.0.1:0",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert str(own_daemon.state) in second.stderr
    assert own_daemon.login()


@pytest.mark.fault("F2")
def test_it_ends_cleanly_while_clients_wait(own_daemon: Daemon) -> None:
    api = own_daemon.login().xenapi
    token = from_token(api, ["*"], "", 0.0)["token"]
    ended = threading.Event()

    def wait() -> None:
        session = XenAPI.Session(own_daemon.url)
        try:
            session.xenapi.login_with_password("root", PASSWORD)
            while True:
                from_token(session.xenapi, ["vm"], token, 300.0)
        except (OSError, xmlrpc.client.Error, XenAPI.Failure):
            ended.set()
        finally:
            session._ServerProxy__close()

    waiter = threading.Thread(target=wait)
    waiter.start()
    eventually(lambda: len(api.session.get_all_subject_identifiers()) == 1, "the waiter's login")
    assert own_daemon.stop() == 0
    waiter.join()
    assert ended.is_set()


@pytest.mark.threat("T18")
def test_a_wrong_password_delays_the_guesser_and_nobody_else(own_daemon: Daemon) -> None:
    api = own_daemon.login().xenapi
    refused: list[Any] = []

    def guess() -> None:
        with pytest.raises(XenAPI.Failure) as caught:
            own_daemon.raw("session.login_with_password", "root", "a guess")
        refused.append(caught.value.details[0])

    guessers = [threading.Thread(target=guess) for _ in range(4)]
    for guesser in guessers:
        guesser.start()
    calls = 0
    while any(guesser.is_alive() for guesser in guessers):
        api.pool.get_all()
        calls += 1
    assert refused == ["SESSION_AUTHENTICATION_FAILED"] * 4
    assert calls > 20, "others had to wait for the guessers"


def test_who_logged_out_is_out(own_daemon: Daemon) -> None:
    session = own_daemon.login()
    secret = session._session
    session.xenapi.session.logout()
    with pytest.raises(XenAPI.Failure) as caught:
        own_daemon.raw("VM.get_all", secret)
    assert caught.value.details == ["SESSION_INVALID", secret]


@pytest.mark.threat("T12")
@pytest.mark.parametrize(
    "name",
    [
        "</name><devices/>",
        "a & b < c > d ]]> \"e\" 'f'",
        "tab\tand\nline",
        "日本 😀",
        " spaces ",
        "$(reboot); -x ../../etc",
    ],
)
def test_markup_in_a_name_stays_a_name(daemon: Daemon, name: str) -> None:
    api = daemon.login().xenapi
    vm = make_vm(api, name)
    api.VM.start(vm, False, False)
    assert api.VM.get_name_label(vm) == name
    assert api.VM.get_by_name_label(name) == [vm]
    assert api.VM.get_all_records()[vm]["name_label"] == name
    api.VM.hard_shutdown(vm)
    api.VM.destroy(vm)


@pytest.mark.parametrize("listen", ["https://127.0.0.1:0", "unix"])
def test_other_listeners_serve_the_same(tmp_path: Path, listen: str) -> None:
    """Over TLS with the stock client, and over a Unix socket with the command of ours."""
    url = f"unix:{tmp_path / 'socket'}" if listen == "unix" else listen
    daemon = Daemon(tmp_path / "state", listen=(url,))
    daemon.start()
    try:
        if listen == "unix":
            command = Path(str(daemon.process.args[0])) if daemon.process is not None else Path()  # type: ignore[index]
            asked = subprocess.run(
                [command, "call", "--url", daemon.url, "--user", "root", "pool.get_all"],
                input=PASSWORD + "\n",
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            assert "OpaqueRef:" in asked.stdout
        else:
            session = XenAPI.Session(daemon.url, ignore_ssl=True)
            session.xenapi.login_with_password("root", PASSWORD)
            assert len(session.xenapi.pool.get_all()) == 1
            session._ServerProxy__close()
    finally:
        assert daemon.stop() == 0
