"""Transfers against a machine that fails on demand: the client is told, the task too, and nothing is left."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent.classes import VBD, VDI, VIF, VM, Network, Task
from agent.errors import HostOffline, OperationNotAllowed, SrBackendFailure, SrFull, XenError
from agent.http import transfers as module
from agent.http import xva
from agent.http.jobs import status_of
from tests.agent.http.served import SIZE, Served
from tests.door import WAIT_SECONDS, eventually
from tests.fake_machine import FakeMachine

CONTENT = b"x" * SIZE


@pytest.mark.parametrize(
    ("where", "error", "status"),
    [
        ("write_volume", HostOffline("here"), 503),
        ("write", SrFull(SIZE, 0), 507),
        ("finish", SrFull(SIZE, 0), 507),
        ("commit", SrBackendFailure("5", "", "no"), 500),
        ("commit", OperationNotAllowed("no"), 409),
    ],
)
def test_an_upload_that_fails_below(
    served: Served, machine: FakeMachine, where: str, error: XenError, status: int
) -> None:
    vdi = served.disk()
    machine.storage.fail(where, error)
    answer = served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=vdi.ref)
    assert answer == (status, f"{error}\n".encode())
    task = served.last_task()
    assert (task.status, list(task.error_info)) == ("failure", error.description)
    assert vdi.current_operations == {}
    assert vdi.location not in machine.storage.contents
    assert machine.storage.calls.count("close") == (where != "write_volume")
    machine.storage.plan.clear()
    assert served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=vdi.ref) == (200, b"")
    assert machine.storage.contents[vdi.location] == CONTENT


@pytest.mark.parametrize(
    ("framing", "body", "lent"),
    [
        ({}, b"", False),
        ({"Transfer-Encoding": "chunked"}, b"0\r\n\r\n", False),
        ({"Content-Length": "0"}, b"", True),
    ],
)
def test_an_upload_of_nothing_changes_nothing(
    served: Served, machine: FakeMachine, framing: dict[str, str], body: bytes, lent: bool
) -> None:
    vdi = served.disk()
    assert served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=vdi.ref) == (200, b"")
    task = {"task_id": served.door("task.create", "upload", "").ref} if lent else {}
    client = served.client()
    client.putrequest("PUT", served.path("/import_raw_vdi", vdi=vdi.ref, **task))
    for name, value in framing.items():
        client.putheader(name, value)
    client.endheaders(body)
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (400, b"VDI_IO_ERROR nothing was sent\n")
    client.close()
    assert machine.storage.contents[vdi.location] == CONTENT
    assert vdi.current_operations == {}


def test_a_bug_is_told_without_its_words(served: Served, machine: FakeMachine) -> None:
    vdi = served.disk()

    def bug() -> None:
        raise RuntimeError("secret")

    machine.storage.plan["read_volume"] = bug
    status, body = served.ask("GET", "/export_raw_vdi", vdi=vdi.ref)
    assert (status, body.split()[0]) == (500, b"INTERNAL_ERROR")
    assert b"secret" not in body
    assert vdi.current_operations == {}


@pytest.mark.fault("F14")
def test_a_client_that_stalls_is_given_up(served: Served) -> None:
    served.close()
    served.open(stream_seconds=0.3)
    vdi = served.disk()
    client = served.client()
    client.putrequest("PUT", served.path("/import_raw_vdi", vdi=vdi.ref))
    client.putheader("Content-Length", "10")
    client.endheaders(b"hello")
    answer = client.getresponse()
    assert (answer.status, answer.read().split()[0]) == (400, b"VDI_IO_ERROR")
    client.close()
    assert vdi.current_operations == {}


@pytest.mark.fault("F12")
def test_a_reader_that_stalls_is_given_up(served: Served, machine: FakeMachine) -> None:
    served.close()
    served.open(stream_seconds=0.3)
    vdi = served.disk()
    machine.storage.contents[vdi.location] = bytes(64 * 2**20)
    client = served.client()
    client.request("GET", served.path("/export_raw_vdi", vdi=vdi.ref))
    # The hold itself may begin and end while nobody looks.
    eventually(lambda: [task.status for task in served.door.store.all(Task)] == ["failure"], "the failure")
    eventually(lambda: not vdi.current_operations, "the end of the hold")
    client.close()


def test_so_many_at_once(served: Served, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    vdi, gate = served.disk(), threading.Event()

    def wait() -> None:
        assert gate.wait(WAIT_SECONDS)

    machine.storage.plan["read_volume"] = wait
    answers: list[tuple[int, bytes]] = []
    first = threading.Thread(target=lambda: answers.append(served.ask("GET", "/export_raw_vdi", vdi=vdi.ref)))
    first.start()
    eventually(lambda: "read_volume" in machine.storage.calls, "the first transfer")
    assert served.ask("GET", "/export_raw_vdi", vdi=vdi.ref) == (503, b"TOO_MANY_PENDING_TASKS\n")
    gate.set()
    first.join()
    assert answers == [(200, bytes(SIZE))]


def test_a_disk_that_others_are_laid_over_keeps_its_content(served: Served) -> None:
    below, above = served.disk(), served.disk()
    with served.door.store.transaction():
        above.parent = below
    status, body = served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=below.ref)
    assert (status, body.split()[0]) == (409, b"OPERATION_NOT_ALLOWED")
    assert served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=above.ref) == (200, b"")
    assert above.parent is None


def test_every_status_is_one_for_errors() -> None:
    for error in XenError.__subclasses__():
        blank = error.__new__(error)
        assert status_of(blank) in (400, 401, 403, 404, 409, 413, 500, 503, 507)


# --- machines


@pytest.fixture
def archive(served: Served) -> bytes:
    """A machine with two disks and two cards on a network that is not here."""
    door = served.door
    [network] = door.store.all(Network)
    vm = door.vm()
    for place in ("0", "1"):
        vdi = served.disk()
        door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": place, "mode": "RW", "type": "Disk"})
        door("VIF.create", {"VM": vm.ref, "network": network.ref, "device": place})
        assert served.ask("PUT", "/import_raw_vdi", CONTENT, vdi=vdi.ref)[0] == 200
    status, data = served.ask("GET", "/export", ref=vm.ref)
    assert status == 200
    out = b""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            text = file.read()
            if member.name == "ova.xml":
                text = text.replace(network.uuid.encode(), b"x").replace(network.name_label.encode(), b"elsewhere")
            out += xva.member(member.name, text)
    return out + xva.END


def everything(served: Served, machine: FakeMachine) -> tuple[Any, ...]:
    """All that an import could leave behind."""
    lists = [set(served.door.store.all(cls)) for cls in (VM, VDI, VBD, VIF, Network)]
    volumes = {uuid: set(volumes) for uuid, volumes in machine.storage.volumes.items()}
    return (
        *lists,
        volumes,
        set(machine.domains.known),
        set(machine.networks.known),
        set(served.door.site.observer.making),
    )


def at_call(number: int, error: XenError) -> Callable[[], None]:
    """What fails when it is called this often."""
    calls = 0

    def hook() -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise error

    return hook


@pytest.mark.parametrize(
    ("port", "where", "number"),
    [
        ("domains", "check", 1),
        ("storage", "write_volume", 2),
        ("storage", "write", 4),
        ("storage", "finish", 2),
        ("networks", "create", 1),
        ("storage", "commit", 1),
        ("storage", "commit", 2),
        ("domains", "define", 1),
    ],
)
def test_an_import_that_fails_leaves_nothing(
    served: Served, machine: FakeMachine, archive: bytes, port: str, where: str, number: int
) -> None:
    served.door.idle()
    before = everything(served, machine)
    error = SrBackendFailure("5", "", "no")
    getattr(machine, port).plan[where] = at_call(number, error)
    answer = served.ask("PUT", "/import", archive)
    assert answer == (500, f"{error}\n".encode())
    task = served.last_task()
    assert (task.status, list(task.error_info)) == ("failure", error.description)
    served.door.idle()
    assert everything(served, machine) == before
    getattr(machine, port).plan.clear()
    assert served.ask("PUT", "/import", archive) == (200, b"")
    assert len(served.door.store.all(VM)) == len(before[0]) + 1
    assert {network.name_label for network in set(served.door.store.all(Network)) - before[4]} == {"elsewhere"}


def test_no_default_storage(served: Served, archive: bytes) -> None:
    with served.door.store.transaction():
        served.door.site.observer.pool.default_SR = None
    status, body = served.ask("PUT", "/import", archive)
    assert (status, body.split()[0]) == (409, b"VM_REQUIRES_SR")


def test_the_end_waits_for_nobody(served: Served) -> None:
    vdi = served.disk()
    client = served.client()
    client.putrequest("PUT", served.path("/import_raw_vdi", vdi=vdi.ref))
    client.putheader("Content-Length", "10")
    client.endheaders(b"hello")
    eventually(lambda: bool(vdi.current_operations), "the hold")
    began = time.monotonic()
    served.close()
    assert time.monotonic() - began < 5
    assert client.getresponse().status == 503
    client.close()
    assert vdi.current_operations == {}
    served.open()
