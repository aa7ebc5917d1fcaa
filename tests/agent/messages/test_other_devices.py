"""Virtual TPMs, SCSI devices and crash dumps: each verb, each error of its docstring, what a failing port leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent.classes import DSCSI, DSCSIHBA, PSCSI, VDI, VM, VTPM, Crashdump
from agent.classes.enums import PowerState, VdiType
from agent.errors import OperationNotAllowed, ValueNotSupported
from agent.ports import SeenDump
from tests.door import Door, eventually
from tests.fake_machine import FakeMachine

FILE = "/var/lib/libvirt/libxl/dump/web-2026-11-24-18:15:10"


@pytest.fixture
def vm(door: Door) -> VM:
    return door.vm()


# --- TPMs


def test_a_halted_machine_is_given_a_tpm_once(door: Door, vm: VM) -> None:
    vtpm: VTPM = door("VTPM.create", {"VM": vm.ref, "other_config": {"note": "mine"}})
    assert vm.VTPMs == (vtpm,)
    assert (vtpm.backend, vtpm.other_config, vtpm.runtime_properties) == (None, {"note": "mine"}, {})
    assert door.refused("VTPM.create", {"VM": vm.ref}) == ["VTPM_MAX_AMOUNT_REACHED", "1"]
    assert door.refused("VM.destroy", vm)[0] == "OPERATION_NOT_ALLOWED"
    door("VTPM.destroy", vtpm)
    assert door.store.all(VTPM) == []


def test_a_running_machine_is_given_no_tpm(door: Door, vm: VM) -> None:
    door("VM.start", vm, False, False)
    assert door.refused("VTPM.create", {"VM": vm.ref}) == ["VM_BAD_POWER_STATE", vm.ref, "halted", "running"]


def test_a_start_that_the_driver_refuses_for_a_tpm_leaves_the_machine_halted(
    door: Door, vm: VM, machine: FakeMachine
) -> None:
    vtpm: VTPM = door("VTPM.create", {"VM": vm.ref})
    machine.domains.fail("start", ValueNotSupported("VTPMs", vtpm.ref, "ignored"))
    assert door.refused("VM.start", vm, False, False)[:3] == ["VALUE_NOT_SUPPORTED", "VTPMs", vtpm.ref]
    assert vm.power_state is PowerState.HALTED


# --- SCSI


def test_scsi_devices_and_adapters_are_given_to_nobody(door: Door, vm: VM) -> None:
    [disk] = door.store.all(PSCSI)
    device = {"VM": vm.ref, "PSCSI": disk.ref, "virtual_HCTL": "0:0:0:0"}
    assert door.refused("DSCSI.create", device)[:3] == ["VALUE_NOT_SUPPORTED", "PSCSI", disk.ref]
    adapter = {"VM": vm.ref, "virtual_host": "0", "assignment_mode": "HOST"}
    assert door.refused("DSCSI_HBA.create", adapter)[:3] == ["VALUE_NOT_SUPPORTED", "virtual_host", "0"]
    assert door.store.all(DSCSI) == []
    assert door.store.all(DSCSIHBA) == []


# --- crash dumps


def crash(door: Door, machine: FakeMachine, vm: VM, location: str = FILE) -> None:
    """The guest crashes, and the hypervisor has written its memory."""
    now = datetime.now(UTC).replace(microsecond=0)  # as files tell it
    machine.domains.dumps.append(SeenDump(location, vm.uuid, now, 4096, 512))
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], power_state=PowerState.HALTED, domid=-1)
    machine.domains.changed(vm.uuid)
    door.idle()


@pytest.fixture
def dump(door: Door, vm: VM, machine: FakeMachine) -> Crashdump:
    """The dump of a machine that has just crashed."""
    door("VM.start", vm, False, False)
    crash(door, machine, vm)
    [found] = door.store.all(Crashdump)
    return found


def test_a_crash_leaves_a_dump_with_its_file(door: Door, vm: VM, dump: Crashdump) -> None:
    vdi = dump.VDI
    assert vm.crash_dumps == (dump,)
    assert vdi.crash_dumps == (dump,)
    assert (vdi.location, vdi.type, vdi.virtual_size, vdi.physical_utilisation) == (FILE, VdiType.CRASHDUMP, 4096, 512)
    assert (vdi.read_only, vdi.managed) == (True, False)


def test_a_dump_is_removed_with_its_file(door: Door, vm: VM, dump: Crashdump, machine: FakeMachine) -> None:
    vdi = dump.VDI
    door("crashdump.destroy", dump)
    assert machine.domains.dumps == []
    assert vm.crash_dumps == ()
    assert not door.store.is_live(vdi)


def test_a_dump_whose_file_cannot_be_removed_comes_back(
    door: Door, vm: VM, dump: Crashdump, machine: FakeMachine
) -> None:
    machine.domains.fail("remove_crash_dump", OperationNotAllowed("read-only"))
    assert door.refused("crashdump.destroy", dump) == ["OPERATION_NOT_ALLOWED", "read-only"]
    machine.domains.changed(None)
    door.idle()
    assert [each.VDI.location for each in vm.crash_dumps] == [FILE]


def test_a_file_that_was_removed_takes_its_dump_along(door: Door, dump: Crashdump, machine: FakeMachine) -> None:
    machine.domains.dumps = []
    machine.domains.changed(None)
    eventually(lambda: not door.store.all(Crashdump), "no dump")
    assert not door.store.is_live(dump.VDI)


def test_a_dump_of_an_older_machine_of_that_name_is_nobodys(door: Door, vm: VM, machine: FakeMachine) -> None:
    machine.domains.dumps = [SeenDump(FILE, vm.uuid, datetime(2020, 1, 1, tzinfo=UTC), 1, 1)]
    machine.domains.changed(None)
    door.idle()
    assert door.store.all(Crashdump) == []


def test_a_machine_may_crash_again_and_goes_with_its_dumps_only_by_xapis_rule(
    door: Door, vm: VM, dump: Crashdump, machine: FakeMachine
) -> None:
    door("VM.start", vm, False, False)
    crash(door, machine, vm, FILE.replace("18:15", "18:16"))
    assert len(vm.crash_dumps) == 2
    assert door.refused("VM.destroy", vm)[0] == "OPERATION_NOT_ALLOWED"
    for each in vm.crash_dumps:
        door("crashdump.destroy", each)
    door("VM.destroy", vm)
    assert [vdi for vdi in door.store.all(VDI) if vdi.type is VdiType.CRASHDUMP] == []
