"""Disks, storage, the host and introspection: each verb, each error, and what a failing port leaves."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.classes import PBD, SM, SR, VDI
from agent.errors import InternalError
from agent.messages.system import UNLISTED
from agent.ports import SeenStorageType, SeenVolume
from tests.door import Door
from tests.fake_machine import LOCAL, FakeMachine

GIB = 2**30
NULL = "OpaqueRef:NULL"
BROKEN = InternalError("on demand")


@pytest.fixture
def sr(door: Door) -> SR:
    return door.store.by_uuid(SR, LOCAL)


@pytest.fixture
def vdi(door: Door, sr: SR) -> VDI:
    made: VDI = door("VDI.create", {"SR": sr.ref, "virtual_size": GIB, "name_label": "root"})
    return made


def make_sr(door: Door, type_: str = "file", **fields: str) -> SR:
    content = fields.get("content_type", "user")
    args = [door.observer.host, {"location": "/srv"}, 0, "new", "text", type_, content, False, {}]
    made: SR = door("SR.create", *args)
    return made


def both(door: Door, machine: FakeMachine) -> Any:
    """Objects above and volumes below."""
    above = sorted(vdi.location for vdi in door.store.all(VDI))
    return above, {uuid: sorted(volumes) for uuid, volumes in machine.storage.volumes.items()}


# --- disks


def test_a_disk_is_a_volume_of_its_size(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    assert machine.storage.volumes[LOCAL][vdi.location].capacity == vdi.virtual_size == GIB
    assert (sr.VDIs, sr.virtual_allocation) == ((vdi,), GIB)


@pytest.mark.parametrize(("size", "code"), [(0, "VALUE_NOT_SUPPORTED"), (101 * GIB, "SR_FULL")])
def test_a_disk_of_no_possible_size_is_refused(door: Door, machine: FakeMachine, sr: SR, size: int, code: str) -> None:
    before = both(door, machine)
    assert door.refused("VDI.create", {"SR": sr.ref, "virtual_size": size})[0] == code
    assert both(door, machine) == before


@pytest.mark.parametrize("method", ["create_volume", "usage"])
def test_a_create_says_what_it_did(door: Door, machine: FakeMachine, sr: SR, method: str) -> None:
    """Either there is a disk and the client has it, or there is none and the client has the error."""
    before = both(door, machine)
    machine.storage.fail(method, BROKEN)
    try:
        made = door("VDI.create", {"SR": sr.ref, "virtual_size": GIB})
    except InternalError:
        assert both(door, machine) == before
    else:
        assert door.store.is_live(made)
        assert method == "usage"


@pytest.mark.parametrize("method", ["destroy_volume", "usage"])
def test_a_destroy_says_what_it_did(door: Door, machine: FakeMachine, vdi: VDI, method: str) -> None:
    machine.storage.fail(method, BROKEN)
    try:
        door("VDI.destroy", vdi)
    except InternalError:
        assert door.store.is_live(vdi)
        assert vdi.location in machine.storage.volumes[LOCAL]
    else:
        assert method == "usage"
        assert vdi.location not in machine.storage.volumes[LOCAL]


def test_a_disk_grows_and_never_shrinks(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    door("VDI.resize", vdi, 2 * GIB)
    door("VDI.set_virtual_size", vdi, 3 * GIB)
    assert machine.storage.volumes[LOCAL][vdi.location].capacity == vdi.virtual_size == 3 * GIB
    door("VDI.resize_online", vdi, 4 * GIB)
    for verb in ("resize", "resize_online", "set_virtual_size"):
        assert door.refused(f"VDI.{verb}", vdi, GIB)[0] == "VALUE_NOT_SUPPORTED"
    assert vdi.virtual_size == 4 * GIB


def test_no_account_is_kept_of_blocks_that_change(door: Door, vdi: VDI) -> None:
    snapshot = door("VDI.snapshot", vdi)
    for verb in ("enable_cbt", "disable_cbt"):
        assert door.refused(f"VDI.{verb}", vdi) == ["SR_OPERATION_NOT_SUPPORTED", vdi.SR.ref]
    assert door.refused("VDI.list_changed_blocks", snapshot, vdi) == ["SR_OPERATION_NOT_SUPPORTED", vdi.SR.ref]
    assert door.refused("VDI.data_destroy", vdi)[0] == "OPERATION_NOT_ALLOWED"
    assert door.refused("VDI.data_destroy", snapshot) == ["VDI_NO_CBT_METADATA", snapshot.ref]
    assert door.store.is_live(snapshot)


def test_a_disk_that_cannot_grow_has_its_size(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    machine.storage.fail("resize_volume", BROKEN)
    assert door.refused("VDI.resize", vdi, 2 * GIB) == BROKEN.description
    assert vdi.virtual_size == GIB


def test_a_read_only_disk_does_not_grow(door: Door, vdi: VDI) -> None:
    door("VDI.set_read_only", vdi, True)
    assert door.refused("VDI.resize", vdi, 2 * GIB) == ["VDI_READONLY", vdi.ref]


@pytest.mark.parametrize("mode", ["RW", "RO"])
def test_a_disk_that_a_machine_has_is_left_alone(door: Door, vdi: VDI, mode: str) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0", "mode": mode})
    assert door.refused("VDI.destroy", vdi)[0] == "OPERATION_NOT_ALLOWED"  # a device names it
    door("VM.start", vm, False)
    for verb, params in (("destroy", []), ("forget", []), ("resize", [2 * GIB]), ("set_read_only", [True])):
        assert door.refused(f"VDI.{verb}", vdi, *params) == ["VDI_IN_USE", vdi.ref, verb]
    for verb in ("copy", "clone", "snapshot"):
        if mode == "RW":
            assert door.refused(f"VDI.{verb}", vdi) == ["VDI_IN_USE", vdi.ref, verb]
        else:
            assert door.store.is_live(door(f"VDI.{verb}", vdi))
    assert door.store.is_live(vdi)


def test_copies_and_snapshots_of_a_disk(door: Door, vdi: VDI) -> None:
    snapshot, clone, copy = (door(f"VDI.{verb}", vdi) for verb in ("snapshot", "clone", "copy"))
    assert (snapshot.is_a_snapshot, snapshot.snapshot_of, vdi.snapshots) == (True, vdi, (snapshot,))
    for made in (clone, copy):
        assert (made.is_a_snapshot, made.snapshot_of, made.name_label) == (False, None, "root")
    assert len({made.location for made in (vdi, snapshot, clone, copy)}) == 4


def test_a_copy_goes_to_the_storage_it_is_told(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    other = make_sr(door)
    made = door("VDI.copy", vdi, other)
    assert made.SR is other
    assert made.location in machine.storage.volumes[other.uuid]
    for params in ([NULL, vdi], [NULL, NULL, vdi]):
        assert door.refused("VDI.copy", vdi, *params)[0] == "OPERATION_NOT_ALLOWED"


@pytest.mark.parametrize("verb", ["copy", "clone", "snapshot"])
def test_a_copy_of_a_disk_that_fails_leaves_nothing(door: Door, machine: FakeMachine, vdi: VDI, verb: str) -> None:
    before = both(door, machine)
    machine.storage.fail("copy_volume", BROKEN)
    assert door.refused(f"VDI.{verb}", vdi) == BROKEN.description
    assert both(door, machine) == before


def test_a_disk_whose_volume_is_gone_is_not_copied(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    machine.storage.volumes[LOCAL].clear()
    door("SR.scan", sr)
    assert door.refused("VDI.copy", vdi) == ["VDI_MISSING", sr.ref, vdi.ref]


def test_a_forgotten_disk_is_found_again(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    location = vdi.location
    door("VDI.forget", vdi)
    assert (sr.VDIs, list(machine.storage.volumes[LOCAL])) == ((), [location])
    door("SR.scan", sr)
    assert [found.location for found in sr.VDIs] == [location]


def test_an_update_reads_size_and_use(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    machine.storage.volumes[LOCAL][vdi.location] = SeenVolume(vdi.location, "x", 4 * GIB, 77)
    door("VDI.update", vdi)
    assert (vdi.virtual_size, vdi.physical_utilisation) == (4 * GIB, 77)


def test_nothing_is_done_in_storage_that_is_detached(door: Door, sr: SR, vdi: VDI) -> None:
    door("PBD.unplug", sr.PBDs[0])
    assert vdi.allowed_operations == ()
    for name, params in (
        ("VDI.create", [{"SR": sr.ref, "virtual_size": GIB}]),
        ("VDI.destroy", [vdi]),
        ("VDI.resize", [vdi, 2 * GIB]),
        ("VDI.update", [vdi]),
        ("VDI.copy", [vdi]),
        ("SR.scan", [sr]),
        ("SR.update", [sr]),
    ):
        assert door.refused(name, *params) == ["SR_HAS_NO_PBDS", sr.ref], name


# --- disks that are there already


def introduce(door: Door, sr: SR, location: str, uuid: str = "", **more: object) -> VDI:
    args = [uuid, "found", "text", sr.ref, "user", False, False, {"a": "b"}, location]
    made: VDI = door("VDI.introduce", *args, *more.values())
    return made


def test_a_disk_that_is_there_is_introduced_under_its_uuid(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    location, uuid = vdi.location, vdi.uuid
    door("VDI.forget", vdi)
    made = introduce(door, sr, location, uuid)
    assert (made.uuid, made.location, made.virtual_size, made.name_label) == (uuid, location, GIB, "found")
    assert (made.managed, made.other_config, sr.VDIs) == (True, {"a": "b"}, (made,))
    door("SR.scan", sr)
    assert sr.VDIs == (made,)


def test_a_disk_is_introduced_by_its_name_too(door: Door, machine: FakeMachine, sr: SR) -> None:
    machine.storage.volumes[LOCAL]["/x/a.raw"] = SeenVolume("/x/a.raw", "a.raw", GIB, 0)
    assert introduce(door, sr, "a.raw").location == "/x/a.raw"


def test_only_what_is_there_and_unknown_is_introduced(door: Door, sr: SR, vdi: VDI) -> None:
    args = ["found", "", sr.ref, "user", False, False, {}]
    assert door.refused("VDI.introduce", "", *args, vdi.location)[:3] == [
        "DB_UNIQUENESS_CONSTRAINT_VIOLATION",
        "VDI",
        "location",
    ]
    assert door.refused("VDI.introduce", vdi.uuid, *args, "/x")[:3] == [
        "DB_UNIQUENESS_CONSTRAINT_VIOLATION",
        "VDI",
        "uuid",
    ]
    assert door.refused("VDI.introduce", "", *args, "/etc/shadow") == ["VDI_LOCATION_MISSING", sr.ref, "/etc/shadow"]
    assert door.refused("VDI.introduce", "../x", *args, vdi.location)[0] == "INVALID_VALUE"
    assert door.store.all(VDI) == [vdi]


# --- storage


def test_a_storage_is_made_and_attached(door: Door, machine: FakeMachine) -> None:
    made = make_sr(door)
    (pbd,) = made.PBDs
    assert (pbd.currently_attached, pbd.device_config) == (True, {"location": "/srv"})
    assert made.uuid in machine.storage.attached
    assert made.physical_size == 100 * GIB


def test_a_storage_of_an_unknown_kind_is_refused(door: Door) -> None:
    before = door.store.count("SR")
    with pytest.raises(Exception, match="SR_UNKNOWN_DRIVER nonsense"):
        make_sr(door, "nonsense")
    assert door.store.count("SR") == before
    assert "nonsense" not in door("SR.get_supported_types")


@pytest.mark.parametrize("method", ["create", "scan", "usage"])
def test_a_storage_that_was_made_is_told_and_one_that_was_not_is_not(
    door: Door, machine: FakeMachine, method: str
) -> None:
    before = door.store.count("SR"), door.store.count("PBD"), len(machine.storage.attached)
    machine.storage.fail(method, BROKEN)
    try:
        made = make_sr(door)
    except InternalError:
        assert (door.store.count("SR"), door.store.count("PBD"), len(machine.storage.attached)) == before
    else:
        assert door.store.is_live(made)
        assert method != "create"


def test_a_storage_with_disks_is_not_destroyed(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    assert door.refused("SR.destroy", sr) == ["SR_NOT_EMPTY"]
    door("VDI.destroy", vdi)
    door("SR.destroy", sr)
    assert LOCAL not in machine.storage.attached
    assert not door.store.is_live(sr)
    assert door.store.all(PBD) == []


def test_an_attached_storage_is_not_forgotten(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    assert door.refused("SR.forget", sr) == ["SR_HAS_PBD", sr.ref]
    door("PBD.unplug", sr.PBDs[0])
    door("SR.forget", sr)
    assert (door.store.count("SR"), door.store.count("VDI")) == (0, 0)
    assert machine.storage.volumes[LOCAL]  # nothing in it was touched


def test_storage_that_there_is_is_told_as_xml(door: Door) -> None:
    told = door("SR.probe", door.observer.host, {"server": "filer"}, "nfs")
    root = ElementTree.fromstring(told)
    assert [{child.tag: child.text for child in found} for found in root.iterfind("SR")] == [
        {"server": "filer", "serverpath": "/srv & <more>"}
    ]


def test_a_known_storage_is_introduced_once(door: Door, sr: SR) -> None:
    args = ["name", "", "file", "user", False, {}]
    assert door.refused("SR.introduce", sr.uuid, *args) == [
        "DB_UNIQUENESS_CONSTRAINT_VIOLATION",
        "SR",
        "uuid",
        sr.uuid,
    ]
    made = door("SR.introduce", "55555555-5555-4555-8555-555555555555", *args)
    assert made.uuid == "55555555-5555-4555-8555-555555555555"


def test_storage_is_attached_and_detached(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    (pbd,) = sr.PBDs
    assert door.refused("PBD.destroy", pbd)[0] == "OPERATION_NOT_ALLOWED"
    door("PBD.unplug", pbd)
    door("PBD.unplug", pbd)  # twice is no error
    assert not machine.storage.attached[LOCAL].active
    door("PBD.plug", pbd)
    assert machine.storage.attached[LOCAL].active
    door("PBD.unplug", pbd)
    door("PBD.destroy", pbd)
    assert sr.PBDs == ()


def test_storage_whose_disk_a_machine_has_is_not_detached(door: Door, sr: SR, vdi: VDI) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    door("VM.start", vm, False)
    assert door.refused("PBD.unplug", sr.PBDs[0]) == ["VDI_IN_USE", vdi.ref, "unplug"]


@pytest.mark.parametrize("method", ["attach", "detach"])
def test_storage_that_cannot_be_moved_is_as_it_was(door: Door, machine: FakeMachine, sr: SR, method: str) -> None:
    (pbd,) = sr.PBDs
    if method == "attach":
        door("PBD.unplug", pbd)
    before = pbd.currently_attached
    machine.storage.fail(method, BROKEN)
    assert door.refused(f"PBD.{'plug' if method == 'attach' else 'unplug'}", pbd) == BROKEN.description
    assert pbd.currently_attached is before


# --- the host, and introspection


def test_the_hosts_clock_is_told(door: Door) -> None:
    told = door("host.get_servertime", door.observer.host)
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=5)
    local = door("host.get_server_localtime", door.observer.host)
    assert abs(datetime.now() - local.replace(tzinfo=None)) < timedelta(minutes=5)


def test_every_message_describes_itself(door: Door) -> None:
    names = door.send("system.listMethods")
    assert set(door.site.api.messages) - set(names) == UNLISTED
    assert door("host.list_methods") == tuple(door.site.api.messages)
    for name in names:
        (signature,) = door.send("system.methodSignature", name)
        message = door.site.api.messages[name.removeprefix("Async.")]
        assert len(signature) == 1 + (message.role is not None) + len(message.params)
        assert (signature[0] == "task ref") or not name.startswith("Async.")
        assert message.doc in door.send("system.methodHelp", name)


@pytest.mark.parametrize("name", ["VM.fly", "", "Async.VM.get_uuid"])
def test_what_is_no_message_has_no_description(door: Door, name: str) -> None:
    for message in ("methodHelp", "methodSignature"):
        assert door.refused(f"system.{message}", name) == ["MESSAGE_METHOD_UNKNOWN", name]


def test_the_types_of_storage_are_objects(door: Door, machine: FakeMachine) -> None:
    types = {sm.type: sm for sm in door.store.all(SM)}
    assert set(types) == set(door("SR.get_supported_types"))
    file = types["file"]
    assert (file.name_description, file.capabilities, file.features) == ("a folder", ("VDI_CREATE",), {"VDI_CREATE": 1})
    assert [str(format) for format in file.supported_image_formats] == ["raw"]
    door("SM.set_other_config", file, {"a": "b"})
    machine.storage.types = lambda: [SeenStorageType("nfs", "a share", [], [])]  # type: ignore[method-assign]
    machine.domains.changed(None)
    door.idle()
    assert [sm.type for sm in door.store.all(SM)] == ["nfs"]
