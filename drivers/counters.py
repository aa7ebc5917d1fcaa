"""Counters of what domains do, read once: CPU time, memory, bytes of disks and of network cards.

libvirt's Xen driver has no bulk call (9.0.0 to 11.3; the test driver's tells states only), and its per-device calls
wait behind a machine's start or migration. So devices are counted by the control domain's kernel, all cards at once.
Rates are made of two samples, which is ``meters``' business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import psutil

from drivers import xml_read
from drivers.text import content

SECTOR_BYTES = 512
"""Xen's block protocol counts in these, whatever the device has."""

KIB = 1024

_BACKEND = re.compile(r"vbd-(\d+)-(\d+)")
_VCPU_FLAGS: Mapping[int, tuple[str, ...]] = {
    libvirt.VIR_VCPU_OFFLINE: (),
    libvirt.VIR_VCPU_RUNNING: ("online", "running"),
    libvirt.VIR_VCPU_BLOCKED: ("online", "blocked"),
}

Pair = tuple[int, int]
"""Bytes read and written, or received and sent."""


@dataclass(frozen=True)
class DomainCounters:
    """What one domain has used since it was started."""

    cpu_ns: int
    vcpus_ns: Mapping[int, int]
    memory: int
    placement: Mapping[int, int] = field(default_factory=dict)
    flags: Mapping[int, Sequence[str]] = field(default_factory=dict)
    disks: Mapping[str, Pair] = field(default_factory=dict)
    """By target."""
    nics: Mapping[str, Pair] = field(default_factory=dict)
    """By MAC, as the guest sees it."""


@dataclass(frozen=True)
class Devices:
    """The names that a domain's counters are found by."""

    targets: Sequence[str]
    nics: Mapping[str, Sequence[str]]
    """The host's ends by MAC: the one of the guest's own driver, and the one of the device model."""


def devices_of(text: str, domid: int) -> Devices:
    """The devices in a running domain's XML."""
    root = xml_read.parse(text)
    nics: dict[str, Sequence[str]] = {}
    for place, nic in enumerate(xml_read.interfaces(root)):
        # libvirt 9.0.0 shows no name for a card that was plugged in while the domain ran.
        name = xml_read.target_of(nic).removesuffix("-emu") or f"vif{domid}.{place}"
        nics[xml_read.mac_of(nic)] = (name, f"{name}-emu")
    return Devices([xml_read.target_of(disk) for disk in xml_read.disks(root)], nics)


def target_of(number: int) -> str:
    """The name of a disk by the number that Xen gives it; empty for one that no guest knows by name."""
    if number >= 1 << 28:
        return f"xvd{_letters((number & (1 << 28) - 1) >> 8)}"
    major, minor = number >> 8, number & 255
    match major:
        case 202:
            return f"xvd{_letters(minor >> 4)}"
        case 8:
            return f"sd{_letters(minor >> 4)}"
        case 3 | 22:
            return f"hd{_letters((minor >> 6) + (2 if major == 22 else 0))}"
        case _:
            return ""


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


def xen_disks(devices: Path) -> dict[int, dict[str, Pair]]:
    """Bytes of all disks by domid and target, from the block back end in ``/sys/bus/xen-backend/devices``.

    Disks that a device model serves (images in formats other than raw) are not there, and have no counters.
    """
    found: dict[int, dict[str, Pair]] = {}
    try:
        names = sorted(path.name for path in devices.iterdir())
    except OSError:
        return found
    for name in names:
        if matched := _BACKEND.fullmatch(name):
            read, written = (content(devices / name / "statistics" / file) for file in ("rd_sect", "wr_sect"))
            if read.isdecimal() and written.isdecimal() and (target := target_of(int(matched[2]))):
                pair = (int(read) * SECTOR_BYTES, int(written) * SECTOR_BYTES)
                found.setdefault(int(matched[1]), {})[target] = pair
    return found


def cards() -> dict[str, Pair]:
    """Bytes received and sent by every network card of this machine, the host's ends of guests' cards included."""
    return {
        name: (counted.bytes_recv, counted.bytes_sent)
        for name, counted in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


def xen_domain(
    domain: libvirt.virDomain, devices: Devices, disks: Mapping[str, Pair], all_cards: Mapping[str, Pair]
) -> DomainCounters:
    """A domain of Xen's driver. libvirtError if it is gone."""
    _, _, memory, count, cpu_ns = domain.info()
    # The processor that a virtual CPU is on stays unknown: libvirt-python 12.8 asks for the node's CPU map first, and
    # libvirt's Xen driver (9.0.0) answers "this function is not supported by the connection driver: virNodeGetCPUMap".
    if count == 1:
        vcpus = {0: cpu_ns}
    else:
        vcpus = {number: said["cpu_time"] for number, said in enumerate(domain.getCPUStats(False)[:count])}
    nics = {}
    for mac, names in devices.nics.items():
        ends = [all_cards[name] for name in names if name in all_cards]
        if ends:
            # What the host's end received, the guest sent.
            nics[mac] = (sum(sent for _, sent in ends), sum(received for received, _ in ends))
    return DomainCounters(cpu_ns, vcpus, memory * KIB, disks=disks, nics=nics)


def simulated_domain(domain: libvirt.virDomain, devices: Devices) -> DomainCounters:
    """A domain of libvirt's test driver, whose counters grow with the clock. libvirtError if it is gone."""
    _, _, memory, count, cpu_ns = domain.info()
    vcpus = domain.vcpus()[0][:count]
    disks, nics = {}, {}
    for target in devices.targets:
        for counted in _answered(domain.blockStats, target):
            disks[target] = (counted[1], counted[3])
    for mac in devices.nics:
        for counted in _answered(domain.interfaceStats, mac):
            nics[mac] = (counted[0], counted[4])
    return DomainCounters(
        cpu_ns,
        # One clock for the domain: its virtual CPUs share it evenly.
        dict.fromkeys(range(count), cpu_ns // count),
        memory * KIB,
        {vcpu[0]: vcpu[3] for vcpu in vcpus},
        {vcpu[0]: _VCPU_FLAGS.get(vcpu[1], ()) for vcpu in vcpus},
        disks,
        nics,
    )


def _answered(ask: Callable[[str], Sequence[int]], name: str) -> Iterator[Sequence[int]]:
    """The answer about a device, unless there is none: a drive without a medium, a device that was just unplugged."""
    try:
        yield ask(name)
    except libvirt.libvirtError:
        return
