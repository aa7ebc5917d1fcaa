"""What every hypervisor's driver does with machines. The same cases run on each of them."""

from __future__ import annotations

import re

import pytest

from agent.classes.enums import DomainType, OnCrash, OnNormalExit, PowerState, VifLockingMode
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    InvalidDevice,
    MacInvalid,
    OperationNotAllowed,
    ValueNotSupported,
    VbdNotRemovableMedia,
    VMBadPowerState,
)
from tests.contract.conftest import Bench
from tests.drivers.machines import MIB, WEB

ADOPTED = f"""
<domain type='xen'><name>by-hand</name><uuid>{WEB}</uuid><memory unit='KiB'>262144</memory>
  <currentMemory unit='KiB'>262144</currentMemory><vcpu placement='static'>2</vcpu>
  <metadata><note xmlns='urn:of:an:admin'>keep me</note></metadata>
  <os><type arch='x86_64' machine='xenpv'>xen</type><kernel>/srv/kernels/mine</kernel></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='/srv/a.qcow2'/>
      <target dev='xvda' bus='xen'/><serial>1234</serial></disk>
    <interface type='bridge'><mac address='00:16:3e:11:22:33'/><source bridge='xenbr0'/>
      <script path='vif-mine'/></interface>
  </devices>
</domain>"""


def refused(error: pytest.ExceptionInfo[VMBadPowerState]) -> tuple[str, str]:
    return error.value.expected, error.value.actual


# --- definitions


def test_a_machine_that_was_never_defined_is_not_there(bench: Bench) -> None:
    vm = bench.machines.vm()
    assert bench.domains.look(vm.uuid) is None
    assert vm.uuid not in [seen.uuid for seen in bench.domains.list()]


def test_a_defined_machine_is_halted_and_as_it_was_asked_for(bench: Bench) -> None:
    vm = bench.machines.vm(
        name_description="first line\nsecond line",
        VCPUs_max=4,
        VCPUs_at_startup=2,
        PV_kernel="/boot/vmlinuz",
        PV_ramdisk="/boot/initrd.img",
        PV_args="root=/dev/xvda quiet",
        actions_after_shutdown=OnNormalExit.DESTROY,
        actions_after_crash=OnCrash.PRESERVE,
    )
    bench.machines.disk(vm, "0", "/disks/a.qcow2")
    bench.machines.card(vm, "0")
    bench.domains.define(vm)
    seen = bench.see(vm)
    assert seen == next(other for other in bench.domains.list() if other.uuid == vm.uuid)
    assert (seen.name, seen.title, seen.description) == ("web", "web", "first line\nsecond line")
    assert (seen.power_state, seen.domid, seen.persistent, seen.domain_type) == (
        PowerState.HALTED,
        -1,
        True,
        DomainType.PV,
    )
    assert (seen.memory_max, seen.memory, seen.VCPUs_max, seen.VCPUs) == (256 * MIB, 128 * MIB, 4, 2)
    assert (seen.PV_kernel, seen.PV_ramdisk, seen.PV_args) == (
        "/boot/vmlinuz",
        "/boot/initrd.img",
        "root=/dev/xvda quiet",
    )
    assert (seen.actions_after_shutdown, seen.actions_after_reboot, seen.actions_after_crash) == (
        OnNormalExit.DESTROY,
        OnNormalExit.RESTART,
        OnCrash.PRESERVE,
    )
    assert [(disk.target, disk.source, disk.format, disk.read_only) for disk in seen.disks] == [
        ("xvda", "/disks/a.qcow2", "qcow2", False)
    ]
    assert [(nic.MAC, nic.bridge) for nic in seen.nics] == [("00:16:3e:00:00:00", "xenbr0")]


def test_a_new_label_becomes_the_title_and_the_name_stays(bench: Bench) -> None:
    vm = bench.machines.vm("web")
    bench.domains.define(vm)
    bench.machines.change(vm, name_label="shop")
    bench.domains.define(vm)
    seen = bench.see(vm)
    assert (seen.name, seen.title) == ("web", "shop")


def test_a_running_machine_takes_its_label_and_description_over_at_once(bench: Bench) -> None:
    vm = bench.machines.vm("web", name_description="old")
    bench.domains.start(vm, False)
    bench.machines.change(vm, name_label="shop", name_description="")
    bench.domains.define(vm)
    assert (bench.see(vm).title, bench.see(vm).description) == ("shop", "")
    bench.domains.destroy(vm)
    assert (bench.see(vm).title, bench.see(vm).description) == ("shop", "")


def test_two_machines_of_one_label_have_names_of_their_own(bench: Bench) -> None:
    one, other = bench.machines.vm("web"), bench.machines.vm("web")
    bench.domains.define(one)
    bench.domains.define(other)
    assert bench.see(one).name == "web"
    assert bench.see(other).name == f"web-{other.uuid[:8]}"


@pytest.mark.threat("T12")
@pytest.mark.parametrize(
    "label", ["../../etc/passwd", "a/b", "7", "", "</name><devices/>", "x" * 5000, "-r", "ü\n;$(x)"]
)
def test_any_label_can_be_defined_and_is_the_title(bench: Bench, label: str) -> None:
    vm = bench.machines.vm(label)
    bench.domains.define(vm)
    seen = bench.see(vm)
    assert "/" not in seen.name
    assert not seen.name.startswith((".", "-"))
    assert seen.title == label.replace("\n", " ")[:4096]


def test_a_changed_machine_keeps_what_it_runs_with_until_it_is_started_anew(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    bench.machines.change(vm, memory_static_max=512 * MIB)
    bench.domains.define(vm)
    assert bench.see(vm).memory_max == 256 * MIB
    bench.domains.destroy(vm)
    assert bench.see(vm).memory_max == 512 * MIB


def test_a_device_that_was_removed_leaves_the_definition(bench: Bench) -> None:
    vm = bench.machines.vm()
    disk, card = bench.machines.disk(vm, "1", "/disks/b.raw"), bench.machines.card(vm, "0")
    bench.domains.define(vm)
    bench.machines.remove(disk)
    bench.machines.remove(card)
    bench.domains.define(vm)
    assert (bench.see(vm).disks, bench.see(vm).nics) == ((), ())


def test_an_adopted_domain_keeps_what_no_field_says(bench: Bench) -> None:
    bench.define_behind_its_back(ADOPTED)
    vm = bench.machines.vm(
        "by-hand", WEB, PV_kernel="/srv/kernels/mine", VCPUs_max=2, VCPUs_at_startup=2, memory_dynamic_max=256 * MIB
    )
    bench.machines.change(vm, actions_after_crash=OnCrash.DESTROY)
    bench.machines.disk(vm, "0", "/srv/a.qcow2", device="xvda")
    card = bench.machines.card(vm, "0", MAC="00:16:3E:11:22:33")
    before = bench.definition_of(WEB)
    bench.domains.define(vm)
    assert bench.definition_of(WEB).replace("'", '"').split() == before.replace("'", '"').split()
    bench.machines.change(card, qos_algorithm_type="ratelimit", qos_algorithm_params={"kbps": "512"})
    bench.machines.change(vm, VCPUs_at_startup=1)
    bench.domains.define(vm)
    after = bench.definition_of(WEB)
    for kept in ("keep me", "vif-mine", "unmap", "1234", "/srv/kernels/mine", "512"):
        assert kept in after
    assert bench.see(vm).VCPUs == 1


def test_undefine_forgets_the_machine_and_its_saved_memory(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    bench.domains.suspend(vm)
    bench.domains.undefine(vm)
    assert bench.domains.look(vm.uuid) is None
    bench.domains.define(vm)
    assert bench.see(vm).power_state is PowerState.HALTED


def test_undefine_of_an_unknown_machine_is_no_error(bench: Bench) -> None:
    bench.domains.undefine(bench.machines.vm())


def test_undefine_refuses_a_running_machine(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.undefine(vm)
    assert refused(error) == ("halted", "running")
    assert bench.see(vm).power_state is PowerState.RUNNING


def test_check_refuses_what_xen_cannot_do_and_define_refuses_it_too(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.check(vm)
    card = bench.machines.card(vm, "0", locking_mode=VifLockingMode.LOCKED)
    for call in (bench.domains.check, bench.domains.define):
        with pytest.raises(ValueNotSupported) as error:
            call(vm)
        assert error.value.field == "locking_mode"
    bench.machines.change(card, locking_mode=VifLockingMode.UNLOCKED, MAC="not one")
    with pytest.raises(MacInvalid):
        bench.domains.check(vm)
    bench.machines.remove(card)
    disk = bench.machines.disk(vm, "1", "/disks/a.raw")
    bench.machines.change(disk, userdevice="nonsense")
    with pytest.raises(InvalidDevice):
        bench.domains.check(vm)
    assert bench.domains.look(vm.uuid) is None


# --- power


def test_start_runs_the_machine_under_a_number(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    seen = bench.see(vm)
    assert (seen.power_state, seen.persistent) == (PowerState.RUNNING, True)
    assert seen.domid >= 1


def test_start_refuses_a_machine_that_runs(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.start(vm, False)
    assert refused(error) == ("halted", "running")
    assert error.value.vm is vm


def test_start_refuses_what_cannot_be_realised_and_nothing_runs(bench: Bench) -> None:
    vm = bench.machines.vm(memory_static_max=0)
    with pytest.raises(ValueNotSupported) as error:
        bench.domains.start(vm, False)
    assert error.value.field == "memory_static_max"
    assert bench.domains.look(vm.uuid) is None


def test_a_machine_that_is_started_paused_is_never_seen_running(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.watch()
    bench.domains.start(vm, True)
    bench.wait_for_report(vm.uuid)
    assert bench.see(vm).power_state is PowerState.PAUSED
    assert (vm.uuid, PowerState.RUNNING) not in bench.states
    bench.domains.unpause(vm)
    assert bench.see(vm).power_state is PowerState.RUNNING


def test_pause_and_unpause(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    bench.domains.pause(vm)
    assert bench.see(vm).power_state is PowerState.PAUSED
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.pause(vm)
    assert refused(error) == ("running", "paused")
    bench.domains.unpause(vm)
    assert bench.see(vm).power_state is PowerState.RUNNING
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.unpause(vm)
    assert refused(error) == ("paused", "running")


@pytest.mark.parametrize("verb", ["pause", "unpause", "shutdown", "reboot", "destroy", "suspend"])
@pytest.mark.parametrize("defined", [True, False], ids=["halted", "not defined"])
def test_a_machine_that_does_not_run_is_halted_to_every_verb(bench: Bench, verb: str, defined: bool) -> None:
    vm = bench.machines.vm()
    if defined:
        bench.domains.define(vm)
    with pytest.raises(VMBadPowerState) as error:
        getattr(bench.domains, verb)(vm)
    assert error.value.actual == "halted"


def test_shutdown_halts(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    bench.domains.shutdown(vm)
    assert bench.wait_until(vm, PowerState.HALTED).domid == -1


@pytest.mark.fault("F6")
def test_a_shutdown_that_is_to_restart_runs_the_machine_anew(bench: Bench) -> None:
    vm = bench.machines.vm(actions_after_shutdown=OnNormalExit.RESTART)
    bench.start(vm)
    before = bench.see(vm).domid
    bench.domains.shutdown(vm)
    bench.wait_until(vm, PowerState.RUNNING, beyond=before)


@pytest.mark.fault("F6")
def test_a_reboot_gives_a_new_number_and_is_reported(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    before = bench.see(vm).domid
    bench.watch()
    bench.domains.reboot(vm)
    bench.wait_for_report(vm.uuid)
    bench.wait_until(vm, PowerState.RUNNING, beyond=before)


@pytest.mark.fault("F6")
def test_a_reboot_that_is_to_end_it_halts(bench: Bench) -> None:
    vm = bench.machines.vm(actions_after_reboot=OnNormalExit.DESTROY)
    bench.start(vm)
    bench.domains.reboot(vm)
    bench.wait_until(vm, PowerState.HALTED)


@pytest.mark.parametrize("paused", [True, False])
def test_destroy_halts_what_runs_or_is_paused(bench: Bench, paused: bool) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, paused)
    bench.domains.destroy(vm)
    assert bench.see(vm).power_state is PowerState.HALTED


@pytest.mark.parametrize("paused", [True, False])
def test_suspend_and_resume(bench: Bench, paused: bool) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    bench.domains.suspend(vm)
    seen = bench.see(vm)
    assert (seen.power_state, seen.domid) == (PowerState.SUSPENDED, -1)
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.start(vm, False)
    assert refused(error) == ("halted", "suspended")
    bench.domains.resume(vm, paused)
    assert bench.see(vm).power_state is (PowerState.PAUSED if paused else PowerState.RUNNING)
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.resume(vm, paused)
    assert refused(error)[0] == "suspended"


def test_suspend_refuses_a_paused_machine(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, True)
    with pytest.raises(VMBadPowerState) as error:
        bench.domains.suspend(vm)
    assert refused(error) == ("running", "paused")


def test_destroy_of_a_suspended_machine_loses_what_it_saved(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    bench.domains.suspend(vm)
    bench.domains.destroy(vm)
    assert bench.see(vm).power_state is PowerState.HALTED


def test_a_machine_with_a_tpm_is_not_started(bench: Bench) -> None:
    vm = bench.machines.vm()
    vtpm = bench.machines.tpm(vm)
    with pytest.raises(ValueNotSupported):
        bench.domains.check(vm)
    with pytest.raises(ValueNotSupported) as error:
        bench.domains.start(vm, False)
    assert (error.value.field, error.value.value) == ("VTPMs", vtpm.ref)
    assert bench.see(vm).power_state is PowerState.HALTED
    bench.machines.remove(vtpm)
    bench.domains.start(vm, False)


def test_a_definition_with_a_tpm_is_not_started(bench: Bench) -> None:
    tpm = "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
    bench.define_behind_its_back(ADOPTED.replace("</devices>", f"{tpm}</devices>"))
    vm = bench.machines.vm("by-hand", WEB, PV_kernel="/srv/kernels/mine")
    with pytest.raises(ValueNotSupported):
        bench.domains.start(vm, False)
    assert bench.see(vm).power_state is PowerState.HALTED


# --- devices


def test_a_disk_is_plugged_and_unplugged(bench: Bench) -> None:
    vm = bench.machines.vm()
    # Xen runs the QEMU that serves files only for a paravirtual guest that began with one.
    bench.machines.disk(vm, "0", "/disks/a.raw")
    bench.start(vm)
    disk = bench.machines.disk(vm, "1", "/disks/b.qcow2")
    bench.domains.plug_vbd(disk)
    first = ("xvda", "/disks/a.raw", "raw")
    assert [(seen.target, seen.source, seen.format) for seen in bench.see(vm).disks] == [
        first,
        ("xvdb", "/disks/b.qcow2", "qcow2"),
    ]
    with pytest.raises(DeviceAlreadyAttached):
        bench.domains.plug_vbd(disk)
    bench.domains.unplug_vbd(disk)
    assert [(seen.target, seen.source, seen.format) for seen in bench.see(vm).disks] == [first]
    with pytest.raises(DeviceAlreadyDetached):
        bench.domains.unplug_vbd(disk)


def test_a_card_is_plugged_and_unplugged(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.start(vm)
    card = bench.machines.card(vm, "0", MAC="00:16:3E:AA:BB:CC")
    bench.domains.plug_vif(card)
    assert [(seen.MAC, seen.bridge) for seen in bench.see(vm).nics] == [("00:16:3e:aa:bb:cc", "xenbr0")]
    with pytest.raises(DeviceAlreadyAttached):
        bench.domains.plug_vif(card)
    bench.domains.unplug_vif(card)
    assert bench.see(vm).nics == ()
    with pytest.raises(DeviceAlreadyDetached):
        bench.domains.unplug_vif(card)


def test_a_pci_device_is_there_from_the_start_and_is_taken_and_given_back(bench: Bench) -> None:
    vm, spare = bench.machines.vm(), bench.machines.spare
    device = bench.machines.passed_through(vm, spare)
    bench.domains.start(vm, False)
    assert bench.see(vm).pci == (spare,)
    with pytest.raises(DeviceAlreadyAttached):
        bench.domains.plug_pci(device)
    bench.wait_for_guest(vm)
    bench.domains.unplug_pci(device)
    assert bench.see(vm).pci == ()
    with pytest.raises(DeviceAlreadyDetached):
        bench.domains.unplug_pci(device)
    bench.domains.plug_pci(device)
    assert bench.see(vm).pci == (spare,)
    bench.domains.destroy(vm)
    bench.machines.remove(device)
    bench.domains.start(vm, False)
    assert bench.see(vm).pci == ()


def test_an_hvm_guest_is_given_a_pci_device_and_gives_it_back(bench: Bench) -> None:
    vm, spare = bench.machines.hvm(), bench.machines.spare
    bench.domains.start(vm, False)
    device = bench.machines.passed_through(vm, spare)
    bench.domains.plug_pci(device)
    assert bench.see(vm).pci == (spare,)
    bench.domains.unplug_pci(device)
    assert bench.see(vm).pci == ()


def test_a_pci_device_is_one_machine_s(bench: Bench) -> None:
    first, second = bench.machines.vm(), bench.machines.vm("second")
    bench.machines.passed_through(first, bench.machines.spare)
    bench.domains.start(first, False)
    device = bench.machines.passed_through(second, bench.machines.spare)
    with pytest.raises(OperationNotAllowed, match="in use by"):
        bench.domains.start(second, False)
    bench.machines.remove(device)
    bench.machines.passed_through(second, "0000:03:00.0")
    bench.domains.start(second, False)
    late = bench.machines.passed_through(second, bench.machines.spare)
    with pytest.raises(OperationNotAllowed, match="in use by"):
        bench.domains.plug_pci(late)


def test_a_pci_device_that_cannot_be_reset_is_refused(bench: Bench) -> None:
    vm = bench.machines.hvm()
    device = bench.machines.passed_through(vm, bench.machines.not_resettable)
    with pytest.raises(OperationNotAllowed, match="no FLR"):
        bench.domains.start(vm, False)
    bench.machines.remove(device)
    bench.domains.start(vm, False)
    device = bench.machines.passed_through(vm, bench.machines.not_resettable)
    with pytest.raises(OperationNotAllowed, match="no FLR"):
        bench.domains.plug_pci(device)
    assert bench.see(vm).pci == ()


def test_a_paravirtual_guest_that_was_started_without_a_pci_device_takes_none(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    device = bench.machines.passed_through(vm, bench.machines.spare)
    with pytest.raises(OperationNotAllowed, match=re.escape(bench.machines.spare)):
        bench.domains.plug_pci(device)
    assert bench.see(vm).pci == ()


def test_a_pvh_guest_is_given_no_pci_device(bench: Bench) -> None:
    vm = bench.machines.vm(domain_type=DomainType.PVH)
    bench.machines.passed_through(vm, bench.machines.spare)
    with pytest.raises(ValueNotSupported) as error:
        bench.domains.check(vm)
    assert error.value.field == "DPCIs"


def test_devices_of_the_definition_are_unplugged_too_and_are_back_at_the_next_start(bench: Bench) -> None:
    vm = bench.machines.vm()
    disk, card = bench.machines.disk(vm, "0", "/disks/a.raw"), bench.machines.card(vm, "0")
    bench.start(vm)
    bench.domains.unplug_vbd(disk)
    bench.domains.unplug_vif(card)
    assert (bench.see(vm).disks, bench.see(vm).nics) == ((), ())
    bench.domains.destroy(vm)
    bench.domains.start(vm, False)
    assert (len(bench.see(vm).disks), len(bench.see(vm).nics)) == (1, 1)


def test_devices_are_plugged_into_running_machines_only(bench: Bench) -> None:
    vm = bench.machines.vm()
    disk, card = bench.machines.disk(vm, "1", "/disks/b.raw"), bench.machines.card(vm, "0")
    device = bench.machines.passed_through(vm, bench.machines.spare)
    bench.domains.define(vm)
    for call, part in (
        ("plug_vbd", disk),
        ("unplug_vbd", disk),
        ("plug_vif", card),
        ("unplug_vif", card),
        ("plug_pci", device),
        ("unplug_pci", device),
    ):
        with pytest.raises(VMBadPowerState) as error:
            getattr(bench.domains, call)(part)
        assert refused(error) == ("running, paused", "halted")


def test_a_plugged_device_that_is_not_the_machines_any_more_is_gone_after_a_halt(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    card = bench.machines.card(vm, "0")
    bench.domains.plug_vif(card)
    bench.machines.remove(card)
    assert len(bench.see(vm).nics) == 1
    bench.domains.destroy(vm)
    bench.domains.start(vm, False)
    assert bench.see(vm).nics == ()


def test_a_medium_is_ejected_and_inserted(bench: Bench) -> None:
    vm = bench.machines.hvm()
    drive = bench.machines.drive(vm, "3", "/isos/first.iso")
    bench.domains.start(vm, False)
    assert [(seen.target, seen.source, seen.cdrom) for seen in bench.see(vm).disks] == [
        ("hdd", "/isos/first.iso", True)
    ]
    for location in ("", "/isos/second.iso"):
        bench.machines.change(drive, VDI=bench.machines.vdi(location) if location else None)
        bench.domains.change_medium(drive)
        assert [(seen.target, seen.source, seen.cdrom) for seen in bench.see(vm).disks] == [("hdd", location, True)]


def test_a_paravirtual_guest_has_its_cd_only_while_there_is_a_medium(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.machines.disk(vm, "0", "/disks/a.raw")
    drive = bench.machines.drive(vm, "3")
    bench.start(vm)
    own = ("xvda", "/disks/a.raw", False)
    assert [(seen.target, seen.source, seen.read_only) for seen in bench.see(vm).disks] == [own]
    bench.machines.change(drive, VDI=bench.machines.vdi("/isos/first.iso"))
    bench.domains.change_medium(drive)
    assert [(seen.target, seen.source, seen.read_only) for seen in bench.see(vm).disks] == [
        own,
        ("xvdd", "/isos/first.iso", True),
    ]
    bench.machines.change(drive, VDI=None)
    bench.domains.change_medium(drive)
    assert [(seen.target, seen.source, seen.read_only) for seen in bench.see(vm).disks] == [own]


def test_only_a_drive_has_media(bench: Bench) -> None:
    vm = bench.machines.vm()
    disk = bench.machines.disk(vm, "0", "/disks/a.raw")
    bench.domains.start(vm, False)
    with pytest.raises(VbdNotRemovableMedia):
        bench.domains.change_medium(disk)


def test_a_drive_is_not_plugged_into_a_running_hvm_guest(bench: Bench) -> None:
    vm = bench.machines.hvm()
    bench.domains.start(vm, False)
    drive = bench.machines.drive(vm, "3")
    with pytest.raises(ValueNotSupported):
        bench.domains.plug_vbd(drive)
    with pytest.raises(DeviceAlreadyDetached):
        bench.domains.change_medium(drive)


# --- sizes and signals


def test_cpus_are_changed_while_it_runs(bench: Bench) -> None:
    # libvirt's Xen driver gives a running machine no more processors than the host has.
    vm = bench.machines.vm(VCPUs_max=2, VCPUs_at_startup=1)
    bench.domains.start(vm, False)
    bench.domains.set_vcpus(vm, 2)
    assert bench.see(vm).VCPUs == 2
    with pytest.raises(ValueNotSupported):
        bench.domains.set_vcpus(vm, 3)
    assert bench.see(vm).VCPUs == 2


def test_memory_is_changed_while_it_runs(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    bench.domains.set_memory(vm, 200 * MIB)
    assert bench.see(vm).memory == 200 * MIB
    with pytest.raises(ValueNotSupported):
        bench.domains.set_memory(vm, 300 * MIB)
    assert bench.see(vm).memory == 200 * MIB


def test_a_share_is_changed_while_it_runs(bench: Bench) -> None:
    vm = bench.machines.vm()
    with pytest.raises(VMBadPowerState):
        bench.domains.set_scheduler(vm, 512, 50)
    bench.domains.start(vm, False)
    bench.domains.set_scheduler(vm, 512, 50)
    bench.domains.set_scheduler(vm, None, 60)
    bench.domains.set_scheduler(vm, None, None)


def test_virtual_cpus_are_pinned_while_they_run(bench: Bench) -> None:
    vm = bench.machines.vm()
    with pytest.raises(VMBadPowerState):
        bench.domains.pin_vcpus(vm, "0")
    bench.domains.start(vm, False)
    bench.domains.pin_vcpus(vm, "0")
    for mask in ("", "x", "1-", "3-2", "4000"):
        with pytest.raises(ValueNotSupported):
            bench.domains.pin_vcpus(vm, mask)


@pytest.mark.parametrize("paused", [True, False])
def test_a_machine_with_a_cap_starts_in_the_state_that_was_asked_for(bench: Bench, paused: bool) -> None:
    vm = bench.machines.vm(VCPUs_params={"cap": "50", "weight": "512"})
    bench.domains.start(vm, paused)
    assert bench.see(vm).power_state is (PowerState.PAUSED if paused else PowerState.RUNNING)


def test_keys_and_triggers_that_no_library_knows_are_refused(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.domains.start(vm, False)
    trigger, key = bench.domains.send_trigger, bench.domains.send_sysrq
    for call, value in ((trigger, "sleep"), (key, "?"), (key, "")):
        with pytest.raises(ValueNotSupported) as error:
            call(vm, value)
        assert error.value.value == value


# --- reports


def test_what_happens_to_a_machine_is_reported_by_its_uuid(bench: Bench) -> None:
    vm = bench.machines.vm()
    bench.watch()
    for step in ("define", "start", "pause", "unpause", "destroy", "undefine"):
        bench.reported.clear()
        getattr(bench.domains, step)(vm, *((False,) if step == "start" else ()))
        bench.wait_for_report(vm.uuid)
