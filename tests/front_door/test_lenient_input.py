"""What clients of xapi send that is not quite what the reference says, at the front door; xapi takes it all."""

from __future__ import annotations

import json
import urllib.request
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest

from tests.front_door.conftest import PASSWORD, Daemon, make_disk, make_vm, remove_vm

MIB = 2**20
Json = Callable[..., Any]


def json_rpc(daemon: Daemon, version: str, originator: str) -> Json:
    """Calls messages by JSON-RPC 2.0, in a session of root; each returns its answer without the id."""

    def send(name: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "method": name, "params": params, "id": "an id"}
        request = urllib.request.Request(f"{daemon.url}/jsonrpc", json.dumps(body).encode())
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        assert answer.pop("id") == "an id"
        return answer

    secret = send("session.login_with_password", "root", PASSWORD, version, originator)["result"]
    return lambda name, *params: send(name, secret, *params)


@pytest.fixture
def call(daemon: Daemon) -> Json:
    """Messages by JSON-RPC, as async-xenapi logs in."""
    return json_rpc(daemon, "version", "originator")


def emptied(record: dict[str, Any]) -> dict[str, Any]:
    """A record as clients in Go send theirs: every field is there, and what was not set is empty."""
    made: dict[str, Any] = {name: type(value)() for name, value in record.items()}
    for name, value in record.items():
        if isinstance(value, str) and value[:8].isdecimal() and value[8:9] == "T":
            made[name] = "0001-01-01T00:00:00Z"
    return made


def test_a_record_with_every_field_empty_is_one_with_what_was_set(call: Json, api: Any) -> None:
    [record] = [each for each in call("VM.get_all_records")["result"].values() if each["name_label"] == "Generic PVH"]
    memory = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min"), 256 * MIB)
    wanted = {"name_label": "of Go", "VCPUs_max": 1, "VCPUs_at_startup": 1, **memory}
    vm = call("VM.create", {**emptied(record), **wanted})["result"]
    made = call("VM.get_record", vm)["result"]
    assert {name: made[name] for name in wanted} == wanted
    assert made["affinity"] == made["snapshot_of"] == "OpaqueRef:NULL"
    vbd, vdi = make_disk(api, vm)
    disk = {**emptied(call("VDI.get_record", vdi)["result"]), "SR": api.VDI.get_SR(vdi), "virtual_size": MIB}
    other = call("VDI.create", disk)["result"]
    drive = emptied(call("VBD.get_record", vbd)["result"]) | {"VM": vm, "VDI": other, "userdevice": "1"}
    assert "result" in call("VBD.create", drive)
    remove_vm(api, vm)


@pytest.mark.parametrize("word", ["User", "user", "USER"])
def test_words_are_taken_in_any_case_and_told_in_one(call: Json, api: Any, word: str) -> None:
    sr = api.pool.get_default_SR(api.pool.get_all()[0])
    vdi = call("VDI.create", {"SR": sr, "virtual_size": str(MIB), "type": word})["result"]
    assert call("VDI.get_type", vdi)["result"] == "user"
    call("VDI.destroy", vdi)


def test_fog_and_nova_write_words_and_references_their_way(call: Json, api: Any) -> None:
    vm = call("VM.create", {"name_label": "fog", "affinity": "", "actions_after_crash": "Restart"})["result"]
    assert call("VM.get_actions_after_crash", vm)["result"] == "restart"
    _, vdi = make_disk(api, vm)
    drive = {"VM": vm, "VDI": vdi, "userdevice": "1", "type": "disk", "mode": "rw", "no such field": {"a": [1]}}
    assert call("VBD.get_type", call("VBD.create", drive)["result"])["result"] == "Disk"
    remove_vm(api, vm)


@pytest.mark.parametrize(
    ("date", "taken"),
    [
        ("20260102T03:04:05Z", True),
        ("2026-01-02T03:04:05Z", True),
        ("20260102T03:04:05", True),
        ("2026-01-02T04:04:05+01:00", True),
        ("0001-01-01T00:00:00Z", True),
        ("yesterday", False),
    ],
)
def test_a_date_may_be_written_in_several_forms(call: Json, api: Any, date: str, taken: bool) -> None:
    sr = api.pool.get_default_SR(api.pool.get_all()[0])
    null = "OpaqueRef:NULL"
    disk = ["", "", "", sr, "user", False, False, {}, "no such file", {}, {}, True, 0, 0, null, False, date, null]
    refused = call("VDI.introduce", *disk)["error"]
    # Parameters are read in turn: with a date that is one, it is the disk that is missed.
    assert (refused["data"][0] != "snapshot_time") == taken, refused


def test_numbers_are_taken_as_numbers_and_as_text(daemon: Daemon, call: Json, api: Any) -> None:
    vm = make_vm(api)
    with xmlrpc.client.ServerProxy(daemon.url) as proxy:
        secret: Any = proxy.session.login_with_password("root", PASSWORD)
        for number in (2, "2"):
            assert proxy.VM.set_VCPUs_max(secret["Value"], vm, number) == {"Status": "Success", "Value": ""}
    for value in (2, "2", 2.0):
        assert call("VM.set_VCPUs_max", vm, value) == {"jsonrpc": "2.0", "result": ""}
    remove_vm(api, vm)


def test_a_null_is_nothing_as_go_and_javascript_write_it_and_python_too(daemon: Daemon, call: Json, api: Any) -> None:
    nothing = {"name_label": "null", "other_config": None, "tags": None, "affinity": None, "VCPUs_max": None}
    vm = call("VM.create", nothing)["result"]
    made = call("VM.get_record", vm)["result"]
    assert (made["other_config"], made["tags"], made["affinity"]) == ({}, [], "OpaqueRef:NULL")
    assert made["VCPUs_max"] == 1
    call("VM.add_tags", vm, "web")
    assert call("VM.set_tags", vm, None)["result"] == ""
    api.VM.set_other_config(vm, {"a": "b"})
    api.VM.set_other_config(vm, None)  # XenAPI.py writes <nil/>
    assert (api.VM.get_other_config(vm), api.VM.get_tags(vm)) == ({}, [])
    assert call("VM.set_name_label", vm, None)["error"]["message"] == "FIELD_TYPE_ERROR"
    snapshot = call("VM.snapshot", vm, "kept", None)["result"]
    api.VM.destroy(snapshot)
    remove_vm(api, vm)
