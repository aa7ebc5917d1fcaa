"""Single numbers of host, machines and storage, and their history on and off."""

from __future__ import annotations

from typing import Any

import pytest

from agent.archives.sources import key_of, meaning_of
from agent.classes import VM
from agent.roles import Role
from tests.door import Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def vm(door: Door) -> VM:
    made: VM = door.vm()
    sr = door.store.all(type(door("SR.get_all")[0]))[0]
    disk = door("VDI.create", {"SR": sr.ref, "virtual_size": "4096", "type": "user", "name_label": "disk"})
    door("VBD.create", {"VM": made.ref, "VDI": disk.ref, "userdevice": "0"})
    network = door("network.create", {"name_label": "private"})
    door("VIF.create", {"VM": made.ref, "network": network.ref, "device": "0"})
    door("VM.start", made, False)
    return made


def values(door: Door, name: str, thing: Any) -> dict[str, float]:
    return {each["name_label"]: each["value"] for each in door(name, thing)}


def test_a_machine_has_the_sources_that_xapis_clients_know(door: Door, vm: VM) -> None:
    told = values(door, "VM.get_data_sources", vm)
    assert told["cpu0"] == told["cpu_usage"] == 0.5
    assert told["memory"] == told["memory_target"] == float(vm.memory_dynamic_max)
    assert (told["vbd_xvda_read"], told["vbd_xvda_write"]) == (10.0 * 1024, 20.0 * 1024)
    assert (told["vif_0_rx"], told["vif_0_tx"]) == (1.0 * 1024, 2.0 * 1024)
    for name, value in told.items():
        assert door("VM.query_data_source", vm, name) == value
        assert meaning_of(name).units != ""


def test_a_host_and_a_storage_have_theirs(door: Door) -> None:
    host, [sr] = door.observer.host, door("SR.get_all")
    told = values(door, "host.get_data_sources", host)
    assert {"cpu0", "cpu_avg", "memory_total_kib", "memory_free_kib"} <= set(told)
    assert host.metrics is not None
    assert told["memory_total_kib"] * 1024 == host.metrics.memory_total
    assert values(door, "SR.get_data_sources", sr)["physical_size"] == float(sr.physical_size)
    assert door("SR.query_data_source", sr, "physical_size") == float(sr.physical_size)
    assert door("host.query_data_source", host, "cpu_avg") == told["cpu_avg"]


def test_what_is_not_measured_is_refused(door: Door, vm: VM) -> None:
    for name in ("query_data_source", "record_data_source", "forget_data_source_archives"):
        assert door.refused(f"VM.{name}", vm, "no such thing")[:2] == ["INVALID_VALUE", "data_source"]
    door("VM.hard_shutdown", vm)
    assert door("VM.get_data_sources", vm) == []
    assert door.refused("VM.query_data_source", vm, "memory")[0] == "INVALID_VALUE"


def test_a_history_is_forgotten_and_kept_again(door: Door, vm: VM, machine: FakeMachine) -> None:
    archives = door.site.archives
    archives.tick(door.store, machine.meters)
    assert "memory" in archives.names(key_of(vm))
    door("VM.forget_data_source_archives", vm, "memory")
    assert "memory" not in archives.names(key_of(vm))
    [memory] = [each for each in door("VM.get_data_sources", vm) if each["name_label"] == "memory"]
    assert memory["enabled"] is False
    door("VM.record_data_source", vm, "memory")
    assert not archives.is_off(key_of(vm), "memory")


@pytest.mark.parametrize("kind", ["host", "SR"])
def test_so_is_that_of_a_host_or_storage(door: Door, kind: str) -> None:
    [thing] = door(f"{kind}.get_all")
    name = door(f"{kind}.get_data_sources", thing)[0]["name_label"]
    door(f"{kind}.forget_data_source_archives", thing, name)
    assert door.site.archives.is_off(key_of(thing), name)
    door(f"{kind}.record_data_source", thing, name)
    assert not door.site.archives.is_off(key_of(thing), name)


def test_who_only_looks_forgets_nothing(door: Door, vm: VM) -> None:
    session = door.log_in(Role.READ_ONLY)
    assert door.refused("VM.forget_data_source_archives", vm, "memory", session=session)[0] == "RBAC_PERMISSION_DENIED"
    assert door.refused("host.backup_rrds", door.observer.host, -1.0)[0] == "INVALID_VALUE"
