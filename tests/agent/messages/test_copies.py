"""Copies of whole machines: all of it or nothing, whichever call to the machine below fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from agent.classes import SR, VBD, VDI, VIF, VM, Network
from agent.errors import InternalError
from tests.door import WAIT_SECONDS, Block, Door
from tests.fake_machine import LAN, LOCAL, Failing, FakeMachine

GIB = 2**30
BROKEN = InternalError("on demand")


@dataclass
class Web:
    """A halted machine with two disks, an empty drive and a card."""

    door: Door
    machine: FakeMachine
    vm: VM
    disks: tuple[VDI, VDI]

    def traces(self) -> dict[str, Any]:
        """All that a copy could leave behind, above and below."""
        store = self.door.store
        counted = ("VM", "VBD", "VDI", "VIF", "VM_metrics", "VBD_metrics", "VIF_metrics")
        return {
            **{name: store.count(name) for name in counted},
            "volumes": sorted(self.machine.storage.volumes[LOCAL]),
            "domains": sorted(self.machine.domains.known),
            "state": (self.vm.power_state, self.vm.is_a_template, dict(self.vm.other_config)),
            "disks": [(vbd.userdevice, vbd.VDI) for vbd in self.vm.VBDs],
        }


@pytest.fixture
def web(door: Door, machine: FakeMachine) -> Web:
    sr = door.store.by_uuid(SR, LOCAL)
    vm = door.vm()
    disks = tuple(
        door("VDI.create", {"SR": sr.ref, "virtual_size": size * GIB, "name_label": f"disk {size}"}) for size in (1, 2)
    )
    for place, vdi in enumerate(disks):
        door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": str(place)})
    door("VBD.create", {"VM": vm.ref, "VDI": "OpaqueRef:NULL", "userdevice": "3", "type": "CD", "empty": True})
    door("VIF.create", {"VM": vm.ref, "network": door.store.by_uuid(Network, LAN).ref, "device": "0"})
    door.idle()
    return Web(door, machine, vm, (disks[0], disks[1]))


def failing(port: Failing, name: str, after: int = 0) -> None:
    """Let a method fail from its call number `after` on."""
    left = [after]

    def hook() -> None:
        if left[0] == 0:
            raise BROKEN
        left[0] -= 1

    port.plan[name] = hook


PROVISION = f'<provision><disk device="5" size="{GIB}"/><disk device="6" size="{GIB}"/></provision>'


def clone(web: Web) -> Any:
    return web.door("VM.clone", web.vm, "copy")


def copy(web: Web) -> Any:
    return web.door("VM.copy", web.vm, "copy", "OpaqueRef:NULL")


def snapshot(web: Web) -> Any:
    return web.door("VM.snapshot", web.vm, "copy")


def provision(web: Web) -> Any:
    return web.door("VM.provision", web.vm)


@pytest.mark.parametrize(
    ("verb", "port", "method", "after"),
    [
        (clone, "storage", "copy_volume", 0),
        (clone, "storage", "copy_volume", 1),
        (clone, "storage", "create_volume", 1),
        (clone, "domains", "define", 0),
        (copy, "storage", "copy_volume", 0),
        (copy, "storage", "copy_volume", 1),
        (copy, "domains", "define", 0),
        (snapshot, "storage", "copy_volume", 0),
        (snapshot, "storage", "copy_volume", 1),
    ],
)
def test_a_copy_that_fails_leaves_nothing(
    web: Web, verb: Callable[[Web], Any], port: str, method: str, after: int
) -> None:
    before = web.traces()
    failing(getattr(web.machine, port), method, after)
    with pytest.raises(InternalError, match="on demand"):
        verb(web)
    web.door.idle()
    assert web.traces() == before


@pytest.mark.parametrize("method", ["pause", "unpause"])
def test_a_snapshot_whose_machine_cannot_be_stilled_or_go_on_leaves_nothing(web: Web, method: str) -> None:
    web.door("VM.start", web.vm, False)
    before = web.traces()
    web.machine.domains.fail(method, BROKEN)
    with pytest.raises(InternalError, match="on demand"):
        snapshot(web)
    after = web.traces()
    assert {**after, "state": before["state"]} == before


def test_a_snapshot_that_fails_lets_the_machine_go_on(web: Web) -> None:
    web.door("VM.start", web.vm, False)
    before = web.traces()
    failing(web.machine.storage, "copy_volume", 1)
    with pytest.raises(InternalError):
        snapshot(web)
    assert web.traces() == before
    assert web.vm.power_state == "Running"


def test_the_first_error_is_told_when_the_machine_cannot_go_on_either(web: Web) -> None:
    web.door("VM.start", web.vm, False)
    web.machine.storage.fail("copy_volume", InternalError("the copy"))
    web.machine.domains.fail("unpause", InternalError("the machine"))
    with pytest.raises(InternalError, match="the copy"):
        snapshot(web)


def test_a_snapshot_of_a_machine_whose_plug_is_pulled_meanwhile_is_kept(web: Web) -> None:
    web.door("VM.start", web.vm, False)
    block = Block(web.machine.storage, "copy_volume")
    taking = web.door.later("VM.snapshot", web.vm, "copy")
    block.await_entry()
    assert web.vm.power_state == "Paused"
    web.door("VM.hard_shutdown", web.vm)
    block.release()
    assert taking.result(WAIT_SECONDS).value.snapshot_of is web.vm
    assert web.vm.power_state == "Halted"


@pytest.mark.parametrize(
    ("port", "method", "after"),
    [("storage", "create_volume", 0), ("storage", "create_volume", 1), ("domains", "define", 0)],
)
def test_a_provision_that_fails_leaves_the_template_as_it_was(web: Web, port: str, method: str, after: int) -> None:
    web.door("VM.set_is_a_template", web.vm, True)
    web.door("VM.add_to_other_config", web.vm, "disks", PROVISION)
    web.door.idle()
    before = web.traces()
    failing(getattr(web.machine, port), method, after)
    with pytest.raises(InternalError, match="on demand"):
        provision(web)
    web.machine.domains.plan.clear()
    assert web.traces() == before
    web.machine.storage.plan.clear()
    provision(web)  # and can be tried again
    assert [vbd.userdevice for vbd in web.vm.VBDs] == ["0", "1", "3", "5", "6"]
    assert not web.vm.is_a_template
    assert "disks" not in web.vm.other_config


def test_a_machine_that_cannot_be_defined_was_never_made(web: Web) -> None:
    before = web.traces()
    web.machine.domains.fail("define", BROKEN)
    assert web.door.refused("VM.create", {"name_label": "other"}) == BROKEN.description
    assert web.traces() == before


def test_volumes_of_a_failed_copy_go_even_if_one_cannot_be_deleted(web: Web) -> None:
    before = web.traces()
    failing(web.machine.domains, "define")
    left = [1]

    def once() -> None:
        if left[0]:
            left[0] -= 1
            raise BROKEN

    web.machine.storage.plan["destroy_volume"] = once
    with pytest.raises(InternalError):
        clone(web)
    after = web.traces()
    assert len(after["volumes"]) == len(before["volumes"]) + 1
    assert {**after, "volumes": before["volumes"]} == before


def test_a_template_that_the_hypervisor_refuses_stays_a_template(web: Web) -> None:
    web.door("VM.set_is_a_template", web.vm, True)
    web.machine.domains.fail("define", BROKEN)
    assert web.door.refused("VM.set_is_a_template", web.vm, False) == BROKEN.description
    assert web.vm.is_a_template


# --- what a copy is


def test_a_clone_has_disks_and_cards_of_its_own(web: Web) -> None:
    made: VM = clone(web)
    assert (made.name_label, made.power_state, made.is_a_template) == ("copy", "Halted", False)
    assert [vbd.userdevice for vbd in made.VBDs] == ["0", "1", "3"]
    assert {vbd.VDI for vbd in made.VBDs if vbd.VDI}.isdisjoint(web.disks)
    assert made.VIFs[0].network is web.vm.VIFs[0].network
    assert made.VIFs[0].MAC != web.vm.VIFs[0].MAC
    assert made.uuid in web.machine.domains.known


def test_a_snapshot_knows_what_it_is_of(web: Web) -> None:
    made: VM = snapshot(web)
    assert (made.is_a_snapshot, made.is_a_template, made.snapshot_of) == (True, True, web.vm)
    assert web.vm.snapshots == (made,)
    assert [vbd.VDI.snapshot_of for vbd in made.VBDs if vbd.VDI] == list(web.disks)
    assert made.VIFs[0].MAC == web.vm.VIFs[0].MAC
    assert made.snapshot_info["power-state-at-snapshot"] == "Halted"
    assert made.uuid not in web.machine.domains.known


def test_a_snapshot_leaves_out_the_disks_it_is_told_to(web: Web) -> None:
    made: VM = web.door("VM.snapshot", web.vm, "copy", [web.disks[0].ref])
    assert [vbd.userdevice for vbd in made.VBDs] == ["1", "3"]


def test_a_running_machine_stands_still_for_its_snapshot(web: Web) -> None:
    web.door("VM.start", web.vm, False)
    web.machine.domains.calls.clear()
    made: VM = snapshot(web)
    calls = [call for call in web.machine.domains.calls if call in ("pause", "unpause")]
    assert calls == ["pause", "unpause"]
    assert web.vm.power_state == "Running"
    assert made.snapshot_info["power-state-at-snapshot"] == "Running"


def test_a_guest_cannot_be_asked_to_bring_its_disks_in_order(web: Web) -> None:
    before = web.traces()
    assert web.door.refused("VM.snapshot_with_quiesce", web.vm, "copy")[:2] == [
        "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED",
        web.vm.ref,
    ]
    assert web.traces() == before


# --- reverting


def test_a_revert_brings_back_fields_and_disks(web: Web) -> None:
    taken: VM = snapshot(web)
    web.door("VM.set_name_description", web.vm, "spoilt")
    web.door("VM.start", web.vm, False)
    web.door("VM.revert", taken)
    web.door.idle()
    assert (web.vm.name_label, web.vm.name_description, web.vm.power_state) == ("web", "", "Halted")
    assert {vbd.VDI for vbd in web.vm.VBDs if vbd.VDI}.isdisjoint(web.disks)
    assert not any(web.door.store.is_live(vdi) for vdi in web.disks)
    assert len(web.machine.storage.volumes[LOCAL]) == 4
    assert taken.is_a_snapshot


def test_a_machine_can_be_reverted_again_and_again(web: Web) -> None:
    taken: VM = snapshot(web)
    for _ in range(3):
        web.door("VM.revert", taken)
        current = [vbd.VDI for vbd in web.vm.VBDs if vbd.VDI]
        assert [vdi.name_label for vdi in current] == ["disk 1", "disk 2"]
        assert [vbd.VDI.snapshot_of for vbd in taken.VBDs if vbd.VDI] == current
    assert len(web.machine.storage.volumes[LOCAL]) == 4


@pytest.mark.parametrize("after", [0, 1])
def test_a_revert_whose_copies_fail_leaves_the_machine_running(web: Web, after: int) -> None:
    taken: VM = snapshot(web)
    web.door("VM.start", web.vm, False)
    before = web.traces()
    failing(web.machine.storage, "copy_volume", after)
    assert web.door.refused("VM.revert", taken) == BROKEN.description
    assert web.traces() == before
    assert web.vm.power_state == "Running"


def test_a_revert_whose_machine_cannot_be_stopped_leaves_nothing(web: Web) -> None:
    taken: VM = snapshot(web)
    web.door("VM.start", web.vm, False)
    before = web.traces()
    web.machine.domains.fail("destroy", BROKEN)
    assert web.door.refused("VM.revert", taken) == BROKEN.description
    assert web.traces() == before


def test_an_old_disk_that_cannot_be_deleted_stays_a_disk(web: Web) -> None:
    taken: VM = snapshot(web)
    web.machine.storage.fail("destroy_volume", BROKEN)
    web.door("VM.revert", taken)
    assert all(web.door.store.is_live(vdi) and not vdi.VBDs for vdi in web.disks)
    assert {vdi.location for vdi in web.disks} <= set(web.machine.storage.volumes[LOCAL])


def test_a_snapshot_whose_machine_is_gone_cannot_be_reverted_to(web: Web) -> None:
    taken: VM = snapshot(web)
    for vbd in web.vm.VBDs:
        web.door("VBD.destroy", vbd)
    for vif in web.vm.VIFs:
        web.door("VIF.destroy", vif)
    web.door("VM.destroy", web.vm)
    assert taken.snapshot_of is None
    assert web.door.refused("VM.revert", taken)[0] == "OPERATION_NOT_ALLOWED"


def test_a_revert_waits_for_its_machines_verbs(web: Web) -> None:
    taken: VM = snapshot(web)
    block = Block(web.machine.domains, "start")
    starting = web.door.later("VM.start", web.vm, False)
    block.await_entry()
    reverting = web.door.later("VM.revert", taken)
    block.release()
    reverting.result(WAIT_SECONDS)
    assert starting.done()
    assert web.vm.power_state == "Halted"


def test_a_destroyed_snapshot_takes_its_devices_and_leaves_its_disks(web: Web) -> None:
    taken: VM = snapshot(web)
    kept = [vbd.VDI for vbd in taken.VBDs if vbd.VDI]
    web.door("VM.destroy", taken)
    assert web.door.store.all(VBD) == list(web.vm.VBDs)
    assert web.door.store.all(VIF) == list(web.vm.VIFs)
    assert all(web.door.store.is_live(vdi) for vdi in kept)


@pytest.mark.threat("T4")
@pytest.mark.parametrize(
    "text",
    [
        "<provision>",
        "<!DOCTYPE x><provision/>",
        '<provision><disk device="5" size="big"/></provision>',
        '<provision><disk device="5" size="0"/></provision>',
        f'<provision><disk device="0" size="{GIB}"/></provision>',
        f'<provision><disk size="{GIB}"/></provision>',
        f'<provision><disk device="5" size="{GIB}"/><disk device="5" size="{GIB}"/></provision>',
    ],
)
def test_a_description_of_disks_that_makes_no_sense_is_refused(web: Web, text: str) -> None:
    web.door("VM.add_to_other_config", web.vm, "disks", text)
    before = web.traces()
    code, field, _ = web.door.refused("VM.provision", web.vm)
    assert (code, field) == ("INVALID_VALUE", "other_config:disks")
    assert web.traces() == before


def test_a_described_disk_in_no_storage_is_refused(web: Web) -> None:
    web.door(
        "VM.add_to_other_config",
        web.vm,
        "disks",
        f'<provision><disk device="5" size="{GIB}" sr="gone"/></provision>',
    )
    assert web.door.refused("VM.provision", web.vm) == ["VM_REQUIRES_SR", web.vm.ref, "gone"]


@pytest.mark.fault("F1")
def test_a_clone_is_kept_though_its_storage_cannot_be_told_so(web: Web, machine: FakeMachine) -> None:
    failing(machine.storage, "settle")
    made = clone(web)
    twins = [vbd.VDI.location for vbd in made.VBDs if vbd.VDI is not None]
    assert len(twins) == 2
    assert machine.storage.volumes[LOCAL].keys() > set(twins)
