"""Disks, drives and cards of machines: each verb, each error of its docstring, and what a failing port leaves."""

from __future__ import annotations

from typing import Any

import pytest

from agent.classes import SR, VBD, VDI, VIF, VM, Network
from agent.classes.lifecycle import is_apart
from agent.errors import InternalError
from tests.door import Block, Door, eventually
from tests.fake_machine import LAN, LOCAL, FakeMachine

GIB = 2**30
NULL = "OpaqueRef:NULL"
BROKEN = InternalError("on demand")


@pytest.fixture
def vm(door: Door) -> VM:
    return door.vm()


@pytest.fixture
def vdi(door: Door) -> VDI:
    made: VDI = door("VDI.create", {"SR": door.store.by_uuid(SR, LOCAL).ref, "virtual_size": GIB})
    return made


def vbd_of(door: Door, vm: VM, vdi: VDI | None, **fields: Any) -> VBD:
    made: VBD = door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref if vdi else NULL, **fields})
    door.idle()
    return made


def vif_of(door: Door, vm: VM, **fields: Any) -> VIF:
    made: VIF = door("VIF.create", {"VM": vm.ref, "network": door.store.by_uuid(Network, LAN).ref, **fields})
    door.idle()
    return made


# --- disks and drives


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"userdevice": "3"}, "3"),
        ({"userdevice": "xvdc"}, "2"),
        ({"userdevice": "autodetect"}, "0"),
        ({"userdevice": ""}, "0"),
        ({"device": "hdb"}, "1"),
    ],
)
def test_a_disk_gets_the_place_it_asks_for(door: Door, vm: VM, vdi: VDI, given: dict[str, str], place: str) -> None:
    vbd = vbd_of(door, vm, vdi, **given)
    assert vbd.userdevice == place
    assert place not in door("VM.get_allowed_VBD_devices", vm)


def test_a_place_is_taken_once(door: Door, vm: VM, vdi: VDI) -> None:
    vbd_of(door, vm, vdi, userdevice="1")
    for again in ("1", "xvdb", "hdb"):
        assert door.refused("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": again}) == [
            "DEVICE_ALREADY_EXISTS",
            again,
        ]
    assert vbd_of(door, vm, vdi, userdevice="").userdevice == "0"


@pytest.mark.parametrize("place", ["255", "999", "nonsense", "-1"])
def test_a_place_that_no_guest_has_is_refused(door: Door, vm: VM, vdi: VDI, place: str) -> None:
    assert door.refused("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": place}) == ["INVALID_DEVICE", place]
    assert vm.VBDs == ()
    assert door.store.count("VBD_metrics") == 0


def test_a_disk_needs_a_medium_and_a_drive_does_not(door: Door, vm: VM) -> None:
    assert door.refused("VBD.create", {"VM": vm.ref, "VDI": NULL, "userdevice": "0"})[0] == "VBD_IS_EMPTY"
    drive = vbd_of(door, vm, None, userdevice="0", type="CD")
    assert (drive.empty, drive.mode) == (True, "RO")


def test_a_read_only_disk_is_not_given_to_be_written(door: Door, vm: VM, vdi: VDI) -> None:
    door("VDI.set_read_only", vdi, True)
    assert door.refused("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "mode": "RW"}) == ["VDI_READONLY", vdi.ref]
    vbd = vbd_of(door, vm, vdi, mode="RO")
    assert door.refused("VBD.set_mode", vbd, "RW") == ["VDI_READONLY", vdi.ref]


def test_a_disk_is_plugged_and_unplugged_while_its_machine_runs(
    door: Door, machine: FakeMachine, vm: VM, vdi: VDI
) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    halted = ["VM_BAD_POWER_STATE", vm.ref, "running", "halted"]
    assert door.refused("VBD.plug", vbd) == door.refused("VBD.unplug", vbd) == halted
    door("VM.start", vm, False)
    assert vbd.currently_attached
    assert door.refused("VBD.plug", vbd) == ["DEVICE_ALREADY_ATTACHED", vbd.ref]
    assert door.refused("VBD.destroy", vbd) == ["DEVICE_ALREADY_ATTACHED", vbd.ref]
    door("VBD.unplug", vbd)
    assert door("VBD.get_currently_attached", vbd) is False
    assert machine.domains.known[vm.uuid].disks == ()
    for verb in ("unplug", "unplug_force"):
        assert door.refused(f"VBD.{verb}", vbd) == ["DEVICE_ALREADY_DETACHED", vbd.ref]
    door("VBD.plug", vbd)
    assert vbd.currently_attached


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_a_disk_whose_plugging_fails_is_as_it_was(
    door: Door, machine: FakeMachine, vm: VM, vdi: VDI, verb: str
) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    door("VM.start", vm, False)
    if verb == "plug":
        door("VBD.unplug", vbd)
    before = vbd.currently_attached
    machine.domains.fail(f"{verb}_vbd", BROKEN)
    assert door.refused(f"VBD.{verb}", vbd) == BROKEN.description
    assert vbd.currently_attached is before
    assert vbd.current_operations == {}


@pytest.mark.parametrize("type_", ["Disk", "CD"])
@pytest.mark.parametrize("unpluggable", [True, False])
def test_what_can_be_unplugged_is_what_is_said_to_be(
    door: Door, vm: VM, vdi: VDI, type_: str, unpluggable: bool
) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0", type=type_, unpluggable=unpluggable, mode="RO")
    door("VM.start", vm, False)
    for verb in ("unplug_force", "unplug"):
        allowed = verb in vbd.allowed_operations
        assert allowed == (type_ == "Disk" and unpluggable)
        if not allowed:
            assert door.refused(f"VBD.{verb}", vbd)[0] == "OPERATION_NOT_ALLOWED"
    if type_ == "Disk" and unpluggable:
        door("VBD.unplug", vbd)
        assert not vbd.currently_attached


@pytest.mark.parametrize(("sharable", "mode", "free"), [(False, "RW", False), (True, "RW", True), (False, "RO", True)])
def test_a_disk_that_another_machine_writes_to_is_in_use(
    door: Door, vm: VM, vdi: VDI, sharable: bool, mode: str, free: bool
) -> None:
    door("VDI.set_sharable", vdi, sharable)
    other = door.vm()
    for each in (vm, other):
        vbd_of(door, each, vdi, userdevice="0", mode=mode)
    door("VM.start", vm, False)
    if free:
        door("VM.start", other, False)
        return
    assert door.refused("VM.start", other, False) == ["VDI_IN_USE", vdi.ref, "attach"]
    assert other.power_state == "Halted"
    door("VM.suspend", vm)
    assert door.refused("VM.start", other, False) == ["VDI_IN_USE", vdi.ref, "attach"]


def test_of_two_machines_that_are_started_at_once_one_gets_the_disk(
    door: Door, machine: FakeMachine, vm: VM, vdi: VDI
) -> None:
    other = door.vm()
    for each in (vm, other):
        vbd_of(door, each, vdi, userdevice="0")
    block = Block(machine.domains, "start")
    first = door("Async.VM.start", vm, False)
    block.await_entry()
    second = door("Async.VM.start", other, False)
    eventually(lambda: bool(door.site.holds._changed._waiters), "the second waits for the disk")  # type: ignore[attr-defined]
    block.release()
    assert door.ended(first).status == "success"
    assert door.ended(second).error_info == ("VDI_IN_USE", vdi.ref, "attach")
    assert (vm.power_state, other.power_state) == ("Running", "Halted")


def test_a_machine_whose_new_disk_another_has_runs_on_where_a_hard_reboot_is_asked_for(
    door: Door, vm: VM, vdi: VDI
) -> None:
    other = door.vm()
    vbd_of(door, other, vdi, userdevice="0")
    for each in (vm, other):
        door("VM.start", each, False)
    domid = vm.domid
    vbd = vbd_of(door, vm, vdi, userdevice="1")
    assert door.refused("VM.hard_reboot", vm) == ["VDI_IN_USE", vdi.ref, "attach"]
    assert (vm.power_state, vm.domid) == ("Running", domid)
    door("VBD.destroy", vbd)
    door("VM.hard_reboot", vm)
    assert vm.domid not in (domid, -1)


@pytest.mark.parametrize("way", ["plug", "start", "hard_reboot"])
def test_a_disk_that_another_machine_has_got_is_not_brought_back_by_a_reboot(
    door: Door, vm: VM, vdi: VDI, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    door("VM.start", vm, False)
    door("VBD.unplug", vbd)
    assert not is_apart(vbd)
    other = door.vm()
    if way == "start":
        theirs = vbd_of(door, other, vdi, userdevice="0")
    else:
        door("VM.start", other, False)
        theirs = vbd_of(door, other, vdi, userdevice="0")
    redefined: list[VM] = []
    monkeypatch.setattr(door.observer, "redefine", redefined.append)
    if way == "plug":
        door("VBD.plug", theirs)
    else:
        door(f"VM.{way}", other, *([False] if way == "start" else []))
    assert is_apart(vbd)
    assert vm in redefined
    door("VBD.unplug", theirs)
    assert not is_apart(vbd)


def test_a_suspended_machine_keeps_its_disks_and_cards(door: Door, vm: VM, vdi: VDI) -> None:
    vbd, vif = vbd_of(door, vm, vdi, userdevice="0"), vif_of(door, vm, device="0")
    before = vbd.userdevice, vbd.mode, vif.device, vif.MAC, vif.network
    door("VM.start", vm, False)
    door("VM.suspend", vm)
    wanted = ["VM_BAD_POWER_STATE", vm.ref, "halted, running, paused", "suspended"]
    for name, params in (("destroy", ()), ("set_userdevice", ("5",)), ("set_device", ("xvdf",)), ("set_mode", ("RO",))):
        assert door.refused(f"VBD.{name}", vbd, *params) == wanted
    for name, params in (("destroy", ()), ("set_device", ("5",)), ("set_MAC", ("",)), ("move", (vif.network.ref,))):
        assert door.refused(f"VIF.{name}", vif, *params) == wanted
    assert (vbd.userdevice, vbd.mode, vif.device, vif.MAC, vif.network) == before
    door("VM.hard_shutdown", vm)
    door("VBD.destroy", vbd)
    door("VIF.destroy", vif)


def test_a_medium_is_put_in_changed_and_taken_out(door: Door, vm: VM, vdi: VDI) -> None:
    drive = vbd_of(door, vm, None, userdevice="3", type="CD")
    assert door.refused("VBD.eject", drive) == ["VBD_IS_EMPTY", drive.ref]
    door("VBD.insert", drive, vdi)
    assert (drive.VDI, drive.empty) == (vdi, False)
    assert door.refused("VBD.insert", drive, vdi) == ["VBD_NOT_EMPTY", drive.ref]
    other = door("VDI.create", {"SR": vdi.SR.ref, "virtual_size": GIB})
    door("VBD.media_change", drive, other)
    assert (drive.VDI, vdi.VBDs) == (other, ())
    door("VBD.eject", drive)
    assert (drive.VDI, drive.empty) == (None, True)


def test_a_medium_reaches_a_running_guest_that_has_no_drives_as_a_disk(
    door: Door, machine: FakeMachine, vm: VM, vdi: VDI
) -> None:
    drive = vbd_of(door, vm, None, userdevice="3", type="CD")
    door("VM.start", vm, False)
    machine.domains.unplug_vbd(drive)  # as the drivers have it: what is empty is not there
    door("VM.pause", vm)
    assert door("VBD.get_currently_attached", drive) is False
    door("VBD.insert", drive, vdi)
    assert door("VBD.get_currently_attached", drive) is True
    assert (drive.VDI, drive.empty) == (vdi, False)


@pytest.mark.parametrize("verb", ["insert", "eject", "media_change"])
def test_only_the_medium_of_a_drive_is_changed(door: Door, vm: VM, vdi: VDI, verb: str) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    params = [] if verb == "eject" else [vdi]
    assert door.refused(f"VBD.{verb}", vbd, *params) == ["VBD_NOT_REMOVABLE_MEDIA", vbd.ref]


def test_a_medium_that_cannot_be_changed_is_the_old_one(door: Door, machine: FakeMachine, vm: VM, vdi: VDI) -> None:
    drive = vbd_of(door, vm, None, userdevice="3", type="CD")
    door("VM.start", vm, False)
    machine.domains.fail("change_medium", BROKEN)
    assert door.refused("VBD.insert", drive, vdi) == BROKEN.description
    assert (drive.VDI, drive.empty, vdi.VBDs) == (None, True, ())


def test_a_suspended_machine_keeps_its_medium(door: Door, vm: VM, vdi: VDI) -> None:
    drive = vbd_of(door, vm, None, userdevice="3", type="CD")
    door("VM.start", vm, False)
    door("VM.suspend", vm)
    assert "insert" not in drive.allowed_operations
    wanted = ["VM_BAD_POWER_STATE", vm.ref, "halted, running, paused", "suspended"]
    assert door.refused("VBD.insert", drive, vdi) == wanted
    assert drive.empty


def test_a_device_moves_only_while_it_is_unplugged(door: Door, vm: VM, vdi: VDI) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    taken = vbd_of(door, vm, vdi, userdevice="4", mode="RO")
    door("VBD.set_userdevice", vbd, "2")
    assert vbd.userdevice == "2"
    door("VBD.set_device", vbd, "xvdd")
    assert (vbd.userdevice, vbd.device) == ("3", "xvdd")
    assert door.refused("VBD.set_userdevice", vbd, taken.userdevice) == ["DEVICE_ALREADY_EXISTS", "4"]
    door("VBD.destroy", taken)
    door("VM.start", vm, False)
    for name, value in (("set_userdevice", "5"), ("set_device", "xvdf"), ("set_mode", "RO")):
        assert door.refused(f"VBD.{name}", vbd, value) == ["DEVICE_ALREADY_ATTACHED", vbd.ref]


def test_a_destroyed_disk_leaves_the_data(door: Door, vm: VM, vdi: VDI) -> None:
    vbd = vbd_of(door, vm, vdi, userdevice="0")
    door("VBD.destroy", vbd)
    assert (vm.VBDs, vdi.VBDs) == ((), ())
    assert door.store.is_live(vdi)
    assert door.store.count("VBD_metrics") == 0


# --- cards


def test_a_card_gets_a_place_and_an_address(door: Door, vm: VM) -> None:
    first, second = vif_of(door, vm, device="0"), vif_of(door, vm, device="")
    assert (first.device, second.device) == ("0", "1")
    assert first.MAC != second.MAC
    assert first.MAC.startswith("00:16:3e:")
    assert first.MAC_autogenerated
    assert door("VM.get_allowed_VIF_devices", vm) == ("2", "3", "4", "5", "6")


def test_a_card_keeps_the_address_it_was_given(door: Door, vm: VM) -> None:
    vif = vif_of(door, vm, device="0", MAC="52:54:00:AA:BB:CC")
    assert (vif.MAC, vif.MAC_autogenerated) == ("52:54:00:aa:bb:cc", False)
    door("VIF.set_MAC", vif, "")
    assert vif.MAC_autogenerated


@pytest.mark.parametrize("device", ["7", "99"])
def test_a_card_in_no_place_is_refused(door: Door, vm: VM, device: str) -> None:
    network = door.store.by_uuid(Network, LAN)
    assert door.refused("VIF.create", {"VM": vm.ref, "network": network.ref, "device": device})[0] == "INVALID_DEVICE"
    vif_of(door, vm, device="0")
    assert door.refused("VIF.create", {"VM": vm.ref, "network": network.ref, "device": "0"})[0] == (
        "DEVICE_ALREADY_EXISTS"
    )


@pytest.mark.parametrize("mac", ["nonsense", "01:00:5e:00:00:01", "00:00:00:00:00:00", "00:16:3e:00:00"])
def test_an_address_that_is_none_is_refused(door: Door, vm: VM, mac: str) -> None:
    network = door.store.by_uuid(Network, LAN)
    args = {"VM": vm.ref, "network": network.ref, "device": "0", "MAC": mac}
    assert door.refused("VIF.create", args) == ["MAC_INVALID", mac]
    vif = vif_of(door, vm, device="0")
    assert door.refused("VIF.set_MAC", vif, mac) == ["MAC_INVALID", mac]


def test_a_card_is_plugged_and_unplugged_while_its_machine_runs(door: Door, vm: VM) -> None:
    vif = vif_of(door, vm, device="0")
    halted = ["VM_BAD_POWER_STATE", vm.ref, "running", "halted"]
    assert door.refused("VIF.plug", vif) == door.refused("VIF.unplug", vif) == halted
    door("VM.start", vm, False)
    for name, params in (("plug", []), ("destroy", []), ("set_MAC", [""])):
        assert door.refused(f"VIF.{name}", vif, *params) == ["DEVICE_ALREADY_ATTACHED", vif.ref]
    door("VIF.unplug", vif)
    assert not vif.currently_attached
    for verb in ("unplug", "unplug_force"):
        assert door.refused(f"VIF.{verb}", vif) == ["DEVICE_ALREADY_DETACHED", vif.ref]
    door("VIF.plug", vif)
    assert vif.currently_attached


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_a_card_whose_plugging_fails_is_as_it_was(door: Door, machine: FakeMachine, vm: VM, verb: str) -> None:
    vif = vif_of(door, vm, device="0")
    door("VM.start", vm, False)
    if verb == "plug":
        door("VIF.unplug", vif)
    before = vif.currently_attached
    machine.domains.fail(f"{verb}_vif", BROKEN)
    assert door.refused(f"VIF.{verb}", vif) == BROKEN.description
    assert vif.currently_attached is before


@pytest.mark.parametrize("running", [False, True])
def test_a_card_moves_to_another_network(door: Door, machine: FakeMachine, vm: VM, running: bool) -> None:
    vif = vif_of(door, vm, device="0")
    network: Network = door("network.create", {"name_label": "other"})
    if running:
        door("VM.start", vm, False)
    door("VIF.move", vif, network)
    assert (vif.network, vif.currently_attached) == (network, running)
    if running:
        assert [nic.bridge for nic in machine.domains.known[vm.uuid].nics] == [network.bridge]


def test_a_card_that_cannot_be_plugged_again_is_on_its_old_network(door: Door, machine: FakeMachine, vm: VM) -> None:
    vif = vif_of(door, vm, device="0")
    network: Network = door("network.create", {"name_label": "other"})
    door("VM.start", vm, False)
    machine.domains.fail("plug_vif", BROKEN)
    assert door.refused("VIF.move", vif, network) == BROKEN.description
    assert (vif.network.uuid, vif.currently_attached, network.VIFs) == (LAN, False, ())


# --- networks


def test_a_network_without_a_bridge_gets_one(door: Door, machine: FakeMachine) -> None:
    made: Network = door("network.create", {"name_label": "mine"})
    assert made.managed
    assert machine.networks.known[made.uuid].bridge == made.bridge != ""
    door("network.destroy", made)
    assert made.uuid not in machine.networks.known


def test_a_network_for_a_bridge_of_the_host_makes_and_removes_none(door: Door, machine: FakeMachine) -> None:
    made: Network = door("network.create", {"name_label": "theirs", "bridge": "xenbr7"})
    assert not made.managed
    door("network.destroy", made)
    assert not {"create", "destroy"} & set(machine.networks.calls)


def test_a_network_that_is_used_stays(door: Door, vm: VM) -> None:
    vif = vif_of(door, vm, device="0")
    lan = vif.network
    assert door.refused("network.destroy", lan) == ["NETWORK_CONTAINS_VIF", vif.ref]
    door("VIF.destroy", vif)
    assert door.refused("network.destroy", lan) == ["NETWORK_CONTAINS_PIF", lan.PIFs[0].ref]


@pytest.mark.parametrize("method", ["create", "destroy"])
def test_a_network_whose_bridge_fails_is_as_it_was(door: Door, machine: FakeMachine, method: str) -> None:
    network: Network = door("network.create", {"name_label": "mine"})
    before = set(door.store.all(Network))
    machine.networks.fail(method, BROKEN)
    answer = (
        door.refused("network.create", {"name_label": "x"})
        if method == "create"
        else door.refused("network.destroy", network)
    )
    assert answer == BROKEN.description
    assert set(door.store.all(Network)) == before
