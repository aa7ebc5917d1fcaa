"""Domain XML read: what libvirt says of a domain, as the agent sees it. Pure functions; nothing is written or asked.

The text comes from libvirt, but names, titles and paths in it may be another tool's or another admin's: all of it is
cleaned. What has no XenAPI form is left out, and `drivers.xml` leaves it in the definition.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lxml import etree

from agent.classes.enums import DomainType, OnCrash, OnNormalExit, PowerState
from agent.errors import InternalError
from agent.ports import SeenConsole, SeenDisk, SeenDomain, SeenNic
from drivers.text import cleaned

CONTROL_DOMAIN_UUID = "00000000-0000-0000-0000-000000000000"
KIB = 1024
PATH_LIMIT = 4096
TEXT_LIMIT = 65536

_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "k": KIB, "KiB": KIB, "MB": 1000**2, "M": KIB**2, "MiB": KIB**2}
_UNITS |= {"GB": 1000**3, "G": KIB**3, "GiB": KIB**3}
_KINDS = {"hvm": DomainType.HVM, "xenpvh": DomainType.PVH, "xen": DomainType.PV, "linux": DomainType.PV}
"""libvirt writes a paravirtual guest back as linux."""

BOOT_LETTERS = {"hd": "c", "cdrom": "d", "network": "n"}
CRASH_ACTIONS = {
    "destroy": OnCrash.DESTROY,
    "coredump-destroy": OnCrash.COREDUMP_AND_DESTROY,
    "restart": OnCrash.RESTART,
    "coredump-restart": OnCrash.COREDUMP_AND_RESTART,
    "preserve": OnCrash.PRESERVE,
    "rename-restart": OnCrash.RENAME_RESTART,
}
FEATURES = ("acpi", "apic", "pae", "hap")
"""The features that are platform keys of the same name."""


def parse(text: str) -> etree._Element:
    """The root of a document that libvirt gave out. Entities and anything on the network are not followed."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    try:
        return etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError as error:
        raise InternalError(f"libvirt gave out a domain whose XML cannot be read: {error}") from error


def multiline(text: str | None) -> str:
    """The printable part of a text of several lines."""
    return "\n".join(cleaned(line, TEXT_LIMIT) for line in (text or "").splitlines())[:TEXT_LIMIT].strip()


def text_at(root: etree._Element, path: str) -> str:
    """The text of the element at `path`; empty if there is none."""
    return cleaned(root.findtext(path), PATH_LIMIT)


def kind_of(root: etree._Element) -> DomainType:
    """How the domain is virtualised."""
    kind = root.findtext("os/type")
    return DomainType.PV if kind is None else _KINDS.get(kind.strip(), DomainType.UNSPECIFIED)


def bytes_at(root: etree._Element, path: str) -> int:
    """A size, in bytes; 0 if there is none."""
    element = root.find(path)
    if element is None or not (element.text or "").strip().isdecimal():
        return 0
    return int(element.text or "0") * _UNITS.get(element.get("unit", "KiB"), KIB)


def _number(text: str | None, default: int) -> int:
    text = (text or "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else default


def vcpus_of(root: etree._Element) -> tuple[int, int]:
    """The most CPUs, and those there are or will be at the start."""
    most = _number(root.findtext("vcpu"), 1)
    element = root.find("vcpu")
    return most, _number(None if element is None else element.get("current"), most)


def target_of(device: etree._Element) -> str:
    """The name of a disk as the guest has it."""
    target = device.find("target")
    return "" if target is None else target.get("dev", "")


def source_of(disk: etree._Element) -> str:
    """Path, device or volume that the disk is; empty for a drive without a medium."""
    source = disk.find("source")
    if source is None:
        return ""
    if disk.get("type") == "network":
        return f"{source.get('protocol', '')}:{source.get('name', '')}"
    if disk.get("type") == "volume":
        return f"{source.get('pool', '')}:{source.get('volume', '')}"
    return source.get("file") or source.get("dev") or source.get("dir") or ""


def disks(root: etree._Element) -> Iterator[etree._Element]:
    """The disks and CD drives; others (floppies, passed-through units) have no VBD."""
    for disk in root.iterfind("devices/disk"):
        if disk.get("device", "disk") in ("disk", "cdrom") and target_of(disk):
            yield disk


def mac_of(interface: etree._Element) -> str:
    """The hardware address, in small letters."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def interfaces(root: etree._Element) -> Iterator[etree._Element]:
    """The network cards."""
    for interface in root.iterfind("devices/interface"):
        if mac_of(interface):
            yield interface


def pci_address_of(hostdev: etree._Element) -> str:
    """The address of a PCI device of the host that the domain has, as Linux writes it; empty for another device."""
    if (hostdev.get("mode"), hostdev.get("type")) != ("subsystem", "pci"):
        return ""
    place = hostdev.find("source/address")
    texts = [] if place is None else [place.get(name, "0") for name in ("domain", "bus", "slot", "function")]
    try:
        domain, bus, slot, function = (int(text, 0) for text in texts)
    except ValueError:
        return ""
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def pci_devices(root: etree._Element) -> Iterator[etree._Element]:
    """The PCI devices of the host that the domain has."""
    for hostdev in root.iterfind("devices/hostdev"):
        if pci_address_of(hostdev):
            yield hostdev


def usb_device_of(hostdev: etree._Element) -> str:
    """The USB device of the host that the domain has: its kind, and its bus and number; empty for another device."""
    if (hostdev.get("mode"), hostdev.get("type")) != ("subsystem", "usb"):
        return ""
    ends = (("vendor", "id"), ("product", "id"), ("address", "bus"), ("address", "device"))
    found = [hostdev.find(f"source/{tag}") for tag, _ in ends]
    texts = ["" if each is None else each.get(name, "") for each, (_, name) in zip(found, ends, strict=True)]
    try:
        vendor, product, bus, device = (int(text, 0) for text in texts)
    except ValueError:
        return ""
    return f"{vendor:04x}:{product:04x}:{bus}:{device}"


def usb_devices(root: etree._Element) -> Iterator[etree._Element]:
    """The USB devices of the host that the domain has."""
    for hostdev in root.iterfind("devices/hostdev"):
        if usb_device_of(hostdev):
            yield hostdev


def host_device_of(hostdev: etree._Element) -> str:
    """What names a device of the host that the domain has."""
    return pci_address_of(hostdev) or usb_device_of(hostdev)


def see_disk(disk: etree._Element) -> SeenDisk:
    """One disk or drive."""
    driver = disk.find("driver")
    return SeenDisk(
        target=cleaned(target_of(disk)),
        cdrom=disk.get("device") == "cdrom",
        source=cleaned(source_of(disk), PATH_LIMIT),
        format=cleaned(driver.get("type", "raw") if driver is not None else "raw"),
        read_only=disk.find("readonly") is not None or disk.get("device") == "cdrom",
    )


def see_nic(interface: etree._Element) -> SeenNic:
    """One network card."""
    source, model = interface.find("source"), interface.find("model")
    return SeenNic(
        MAC=cleaned(mac_of(interface)),
        bridge="" if source is None else cleaned(source.get("bridge", "")),
        network="" if source is None else cleaned(source.get("network", "")),
        model="" if model is None else cleaned(model.get("type", "")),
    )


def read_label(root: etree._Element) -> str:
    """The label that the definition gives the domain; empty where it leaves that to the policy."""
    labels = (seclabel for seclabel in root.iterfind("seclabel") if seclabel.get("type") == "static")
    return next((text_at(seclabel, "label") for seclabel in labels), "")


def consoles_of(root: etree._Element) -> Iterator[SeenConsole]:
    """The consoles of a running domain. The first terminal is the one that libvirt opens."""
    for graphics in root.iterfind("devices/graphics"):
        place = _vnc_at(graphics) if graphics.get("type") == "vnc" else ""
        if place:
            yield SeenConsole("rfb", place)
    paths: dict[str, None] = {}
    for device in (*root.iterfind("devices/console"), *root.iterfind("devices/serial")):
        source = device.find("source")
        path = device.get("tty") or ("" if source is None else source.get("path", ""))
        if device.get("type") == "pty" and path:
            paths[cleaned(path, PATH_LIMIT)] = None
    for path in paths:
        yield SeenConsole("vt100", path)


def _vnc_at(graphics: etree._Element) -> str:
    """Where on this host its VNC server answers: the path of a socket, or address and port; empty where it has none."""
    listen = graphics.find("listen")
    path = graphics.get("socket") or ("" if listen is None else listen.get("socket", ""))
    if path:
        return cleaned(path, PATH_LIMIT)
    port = graphics.get("port", "")
    if not port.isdecimal() or port == "0":
        return ""
    given = graphics.get("listen") or (None if listen is None else listen.get("address"))
    try:
        address = ipaddress.ip_address(given or "")
    except ValueError:  # a name, or nothing
        return f"127.0.0.1:{port}"
    if address.is_unspecified:
        return f"127.0.0.1:{port}" if address.version == 4 else f"[::1]:{port}"
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def read_order(root: etree._Element) -> str:
    """xapi's letters for what an HVM guest boots from; a floppy has none."""
    return "".join(BOOT_LETTERS.get(boot.get("dev", ""), "") for boot in root.iterfind("os/boot"))


def read_firmware(root: etree._Element) -> str:
    """``bios`` or ``uefi``."""
    loader, os = root.find("os/loader"), root.find("os")
    if (os is not None and os.get("firmware") == "efi") or (loader is not None and loader.get("type") == "pflash"):
        return "uefi"
    return "bios"


def _platform(root: etree._Element) -> dict[str, str]:
    """The platform keys that the definition says something about."""
    features = root.find("features")
    found = {}
    for name in FEATURES:
        feature = None if features is None else features.find(name)
        if feature is not None:
            found[name] = "false" if feature.get("state") == "off" else "true"
    clock = root.find("clock")
    if clock is not None and clock.get("offset") == "variable":
        found["timeoffset"] = cleaned(clock.get("adjustment", "0"))
    hpet = root.find("clock/timer[@name='hpet']")
    if hpet is not None:
        found["hpet"] = "true" if hpet.get("present", "yes") == "yes" else "false"
    model = root.find("devices/video/model")
    if model is not None and model.get("type") in ("vga", "cirrus"):
        found["vga"] = "std" if model.get("type") == "vga" else "cirrus"
    return found


def read_exit(root: etree._Element, tag: str, default: OnNormalExit) -> OnNormalExit:
    """What on_poweroff or on_reboot comes to; `default` where it is not said."""
    text = text_at(root, tag)
    if not text:
        return default
    return OnNormalExit.RESTART if "restart" in text else OnNormalExit.DESTROY


def read(root: etree._Element, power_state: PowerState, *, persistent: bool = True) -> SeenDomain:
    """A domain from its XML; the state is not in it, libvirt tells that apart."""
    hvm = kind_of(root) is DomainType.HVM
    most, now = vcpus_of(root)
    uuid = text_at(root, "uuid").lower()
    active = power_state in (PowerState.RUNNING, PowerState.PAUSED)
    # The id in the XML is the one of now; the one of a virDomain object is that of its look-up (libvirt 9.0.0).
    domid = _number(root.get("id"), -1) if active else -1
    return SeenDomain(
        uuid=uuid,
        name=cleaned(root.findtext("name")),
        power_state=power_state,
        domid=domid,
        title=cleaned(root.findtext("title"), PATH_LIMIT),
        description=multiline(root.findtext("description")),
        persistent=persistent,
        is_control_domain=uuid == CONTROL_DOMAIN_UUID,
        domain_type=kind_of(root),
        VCPUs_max=most,
        VCPUs=now,
        memory_max=bytes_at(root, "memory"),
        memory=bytes_at(root, "currentMemory") or bytes_at(root, "memory"),
        PV_kernel=text_at(root, "os/kernel"),
        PV_ramdisk=text_at(root, "os/initrd"),
        PV_args=text_at(root, "os/cmdline"),
        PV_bootloader=text_at(root, "bootloader"),
        PV_bootloader_args=text_at(root, "bootloader_args"),
        boot_order=read_order(root) if hvm else "",
        firmware=read_firmware(root) if hvm else "",
        platform=_platform(root),
        actions_after_shutdown=read_exit(root, "on_poweroff", OnNormalExit.DESTROY),
        actions_after_reboot=read_exit(root, "on_reboot", OnNormalExit.RESTART),
        actions_after_crash=CRASH_ACTIONS.get(text_at(root, "on_crash"), OnCrash.DESTROY),
        disks=tuple(see_disk(disk) for disk in disks(root)),
        nics=tuple(see_nic(interface) for interface in interfaces(root)),
        pci=tuple(pci_address_of(hostdev) for hostdev in pci_devices(root)),
        usb=tuple(usb_device_of(hostdev) for hostdev in usb_devices(root)),
        consoles=tuple(consoles_of(root)) if active else (),
        security_label=read_label(root),
    )
