"""The package XenAPI of PyPI: over HTTP and over a Unix socket, with a cache that events fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import XenAPI

from tests.front_door.conftest import PASSWORD, Daemon, eventually

NULL = "OpaqueRef:NULL"
MIB = 2**20


@pytest.fixture
def session(daemon: Daemon) -> Iterator[Any]:
    opened = daemon.login()
    yield opened
    opened.xenapi.session.logout()


def classes_of(session: Any) -> list[str]:
    """The classes that are listed with all their records."""
    names = [name.partition(".") for name in session.system.listMethods()]
    return sorted({first for first, _, rest in names if rest == "get_all_records"})


def follow(api: Any, cache: dict[tuple[str, str], Any], token: str) -> str:
    """Bring a cache up to date, as XenCenter and others fill theirs."""
    batch = getattr(api.event, "from")(["*"], token, 30.0)
    for event in batch["events"]:
        key = (event["class"], event["ref"])
        if event["operation"] == "del":
            cache.pop(key, None)
        else:
            cache[key] = event["snapshot"]
    told: str = batch["token"]
    return told


def test_it_knows_the_version_and_logs_in_again(daemon: Daemon, session: Any) -> None:
    assert session.API_version.count(".") == 1
    daemon.raw("session.logout", session.handle)
    # It remembers how it logged in, and does so again where it is told SESSION_INVALID.
    assert len(session.xenapi.host.get_all()) == 1


def test_everything_can_be_read(session: Any) -> None:
    api = session.xenapi
    for name in classes_of(session):
        messages = getattr(api, name)
        records = messages.get_all_records()
        keys = {frozenset(record) for record in records.values()}
        assert len(keys) <= 1, name  # one set of fields for all of a class
        assert set(messages.get_all()) == set(records), name
        for reference, record in records.items():
            # Counters and times go on between two reads; what is there does not.
            assert messages.get_record(reference).keys() == record.keys()
            assert messages.get_by_uuid(record["uuid"]) == reference


def test_a_cache_filled_by_events_is_what_a_reader_reads(session: Any) -> None:
    api = session.xenapi
    cache: dict[tuple[str, str], Any] = {}
    token = follow(api, cache, "")
    vm = api.VM.clone(api.VM.get_by_name_label("Generic PV (pygrub)")[0], "followed")
    api.VM.provision(vm)
    api.VM.add_tags(vm, "seen")
    vdi = api.VBD.get_VDI(api.VM.get_VBDs(vm)[0])

    def followed() -> bool:
        nonlocal token
        token = follow(api, cache, token)
        return "seen" in cache.get(("vm", vm), {}).get("tags", ())

    eventually(followed, "the tag in the cache")
    for name, reference in (("VM", vm), ("VDI", vdi), ("VBD", api.VM.get_VBDs(vm)[0])):
        assert cache[name.lower(), reference] == getattr(api, name).get_record(reference)
    for vbd in api.VM.get_VBDs(vm):
        api.VBD.destroy(vbd)
    api.VDI.destroy(vdi)
    api.VM.destroy(vm)

    def forgotten() -> bool:
        nonlocal token
        token = follow(api, cache, token)
        return ("vm", vm) not in cache and ("vdi", vdi) not in cache

    eventually(forgotten, "the end of the machine in the cache")


@pytest.mark.parametrize("whole", [False, True])
def test_from_a_template_to_its_end(session: Any, whole: bool) -> None:
    api = session.xenapi
    before = {name: getattr(api, name).get_all() for name in ("VM", "VBD", "VDI", "VIF")}
    [template] = api.VM.get_by_name_label("Generic HVM (UEFI)")
    sr = api.pool.get_default_SR(api.pool.get_all()[0])
    vm = api.VM.copy(template, "web", sr) if whole else api.VM.clone(template, "web")
    api.VM.provision(vm)
    assert api.VM.get_HVM_boot_params(vm)["firmware"] == "uefi"
    api.VM.set_memory_limits(vm, *(str(size * MIB) for size in (128, 256, 256, 256)))
    disk = {"name_label": "data", "SR": sr, "virtual_size": str(8 * MIB), "type": "user", "other_config": {}}
    vdi = api.VDI.create(disk)
    place = api.VM.get_allowed_VBD_devices(vm)[0]
    vbd = api.VBD.create({"VM": vm, "VDI": vdi, "userdevice": place, "mode": "RW", "type": "Disk", "bootable": False})
    drive = {"VM": vm, "VDI": NULL, "userdevice": "3", "mode": "RO", "type": "CD", "bootable": False, "empty": True}
    api.VBD.create(drive)
    network = next(ref for ref, record in api.network.get_all_records().items() if record["bridge"])
    device = api.VM.get_allowed_VIF_devices(vm)[0]
    api.VIF.create({"VM": vm, "network": network, "device": device, "MAC": "", "MTU": "1500", "other_config": {}})
    api.VM.start(vm, False, False)
    assert api.VM.get_power_state(vm) == "Running"
    api.VBD.unplug(vbd)
    api.VBD.plug(vbd)
    task = api.Async.VM.clean_shutdown(vm)
    eventually(lambda: api.task.get_status(task) == "success", "the end of the task")
    api.task.destroy(task)
    for each in api.VM.get_VIFs(vm):
        api.VIF.destroy(each)
    for each in api.VM.get_VBDs(vm):
        content = api.VBD.get_VDI(each)
        api.VBD.destroy(each)
        if content != NULL:
            api.VDI.destroy(content)
    api.VM.destroy(vm)
    assert {name: getattr(api, name).get_all() for name in before} == before


def test_root_on_this_host_needs_no_password(daemon: Daemon) -> None:
    path = daemon.urls[1].removeprefix("unix:")
    if "_" in path:
        pytest.skip("the package cannot name a socket whose path has an underscore")
    session = XenAPI.Session("http://" + path.replace("/", "_"), transport=XenAPI.UDSTransport())
    with pytest.raises(XenAPI.Failure):  # over TCP nobody is root
        daemon.raw("session.login_with_password", "root", "")
    session.xenapi.login_with_password("", "", "", "XSConsole")
    assert session.xenapi.session.get_is_local_superuser(session.handle)
    session.xenapi.session.logout()
    with pytest.raises(XenAPI.Failure):
        session.xenapi.login_with_password("root", "wrong " + PASSWORD)
    session._ServerProxy__close()
