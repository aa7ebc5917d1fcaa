"""The disks, CD drives, network cards and PCI devices of a domain: their names in the guest, and their XML. Pure
functions.

Only what libvirt's Xen driver honours is written; what it would take and not do is refused with VALUE_NOT_SUPPORTED. A
device that a definition has already keeps what no field of ours says. The rest of a domain is ``xml``'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lxml import etree

from agent.classes import DPCI, VBD, VIF, VM, VUSB
from agent.classes.devices import place_of
from agent.classes.enums import DomainType, VbdMode, VbdType, VifLockingMode
from agent.classes.lifecycle import is_apart, is_hvm, kind_of
from agent.errors import DeviceAlreadyExists, InvalidDevice, MacInvalid, ValueNotSupported
from drivers.text import cleaned
from drivers.tree import child, drop, set_attribute
from drivers.xml_read import (
    PATH_LIMIT,
    disks,
    interfaces,
    mac_of,
    pci_address_of,
    pci_devices,
    source_of,
    target_of,
    usb_device_of,
    usb_devices,
)

_DISK_ORDER = ("driver", "source", "backingStore", "target", "readonly", "shareable")
_NIC_ORDER = ("mac", "source", "target", "model", "bandwidth")
_TARGET = re.compile(r"(?:/dev/)?((xvd|hd|sd|vd)([a-z]{1,2})([0-9]{0,2}))")
_BUSES = {"xvd": "xen", "hd": "ide", "sd": "scsi"}
_BRIDGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}")
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_FORMATS = ("raw", "qcow2", "vhd")
_NIC_TYPES = ("rtl8139", "e1000", "netfront")
_MOST_DISKS = 255
_MOST_IDE_DRIVES = 4
_MOST_KBPS = 80_000_000
"""Above this, the bytes in one interval of Xen's limiter (50 ms) do not fit into its 32 bits."""


# --- names and values


def domain_type_of(vm: VM) -> DomainType:
    """How the machine is to be virtualised. VALUE_NOT_SUPPORTED for what libvirt's Xen driver has no word for."""
    if vm.domain_type is DomainType.PV_IN_PVH:
        raise ValueNotSupported("domain_type", vm.domain_type, "libvirt's Xen driver has no PV shim; use pvh or pv")
    return kind_of(vm)


def _letters(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else chr(ord("a") + index // 26 - 1) + chr(ord("a") + index % 26)


def _index(letters: str) -> int:
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("a") + 1
    return place - 1


def device_name(vbd: VBD) -> str:
    """The name of a disk in the guest, which is also what names it in the definition: ``xvda``, ``hdc``.

    ``userdevice`` is a number or a name; ``device`` counts where that is empty, and tells which name it is where both
    agree on the place (place 0 of an adopted domain may be ``hda``, and would else be ``xvda``). CD drives of an HVM
    guest are IDE drives, all others are Xen disks. INVALID_DEVICE for a text that is neither number nor name.
    """
    wanted = vbd.userdevice or vbd.device
    if named := _TARGET.fullmatch(wanted):
        return named[1]
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 3 and int(wanted) < _MOST_DISKS):
        raise InvalidDevice(wanted)
    index = int(wanted)
    known = _TARGET.fullmatch(vbd.device)
    if known and _index(known[3]) == index:
        return known[1]
    if vbd.type is VbdType.CD and is_hvm(vbd.VM):
        if index >= _MOST_IDE_DRIVES:
            raise InvalidDevice(wanted)
        return f"hd{_letters(index)}"
    return f"xvd{_letters(index)}"


def whole_number(field: str, value: str, low: int, high: int) -> int:
    """The number in `value`; VALUE_NOT_SUPPORTED for one out of range, and for what is none."""
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) < 12 and low <= int(value) <= high:
        return int(value)
    raise ValueNotSupported(field, value, f"it is a whole number from {low} to {high}")


# --- disks


def _medium(vbd: VBD) -> tuple[str, str]:
    """Path and format of what the drive holds now; the path is empty for an empty drive."""
    if vbd.VDI is None:
        return "", "raw"
    return vbd.VDI.location, vbd.VDI.format or "raw"


def _fill(disk: etree._Element, source: str, form: str) -> None:
    """Put the medium into the disk. The driver is always said: without one libvirt 9.0.0 takes every disk for raw."""
    block = source.startswith("/dev/")
    if source and not (source.startswith("/") and source == cleaned(source, PATH_LIMIT)):
        raise ValueNotSupported("location", source, "a guest's disk is a file or a device of this host")
    if form not in _FORMATS or (block and form != "raw"):
        kinds = "raw, since it is a device of the host" if block else f"one of {', '.join(_FORMATS)}"
        raise ValueNotSupported("VDI", form, f"the disk's format is {kinds}")
    disk.set("type", "block" if block else "file")
    drop(disk, "source", "backingStore")
    driver = child(disk, "driver", _DISK_ORDER)
    driver.set("name", "phy" if block else "qemu")
    driver.set("type", form)
    if source:
        child(disk, "source", _DISK_ORDER).set("dev" if block else "file", source)


def is_absent(vbd: VBD) -> bool:
    """Whether it is a CD drive that is there only while it has a medium: guests that are not HVM have no drives."""
    return vbd.type is VbdType.CD and vbd.VDI is None and not is_hvm(vbd.VM)


def disk_element(vbd: VBD) -> etree._Element:
    """A new disk or CD drive. VALUE_NOT_SUPPORTED or INVALID_DEVICE for one that Xen cannot have."""
    target = device_name(vbd)
    bus = next((bus for prefix, bus in _BUSES.items() if target.startswith(prefix)), None)
    if bus is None:
        raise InvalidDevice(target)
    source, form = _medium(vbd)
    drive = vbd.type is VbdType.CD and is_hvm(vbd.VM)
    if not source and not drive:
        raise ValueNotSupported("VDI", vbd.VDI or "OpaqueRef:NULL", "only the CD drive of an HVM guest can be empty")
    disk = etree.Element("disk", type="file", device="cdrom" if drive else "disk")
    _fill(disk, source, form)
    etree.SubElement(disk, "target", dev=target, bus=bus)
    if vbd.type is VbdType.CD or vbd.mode is VbdMode.RO:
        etree.SubElement(disk, "readonly")
    return disk


def _merge_disk(vbd: VBD, disk: etree._Element) -> None:
    source, form = _medium(vbd)
    driver = disk.find("driver")
    told = vbd.VDI is not None and vbd.VDI.format != ""
    same_form = not told or form == ("raw" if driver is None else driver.get("type", "raw"))
    drive = disk.get("device") == "cdrom"
    if (source != source_of(disk) or not same_form) and (source or drive):
        _fill(disk, source, form)
    if not drive:
        if vbd.type is VbdType.CD or vbd.mode is VbdMode.RO:
            child(disk, "readonly", _DISK_ORDER)
        else:
            drop(disk, "readonly")


def refill(vbd: VBD, disk: etree._Element) -> None:
    """Let a disk of a domain that was saved be the one that the VBD names; all else of it stays.

    VALUE_NOT_SUPPORTED for none, which only the drive of an HVM guest can have.
    """
    source, form = _medium(vbd)
    if not source and disk.get("device") != "cdrom":
        raise ValueNotSupported("VDI", vbd.VDI or "OpaqueRef:NULL", "the machine was saved with a medium in this place")
    _fill(disk, source, form)


def apply_disks(vm: VM, root: etree._Element) -> None:
    """Make the disks of the definition those of the machine, but for one that it runs without and another machine has.
    Floppies and passed-through units stay.
    """
    devices = child(root, "devices")
    present = {target_of(disk): disk for disk in disks(root)}
    wanted: dict[str, VBD] = {}
    places: set[str] = set()
    for vbd in vm.VBDs:
        if vbd.type is VbdType.FLOPPY:
            raise ValueNotSupported("type", vbd.type, "a machine has disks and CD drives")
        if vbd.qos_algorithm_type:
            raise ValueNotSupported("qos_algorithm_type", vbd.qos_algorithm_type, "Xen's disks know no limit")
        target = device_name(vbd)
        # An IDE drive and the Xen disk of the same letter are one device to the device model of an HVM guest.
        if place_of(target) in places:
            raise DeviceAlreadyExists(vbd.userdevice or target)
        places.add(place_of(target))
        if not is_apart(vbd):
            wanted[target] = vbd
    for target, disk in present.items():
        if target not in wanted:
            devices.remove(disk)
    place = max((index + 1 for index, item in enumerate(devices) if item.tag in ("emulator", "disk")), default=0)
    for target, vbd in sorted(wanted.items(), key=lambda item: (len(item[0]), item[0])):
        if target in present:
            _merge_disk(vbd, present[target])
        elif not is_absent(vbd):
            devices.insert(place, disk_element(vbd))
            place += 1


# --- network cards


def mac_address(vif: VIF) -> str:
    """The card's address in small letters; MAC_INVALID for a text that is none."""
    if not _MAC.fullmatch(vif.MAC.lower()):
        raise MacInvalid(vif.MAC)
    return vif.MAC.lower()


def _bridge(vif: VIF) -> str:
    if not _BRIDGE.fullmatch(vif.network.bridge):
        raise ValueNotSupported("bridge", vif.network.bridge, "the network has no bridge on this host")
    return vif.network.bridge


def _model(vif: VIF) -> str:
    model = vif.VM.platform.get("nic_type", "") if is_hvm(vif.VM) else ""
    if model and model not in _NIC_TYPES:
        raise ValueNotSupported("platform:nic_type", model, f"it is one of {', '.join(_NIC_TYPES)}")
    return model


def _limit(vif: VIF) -> str:
    """KiB/s, empty for none. What Xen would take and not keep is refused, since it would be no limit at all."""
    if vif.qos_algorithm_type == "":
        return ""
    if vif.qos_algorithm_type != "ratelimit":
        raise ValueNotSupported("qos_algorithm_type", vif.qos_algorithm_type, "a card knows ratelimit only")
    kbps = vif.qos_algorithm_params.get("kbps", "")
    return str(whole_number("qos_algorithm_params:kbps", kbps, 1, _MOST_KBPS))


def _shape(vif: VIF, nic: etree._Element, *, whole: bool) -> None:
    """Model and limit of the card; without `whole`, what the fields do not say stays."""
    if vif.locking_mode in (VifLockingMode.LOCKED, VifLockingMode.DISABLED):
        raise ValueNotSupported("locking_mode", vif.locking_mode, "libvirt's Xen driver has no filters for a card")
    if vif.trunks:
        raise ValueNotSupported("trunks", ",".join(map(str, vif.trunks)), "a card is on one network, untagged")
    model, limit = _model(vif), _limit(vif)
    if model:
        set_attribute(child(nic, "model", _NIC_ORDER), "type", model)
    elif whole:
        drop(nic, "model")
    if limit:
        set_attribute(child(child(nic, "bandwidth", _NIC_ORDER), "outbound", ("inbound",)), "average", limit)
    elif whole:
        drop(nic, "bandwidth")


def nic_element(vif: VIF) -> etree._Element:
    """A new network card. VALUE_NOT_SUPPORTED or MAC_INVALID for one that Xen cannot have."""
    nic = etree.Element("interface", type="bridge")
    etree.SubElement(nic, "mac", address=mac_address(vif))
    etree.SubElement(nic, "source", bridge=_bridge(vif))
    _shape(vif, nic, whole=True)
    return nic


def _merge_nic(vif: VIF, nic: etree._Element, bridge: str, *, whole: bool) -> None:
    if bridge and bridge != vif.network.bridge:
        nic.set("type", "bridge")
        drop(nic, "source", "target", "virtualport", "script")
        child(nic, "source", _NIC_ORDER).set("bridge", _bridge(vif))
    _shape(vif, nic, whole=whole)


def _place_of(device: str) -> tuple[int, str]:
    number = device.isascii() and device.isdecimal() and len(device) < 10
    return (int(device), "") if number else (10**10, device)


def apply_nics(vm: VM, root: etree._Element, bridge_of: Callable[[etree._Element], str], *, whole: bool) -> None:
    """Make the cards of the definition those of the machine, in the order of their ``device``.

    The guest numbers its cards by that order; a gap between the numbers cannot be told to Xen.
    """
    devices = child(root, "devices")
    present = {mac_of(nic): nic for nic in interfaces(root)}
    before = list(present.values())
    ordered: list[etree._Element] = []
    for vif in sorted(vm.VIFs, key=lambda vif: _place_of(vif.device)):
        mac = mac_address(vif)
        nic = present.pop(mac, None)
        if nic is not None:
            _merge_nic(vif, nic, bridge_of(nic), whole=whole)
        elif any(mac_of(other) == mac for other in ordered):
            raise DeviceAlreadyExists(vif.MAC)
        else:
            nic = nic_element(vif)
        ordered.append(nic)
    if ordered == before:
        return
    for nic in before:
        devices.remove(nic)
    ahead = ("emulator", "disk", "controller")
    place = max((index + 1 for index, item in enumerate(devices) if item.tag in ahead), default=0)
    for offset, nic in enumerate(ordered):
        devices.insert(place + offset, nic)


# --- PCI devices of the host


def pci_element(dpci: DPCI) -> etree._Element:
    """A PCI device of the host, which libvirt takes from the host's driver and gives back to it."""
    place = dpci.PPCI
    hostdev = etree.Element("hostdev", mode="subsystem", type="pci", managed="yes")
    etree.SubElement(
        etree.SubElement(hostdev, "source"),
        "address",
        domain=f"0x{place.domain:04x}",
        bus=f"0x{place.bus:02x}",
        slot=f"0x{place.slot:02x}",
        function=f"0x{place.func:x}",
    )
    return hostdev


def apply_pci(vm: VM, root: etree._Element) -> None:
    """Make the PCI devices in the definition those that the machine was given; passed-through USB devices stay."""
    if vm.DPCIs and domain_type_of(vm) is DomainType.PVH:
        raise ValueNotSupported(
            "DPCIs", vm.DPCIs[0].PPCI.name, "Xen gives no PCI device to a PVH guest; PV or HVM have one"
        )
    devices = child(root, "devices")
    present = {pci_address_of(hostdev): hostdev for hostdev in pci_devices(root)}
    wanted = {dpci.PPCI.name: dpci for dpci in vm.DPCIs}
    for address, hostdev in present.items():
        if address not in wanted:
            devices.remove(hostdev)
    for address, dpci in sorted(wanted.items()):
        if address not in present:
            devices.append(pci_element(dpci))


# --- USB devices of the host


def usb_element(vusb: VUSB) -> etree._Element:
    """The USB device of the host that was chosen for the machine: by its kind and its address, which must agree."""
    vendor, product, bus, device = vusb.device.split(":")
    hostdev = etree.Element("hostdev", mode="subsystem", type="usb", managed="yes")
    source = etree.SubElement(hostdev, "source")
    etree.SubElement(source, "vendor", id=f"0x{vendor}")
    etree.SubElement(source, "product", id=f"0x{product}")
    etree.SubElement(source, "address", bus=bus, device=device)
    return hostdev


def apply_usb(vm: VM, root: etree._Element) -> None:
    """Make the USB devices of the kinds that the machine is given those that were chosen; of other kinds, all stay."""
    kinds = {vusb.USB_group.kind for vusb in vm.VUSBs}
    wanted = {vusb.device: vusb for vusb in vm.VUSBs if vusb.device}
    if wanted and domain_type_of(vm) is not DomainType.HVM:
        raise ValueNotSupported("VUSBs", vm.VUSBs[0].ref, "only an HVM guest gets USB devices of the host")
    devices = child(root, "devices")
    present = {usb_device_of(hostdev): hostdev for hostdev in usb_devices(root)}
    for name, hostdev in present.items():
        if name not in wanted and name.rsplit(":", 2)[0] in kinds:
            devices.remove(hostdev)
    for name, vusb in sorted(wanted.items()):
        if name not in present:
            devices.append(usb_element(vusb))


# --- what Xen has not


def require_no_tpm(vm: VM, root: etree._Element) -> None:
    """VALUE_NOT_SUPPORTED for a machine that is to have a TPM, which the Xen driver takes and ignores (libvirt
    9.0.0).
    """
    if vm.VTPMs or root.find("devices/tpm") is not None:
        wanted = vm.VTPMs[0].ref if vm.VTPMs else "a TPM in the definition"
        raise ValueNotSupported("VTPMs", wanted, "libvirt's Xen driver ignores a TPM, and the guest would have none")
