"""Domain XML written: from a machine's fields to what libvirt's Xen driver honours. Pure functions, no connection.

Everything here is a whitelist. libvirt's Xen driver (9.0.0) takes any element and ignores those it does not know; what
it would ignore is refused with VALUE_NOT_SUPPORTED where a client could rely on it, and else is a plain field only.
A definition that exists is merged into: elements that no field owns stay as they are, and so does an owned element
that says the same already. Disks and cards are ``xml_devices``' business, reading is ``xml_read``'s.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence

from lxml import etree

from agent.classes import VM
from agent.classes.enums import DomainType, OnNormalExit
from agent.errors import ValueNotSupported
from drivers import xml_read
from drivers.text import cleaned
from drivers.tree import child, drop, same, set_attribute, set_text
from drivers.xml_devices import (
    apply_disks,
    apply_nics,
    apply_pci,
    apply_usb,
    device_name,
    disk_element,
    domain_type_of,
    nic_element,
    whole_number,
)
from drivers.xml_read import KIB, kind_of

__all__ = [
    "BOOTLOADERS",
    "KERNEL_FOLDERS",
    "build",
    "cpus_of",
    "device_name",
    "disk_element",
    "domain_type_of",
    "merge",
    "nic_element",
    "safe_name",
    "same",
    "scheduling",
]

MIB = KIB * KIB
OURS = "urn:xen-host-agent:definition:1"
"""The namespace of the mark on definitions that were made here. What no field says is not in them; in all others, those
of adopted domains, it is somebody else's and stays."""

KERNEL_FOLDERS: Sequence[str] = ("/boot", "/var/lib/xen", "/var/lib/xcp/guest", "/usr/lib/xen", "/usr/lib/grub-xen")
"""Where kernels, ramdisks and PV grubs may lie: who may name any path could have any file of the host as a ramdisk."""
BOOTLOADERS = frozenset({"pygrub", "/usr/bin/pygrub", "/usr/lib/xen/bin/pygrub", "/usr/libexec/xen/bin/pygrub"})
"""A boot loader of this kind is a program that the host runs as root; these may be run."""

_BOOTLOADER_OPTION = re.compile(r"|-q|--quiet|--(entry|kernel|ramdisk|args|offset)=\S*( +[^-\s]\S*)*")
"""One of pygrub's harmless options; others of it write files on the host.

libvirt 9.0 hands all of it to pygrub as one word. One that splits it must not find another option in it.
"""
_ROOT_ORDER: Sequence[str] = (
    *("name", "uuid", "genid", "title", "description", "metadata", "maxMemory", "memory", "currentMemory"),
    *("memoryBacking", "memtune", "vcpu", "vcpus", "cputune", "numatune", "resource", "sysinfo", "bootloader"),
    *("bootloader_args", "os", "features", "cpu", "clock", "on_poweroff", "on_reboot", "on_crash", "devices"),
)
_OS_ORDER = ("type", "loader", "nvram", "kernel", "initrd", "cmdline", "boot")
_OS_TYPES = {DomainType.HVM: ("hvm", "xenfv"), DomainType.PV: ("xen", "xenpv"), DomainType.PVH: ("xenpvh", "xenpvh")}
_BOOT_DEVICES = {letter: device for device, letter in xml_read.BOOT_LETTERS.items()}
_CRASH_ACTIONS = {action: text for text, action in xml_read.CRASH_ACTIONS.items()}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_CPUS = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", re.ASCII)


def _bridge_in(nic: etree._Element) -> str:
    return xml_read.see_nic(nic).bridge


def build(vm: VM, name: str, *, kernel_folders: Sequence[str] = KERNEL_FOLDERS) -> etree._Element:
    """The definition of a machine that has none. VALUE_NOT_SUPPORTED, INVALID_DEVICE for what Xen could not realise."""
    kind = domain_type_of(vm)
    root = etree.Element("domain", type="xen")
    etree.SubElement(root, "name").text = name
    etree.SubElement(root, "uuid").text = vm.uuid
    etree.SubElement(etree.SubElement(root, "metadata"), f"{{{OURS}}}made", nsmap={"agent": OURS})
    text, machine = _OS_TYPES[kind]
    etree.SubElement(etree.SubElement(root, "os"), "type", arch="x86_64", machine=machine).text = text
    etree.SubElement(root, "clock", offset="utc")
    devices = etree.SubElement(root, "devices")
    if kind is DomainType.HVM:
        _add_serial(devices)
        etree.SubElement(devices, "input", type="tablet", bus="usb")
        etree.SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes", listen="127.0.0.1")
        etree.SubElement(etree.SubElement(devices, "video"), "model", type="vga", vram="16384", heads="1")
    else:
        etree.SubElement(etree.SubElement(devices, "console", type="pty"), "target", type="xen", port="0")
    _apply(vm, root, _bridge_in, kernel_folders)
    return root


def merge(
    vm: VM,
    existing: etree._Element,
    bridge_of: Callable[[etree._Element], str] = _bridge_in,
    *,
    kernel_folders: Sequence[str] = KERNEL_FOLDERS,
) -> etree._Element:
    """A copy of the definition `existing` with what the machine says; if the two are `same`, it is defined already.

    `bridge_of` tells the bridge of a card in the definition, empty where it cannot. Where the machine was given another
    domain_type the definition is made anew, under its name and with the metadata that others left in it.
    """
    if kind_of(existing) is not domain_type_of(vm):
        fresh = build(vm, existing.findtext("name") or safe_name(vm), kernel_folders=kernel_folders)
        metadata = child(fresh, "metadata")
        for kept in existing.iterfind("metadata/*"):
            if metadata.find(str(kept.tag)) is None:
                metadata.append(copy.deepcopy(kept))
        return fresh
    root = copy.deepcopy(existing)
    _apply(vm, root, bridge_of, kernel_folders)
    return root


def safe_name(vm: VM) -> str:
    """A name for a new domain: the name_label as far as libvirt, xl and a host's file systems can carry it."""
    name = re.sub(r"[/\\]", "-", cleaned(vm.name_label.replace("\n", " "), 128)).lstrip(".- ")
    name = name.encode()[:128].decode(errors="ignore").strip()
    if not name or name.isdecimal():
        # A name of digits alone is a domain's number to xl and virsh.
        return f"{name or 'vm'}-{vm.uuid[:8]}"
    return name


def scheduling(vm: VM) -> tuple[int | None, int | None]:
    """The weight and cap that VCPUs_params asks for. The cap has no XML: it is set once the domain runs."""
    weight, cap = vm.VCPUs_params.get("weight"), vm.VCPUs_params.get("cap")
    return (
        None if weight is None else whole_number("VCPUs_params:weight", weight, 1, 65535),
        None if cap is None else whole_number("VCPUs_params:cap", cap, 0, 65535),
    )


# --- what the fields say, one topic a function; `whole` is whether the definition was made here


def _apply(vm: VM, root: etree._Element, bridge_of: Callable[[etree._Element], str], folders: Sequence[str]) -> None:
    whole = root.find(f"metadata/{{{OURS}}}made") is not None
    _apply_names(vm, root, whole)
    _apply_sizes(vm, root)
    _apply_scheduling(vm, root, whole)
    _apply_kernel(vm, root, folders)
    if kind_of(root) is DomainType.HVM:
        _apply_firmware(vm, root, whole)
        _apply_order(vm, root, whole)
        _apply_clock(vm, root, whole)
        _apply_video(vm, root, whole)
        _apply_serial(vm, root, whole)
    else:
        _apply_bootloader(vm, root)
    _apply_features(vm, root, whole)
    _apply_actions(vm, root)
    _apply_label(vm, root)
    apply_disks(vm, root)
    apply_nics(vm, root, bridge_of, whole=whole)
    apply_pci(vm, root)
    apply_usb(vm, root)


def _apply_names(vm: VM, root: etree._Element, whole: bool) -> None:
    title = cleaned(vm.name_label.replace("\n", " "), xml_read.PATH_LIMIT)
    if whole or root.find("title") is not None or title != root.findtext("name"):
        set_text(root, "title", title, _ROOT_ORDER)
    description = xml_read.multiline(vm.name_description)
    if description != xml_read.multiline(root.findtext("description")):
        set_text(root, "description", description, _ROOT_ORDER)


def _apply_label(vm: VM, root: etree._Element) -> None:
    """The label of Xen's security module. libvirt's driver looks at the first one, and at no model (9.0.0)."""
    if vm.wanted_label == xml_read.read_label(root):
        return
    for seclabel in root.findall("seclabel"):
        root.remove(seclabel)
    if vm.wanted_label:
        seclabel = etree.SubElement(root, "seclabel", type="static", model="flask", relabel="no")
        etree.SubElement(seclabel, "label").text = vm.wanted_label


def _apply_sizes(vm: VM, root: etree._Element) -> None:
    if vm.memory_static_max < MIB:
        raise ValueNotSupported("memory_static_max", vm.memory_static_max, "a guest has at least 1 MiB")
    now = min(vm.memory_dynamic_max or vm.memory_static_max, vm.memory_static_max)
    for tag, size in (("memory", vm.memory_static_max), ("currentMemory", now)):
        # libvirt's Xen driver rounds up to whole MiB; rounded here, a definition reads back as it was written.
        mebibytes = -(-size // MIB)
        if -(-xml_read.bytes_at(root, tag) // MIB) != mebibytes:
            element = child(root, tag, _ROOT_ORDER)
            element.set("unit", "KiB")
            element.text = str(mebibytes * KIB)
    if vm.VCPUs_max < 1:
        raise ValueNotSupported("VCPUs_max", vm.VCPUs_max, "a guest has at least one CPU")
    if not 1 <= vm.VCPUs_at_startup <= vm.VCPUs_max:
        raise ValueNotSupported("VCPUs_at_startup", vm.VCPUs_at_startup, f"it is a number from 1 to {vm.VCPUs_max}")
    if root.find("vcpu") is None or xml_read.vcpus_of(root) != (vm.VCPUs_max, vm.VCPUs_at_startup):
        vcpu = child(root, "vcpu", _ROOT_ORDER)
        vcpu.text = str(vm.VCPUs_max)
        set_attribute(vcpu, "current", None if vm.VCPUs_at_startup == vm.VCPUs_max else str(vm.VCPUs_at_startup))
        drop(root, "vcpus")


def _apply_scheduling(vm: VM, root: etree._Element, whole: bool) -> None:
    weight, _ = scheduling(vm)
    mask = vm.VCPUs_params.get("mask")
    allowed = None if mask is None else cpus_of(mask)
    if root.find("cputune") is None and weight is None and mask is None:
        return
    tune = child(root, "cputune", _ROOT_ORDER)
    if weight is not None or whole:
        set_text(tune, "shares", "" if weight is None else str(weight), ("shares", "vcpupin"))
    pins = {pin.get("vcpu"): _cpus_in(pin.get("cpuset", "")) for pin in tune.iterfind("vcpupin")}
    wanted = {} if allowed is None else {str(number): allowed for number in range(vm.VCPUs_max)}
    if (mask is not None or whole) and pins != wanted:
        drop(tune, "vcpupin")
        for number in wanted:
            etree.SubElement(tune, "vcpupin", vcpu=number, cpuset=mask or "")
    if not len(tune):
        root.remove(tune)


def cpus_of(mask: str) -> frozenset[int]:
    """The CPUs of VCPUs_params:mask. VALUE_NOT_SUPPORTED for what is no list of any."""
    cpus = _cpus_in(mask) if _CPUS.fullmatch(mask) else frozenset()
    if not cpus:
        raise ValueNotSupported("VCPUs_params:mask", mask, "it is a list of CPUs such as 0,2-3")
    return cpus


def _cpus_in(mask: str) -> frozenset[int]:
    """The CPUs of a list such as ``0,2-3``; libvirt writes one back in its own way."""
    cpus: set[int] = set()
    for part in mask.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def _apply_kernel(vm: VM, root: etree._Element, folders: Sequence[str]) -> None:
    os = child(root, "os", _ROOT_ORDER)
    direct = bool(vm.PV_kernel)
    for tag, field, path in (("kernel", "PV_kernel", vm.PV_kernel), ("initrd", "PV_ramdisk", vm.PV_ramdisk)):
        path = (path.removeprefix("file://") if path.startswith("file:///") else path) if direct else ""
        if path != (os.findtext(tag) or ""):
            _check_path(field, path, folders)
            set_text(os, tag, path, _OS_ORDER)
    arguments = _one_line("PV_args", vm.PV_args) if direct or kind_of(root) is not DomainType.HVM else ""
    set_text(os, "cmdline", arguments, _OS_ORDER)


def _check_path(field: str, path: str, folders: Iterable[str]) -> None:
    inside = any(path.startswith(f"{folder}/") for folder in folders) and "/../" not in f"{path}/"
    if path and not (inside and path == cleaned(path, xml_read.PATH_LIMIT)):
        raise ValueNotSupported(field, path, f"it must lie in {', '.join(folders)}")


def _one_line(field: str, text: str) -> str:
    if text.strip() != cleaned(text, xml_read.PATH_LIMIT):
        raise ValueNotSupported(field, text, f"it is one line of at most {xml_read.PATH_LIMIT} characters")
    return text.strip()


def _apply_bootloader(vm: VM, root: etree._Element) -> None:
    if vm.PV_bootloader != (root.findtext("bootloader") or ""):
        if vm.PV_bootloader and vm.PV_bootloader not in BOOTLOADERS:
            raise ValueNotSupported("PV_bootloader", vm.PV_bootloader, f"it is one of {', '.join(sorted(BOOTLOADERS))}")
        set_text(root, "bootloader", vm.PV_bootloader, _ROOT_ORDER)
    arguments = _one_line("PV_bootloader_args", vm.PV_bootloader_args)
    if arguments == (root.findtext("bootloader_args") or ""):
        return
    if not _BOOTLOADER_OPTION.fullmatch(arguments):
        raise ValueNotSupported(
            "PV_bootloader_args", arguments, "it is one of pygrub's harmless options, without quotes"
        )
    set_text(root, "bootloader_args", arguments, _ROOT_ORDER)


def _apply_firmware(vm: VM, root: etree._Element, whole: bool) -> None:
    firmware = vm.HVM_boot_params.get("firmware", "bios" if whole else "")
    if firmware not in ("", "bios", "uefi"):
        raise ValueNotSupported("HVM_boot_params:firmware", firmware, "it is bios or uefi")
    if vm.platform.get("secureboot", "").lower() not in ("", "auto", *_FALSE):
        raise ValueNotSupported("platform:secureboot", vm.platform["secureboot"], "libvirt's Xen driver refuses it")
    if firmware and firmware != xml_read.read_firmware(root):
        os = child(root, "os", _ROOT_ORDER)
        set_attribute(os, "firmware", "efi" if firmware == "uefi" else None)
        drop(os, "loader", "nvram", "firmware")


def _apply_order(vm: VM, root: etree._Element, whole: bool) -> None:
    order = vm.HVM_boot_params.get("order", "").lower() or ("cd" if whole else "")
    wanted = [_BOOT_DEVICES.get(letter, "") for letter in order]
    if "" in wanted or len(set(wanted)) != len(wanted):
        raise ValueNotSupported("HVM_boot_params:order", order, "it is letters of c, d and n, each once")
    os = child(root, "os", _ROOT_ORDER)
    if wanted and order != xml_read.read_order(root):
        drop(os, "boot")
        place = max((index + 1 for index, item in enumerate(os) if item.tag in _OS_ORDER), default=0)
        for offset, device in enumerate(wanted):
            os.insert(place + offset, etree.Element("boot", dev=device))


def _flag(key: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise ValueNotSupported(f"platform:{key}", value, "it is true or false")
    return value.lower() in _TRUE


def _apply_features(vm: VM, root: etree._Element, whole: bool) -> None:
    wanted = {key: _flag(key, vm.platform[key]) for key in xml_read.FEATURES if key in vm.platform}
    kind = kind_of(root)
    if kind is DomainType.PV:
        return
    if kind is DomainType.PVH:
        # Without ACPI a PVH guest takes the request to shut down and never goes off (libvirt 9.0.0, Xen 4.17).
        wanted = {"acpi": True} | {key: value for key, value in wanted.items() if key == "hap"}
    elif whole:
        wanted = {"acpi": True, "apic": True, "pae": True} | wanted
    if not wanted:
        return
    features = child(root, "features", _ROOT_ORDER)
    for key, value in wanted.items():
        if key == "hap":
            set_attribute(child(features, key), "state", "on" if value else "off")
        elif value:
            child(features, key)
        else:
            drop(features, key)
    if whole and "hap" not in wanted:
        drop(features, "hap")


def _apply_clock(vm: VM, root: etree._Element, whole: bool) -> None:
    offset, hpet = vm.platform.get("timeoffset"), vm.platform.get("hpet")
    clock = child(root, "clock", _ROOT_ORDER)
    if offset is not None:
        seconds = str(whole_number("platform:timeoffset", offset, -(10**10), 10**10))
        if (clock.get("offset"), clock.get("adjustment")) != ("variable", seconds):
            for name, value in (("offset", "variable"), ("adjustment", seconds), ("basis", "utc")):
                clock.set(name, value)
    elif whole and clock.get("offset") == "variable":
        clock.set("offset", "utc")
        for name in ("adjustment", "basis"):
            set_attribute(clock, name, None)
    timer = clock.find("timer[@name='hpet']")
    if hpet is not None:
        timer = etree.SubElement(clock, "timer", name="hpet") if timer is None else timer
        set_attribute(timer, "present", "yes" if _flag("hpet", hpet) else "no")
    elif whole and timer is not None:
        clock.remove(timer)


def _apply_video(vm: VM, root: etree._Element, whole: bool) -> None:
    vga = vm.platform.get("vga", "std" if whole else "")
    if vga not in ("", "std", "cirrus"):
        raise ValueNotSupported("platform:vga", vga, "it is std or cirrus")
    model = root.find("devices/video/model")
    if vga and model is not None:
        set_attribute(model, "type", "vga" if vga == "std" else "cirrus")


def _add_serial(devices: etree._Element) -> None:
    etree.SubElement(etree.SubElement(devices, "serial", type="pty"), "target", port="0")
    etree.SubElement(etree.SubElement(devices, "console", type="pty"), "target", type="serial", port="0")


def _apply_serial(vm: VM, root: etree._Element, whole: bool) -> None:
    """The serial line of an HVM guest, which is its terminal. What else xapi takes here writes files of the host."""
    serial = vm.platform.get("hvm_serial", "pty" if whole else "")
    if serial not in ("", "pty", "none"):
        raise ValueNotSupported("platform:hvm_serial", serial, "it is pty or none")
    devices = child(root, "devices", _ROOT_ORDER)
    if serial == "none":
        drop(devices, "serial", "console")
    elif serial and devices.find("serial") is None:
        _add_serial(devices)


def _apply_actions(vm: VM, root: etree._Element) -> None:
    for tag, action, default in (
        ("on_poweroff", vm.actions_after_shutdown, OnNormalExit.DESTROY),
        ("on_reboot", vm.actions_after_reboot, OnNormalExit.RESTART),
    ):
        if root.find(tag) is None or xml_read.read_exit(root, tag, default) is not action:
            set_text(root, tag, action.value, _ROOT_ORDER)
    set_text(root, "on_crash", _CRASH_ACTIONS[vm.actions_after_crash], _ROOT_ORDER)
