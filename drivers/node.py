"""The host: what it is, its processors, its network cards and other devices.

On Xen the control domain sees a part of the machine only, so processors and memory are what the hypervisor says; the
name, the addresses and the cards are the control domain's. What changes while the host runs is in ``meters``.
"""

from __future__ import annotations

import os
import re
import socket
import uuid as uuids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import libvirt
import psutil
from lxml import etree

from agent.ports import Control, CpuPools, SeenCpu, SeenHost, SeenInterface, SeenPci, SeenScsi, SeenUsb
from drivers import cards, scsi, usb
from drivers.connection import Connection
from drivers.control import HostControl, NoControl, SimulatedControl
from drivers.cpu_pools import SimulatedCpuPools, XlCpuPools
from drivers.failures import translated
from drivers.pci import PciBus
from drivers.text import cleaned, content
from drivers.xl import Xl

DISTRIBUTION = "xen-host-agent"

XAPI_VERSION = "26.1"
"""The xapi whose messages are spoken here. Clients look for it: without this key the Go SDK's login fails."""

MIB = 1024 * 1024

BOOTLOADER_FOLDERS = ("usr/lib/xen-*/bin", "usr/lib/xen/bin", "usr/local/lib/xen/bin", "usr/libexec/xen/bin", "usr/bin")

_CAPABILITIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("xen", "x86_64"): ("xen-3.0-x86_64",),
    ("xen", "i686"): ("xen-3.0-x86_32p",),
    ("hvm", "i686"): ("hvm-3.0-x86_32", "hvm-3.0-x86_32p"),
    ("hvm", "x86_64"): ("hvm-3.0-x86_64",),
    ("xen", "aarch64"): ("xen-3.0-aarch64",),
    ("xen", "armv7l"): ("xen-3.0-armv7l",),
}
"""Xen's names for the kinds of guests, by libvirt's; it has none for PVH, which needs what HVM needs."""

_BIOS_STRINGS: Mapping[str, tuple[str, str]] = {
    "bios-vendor": ("bios", "vendor"),
    "bios-version": ("bios", "version"),
    "system-manufacturer": ("system", "manufacturer"),
    "system-product-name": ("system", "product"),
    "system-version": ("system", "version"),
    "system-serial-number": ("system", "serial"),
    "baseboard-manufacturer": ("baseBoard", "manufacturer"),
    "baseboard-product-name": ("baseBoard", "product"),
    "baseboard-version": ("baseBoard", "version"),
    "baseboard-serial-number": ("baseBoard", "serial"),
    "enclosure-asset-tag": ("chassis", "asset"),
}
"""XenAPI's keys: the part of libvirt's sysinfo and the entry."""


@dataclass(frozen=True)
class Topology:
    """The counts of the machine's processors."""

    cpus: int
    nodes: int
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    numbers: Sequence[int]


@dataclass(frozen=True)
class Processor:
    """What kind of processor it is; empty and 0 where nobody says."""

    vendor: str = ""
    modelname: str = ""
    speed: int = 0
    family: int = 0
    model: int = 0
    stepping: str = ""
    flags: str = ""

    def texts(self) -> dict[str, str]:
        """The same as the map cpu_info has it."""
        return {
            "vendor": self.vendor,
            "speed": str(self.speed),
            "modelname": self.modelname,
            "family": str(self.family) if self.family else "",
            "model": str(self.model) if self.family else "",
            "stepping": self.stepping,
            "flags": self.flags,
            # The wire's features are masks of CPUID leaves; libvirt has names, which are the flags.
            "features": "",
        }


@dataclass
class LibvirtNode:
    """The port Node over any libvirt connection. `simulated`: it is the test driver's, of which Linux knows nothing."""

    connection: Connection
    simulated: bool
    local: bool = field(default=False, kw_only=True)
    """The hypervisor is that of the host on which this runs."""
    xl: Xl = field(default_factory=lambda: Xl(None), kw_only=True)
    """The tool of this host's Xen, where the connection is to that."""
    root: Path = field(default=Path("/"), kw_only=True)
    """Where the files of the machine are."""

    def __post_init__(self) -> None:
        self._pci = PciBus(self.root / "sys", self.root / "usr/share")
        self.cpu_pools: CpuPools = (
            SimulatedCpuPools(self._numbers, self._running) if self.simulated else XlCpuPools(self.xl)
        )
        self.control: Control = (
            SimulatedControl() if self.simulated else HostControl(self.xl) if self.local else NoControl()
        )
        # The kernel computes it from the clock, which is adjusted: read twice it may differ.
        # A simulated host is booted with the process that it lives in.
        self._boot_id = (
            str(uuids.uuid4())
            if self.simulated
            else content(self.root / "proc/sys/kernel/random/boot_id")
            if self.local
            else ""
        )
        self._boot_time = datetime.fromtimestamp(int(psutil.boot_time()), UTC)

    def host(self) -> SeenHost:
        """What it is."""
        with translated(connection=self.connection):
            handle = self.connection.handle
            info = handle.getInfo()
            described = etree.fromstring(handle.getCapabilities())
            topology = topology_of(info, described)
            return SeenHost(
                hostname=socket.gethostname(),
                address=cards.host_address(self._surroundings()),
                software_version=self._software_version(handle),
                capabilities=capabilities_of(described),
                cpu_configuration={
                    "nr_cpus": str(topology.cpus),
                    "nr_nodes": str(topology.nodes),
                    "sockets_per_node": str(max(1, topology.sockets // topology.nodes)),
                    "cores_per_socket": str(topology.cores_per_socket),
                    "threads_per_core": str(topology.threads_per_core),
                },
                cpu_info={
                    "cpu_count": str(topology.cpus),
                    "socket_count": str(topology.sockets),
                    "threads_per_core": str(topology.threads_per_core),
                    **self._processor(info, described).texts(),
                },
                sched_policy=_sched_policy(handle, self.simulated),
                supported_bootloaders=self._bootloaders(),
                bios_strings=_bios_strings(handle),
                memory_total=info[1] * MIB,
                boot_time=self._boot_time,
                boot_id=self._boot_id,
                uefi=self.simulated or _uefi(handle, self.root),
            )

    def cpus(self) -> Sequence[SeenCpu]:
        """Its processors. All are of one kind: what tells them apart, no library says."""
        with translated(connection=self.connection):
            handle = self.connection.handle
            info = handle.getInfo()
            described = etree.fromstring(handle.getCapabilities())
        processor = self._processor(info, described)
        return [
            SeenCpu(
                number=number,
                vendor=processor.vendor,
                modelname=processor.modelname,
                speed=processor.speed,
                family=processor.family,
                model=processor.model,
                stepping=processor.stepping,
                flags=processor.flags,
            )
            for number in topology_of(info, described).numbers
        ]

    def _numbers(self) -> Sequence[int]:
        return [cpu.number for cpu in self.cpus()]

    def _running(self) -> Mapping[str, int]:
        with translated(connection=self.connection):
            domains = self.connection.handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return {domain.UUIDString(): domain.ID() for domain in domains}

    def interfaces(self) -> Sequence[SeenInterface]:
        """Its network cards: hardware, bonds and VLANs. A sandbox may have none."""
        return cards.interfaces(self._surroundings())

    def pci_devices(self) -> Sequence[SeenPci]:
        """All PCI devices, as the control domain's Linux shows them."""
        return self._pci.devices()

    def usb_devices(self) -> Sequence[SeenUsb]:
        """All USB devices but hubs, as the control domain's Linux shows them."""
        return usb.devices(self.root / "sys", self.root / "usr/share")

    def scsi_adapters(self) -> Sequence[int]:
        """The numbers of the SCSI adapters."""
        return scsi.adapters(self.root / "sys")

    def scsi_devices(self) -> Sequence[SeenScsi]:
        """The devices on these adapters."""
        return scsi.devices(self.root / "sys")

    def _surroundings(self) -> cards.Surroundings:
        addresses = {
            name: [cards.Address(given.family, given.address, given.netmask) for given in found]
            for name, found in psutil.net_if_addrs().items()
        }
        root = self.root
        return cards.Surroundings(addresses, root / "sys", root / "proc", root / "etc", root / "usr/share")

    def _processor(self, info: Sequence[Any], described: etree._Element) -> Processor:
        if self.simulated:
            return Processor(
                vendor=cleaned(described.findtext("host/cpu/vendor")),
                modelname=cleaned(described.findtext("host/cpu/model") or str(info[0])),
                speed=info[3],
                flags=" ".join(cleaned(each.get("name")) for each in described.iterfind("host/cpu/feature")),
            )
        return processor_of(content(self.root / "proc/cpuinfo"), info[3])

    def _software_version(self, handle: libvirt.virConnect) -> dict[str, str]:
        try:
            version = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:  # run from a checkout that was never installed
            version = "0"
        system = os_release(content(self.root / "etc/os-release"))
        found = {
            "product_brand": DISTRIBUTION,
            "product_version": three_numbers(version),
            "build_number": version,
            "xapi": XAPI_VERSION,
            "platform_name": system.get("NAME", ""),
            "platform_version": system.get("VERSION_ID", ""),
            "linux": os.uname().release,
            "libvirt": dotted(handle.getLibVersion()),
        }
        if handle.getType() == "Xen":
            found["xen"] = xen_version(handle.getVersion(), content(self.root / "sys/hypervisor/version/extra"))
        return found

    def _bootloaders(self) -> list[str]:
        folders = (folder for pattern in BOOTLOADER_FOLDERS for folder in self.root.glob(pattern))
        return ["pygrub"] if any((folder / "pygrub").exists() for folder in folders) else []


# --- text and trees into values, without a connection


def topology_of(info: Sequence[Any], described: etree._Element) -> Topology:
    """The counts. libvirt's Xen driver (9.0.0) always says one socket, so sockets are counted by their processors."""
    places = described.findall("host/topology/cells/cell/cpus/cpu")
    numbers = sorted(int(cpu.get("id", "0")) for cpu in places)
    sockets = len({cpu.get("socket_id") for cpu in places if cpu.get("socket_id") is not None})
    return Topology(
        cpus=info[2],
        nodes=max(1, info[4]),
        sockets=sockets or max(1, info[4] * info[5]),
        cores_per_socket=info[6],
        threads_per_core=info[7],
        numbers=numbers if len(numbers) == info[2] else range(info[2]),
    )


def capabilities_of(described: etree._Element) -> list[str]:
    """Xen's names for the kinds of guests that can run here, each once."""
    found: dict[str, None] = {}
    for guest in described.iterfind("guest"):
        kind = guest.findtext("os_type", "")
        kind = "xen" if kind == "linux" else kind
        for arch in guest.iterfind("arch"):
            found.update(dict.fromkeys(_CAPABILITIES.get((kind, arch.get("name", "")), ())))
    return list(found)


def processor_of(cpuinfo: str, speed: int) -> Processor:
    """The first processor in the text of /proc/cpuinfo: all that the control domain is shown are of its kind."""
    first = cpuinfo.strip().split("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    said = {key.strip(): cleaned(value, 4096) for key, _, value in lines}
    return Processor(
        vendor=said.get("vendor_id", ""),
        modelname=said.get("model name", ""),
        speed=speed,
        family=_number(said.get("cpu family", "")),
        model=_number(said.get("model", "")),
        stepping=said.get("stepping", ""),
        flags=said.get("flags", ""),
    )


def bios_strings_of(sysinfo: etree._Element) -> dict[str, str]:
    """XenAPI's map of what the firmware says; only what it does say."""
    found = {}
    for key, (part, name) in _BIOS_STRINGS.items():
        for entry in sysinfo.iterfind(f"{part}/entry"):
            if entry.get("name") == name and key not in found:
                found[key] = cleaned(entry.text)
    for number, entry in enumerate(sysinfo.iterfind("oemStrings/entry"), start=1):
        found[f"oem-{number}"] = cleaned(entry.text)
    return found


def os_release(text: str) -> dict[str, str]:
    """The values of an os-release file."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): cleaned(value.strip().strip("\"'")) for key, equals, value in lines if equals}


def three_numbers(version: str) -> str:
    """The version as clients parse it: ``0.1.0.dev3`` is 0.1.0."""
    return ".".join([*re.findall(r"\d+", version), "0", "0", "0"][:3])


def dotted(version: int) -> str:
    """libvirt's way to write a version in a number: 9000000 is 9.0.0."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def xen_version(version: int, extra: str) -> str:
    """Xen's version. libvirt leaves out the third number, which the hypervisor tells in its `extra`: ``.4-pre``."""
    patch = re.match(r"\.(\d+)", extra)
    return dotted(version - version % 1000 + int(patch[1])) if patch else dotted(version)


def _sched_policy(handle: libvirt.virConnect, simulated: bool) -> str:
    """The hypervisor's scheduler, which it tells of a domain: the control domain, or any of the simulated host's."""
    try:
        domain = next(iter(handle.listAllDomains()), None) if simulated else handle.lookupByID(0)
        return cleaned(domain.schedulerType()[0]) if domain is not None else ""
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_SUPPORT):
            raise
        return ""


def _uefi(handle: libvirt.virConnect, root: Path) -> bool:
    """Whether there is a firmware for UEFI guests. libvirt's Xen driver names it whether or not its file is there."""
    try:
        described = etree.fromstring(handle.getDomainCapabilities(None, None, "xenfv", None))
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT):
            raise
        return False
    paths = (cleaned(value.text) for value in described.iterfind("os/loader[@supported='yes']/value"))
    return any("ovmf" in path.lower() and (root / path.lstrip("/")).is_file() for path in paths)


def _bios_strings(handle: libvirt.virConnect) -> dict[str, str]:
    try:
        return bios_strings_of(etree.fromstring(handle.getSysinfo(0)))
    except libvirt.libvirtError as error:
        # A machine whose firmware tells nothing, or that lacks dmidecode: "Host SMBIOS information is not available".
        if error.get_error_code() not in (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT):
            raise
        return {}


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
