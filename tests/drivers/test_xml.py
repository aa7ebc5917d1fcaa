"""Domain XML, written, merged and read: golden files, libvirt's own schema, and what must be refused."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent import classes as c
from agent.classes.devices import place_of
from agent.classes.enums import (
    DomainType,
    OnCrash,
    OnNormalExit,
    PowerState,
    VbdMode,
    VbdType,
    VifLockingMode,
)
from agent.errors import DeviceAlreadyExists, InternalError, InvalidDevice, MacInvalid, ValueNotSupported
from drivers import xml, xml_read
from tests.drivers.machines import MIB, Machines

GOLDEN = Path(__file__).parent.parent / "golden"
SCHEMAS = [Path("/usr/share/libvirt/schemas"), Path("/usr/local/share/libvirt/schemas")]
UUID = "a4c1a1de-0000-4000-8000-00000000000a"


def pv_kernel(machines: Machines) -> c.VM:
    vm = machines.vm(
        "web server",
        UUID,
        name_description="serves\npages",
        PV_ramdisk="/boot/initrd.img",
        PV_args="root=/dev/xvda ro",
        VCPUs_params={"weight": "512", "mask": "0,2-3", "cap": "50"},
        actions_after_crash=OnCrash.COREDUMP_AND_RESTART,
    )
    machines.disk(vm, "0", "/srv/disks/root.qcow2")
    machines.disk(vm, "1", "/dev/vg/data", mode=VbdMode.RO)
    machines.drive(vm, "2", "/srv/isos/tools.iso")
    machines.drive(vm, "3")
    machines.card(vm, "1", network=machines.other_network)
    machines.card(vm, "0", qos_algorithm_type="ratelimit", qos_algorithm_params={"kbps": "1024"})
    return vm


def pv_bootloader(machines: Machines) -> c.VM:
    vm = machines.vm("old", UUID, PV_kernel="", PV_bootloader="pygrub", PV_bootloader_args="--args=root=/dev/xvda1 ro")
    machines.disk(vm, "xvda", "/srv/disks/root.vhd")
    return vm


def pvh(machines: Machines) -> c.VM:
    return machines.vm("pvh", UUID, domain_type=DomainType.PVH, VCPUs_at_startup=4, platform={"hap": "true"})


def hvm_bios(machines: Machines) -> c.VM:
    vm = machines.hvm("win", UUID, HVM_boot_params={"order": "cdn"}, actions_after_reboot=OnNormalExit.DESTROY)
    machines.disk(vm, "0", "/srv/disks/c.raw")
    machines.card(vm, "0")
    machines.passed_through(vm, "0000:03:00.1")
    return vm


def hvm_uefi(machines: Machines) -> c.VM:
    platform = {"vga": "cirrus", "hpet": "false", "timeoffset": "-3600", "apic": "false", "nic_type": "e1000"}
    vm = machines.hvm("uefi", UUID, HVM_boot_params={"firmware": "uefi"}, platform=platform)
    machines.card(vm, "0")
    return vm


def hvm_cd(machines: Machines) -> c.VM:
    vm = machines.hvm("install", UUID, HVM_boot_params={"order": "dc"})
    machines.disk(vm, "0", "/srv/disks/c.qcow2")
    machines.drive(vm, "3", "/srv/isos/install.iso")
    machines.drive(vm, "2")
    return vm


KINDS: dict[str, Callable[[Machines], c.VM]] = {
    "pv-kernel": pv_kernel,
    "pv-bootloader": pv_bootloader,
    "pvh": pvh,
    "hvm-bios": hvm_bios,
    "hvm-uefi": hvm_uefi,
    "hvm-cd": hvm_cd,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def schema() -> etree.RelaxNG:
    """libvirt's own schema of domains."""
    for folder in SCHEMAS:
        if (folder / "domain.rng").exists():
            return etree.RelaxNG(etree.parse(str(folder / "domain.rng")))
    pytest.skip("libvirt's schemas are not installed (on Debian they come with libvirt0)")


def built(vm: c.VM) -> etree._Element:
    return xml.build(vm, xml.safe_name(vm))


def printed(root: etree._Element) -> str:
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def merged(vm: c.VM, text: str) -> etree._Element:
    return xml.merge(vm, xml_read.parse(text))


# --- written


@pytest.mark.threat("T12")
@every_kind
def test_the_definition_is_the_golden_one(machines: Machines, kind: str) -> None:
    assert printed(built(KINDS[kind](machines))) == (GOLDEN / f"domain-{kind}.xml").read_text()


@pytest.mark.threat("T12")
@every_kind
def test_the_definition_is_valid_to_libvirts_schema(machines: Machines, kind: str, schema: etree.RelaxNG) -> None:
    assert schema.validate(built(KINDS[kind](machines))), schema.error_log


@every_kind
def test_what_is_written_reads_back_as_it_was_asked_for(machines: Machines, kind: str) -> None:
    vm = KINDS[kind](machines)
    seen = xml_read.read(built(vm), PowerState.HALTED)
    assert (seen.uuid, seen.title, seen.description) == (vm.uuid, vm.name_label, vm.name_description)
    assert (seen.memory_max, seen.memory) == (vm.memory_static_max, vm.memory_dynamic_max)
    assert (seen.VCPUs_max, seen.VCPUs) == (vm.VCPUs_max, vm.VCPUs_at_startup)
    assert (seen.PV_kernel, seen.PV_ramdisk, seen.PV_args) == (vm.PV_kernel, vm.PV_ramdisk, vm.PV_args)
    assert (seen.PV_bootloader, seen.PV_bootloader_args) == (vm.PV_bootloader, vm.PV_bootloader_args)
    assert seen.domain_type is vm.domain_type
    assert list(seen.pci) == [dpci.PPCI.name for dpci in vm.DPCIs]
    if vm.domain_type is DomainType.HVM:
        assert seen.boot_order == vm.HVM_boot_params.get("order", "cd")
        assert seen.firmware == vm.HVM_boot_params.get("firmware", "bios")
        asked = {key: value for key, value in vm.platform.items() if key not in ("nic_type", "apic")}
        assert seen.platform.items() >= asked.items()
        assert ("apic" in seen.platform) is (vm.platform.get("apic") != "false")
    assert (seen.actions_after_shutdown, seen.actions_after_reboot, seen.actions_after_crash) == (
        vm.actions_after_shutdown,
        vm.actions_after_reboot,
        vm.actions_after_crash,
    )
    present = [vbd for vbd in vm.VBDs if vbd.VDI is not None or vm.domain_type is DomainType.HVM]
    assert {(disk.target, disk.source, disk.format, disk.read_only) for disk in seen.disks} == {
        (
            xml.device_name(vbd),
            vbd.VDI.location if vbd.VDI else "",
            vbd.VDI.format if vbd.VDI else "raw",
            vbd.mode is VbdMode.RO,
        )
        for vbd in present
    }
    ordered = sorted(vm.VIFs, key=lambda vif: vif.device)
    assert [(nic.MAC, nic.bridge) for nic in seen.nics] == [(vif.MAC, vif.network.bridge) for vif in ordered]


@every_kind
def test_a_definition_that_says_it_all_is_left_as_it_is(machines: Machines, kind: str) -> None:
    vm = KINDS[kind](machines)
    root = built(vm)
    assert xml.same(root, xml.merge(vm, root))


def test_a_machine_without_a_domain_type_is_hvm_if_it_has_a_boot_policy(machines: Machines) -> None:
    pv = machines.vm(domain_type=DomainType.UNSPECIFIED)
    hvm = machines.vm(domain_type=DomainType.UNSPECIFIED, HVM_boot_policy="BIOS order")
    assert xml_read.kind_of(built(pv)) is DomainType.PV
    assert xml_read.kind_of(built(hvm)) is DomainType.HVM


def test_a_paravirtual_guest_with_neither_kernel_nor_loader_is_left_to_libvirts_pygrub(machines: Machines) -> None:
    root = built(machines.vm(PV_kernel=""))
    assert root.find("bootloader") is None
    assert root.find("os/kernel") is None


def test_memory_is_rounded_up_to_whole_mebibytes(machines: Machines) -> None:
    root = built(machines.vm(memory_static_max=100 * MIB + 1, memory_dynamic_max=50 * MIB))
    assert (root.findtext("memory"), root.findtext("currentMemory")) == (str(101 * 1024), str(50 * 1024))


# --- names of devices


def vbd_at(machines: Machines, place: str, **fields: Any) -> c.VBD:
    hvm = fields.pop("hvm", False)
    vm = machines.hvm() if hvm else machines.vm()
    return machines.disk(vm, place, "/srv/a.raw", **fields)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("0", "xvda"),
        ("25", "xvdz"),
        ("26", "xvdaa"),
        ("254", "xvdiu"),
        ("xvdc", "xvdc"),
        ("/dev/hda", "hda"),
        ("sdb", "sdb"),
    ],
)
def test_a_place_has_a_name_in_the_guest(machines: Machines, place: str, name: str) -> None:
    assert xml.device_name(vbd_at(machines, place)) == name


@pytest.mark.parametrize(("place", "name"), [("0", "hda"), ("2", "hdc"), ("3", "hdd")])
def test_a_drive_of_an_hvm_guest_is_an_ide_drive(machines: Machines, place: str, name: str) -> None:
    assert xml.device_name(vbd_at(machines, place, type=VbdType.CD, hvm=True)) == name
    assert xml.device_name(vbd_at(machines, place, type=VbdType.CD)).startswith("xvd")


@pytest.mark.parametrize("place", ["", "255", "-1", "999999999999999999", "²", "floppy", "xvda/../x", "hda hdb", "0x1"])
def test_what_is_no_place_is_refused(machines: Machines, place: str) -> None:
    with pytest.raises(InvalidDevice):
        xml.device_name(vbd_at(machines, place))


def test_an_hvm_guest_has_four_ide_drives(machines: Machines) -> None:
    with pytest.raises(InvalidDevice):
        xml.device_name(vbd_at(machines, "4", type=VbdType.CD, hvm=True))


def test_the_name_that_a_domain_has_counts_where_it_is_at_that_place(machines: Machines) -> None:
    assert xml.device_name(vbd_at(machines, "0", device="hda")) == "hda"
    assert xml.device_name(vbd_at(machines, "1", device="hda")) == "xvdb"
    assert xml.device_name(vbd_at(machines, "", device="sdc")) == "sdc"
    assert xml.device_name(vbd_at(machines, "0", device="rubbish")) == "xvda"


@given(place=st.integers(min_value=0, max_value=254))
def test_place_and_name_are_each_others_inverse(place: int) -> None:
    vbd = c.VBD(VM=c.VM(), VDI=None, userdevice=str(place))
    assert place_of(xml.device_name(vbd)) == str(place)


def test_a_name_without_a_place_is_itself() -> None:
    assert [place_of(name) for name in ("hdc", "vda", "xvda1", "nvme0", "xvdzz")] == [
        "2",
        "0",
        "xvda1",
        "nvme0",
        "xvdzz",
    ]


# --- refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"domain_type": DomainType.PV_IN_PVH}, "domain_type"),
        ({"memory_static_max": 0}, "memory_static_max"),
        ({"VCPUs_max": 0}, "VCPUs_max"),
        ({"VCPUs_at_startup": 5}, "VCPUs_at_startup"),
        ({"VCPUs_at_startup": 0}, "VCPUs_at_startup"),
        ({"VCPUs_params": {"weight": "0"}}, "VCPUs_params:weight"),
        ({"VCPUs_params": {"weight": "many"}}, "VCPUs_params:weight"),
        ({"VCPUs_params": {"cap": "-1"}}, "VCPUs_params:cap"),
        ({"VCPUs_params": {"mask": "0,x"}}, "VCPUs_params:mask"),
        ({"PV_kernel": "/etc/shadow"}, "PV_kernel"),
        ({"PV_kernel": "/boot/../etc/shadow"}, "PV_kernel"),
        ({"PV_kernel": "vmlinuz"}, "PV_kernel"),
        ({"PV_ramdisk": "/etc/shadow"}, "PV_ramdisk"),
        ({"PV_args": "a\x00b"}, "PV_args"),
        ({"PV_args": "a\nb"}, "PV_args"),
        ({"PV_bootloader": "/bin/sh"}, "PV_bootloader"),
        ({"PV_bootloader": "pygrub", "PV_bootloader_args": "--output=/etc/cron.d/x"}, "PV_bootloader_args"),
        ({"PV_bootloader": "pygrub", "PV_bootloader_args": "-q --outp=/etc/cron.d/x"}, "PV_bootloader_args"),
        ({"PV_bootloader": "pygrub", "PV_bootloader_args": "'"}, "PV_bootloader_args"),
        ({"PV_bootloader": "pygrub", "PV_bootloader_args": "-q --entry=1"}, "PV_bootloader_args"),
        ({"PV_bootloader": "pygrub", "PV_bootloader_args": "--args=ro --output=/etc/cron.d/x"}, "PV_bootloader_args"),
    ],
    ids=str,
)
def test_what_xen_cannot_do_or_nobody_may_is_refused(machines: Machines, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueNotSupported) as refusal:
        built(machines.vm(**fields))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"HVM_boot_params": {"order": "ca"}}, "HVM_boot_params:order"),
        ({"HVM_boot_params": {"order": "cc"}}, "HVM_boot_params:order"),
        ({"HVM_boot_params": {"firmware": "coreboot"}}, "HVM_boot_params:firmware"),
        ({"platform": {"secureboot": "true"}}, "platform:secureboot"),
        ({"platform": {"acpi": "maybe"}}, "platform:acpi"),
        ({"platform": {"hpet": ""}}, "platform:hpet"),
        ({"platform": {"vga": "qxl"}}, "platform:vga"),
        ({"platform": {"hvm_serial": "file:/etc/passwd"}}, "platform:hvm_serial"),
        ({"platform": {"timeoffset": "1h"}}, "platform:timeoffset"),
    ],
    ids=str,
)
def test_what_an_hvm_guest_cannot_have_is_refused(machines: Machines, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueNotSupported) as refusal:
        built(machines.hvm(**fields))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"locking_mode": VifLockingMode.LOCKED}, "locking_mode"),
        ({"locking_mode": VifLockingMode.DISABLED}, "locking_mode"),
        ({"trunks": (7,)}, "trunks"),
        ({"qos_algorithm_type": "htb"}, "qos_algorithm_type"),
        *(
            ({"qos_algorithm_type": "ratelimit", "qos_algorithm_params": {"kbps": kbps}}, "qos_algorithm_params:kbps")
            for kbps in ("0", "-1", "99999999999999999999", "fast", "")
        ),
    ],
    ids=str,
)
def test_a_promise_about_a_card_that_xen_would_not_keep_is_refused(
    machines: Machines, fields: dict[str, Any], field: str
) -> None:
    vm = machines.vm()
    machines.card(vm, "0", **fields)
    with pytest.raises(ValueNotSupported) as refusal:
        built(vm)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "mac", ["", "00:16:3e:00:00", "01:16:3e:00:00:00", "00:16:3e:00:00:0g", "00:16:3e:00:00:00' x='"]
)
def test_an_address_that_no_card_can_have_is_refused(machines: Machines, mac: str) -> None:
    vm = machines.vm()
    machines.card(vm, "0", MAC=mac)
    with pytest.raises(MacInvalid):
        built(vm)


def test_two_cards_of_one_address_are_refused(machines: Machines) -> None:
    vm = machines.vm()
    machines.card(vm, "0")
    machines.card(vm, "1", MAC="00:16:3E:00:00:00")
    with pytest.raises(DeviceAlreadyExists):
        built(vm)


@pytest.mark.parametrize("bridge", ["", "a b", "-o", "x" * 16, "br0;reboot", "../x"])
def test_a_network_without_a_bridge_is_refused(machines: Machines, bridge: str) -> None:
    vm = machines.vm()
    machines.card(vm, "0", network=machines.on_bridge(bridge))
    with pytest.raises(ValueNotSupported) as refusal:
        built(vm)
    assert refusal.value.field == "bridge"


@pytest.mark.parametrize("location", ["", "relative.raw", "rbd:pool/image", "/srv/a\nb.raw"])
def test_a_disk_that_is_no_file_or_device_is_refused(machines: Machines, location: str) -> None:
    vm = machines.vm()
    machines.disk(vm, "0", location)
    with pytest.raises(ValueNotSupported):
        built(vm)


@pytest.mark.parametrize(("location", "form"), [("/srv/a.vmdk", "vmdk"), ("/dev/vg/lv", "qcow2")])
def test_a_format_that_xen_cannot_have_is_refused(machines: Machines, location: str, form: str) -> None:
    vm = machines.vm()
    disk = machines.disk(vm, "0", location)
    machines.change(disk.VDI, format=form)
    with pytest.raises(ValueNotSupported) as refusal:
        built(vm)
    assert refusal.value.field == "VDI"


@pytest.mark.threat("T10")
def test_a_disk_without_format_is_raw_and_never_probed(machines: Machines) -> None:
    vm = machines.vm()
    disk = machines.disk(vm, "0", "/srv/a.qcow2")
    machines.change(disk.VDI, format="")
    driver = built(vm).find("devices/disk/driver")
    assert driver is not None
    assert dict(driver.items()) == {"name": "qemu", "type": "raw"}


def test_floppies_and_shaped_disks_are_refused(machines: Machines) -> None:
    for fields in ({"type": VbdType.FLOPPY}, {"qos_algorithm_type": "ionice"}):
        vm = machines.vm()
        machines.disk(vm, "0", "/srv/a.raw", **fields)
        with pytest.raises(ValueNotSupported):
            built(vm)


def test_an_ide_drive_and_a_xen_disk_of_one_letter_are_one_device(machines: Machines) -> None:
    vm = machines.hvm()
    machines.disk(vm, "0", "/srv/a.raw")
    machines.disk(vm, "hda", "/srv/b.raw")
    with pytest.raises(DeviceAlreadyExists):
        built(vm)


# --- merged

FOREIGN = f"""<domain type='xen'><name>own name</name><uuid>{UUID}</uuid><genid>{UUID}</genid>
<memory unit='MiB'>256</memory><currentMemory unit='KiB'>131072</currentMemory>
<vcpu placement='static' current='2'>4</vcpu>
<cputune><shares>77</shares></cputune>
<os><type arch='x86_64' machine='xenfv'>hvm</type><loader>/usr/lib/xen/boot/hvmloader</loader>
<boot dev='fd'/><boot dev='hd'/></os>
<features><acpi/><hap state='off'/></features><clock offset='localtime'/>
<on_poweroff>preserve</on_poweroff><on_reboot>rename-restart</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/opt/qemu</emulator>
<disk type='file' device='floppy'><source file='/srv/f.img'/><target dev='fda' bus='fdc'/></disk>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'/>
<target dev='hda' bus='ide'/></disk>
<interface type='network'><mac address='00:16:3e:00:00:00'/><source network='default'/>
<model type='rtl8139'/></interface>
<graphics type='vnc' port='5999' passwd='secret'/><hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0' bus='1' slot='2' function='3'/></source></hostdev></devices></domain>"""


def adopted(machines: Machines) -> c.VM:
    """A machine as the observer makes it of FOREIGN."""
    vm = machines.hvm(
        "own name",
        UUID,
        HVM_boot_params={"order": "c", "firmware": "bios"},
        platform={"acpi": "true", "hap": "false"},
        actions_after_crash=OnCrash.DESTROY,
    )
    disk = machines.disk(vm, "0", "rbd:pool/image", device="hda")
    machines.change(disk.VDI, format="raw")
    machines.card(vm, "0", network=machines.on_bridge("virbr0"))
    machines.passed_through(vm, "0000:01:02.3")
    return vm


def test_an_adopted_definition_is_left_as_it_is(machines: Machines) -> None:
    root = xml_read.parse(FOREIGN)
    assert xml.same(root, xml.merge(adopted(machines), root, lambda nic: "virbr0"))


def test_a_change_touches_only_what_its_field_says(machines: Machines) -> None:
    vm = adopted(machines)
    machines.change(vm, actions_after_crash=OnCrash.RESTART)
    after = printed(xml.merge(vm, xml_read.parse(FOREIGN), lambda nic: "virbr0"))
    before = printed(xml_read.parse(FOREIGN))
    assert after == before.replace("<on_crash>destroy<", "<on_crash>restart<")


def test_a_card_of_unknown_network_stays_where_it_is(machines: Machines) -> None:
    root = xml_read.parse(FOREIGN)
    assert xml.same(root, xml.merge(adopted(machines), root, lambda nic: ""))


def test_a_card_that_is_moved_is_on_the_new_bridge_and_keeps_its_model(machines: Machines) -> None:
    vm = adopted(machines)
    machines.change(vm.VIFs[0], network=machines.network)
    root = xml.merge(vm, xml_read.parse(FOREIGN), lambda nic: "virbr0")
    (nic,) = [xml_read.see_nic(element) for element in xml_read.interfaces(root)]
    assert (nic.bridge, nic.network, nic.model) == ("xenbr0", "", "rtl8139")


def test_a_disk_gets_another_source_and_keeps_the_rest(machines: Machines) -> None:
    vm = adopted(machines)
    machines.change(vm.VBDs[0], VDI=machines.vdi("/srv/new.qcow2"), mode=VbdMode.RO)
    root = xml.merge(vm, xml_read.parse(FOREIGN), lambda nic: "virbr0")
    (disk,) = [xml_read.see_disk(element) for element in xml_read.disks(root)]
    assert (disk.target, disk.source, disk.format, disk.read_only) == ("hda", "/srv/new.qcow2", "qcow2", True)


def test_a_disk_of_unknown_format_keeps_the_one_it_has(machines: Machines) -> None:
    text = FOREIGN.replace("<source protocol='rbd' name='pool/image'/>", "<source file='/srv/x'/>")
    text = text.replace("type='network' device='disk'", "type='file' device='disk'").replace(
        "type='raw'", "type='qcow2'"
    )
    vm = adopted(machines)
    disk = vm.VBDs[0].VDI
    assert disk is not None
    machines.change(disk, location="/srv/x", format="")
    root = merged(vm, text)
    assert [element.get("type") for element in root.iterfind("devices/disk/driver")] == ["qcow2"]


def test_new_devices_stand_beside_those_that_were_there(machines: Machines) -> None:
    vm = adopted(machines)
    machines.drive(vm, "2", "/srv/cd.iso")
    machines.card(vm, "1")
    root = xml.merge(vm, xml_read.parse(FOREIGN), lambda nic: "virbr0")
    assert [xml_read.target_of(disk) for disk in root.iterfind("devices/disk")] == ["fda", "hda", "hdc"]
    assert [nic.MAC for nic in xml_read.read(root, PowerState.HALTED).nics] == [
        "00:16:3e:00:00:00",
        "00:16:3e:00:00:01",
    ]
    assert root.find("devices/hostdev") is not None
    assert "secret" in printed(root)


def test_cards_stand_in_the_order_of_their_devices(machines: Machines) -> None:
    vm = machines.vm()
    first, second = machines.card(vm, "0"), machines.card(vm, "1")
    root = built(vm)
    machines.change(first, device="10")
    macs = [xml_read.mac_of(nic) for nic in xml_read.interfaces(xml.merge(vm, root))]
    assert macs == [second.MAC, first.MAC]


def test_what_is_no_longer_asked_for_leaves_a_definition_of_ours(machines: Machines) -> None:
    vm = hvm_uefi(machines)
    machines.change(vm, VCPUs_params={"weight": "9", "mask": "1"}, name_description="text", PV_kernel="/boot/k")
    machines.change(vm.VIFs[0], qos_algorithm_type="ratelimit", qos_algorithm_params={"kbps": "9"})
    root = built(vm)
    machines.change(vm, VCPUs_params={}, name_description="", PV_kernel="", HVM_boot_params={}, platform={})
    machines.change(vm.VIFs[0], qos_algorithm_type="")
    plain = machines.hvm("uefi")
    machines.card(plain, "0")
    expected, after = built(plain), xml.merge(vm, root)
    expected.find("uuid").text = UUID  # type: ignore[union-attr]
    assert sorted(printed(after).split()) == sorted(printed(expected).split())


@pytest.mark.threat("T8")
def test_a_kernel_that_an_admin_gave_stays_and_a_new_one_must_lie_where_kernels_may(machines: Machines) -> None:
    text = printed(built(machines.vm("web", UUID))).replace("/boot/vmlinuz", "/root/kernel")
    vm = machines.vm("web", PV_kernel="/root/kernel")
    assert merged(vm, text).findtext("os/kernel") == "/root/kernel"
    machines.change(vm, PV_kernel="/root/other")
    with pytest.raises(ValueNotSupported):
        merged(vm, text)
    assert xml.merge(vm, xml_read.parse(text), kernel_folders=["/root"]).findtext("os/kernel") == "/root/other"


def test_another_domain_type_makes_the_definition_anew_under_its_name(machines: Machines) -> None:
    vm = machines.vm("web", UUID)
    text = printed(built(vm)).replace("<metadata>", "<metadata><n:note xmlns:n='urn:n'>kept</n:note>")
    machines.change(vm, name_label="shop", domain_type=DomainType.HVM)
    root = merged(vm, text)
    assert (root.findtext("name"), root.findtext("title")) == ("web", "shop")
    assert xml_read.kind_of(root) is DomainType.HVM
    assert root.find("devices/graphics") is not None
    assert "kept" in printed(root)
    assert printed(root).count("urn:xen-host-agent") == 1


# --- read


def test_libvirts_linux_is_a_paravirtual_guest() -> None:
    root = xml_read.parse("<domain><os><type machine='xenpv'>linux</type></os></domain>")
    assert xml_read.read(root, PowerState.HALTED).domain_type is DomainType.PV


def test_the_control_domain_is_known_by_its_uuid() -> None:
    root = xml_read.parse("<domain id='0'><uuid>00000000-0000-0000-0000-000000000000</uuid></domain>")
    seen = xml_read.read(root, PowerState.RUNNING)
    assert (seen.is_control_domain, seen.domid) == (True, 0)


def test_consoles_are_those_of_a_running_domain() -> None:
    text = """<domain id='3'><devices><graphics type='vnc' port='5901' listen='0.0.0.0'/>
    <graphics type='vnc' port='-1'/><graphics type='sdl'/><serial type='pty'><source path='/dev/pts/4'/></serial>
    <console type='pty' tty='/dev/pts/4'/><console type='pty' tty='/dev/pts/5'/></devices></domain>"""
    root = xml_read.parse(text)
    seen = xml_read.read(root, PowerState.RUNNING)
    assert [(console.protocol, console.location) for console in seen.consoles] == [
        ("rfb", "127.0.0.1:5901"),
        ("vt100", "/dev/pts/4"),
        ("vt100", "/dev/pts/5"),
    ]
    assert xml_read.read(root, PowerState.HALTED).consoles == ()


def test_an_hvm_guest_has_a_terminal_unless_it_is_to_have_none(machines: Machines) -> None:
    vm = machines.hvm("screen", UUID, platform={"hvm_serial": "none"})
    root = built(vm)
    assert [root.find(f"devices/{tag}") is None for tag in ("serial", "console", "graphics")] == [True, True, False]
    machines.change(vm, platform={})
    again = merged(vm, printed(root))
    assert [again.find(f"devices/{tag}") is None for tag in ("serial", "console", "graphics")] == [False] * 3
    foreign = merged(vm, printed(root).replace("urn:xen-host-agent", "urn:another"))
    assert foreign.find("devices/serial") is None  # what others define stays as it is


@pytest.mark.parametrize(
    ("graphics", "place"),
    [
        ("port='5901'", "127.0.0.1:5901"),
        ("port='5901' listen='::'", "[::1]:5901"),
        ("port='5901' listen='::1'", "[::1]:5901"),
        ("port='5901' listen='192.0.2.7'", "192.0.2.7:5901"),
        ("port='5901' listen='some.name'", "127.0.0.1:5901"),
        ("port='5901' socket='/run/vnc'", "/run/vnc"),
    ],
)
def test_a_screen_is_where_its_server_listens(graphics: str, place: str) -> None:
    root = xml_read.parse(f"<domain id='3'><devices><graphics type='vnc' {graphics}/></devices></domain>")
    assert [console.location for console in xml_read.consoles_of(root)] == [place]


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("type='address' address='192.0.2.7'", "192.0.2.7:5901"),
        ("type='socket' socket='/run/vnc'", "/run/vnc"),
        ("type='none'", "127.0.0.1:5901"),
    ],
)
def test_a_screen_may_say_apart_where_its_server_listens(listen: str, place: str) -> None:
    inner = f"<graphics type='vnc' port='5901'><listen {listen}/></graphics>"
    root = xml_read.parse(f"<domain id='3'><devices>{inner}</devices></domain>")
    assert [console.location for console in xml_read.consoles_of(root)] == [place]


def test_the_number_of_a_domain_that_does_not_run_is_not_told() -> None:
    assert xml_read.read(xml_read.parse("<domain id='7'/>"), PowerState.HALTED).domid == -1


def test_text_of_others_is_cleaned() -> None:
    names = "<name>a&#9;b\u2028c</name><title>x&#10;y\u202e</title><description>l1&#10;l2&#13;</description>"
    seen = xml_read.read(xml_read.parse(f"<domain>{names}</domain>"), PowerState.HALTED)
    assert (seen.name, seen.title, seen.description) == ("abc", "xy", "l1\nl2")


def test_xml_that_cannot_be_read_is_an_internal_error() -> None:
    for text in ("", "<domain>", "<!DOCTYPE d [<!ENTITY e 'x'>]><domain><name>&e;</name></domain"):
        with pytest.raises(InternalError):
            xml_read.parse(text)


@pytest.mark.threat("T12")
def test_entities_are_not_followed() -> None:
    root = xml_read.parse("<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><name>x&e;</name></domain>")
    assert "root:" not in printed(root)


@given(label=st.text(alphabet=st.characters() | st.sampled_from(string.printable), max_size=300))
def test_a_name_for_libvirt_is_made_of_any_label(label: str) -> None:
    name = xml.safe_name(c.VM(name_label=label))
    assert name
    assert name.isprintable()
    assert not name.isdecimal()
    assert len(name.encode()) <= 255
    assert "/" not in name
    assert name[0] not in ".-"
    etree.Element("name").text = name


# --- labels of the security module


def test_a_label_is_written_read_changed_and_taken_out(machines: Machines, schema: etree.RelaxNG) -> None:
    vm = machines.vm("web", UUID)
    assert xml.build(vm, "web").find("seclabel") is None
    machines.change(vm, wanted_label="system_u:system_r:domU_t")
    root = xml.build(vm, "web")
    assert xml_read.read_label(root) == "system_u:system_r:domU_t"
    assert schema.validate(root), schema.error_log
    machines.change(vm, wanted_label="a:b:c")
    assert [each.findtext("label") for each in xml.merge(vm, root).iterfind("seclabel")] == ["a:b:c"]
    machines.change(vm, wanted_label="")
    assert xml.merge(vm, root).find("seclabel") is None


def test_a_dynamic_label_is_left_to_libvirt(machines: Machines) -> None:
    root = xml.build(machines.vm("web", UUID), "web")
    etree.SubElement(root, "seclabel", type="dynamic", model="apparmor")
    assert xml_read.read_label(root) == ""
    assert xml.merge(machines.vm("other"), root).find("seclabel") is not None
