"""Whole machines sent and fetched over HTTP: the same machine comes back, or nothing does."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from agent.http import xva
from tests.front_door.conftest import Daemon, eventually, make_card, make_disk, make_vm, remove_vm
from tests.front_door.test_disks_over_http import CONTENT
from tests.front_door.web import MIB, Web, answer_of

NULL = "OpaqueRef:NULL"


@pytest.fixture
def web(daemon: Daemon) -> Iterator[Web]:
    session = daemon.login()
    yield Web(daemon, session)
    session.xenapi.session.logout()


def machine(web: Web, name: str = "web", **fields: Any) -> str:
    """A machine with two disks that have content, a drive and two cards."""
    vm = make_vm(web.api, name, **fields)
    for place in ("0", "3"):
        _, vdi = make_disk(web.api, vm, place, len(CONTENT))
        assert web.put("/import_raw_vdi", CONTENT if place == "0" else CONTENT[::-1], vdi=vdi).status == 200
        make_card(web.api, vm, place)
    record = {"VM": vm, "VDI": NULL, "userdevice": "1", "mode": "RO", "type": "CD", "empty": True}
    web.api.VBD.create(record)
    return vm


def exported(web: Web, vm: str, **query: str | None) -> bytes:
    answer = web.get("/export", {}, ref=vm, **query)
    assert answer.status == 200, answer.body
    assert web.ended(answer.headers["Task-Id"])["status"] == "success"
    return answer.body


def imported(web: Web, archive: bytes, **query: str | None) -> str:
    """The machine that an import makes, as its task tells."""
    answer = web.put("/import", archive, {}, **query)
    assert answer.status == 200, answer.body
    record = web.ended(answer.headers["Task-Id"])
    assert (record["status"], record["progress"]) == ("success", 1.0)
    before, after = "<value><array><data><value>", "</value></data></array></value>"
    assert record["result"].startswith(before)
    assert record["result"].endswith(after)
    made: str = record["result"].removeprefix(before).removesuffix(after)
    return made


def contents(web: Web, vm: str) -> dict[str, bytes]:
    """What the disks of a machine hold, by their place."""
    found = {}
    for vbd in web.api.VM.get_VBDs(vm):
        record = web.api.VBD.get_record(vbd)
        if record["VDI"] != NULL:
            found[record["userdevice"]] = web.file(record["VDI"]).read_bytes()
    return found


def everything(web: Web) -> tuple[Any, ...]:
    """All that an import could leave behind."""
    lists = [set(getattr(web.api, name).get_all()) for name in ("VM", "VDI", "VBD", "VIF", "network", "VBD_metrics")]
    return (*lists, web.files())


OWN = {"uuid", "VBDs", "VIFs", "metrics", "allowed_operations"}


def test_a_machine_comes_back_as_it_was(web: Web) -> None:
    api = web.api
    vm = machine(web, "wéb <&>", name_description="ein\ttab", tags=["a", "b"], other_config={"k": "v"})
    archive = exported(web, vm)
    made = imported(web, archive)
    before, after = api.VM.get_record(vm), api.VM.get_record(made)
    assert {key: before[key] for key in before.keys() - OWN} == {key: after[key] for key in after.keys() - OWN}
    assert contents(web, made) == {"0": CONTENT, "3": CONTENT[::-1]} == contents(web, vm)
    kept = ("userdevice", "bootable", "mode", "type", "empty")
    devices = [
        sorted([api.VBD.get_record(vbd)[key] for key in kept] for vbd in api.VM.get_VBDs(each)) for each in (vm, made)
    ]
    assert devices[0] == devices[1]
    cards = [{api.VIF.get_device(vif): api.VIF.get_record(vif) for vif in api.VM.get_VIFs(each)} for each in (vm, made)]
    assert cards[0].keys() == cards[1].keys() == {"0", "3"}
    for place, card in cards[1].items():
        assert card["network"] == cards[0][place]["network"]
        assert card["MAC"] != cards[0][place]["MAC"]
    disks = {api.VBD.get_VDI(vbd) for vbd in api.VM.get_VBDs(made)} - {NULL}
    assert {api.VDI.get_name_label(vdi) for vdi in disks} == {"disk 0", "disk 3"}
    assert not {api.VDI.get_location(vdi) for vdi in disks} & {
        api.VDI.get_location(api.VBD.get_VDI(vbd)) for vbd in api.VM.get_VBDs(vm) if api.VBD.get_VDI(vbd) != NULL
    }
    api.VM.start(made, False, False)
    assert api.VM.get_power_state(made) == "Running"
    for each in (vm, made):
        remove_vm(api, each)


def test_the_archive_is_what_xapi_writes(web: Web) -> None:
    vm = machine(web)
    answer = web.get("/export", uuid=web.api.VM.get_uuid(vm))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="export.xva"'
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        names = tar.getnames()
        assert names[0] == "ova.xml"
        assert all(member.isreg() for member in tar.getmembers())
        description = tar.extractfile("ova.xml")
        assert description is not None
        text = description.read().decode()
    assert "OpaqueRef:" not in text.replace(NULL, "")
    prefixes = sorted({name.partition("/")[0] for name in names[1:]})
    assert len(prefixes) == 2
    assert names[1:] == sorted(names[1:])
    for prefix in prefixes:
        pieces = [name for name in names if name.startswith(f"{prefix}/") and not name.endswith(".checksum")]
        assert pieces[0] == f"{prefix}/00000000"
        assert pieces[-1] == f"{prefix}/00000003"
        assert {f"{name}.checksum" for name in pieces} <= set(names)
    remove_vm(web.api, vm)


def test_other_ways_to_send_a_machine(web: Web) -> None:
    vm = machine(web)
    plain = exported(web, vm)
    packed = exported(web, vm, use_compression="true")
    assert gzip.decompress(packed)[-1024:] == bytes(1024)
    whole = {"0": CONTENT, "3": CONTENT[::-1]}
    made = [imported(web, packed)]
    chunks = web.put("/import", (plain[at : at + 100_000] for at in range(0, len(plain), 100_000)))
    made.append(web.ended(chunks.headers["Task-Id"])["result"].split("<value>")[2].partition("<")[0])
    task = web.task()
    with web.uploading("/import/", 2**50, plain, task_id=task) as link:
        assert answer_of(link) == (200, b"")
    made.append(web.ended(task)["result"].split("<value>")[2].partition("<")[0])
    with web.link() as link:
        link.sendall(f"GET {web.path('/export', ref=vm)} HTTP/1.0\r\n\r\n".encode())
        status, old = answer_of(link)
    assert status == 200
    made.append(imported(web, old + bytes(10240 - len(old) % 10240)))
    for each in made:
        assert contents(web, each) == whole
        remove_vm(web.api, each)
    assert web.get("/export", ref=vm, use_compression="zstd").status == 400
    assert web.put("/import", b"").status == 200
    remove_vm(web.api, vm)


def test_where_the_disks_come_to(web: Web, tmp_path: Path) -> None:
    api = web.api
    vm = machine(web)
    archive = exported(web, vm)
    host = api.host.get_all()[0]
    other = api.SR.create(host, {"location": str(tmp_path)}, "0", "second", "", "file", "user", False, {})
    made = imported(web, archive, sr_id=other)
    assert {api.VDI.get_SR(api.VBD.get_VDI(vbd)) for vbd in api.VM.get_VBDs(made) if not api.VBD.get_empty(vbd)} == {
        other
    }
    assert contents(web, made)["0"] == CONTENT
    remove_vm(api, made)
    api.PBD.unplug(api.SR.get_PBDs(other)[0])
    answer = web.put("/import", archive, sr_id=other)
    assert (answer.status, answer.words) == (409, ["SR_HAS_NO_PBDS", other])
    assert web.put("/import", archive, sr_id="nothing").status == 404
    api.SR.forget(other)
    remove_vm(api, vm)


def test_restore_keeps_who_the_machine_was(web: Web) -> None:
    api = web.api
    vm = machine(web)
    archive = exported(web, vm)
    uuid = api.VM.get_uuid(vm)
    macs = {api.VIF.get_MAC(vif) for vif in api.VM.get_VIFs(vm)}
    before = everything(web)
    answer = web.put("/import", archive, restore="true")
    assert answer.words == ["DB_UNIQUENESS_CONSTRAINT_VIOLATION", "VM", "uuid", uuid]
    assert everything(web) == before
    remove_vm(api, vm)
    made = imported(web, archive, restore="true")
    assert api.VM.get_uuid(made) == uuid
    assert {api.VIF.get_MAC(vif) for vif in api.VM.get_VIFs(made)} == macs
    remove_vm(api, made)


def test_what_can_be_exported(web: Web) -> None:
    api = web.api
    vm = machine(web)
    assert "export" in api.VM.get_allowed_operations(vm)
    api.VM.add_to_blocked_operations(vm, "export", "BECAUSE")
    assert web.get("/export", ref=vm).words == ["OPERATION_BLOCKED", vm, "BECAUSE"]
    api.VM.remove_from_blocked_operations(vm, "export")
    snapshot = api.VM.snapshot(vm, "kept")
    api.VM.start(vm, False, False)
    answer = web.get("/export", ref=vm)
    assert (answer.status, answer.words) == (409, ["VM_BAD_POWER_STATE", vm, "halted", "running"])
    made = imported(web, exported(web, snapshot))
    assert api.VM.get_is_a_template(made)
    assert not api.VM.get_is_a_snapshot(made)
    assert contents(web, made)["0"] == CONTENT
    for each in (made, snapshot, vm):
        remove_vm(api, each)
    assert web.get("/export", ref=vm).status == 404
    assert web.get("/export").words[:2] == ["INVALID_VALUE", "ref"]


def test_a_machine_shows_that_it_is_exported(web: Web) -> None:
    api = web.api
    vm = make_vm(api)
    _, vdi = make_disk(api, vm, size=64 * MIB)
    assert web.put("/import_raw_vdi", b"x" * (64 * MIB), vdi=vdi).status == 200
    with web.link() as link:
        link.sendall(f"GET {web.path('/export', ref=vm)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: list(api.VM.get_current_operations(vm).values()) == ["export"], "the operation")
        assert list(api.VDI.get_current_operations(vdi).values()) == ["copy"]
    eventually(lambda: not api.VM.get_current_operations(vm), "the end of the operation")
    eventually(lambda: not api.VDI.get_current_operations(vdi), "the end of the hold")
    remove_vm(api, vm)


# --- from elsewhere


def described(archive: bytes, change: Callable[[bytes], bytes], kind: str = ".checksum") -> bytes:
    """The archive with another description, and with checksums of another kind."""
    out = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            data = file.read()
            if member.name == "ova.xml":
                out.append(xva.member("ova.xml", change(data)))
            elif not member.name.endswith(".checksum"):
                out.append(xva.member(member.name, data))
                last, last_name = data, member.name
            elif kind == ".checksum":
                out.append(xva.member(member.name, data))
            else:
                out.append(xva.member(last_name + kind, xxhash.xxh64(last).hexdigest().upper().encode()))
    return b"".join(out) + xva.END


def test_a_machine_of_xapi_is_taken(web: Web) -> None:
    """With fields and objects that only xapi has, references that lead nowhere, and its newer checksums."""
    api = web.api
    vm = machine(web)
    archive = exported(web, vm)
    network = api.VIF.get_network(api.VM.get_VIFs(vm)[0])
    uuid = api.network.get_uuid(network)

    def change(text: bytes) -> bytes:
        more = (
            b"<member><name>fields_of_tomorrow</name><value><array><data/></array></value></member>"
            b"<member><name>ha_restart_priority</name><value>restart</value></member>"
            b"<member><name>appliance</name><value>Ref:99</value></member>"
            b"<member><name>affinity</name><value>Ref:98</value></member>"
        )
        guest = (
            b"<value><struct><member><name>class</name><value>VM_guest_metrics</value></member><member><name>id</name>"
            b"<value>Ref:97</value></member><member><name>snapshot</name><value><struct><member><name>uuid</name><value>x"
            b"</value></member></struct></value></member></struct></value>"
        )
        text = re.sub(rb"<member><name>(ha_restart_priority|appliance|affinity)</name>.*?</member>", b"", text)
        text = text.replace(b"<member><name>user_version</name>", more + b"<member><name>user_version</name>", 1)
        text = text.replace(
            b"</data></array></value></member></struct></value>",
            guest + b"</data></array></value></member></struct></value>",
        )
        text = text.replace(uuid.encode(), b"c0ffee00-0000-4000-8000-000000000000")
        name = api.network.get_name_label(network).encode()
        text = text.replace(b"<value>%b</value>" % name, b"<value>Pool-wide network of elsewhere</value>")
        return b'<?xml version="1.0"?>\n' + text

    networks = set(api.network.get_all())
    made = imported(web, described(archive, change, ".xxhash"))
    assert contents(web, made) == {"0": CONTENT, "3": CONTENT[::-1]}
    [new] = set(api.network.get_all()) - networks
    assert api.network.get_name_label(new) == "Pool-wide network of elsewhere"
    assert {api.VIF.get_network(vif) for vif in api.VM.get_VIFs(made)} == {new}
    assert api.VM.get_affinity(made) == NULL
    remove_vm(api, made)
    api.network.destroy(new)
    remove_vm(api, vm)


def replaced(before: str, after: str) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        assert before.encode() in text
        return text.replace(before.encode(), after.encode())

    return change


DESCRIPTIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no XML": (lambda text: b"hello", "IMPORT_ERROR"),
    "a document type": (lambda text: b'<!DOCTYPE x [<!ENTITY a "b">]>' + text, "IMPORT_ERROR"),
    "no objects": (lambda text: b"<value><struct></struct></value>", "IMPORT_ERROR"),
    "two of an id": (replaced("<value>Ref:1</value>", "<value>Ref:0</value>"), "IMPORT_ERROR"),
    "no machine": (
        replaced("<name>class</name><value>VM</value>", "<name>class</name><value>X</value>"),
        "IMPORT_ERROR",
    ),
    "no size": (replaced(f"<value>{len(CONTENT)}</value>", "<value>0</value>"), "IMPORT_ERROR"),
    "a negative size": (replaced(f"<value>{len(CONTENT)}</value>", "<value>-1</value>"), "INVALID_VALUE"),
    "a size that no host has": (replaced(f"<value>{len(CONTENT)}</value>", f"<value>{2**60}</value>"), "SR_FULL"),
    "a smaller size": (replaced(f"<value>{len(CONTENT)}</value>", f"<value>{MIB}</value>"), "IMPORT_ERROR"),
    "a larger size": (
        replaced(f"<value>{len(CONTENT)}</value>", f"<value>{5 * MIB}</value>"),
        "IMPORT_ERROR_PREMATURE_EOF",
    ),
    "memory that is none": (replaced(f"<value>{256 * MIB}</value>", "<value>much</value>"), "FIELD_TYPE_ERROR"),
    "a kernel of the host": (
        replaced("<name>PV_kernel</name><value></value>", "<name>PV_kernel</name><value>/etc/shadow</value>"),
        "VALUE_NOT_SUPPORTED",
    ),
    "two disks in a place": (
        replaced("<name>userdevice</name><value>3</value>", "<name>userdevice</name><value>0</value>"),
        "DEVICE_ALREADY_EXISTS",
    ),
    "a place that is none": (
        replaced("<name>userdevice</name><value>3</value>", "<name>userdevice</name><value>../x</value>"),
        "INVALID_DEVICE",
    ),
    "a MAC address that is none": (replaced("<value>00:16:3e", "<value>x"), "MAC_INVALID"),
    "a disk that is not there": (
        replaced("<name>VDI</name><value>Ref:", "<name>VDI</name><value>Ref:9"),
        "IMPORT_ERROR_FAILED_TO_FIND_OBJECT",
    ),
    "a disk of this host": (
        replaced("<name>VDI</name><value>Ref:", "<name>VDI</name><value>OpaqueRef:"),
        "IMPORT_ERROR_FAILED_TO_FIND_OBJECT",
    ),
}


@pytest.fixture(scope="module")
def archive(daemon: Daemon) -> bytes:
    """A machine that was exported, and is still there."""
    session = daemon.login()
    web = Web(daemon, session)
    return exported(web, machine(web))


@pytest.mark.threat("T9")
@pytest.mark.parametrize("what", sorted(DESCRIPTIONS))
def test_a_description_that_cannot_be_leaves_nothing(web: Web, archive: bytes, what: str) -> None:
    change, code = DESCRIPTIONS[what]
    before = everything(web)
    answer = web.put("/import", described(archive, change))
    assert answer.words[0] == code, answer.body
    assert answer.status >= 400
    record = web.ended(answer.headers["Task-Id"])
    assert (record["status"], record["error_info"][0]) == ("failure", code)
    assert everything(web) == before


@pytest.mark.fault("F14")
def test_an_import_that_is_cut_leaves_nothing(web: Web, archive: bytes) -> None:
    before = everything(web)
    for sent in (0, 100, len(archive) // 3, len(archive) - 1024, len(archive) - 1):
        task = web.task()
        with web.uploading("/import", len(archive), archive[:sent], task_id=task):
            pass
        record = web.ended(task)
        assert (record["status"], record["error_info"]) == ("failure", ["IMPORT_ERROR_PREMATURE_EOF"])
    eventually(lambda: everything(web) == before, "nothing that is left")


@pytest.mark.threat("T9")
def test_a_damaged_archive_leaves_nothing(web: Web, archive: bytes) -> None:
    before = everything(web)
    at = archive.index(CONTENT[:1000]) + 500
    damaged = {
        "IMPORT_ERROR_SOME_CHECKSUMS_FAILED": archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :],
        "IMPORT_ERROR_PREMATURE_EOF": archive[: len(archive) // 2],
        "IMPORT_ERROR_UNEXPECTED_FILE": archive[:-1024] + xva.member("../../etc/passwd", b"x") + xva.END,
        "IMPORT_ERROR": archive[:-1024] + b"x" * 512 + xva.END,
    }
    for code, data in damaged.items():
        answer = web.put("/import", data)
        assert (answer.status, answer.words[0]) == (400, code)
        assert everything(web) == before


def test_an_import_that_is_cancelled_leaves_nothing(web: Web, archive: bytes) -> None:
    before = everything(web)
    task = web.task()
    with web.uploading("/import", len(archive), archive[: len(archive) // 2], task_id=task) as link:
        eventually(lambda: web.api.task.get_progress(task) > 0, "some progress")
        assert set(web.api.VDI.get_all()) == before[1]
        web.api.SR.scan(web.sr())
        assert set(web.api.VDI.get_all()) == before[1]
        web.api.task.cancel(task)
        assert answer_of(link)[0] == 409
    assert web.ended(task)["status"] == "cancelled"
    assert everything(web) == before
