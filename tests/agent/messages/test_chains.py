"""Disks that are laid over others, as the agent sees them: hidden bases, what may be done to them, when they go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_mock import MockerFixture

from agent.classes import SR, VDI
from agent.errors import InternalError
from agent.messages import vdi_chains
from agent.ports import SeenVolume
from tests.door import WAIT_SECONDS, Block, Door, eventually
from tests.fake_machine import LOCAL, FakeMachine

GIB = 2**30
BROKEN = InternalError("on demand")


@pytest.fixture
def sr(door: Door, machine: FakeMachine) -> SR:
    machine.storage.overlays = True
    return door.store.by_uuid(SR, LOCAL)


@pytest.fixture
def vdi(door: Door, sr: SR) -> VDI:
    made: VDI = door("VDI.create", {"SR": sr.ref, "virtual_size": GIB, "name_label": "root"})
    return made


def traces(door: Door, machine: FakeMachine) -> object:
    """Objects above and volumes below."""
    disks = sorted((vdi.uuid, vdi.location, vdi.parent, vdi.missing) for vdi in door.store.all(VDI))
    return disks, sorted(machine.storage.volumes[LOCAL])


def test_a_clone_copies_nothing(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    clone = door("VDI.clone", vdi)
    assert "copy_volume" not in machine.storage.calls
    base = vdi.parent
    assert clone.parent is base is not None
    assert (base.managed, base.read_only, base.name_label, base.parent) == (False, True, "base copy", None)
    assert {vdi.format, clone.format} == {"qcow2"}
    assert {base.uuid, clone.uuid, vdi.uuid} <= set(machine.storage.settled)


def test_a_hidden_base_is_nobodys_to_work_with(door: Door, sr: SR, vdi: VDI) -> None:
    door("VDI.clone", vdi)
    base = vdi.parent
    assert base is not None
    assert base.allowed_operations == ()
    vm = door.vm()
    for name, params in (
        ("VDI.destroy", [base]),
        ("VDI.forget", [base]),
        ("VDI.resize", [base, 2 * GIB]),
        ("VDI.clone", [base]),
        ("VDI.copy", [base]),
        ("VDI.set_read_only", [base, False]),
        ("VBD.create", [{"VM": vm.ref, "VDI": base.ref, "userdevice": "0", "mode": "RO"}]),
    ):
        assert door.refused(name, *params) == ["VDI_NOT_MANAGED", base.ref], name
    assert sr.virtual_allocation == 2 * GIB  # what guests see, without the base


def test_a_clone_of_a_clone_that_nobody_wrote_to_makes_the_chain_no_longer(
    door: Door, machine: FakeMachine, vdi: VDI
) -> None:
    clone = door("VDI.clone", vdi)
    machine.storage.is_untouched = lambda vdi: True  # type: ignore[method-assign]
    again = door("VDI.clone", clone)
    assert again.parent is clone.parent is vdi.parent


def test_the_last_disk_takes_its_base_along(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    clone = door("VDI.clone", vdi)
    door("VDI.destroy", clone)
    assert vdi.parent is None  # merged
    assert door.store.all(VDI) == [vdi]
    assert list(machine.storage.volumes[LOCAL]) == [vdi.location]
    door("VDI.destroy", vdi)
    assert traces(door, machine) == ([], [])


def test_a_base_that_a_killed_agent_could_not_tidy_goes_later(
    door: Door, machine: FakeMachine, sr: SR, vdi: VDI, mocker: MockerFixture
) -> None:
    door("VDI.clone", vdi)
    base = vdi.parent
    vdi_chains.sweep(door.site)
    assert base is not None
    assert door.store.is_live(base)
    mocker.patch("agent.messages.vdi.tidy")
    for disk in vdi_chains.children(base):
        door("VDI.destroy", disk)
    door("PBD.unplug", sr.PBDs[0])
    vdi_chains.sweep(door.site)
    assert door.store.all(VDI) == [base]
    door("PBD.plug", sr.PBDs[0])
    vdi_chains.sweep(door.site)
    assert traces(door, machine) == ([], [])


def test_a_base_whose_disk_a_machine_has_is_not_merged(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    clone = door("VDI.clone", vdi)
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    door("VM.start", vm, False)
    door("VDI.destroy", clone)
    assert "merge_volume" not in machine.storage.calls
    assert vdi.parent is not None


def test_a_disk_that_a_machine_has_is_copied_and_not_split(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    door("VM.start", vm, False)
    taken = door("VM.snapshot", vm, "s")
    assert "split_volume" not in machine.storage.calls
    assert taken.VBDs[0].VDI.parent is None
    assert vdi.parent is None


def test_a_machines_definition_follows_its_disk(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    door("VDI.clone", vdi)
    door.idle()
    assert vdi.location.endswith(".qcow2")
    assert [disk.source for disk in machine.domains.known[vm.uuid].disks] == [vdi.location]


@pytest.mark.parametrize("verb", ["clone", "snapshot"])
@pytest.mark.parametrize("method", ["clone_volume", "split_volume", "overlay_volume"])
def test_a_clone_that_fails_leaves_nothing(door: Door, machine: FakeMachine, vdi: VDI, method: str, verb: str) -> None:
    before = traces(door, machine)
    machine.storage.fail(method, BROKEN)
    assert door.refused(f"VDI.{verb}", vdi) == BROKEN.description
    assert traces(door, machine) == before


def test_a_machine_is_cloned_as_a_whole_or_not_at_all(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    vm = door.vm()
    other = door("VDI.create", {"SR": sr.ref, "virtual_size": GIB, "name_label": "data"})
    for place, disk in enumerate((vdi, other)):
        door("VBD.create", {"VM": vm.ref, "VDI": disk.ref, "userdevice": str(place)})
    door.idle()
    before = traces(door, machine), door.store.count("VM"), door.store.count("VBD")
    machine.domains.fail("define", BROKEN)
    assert door.refused("VM.clone", vm, "c") == BROKEN.description
    door.idle()
    assert (traces(door, machine), door.store.count("VM"), door.store.count("VBD")) == before
    machine.domains.plan.clear()
    made = door("VM.clone", vm, "c")
    assert [vbd.VDI.parent for vbd in made.VBDs] == [vdi.parent, other.parent]


def test_a_destroy_that_cannot_be_noted_destroys_nothing(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    before = traces(door, machine)
    machine.storage.fail("doom_volume", BROKEN)
    assert door.refused("VDI.destroy", vdi) == BROKEN.description
    assert traces(door, machine) == before
    assert "destroy_volume" not in machine.storage.calls


def test_a_chain_grows_so_long_and_no_longer(
    door: Door, machine: FakeMachine, vdi: VDI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vdi_chains, "DEPTH_MAX", 4)
    clones = [door("VDI.clone", vdi) for _ in range(6)]
    assert max(len(vdi_chains.ancestors(disk)) for disk in door.store.all(VDI)) < 4
    assert "copy_volume" in machine.storage.calls  # every base is needed, so nothing can be merged
    for clone in clones[:2]:
        monkeypatch.setattr(vdi_chains, "_used_above", lambda vdi: True)  # nothing is merged on the way
        door("VDI.destroy", clone)
        monkeypatch.undo()
        monkeypatch.setattr(vdi_chains, "DEPTH_MAX", 4)
    machine.storage.calls.clear()
    door("VDI.clone", vdi)
    assert "merge_volume" in machine.storage.calls
    assert "copy_volume" not in machine.storage.calls


@pytest.mark.parametrize("untouched", [True, False])
def test_two_clones_of_a_disk_at_once_know_what_they_are_laid_over(
    door: Door, machine: FakeMachine, vdi: VDI, monkeypatch: pytest.MonkeyPatch, untouched: bool
) -> None:
    monkeypatch.setattr(machine.storage, "is_untouched", lambda vdi: untouched)
    vms = [door.vm(), door.vm()]
    for vm in vms:
        door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    with door.site.holds.holding("copy", shared=[vdi]):  # somebody reads it, so nobody can split it
        cloning = [door.later("VM.clone", vm, "c") for vm in vms]
        eventually(lambda: machine.storage.calls.count("clone_volume") == 2)
    for each in cloning:
        each.result(WAIT_SECONDS)
    volumes = machine.storage.volumes[LOCAL]
    for disk in door.store.all(VDI):
        assert volumes[disk.location].parent == (disk.parent.location if disk.parent is not None else "")
    assert sum(not disk.managed for disk in door.store.all(VDI)) == (1 if untouched else 2)


def test_a_revert_in_a_volume_group_leaves_nothing_behind(
    door: Door, machine: FakeMachine, vdi: VDI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot there has none itself, so a revert copies all of it, and the copy rests on nothing."""
    monkeypatch.setattr(machine.storage, "overlays", False)
    monkeypatch.setattr(machine.storage, "snapshots", True)
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    for _ in range(3):
        snapshot = door("VM.snapshot", vm, "s")
        (kept,) = (vbd.VDI for vbd in snapshot.VBDs)
        assert kept.parent is vm.VBDs[0].VDI
        door("VM.revert", snapshot)
        assert vm.VBDs[0].VDI.parent is None
        door("VM.destroy", snapshot)
        door("VDI.destroy", kept)
    (left,) = door.store.all(VDI)
    assert left is vm.VBDs[0].VDI
    assert list(machine.storage.volumes[LOCAL]) == [left.location]


def test_a_start_waits_for_a_split_and_finds_the_disk(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    block = Block(machine.storage, "split_volume")
    cloning = door.later("VDI.clone", vdi)
    block.await_entry()
    starting = door.later("VM.start", vm, False)
    block.release()
    cloning.result(WAIT_SECONDS)
    starting.result(WAIT_SECONDS)
    assert vm.power_state == "Running"
    assert [disk.source for disk in machine.domains.known[vm.uuid].disks] == [vdi.location]


def test_a_start_is_refused_while_its_disk_is_copied(door: Door, machine: FakeMachine, vdi: VDI) -> None:
    door.site.holds._wait_seconds = 0.05
    vm, other = door.vm(), door.vm(name_label="other")
    for each in (vm, other):
        door("VBD.create", {"VM": each.ref, "VDI": vdi.ref, "userdevice": "0"})
    block = Block(machine.storage, "copy_volume")
    copying = door.later("VM.copy", other, "copy", "OpaqueRef:NULL")
    block.await_entry()
    assert door.refused("VM.start", vm, False) == ["OTHER_OPERATION_IN_PROGRESS", "VDI", vdi.ref, "copy", ""]
    block.release()
    copying.result(WAIT_SECONDS)
    door("VM.start", vm, False)


def test_a_scan_amid_a_split_neither_misses_nor_adopts(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    block = Block(machine.storage, "usage")  # which comes after the list of volumes
    scanning = door.later("SR.scan", sr)
    block.await_entry()
    machine.storage.plan.clear()
    made = door("VM.clone", vm, "c")
    block.release()
    scanning.result(WAIT_SECONDS)
    assert {*sr.VDIs} == {vdi, vdi.parent, made.VBDs[0].VDI}
    assert not any(disk.missing for disk in sr.VDIs)


def test_a_scan_in_the_middle_of_a_split_neither_misses_nor_adopts(
    door: Door, machine: FakeMachine, sr: SR, vdi: VDI
) -> None:
    vm = door.vm()
    door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": "0"})
    block = Block(machine.storage, "settle")  # the files are there, and soon the objects
    cloning = door.later("VM.clone", vm, "c")
    block.await_entry()
    door("SR.scan", sr)
    assert {*sr.VDIs} == {vdi, vdi.parent}
    block.release()
    cloning.result(WAIT_SECONDS)
    assert not any(disk.missing for disk in sr.VDIs)


def test_a_chain_that_is_found_is_adopted_as_one(door: Door, machine: FakeMachine, sr: SR) -> None:
    base = SeenVolume(f"/{LOCAL}/b.raw", "b.raw", GIB, 0)
    top = SeenVolume(f"/{LOCAL}/t.qcow2", "t.qcow2", GIB, 0, "qcow2", False, base.location)
    odd = replace(top, location=f"/{LOCAL}/o.qcow2", parent="/elsewhere/x.raw")
    machine.storage.volumes[LOCAL] = {volume.location: volume for volume in (top, odd, base)}
    door("SR.scan", sr)
    found = {vdi.name_label: vdi for vdi in sr.VDIs}
    places = {vdi.location: vdi for vdi in sr.VDIs}
    assert places[top.location].parent is places[base.location]
    assert not places[base.location].managed
    assert places[odd.location].parent is None
    assert len(found) == 2
    door("PBD.unplug", sr.PBDs[0])
    door("SR.forget", sr)
    assert door.store.all(VDI) == []


def test_a_disk_that_was_found_whole_rests_on_nothing(door: Door, machine: FakeMachine, sr: SR, vdi: VDI) -> None:
    """Its content was replaced, and the agent was killed before it could note that."""
    clone = door("VDI.clone", vdi)
    volumes = machine.storage.volumes[LOCAL]
    volumes[clone.location] = replace(volumes[clone.location], parent="", whole=True)
    door("SR.scan", sr)
    assert clone.parent is None
    assert vdi.parent is not None


def test_a_disk_that_others_are_laid_over_becomes_a_hidden_base(door: Door, machine: FakeMachine, sr: SR) -> None:
    vm = door.vm()
    base = SeenVolume(f"/{LOCAL}/b.raw", "b.raw", GIB, 0)
    machine.storage.volumes[LOCAL] = {base.location: base}
    door("SR.scan", sr)
    (below,) = sr.VDIs
    vbd = door("VBD.create", {"VM": vm.ref, "VDI": below.ref, "userdevice": "0"})
    top = SeenVolume(f"/{LOCAL}/t.qcow2", "t.qcow2", GIB, 0, "qcow2", False, base.location)
    machine.storage.volumes[LOCAL][top.location] = top
    door("SR.scan", sr)
    assert below.managed  # a machine has it
    assert door.refused("VDI.destroy", below)[0] == "OPERATION_NOT_ALLOWED"
    door("VBD.destroy", vbd)
    door("VDI.destroy", below)
    assert (below.managed, below.name_label) == (False, "base copy")
    assert base.location in machine.storage.volumes[LOCAL]
