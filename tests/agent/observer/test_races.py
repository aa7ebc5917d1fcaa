"""What a sweep sees while verbs are under way: nothing half-made is taken for something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.classes import SR, VDI
from agent.errors import SrBackendFailure
from agent.store.journal import Journal, Row
from tests.door import Block, Door, eventually
from tests.fake_machine import LOCAL, FakeMachine


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def door(machine: FakeMachine, tmp_path: Path) -> Iterator[Door]:
    opened = Door(machine.ports(), tmp_path / "journal")
    yield opened
    opened.close()


def disk(door: Door, **fields: object) -> VDI:
    made: VDI = door("VDI.create", {"SR": f"OpaqueRef:{LOCAL}", "virtual_size": "1024", "type": "user", **fields})
    return made


def sweep(door: Door, machine: FakeMachine) -> None:
    machine.domains.changed(None)
    door.idle()


def test_a_sweep_does_not_adopt_the_volume_of_a_copy_under_way(door: Door, machine: FakeMachine) -> None:
    vdi = disk(door)
    block = Block(machine.storage, "create_volume")
    task = door("Async.VDI.copy", vdi)
    block.await_entry()
    # The volume appears while the verb still works on it.
    target = next(iter(door.observer.making))
    location = f"/{LOCAL}/{target}.raw"
    machine.storage.volumes[LOCAL][location] = replace(machine.storage.volumes[LOCAL][vdi.location], location=location)
    door.observer._resync()
    assert door.store.count("VDI") == 1
    block.release()
    eventually(lambda: task.status == "success", "the copy")
    assert door.store.count("VDI") == 2
    assert not door.observer.making
    sweep(door, machine)
    assert door.store.count("VDI") == 2


def test_a_disk_whose_volume_cannot_be_deleted_stays(door: Door, machine: FakeMachine) -> None:
    vdi = disk(door, name_label="stays")
    machine.storage.fail("destroy_volume", SrBackendFailure("1", "", "the disk is on fire"))
    with pytest.raises(SrBackendFailure):
        door("VDI.destroy", vdi)
    assert door("VDI.get_by_name_label", "stays") == [vdi]
    del machine.storage.plan["destroy_volume"]
    door("VDI.destroy", vdi)
    assert door("VDI.get_all") == []


def test_a_disk_is_busy_while_it_is_copied(door: Door, machine: FakeMachine) -> None:
    vdi = disk(door)
    block = Block(machine.storage, "copy_volume")
    task = door("Async.VDI.clone", vdi)
    block.await_entry()
    assert list(vdi.current_operations.values()) == ["clone"]
    assert vdi.allowed_operations == ()
    block.release()
    eventually(lambda: task.status == "success", "the clone")
    assert dict(vdi.current_operations) == {}
    assert "clone" in vdi.allowed_operations


def test_a_way_to_storage_that_was_never_plugged_is_left_alone(door: Door, machine: FakeMachine) -> None:
    uuid = "33333333-3333-4333-8333-333333333333"
    sr: SR = door("SR.introduce", uuid, "later", "", "file", "user", False)
    pbd = door("PBD.create", {"SR": sr.ref, "host": door.observer.host.ref, "device_config": {}})
    sweep(door, machine)
    assert not pbd.currently_attached
    door("PBD.plug", pbd)
    machine.storage.attached.pop(uuid)  # the hypervisor forgets it
    sweep(door, machine)
    assert pbd.currently_attached
    door("PBD.unplug", pbd)
    sweep(door, machine)
    assert not pbd.currently_attached


def test_a_machine_that_ran_on_was_started_when_it_was(machine: FakeMachine, tmp_path: Path) -> None:
    first = Door(machine.ports(), tmp_path / "journal")
    vm = first.vm()
    first("VM.start", vm, False)
    assert vm.metrics is not None
    with first.store.transaction():
        vm.metrics.start_time = vm.metrics.start_time.replace(year=2020)
    uuid = vm.uuid
    first.close()
    second = Door(machine.ports(), tmp_path / "journal")
    again = second("VM.get_by_uuid", uuid)
    assert again.power_state == "Running"
    assert again.metrics.start_time.year == 2020
    second("VM.hard_reboot", again)
    assert again.metrics.start_time.year != 2020
    second.close()


def test_a_full_disk_does_not_hide_that_a_machine_runs(
    door: Door, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = door.vm()

    def full(self: Journal, rows: Sequence[Row]) -> None:
        if rows:
            raise sqlite3.OperationalError("database or disk is full")

    before = door.vm()
    door("VM.start", before, False)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "write", full)
        door("VM.start", vm, False)
        assert vm.power_state == "Running"
        for started in (vm, before):
            door("VM.hard_shutdown", started)
            assert started.power_state == "Halted"
    door("VM.start", vm, False)
    assert vm.metrics is not None
    assert vm.metrics.start_time.year > 1970
