"""The calls of clients that are not run here, in the order in which their sources make them: their needs, not theirs to
vouch for. Terraform's provider speaks JSON-RPC 2.0, Packer's plugin XML-RPC; both count on xapi's destroy.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.front_door.conftest import PASSWORD, Daemon, eventually
from tests.front_door.test_lenient_input import Json, emptied, json_rpc

NULL = "OpaqueRef:NULL"
MIB = 2**20
BASIC = {"Authorization": "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()}


def test_terraform_makes_changes_and_destroys_a_machine(cascading: Daemon) -> None:
    call = Result(json_rpc(cascading, "1.0", "terraform provider"))
    before = {name: call(f"{name}.get_all") for name in ("VM", "VBD", "VIF")}
    pool = call("pool.get_record", call("pool.get_all")[0])
    assert "xapi" in call("host.get_record", pool["master"])["software_version"]
    machines = call("VM.get_all_records")
    wanted = "Generic HVM (UEFI)"
    [template] = [ref for ref, vm in machines.items() if vm["name_label"] == wanted and vm["is_a_template"]]
    assert call("VM.get_is_default_template", template)
    vm = call("VM.clone", template, "by terraform")
    call("VM.set_other_config", vm, {"tf": "yes", "disks": call("VM.get_other_config", vm)["disks"]})
    call("VM.set_memory_limits", vm, *(size * MIB for size in (128, 256, 256, 256)))
    assert call("VM.get_power_state", vm) == "Halted"
    call("VM.set_VCPUs_max", vm, 2)
    call("VM.set_VCPUs_at_startup", vm, 2)
    platform = call("VM.get_platform", vm)
    call("VM.set_platform", vm, {**platform, "cores-per-socket": "2"})
    params = call("VM.get_record", vm)["HVM_boot_params"]
    call("VM.set_HVM_boot_params", vm, {**params, "order": "dc"})
    vdi = call("VDI.create", {"SR": pool["default_SR"], "virtual_size": 8 * MIB, "type": "user", "name_label": "tf"})
    model = emptied(call("VBD.get_record", before["VBD"][0]))
    place = call("VM.get_allowed_VBD_devices", vm)[1]
    call("VBD.create", {**model, "VM": vm, "VDI": vdi, "userdevice": place, "type": "Disk", "mode": "RW"})
    model = emptied(call("VIF.get_record", before["VIF"][0]))
    [network] = [ref for ref, each in call("network.get_all_records").items() if each["bridge"]][:1]
    assert call("network.get_by_uuid", call("network.get_uuid", network)) == network
    call("VIF.create", {**model, "VM": vm, "network": network, "device": "0"})
    call("VM.provision", vm)
    call("VM.set_is_a_template", vm, False)
    call("VM.start", vm, False, True)
    state = call("VM.get_record", vm)
    assert (state["HVM_boot_params"]["firmware"], state["HVM_boot_params"]["order"]) == ("uefi", "dc")
    assert (state["platform"]["secureboot"], state["platform"]["cores-per-socket"]) == ("false", "2")
    call("VM.hard_shutdown", vm)
    disks = [call("VBD.get_VDI", vbd) for vbd in state["VBDs"]]
    call("VM.destroy", vm)
    for disk in disks:
        assert "destroy" in call("VDI.get_allowed_operations", disk)
        call("VDI.destroy", disk)
    assert {name: call(f"{name}.get_all") for name in before} == before


class Result:
    """Calls that must succeed, by their result."""

    def __init__(self, call: Json) -> None:
        self._call = call

    def __call__(self, name: str, *params: Any) -> Any:
        answer = self._call(name, *params)
        assert "error" not in answer, answer
        return answer["result"]


def test_packer_builds_and_destroys_a_machine(cascading: Daemon) -> None:
    session = cascading.login("root", PASSWORD)
    api = session.xenapi
    [template] = api.VM.get_by_name_label("Other install media")
    vm = api.VM.clone(template, "packer")
    api.VM.set_is_a_template(vm, False)
    api.VM.set_VCPUs_max(vm, "1")
    api.VM.set_VCPUs_at_startup(vm, "1")
    api.VM.set_memory_limits(vm, *(str(size * MIB) for size in (128, 256, 256, 256)))
    api.VM.set_platform(vm, {"viridian": "false", "nx": "true", "acpi": "1", "timeoffset": "0", "hvm_serial": "none"})
    api.VM.remove_from_other_config(vm, "disks")
    sr = api.pool.get_default_SR(api.pool.get_all()[0])
    vdi = api.VDI.create({"name_label": "packer", "virtual_size": str(8 * MIB), "type": "user", "SR": sr})
    disk = {"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": False, "mode": "RW", "type": "Disk"}
    api.VBD.create({**disk, "empty": False, "unpluggable": False, "other_config": {}, "qos_algorithm_type": ""})
    api.VBD.create({**disk, "VDI": NULL, "mode": "RO", "type": "CD", "empty": True, "userdevice": "3"})
    # It takes the network of the management card; where the tests run, that need not have a bridge.
    assert all("management" in pif and "network" in pif for pif in map(api.PIF.get_record, api.PIF.get_all()))
    network = next(ref for ref, record in api.network.get_all_records().items() if record["bridge"])
    api.VIF.create({"VM": vm, "network": network, "device": "0", "MAC": "", "MTU": "1500", "other_config": {}})
    api.VM.add_tags(vm, "packer")
    api.VM.start(vm, True, False)
    assert int(api.VM.get_domid(vm)) > 0
    api.VM.unpause(vm)
    eventually(lambda: api.VM.get_power_state(vm) == "Running", "the running machine")
    api.VM.clean_shutdown(vm)
    archive = fetched(cascading, f"/export?uuid={api.VM.get_uuid(vm)}&session_id={session._session}", {})
    assert archive[257:262] == b"ustar"
    assert fetched(cascading, f"/export_raw_vdi?vdi={api.VDI.get_uuid(vdi)}&format=raw", BASIC) == bytes(8 * MIB)
    api.VM.destroy(vm)
    api.VDI.destroy(vdi)
    session.logout()


def test_an_exporter_makes_a_metric_of_every_number(cascading: Daemon) -> None:
    """As xen-exporter and samm-xen-exporter do: a legend is taken apart, and what it names is asked for by its uuid."""
    api = cascading.login("root", PASSWORD).xenapi
    query = f"/rrd_updates?start={int(time.time()) - 10}&json=true&host=true&cf=AVERAGE"
    numbers = eventually(lambda: rows(cascading, query), "a row of numbers")
    newest = numbers["data"][0]["values"]
    seen: dict[str, set[str]] = {"host": set(), "vm": set()}
    for legend, value in zip(numbers["meta"]["legend"], newest, strict=True):
        way, kind, uuid, source = legend.split(":")
        assert way == "AVERAGE"
        assert isinstance(value, float)
        seen[kind].add(source)
        klass = api.host if kind == "host" else api.VM
        assert klass.get_name_label(klass.get_by_uuid(uuid))
        for device in ("vbd", "vif", "pif"):
            if source.startswith(f"{device}_"):
                assert len(source.split("_")) == 3, source
    assert seen["host"] >= {"cpu0", "cpu_avg", "memory_total_kib", "memory_free_kib", "loadavg"}
    assert seen["vm"] >= {"cpu0", "memory"}
    [host] = api.host.get_all()
    assert api.PIF.get_record(api.host.get_management_interface(host))["IP"] == api.host.get_address(host)
    listed = {source["name_label"]: source for source in api.host.get_data_sources(host)}
    assert listed.keys() == seen["host"]
    assert float(api.host.query_data_source(host, "memory_total_kib")) == listed["memory_total_kib"]["value"]
    for record in api.SR.get_all_records().values():
        assert all(record[name].isdecimal() for name in ("physical_size", "physical_utilisation"))
        assert int(record["virtual_allocation"]) >= 0


def fetched(daemon: Daemon, path: str, headers: Mapping[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(daemon.url + path, headers=dict(headers))) as answer:
        content: bytes = answer.read()
    return content


def rows(daemon: Daemon, query: str) -> Any:
    """The numbers, once there is a row of them and the processors' load is among them."""
    got = json.loads(fetched(daemon, query, BASIC))
    return got if got["data"] and any(legend.endswith(":cpu0") for legend in got["meta"]["legend"]) else None
