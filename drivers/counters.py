"""Counters of what domains do, read once: CPU time, memory, bytes of disks and of network cards.

Here is what they are, and how libvirt's test driver tells them; how Xen does is in ``xen_counters``. Rates are made of
two samples, which is ``meters``' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import libvirt
import psutil

from drivers import xml_read

KIB = 1024

_VCPU_FLAGS: Mapping[int, tuple[str, ...]] = {
    libvirt.VIR_VCPU_OFFLINE: (),
    libvirt.VIR_VCPU_RUNNING: ("online", "running"),
    libvirt.VIR_VCPU_BLOCKED: ("online", "blocked"),
}

Pair = tuple[int, int]
"""Bytes read and written, or received and sent."""

Key = tuple[str, int]
"""Uuid and domid: a rebooted machine counts from nothing, under a new domid."""


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
    guest_memory: Mapping[str, str] = field(default_factory=dict)
    cpu_at: float | None = None
    disks_at: float | None = None
    """When these were read, by the sample's clock, where asking takes long; None: with the sample."""


@dataclass(frozen=True)
class Devices:
    """The names that a domain's counters are found by."""

    targets: Sequence[str]
    nics: Mapping[str, Sequence[str]]
    """The host's ends by MAC: the one of the guest's own driver, and the one of the device model."""


def devices_of(text: str, domid: int, numbers: Mapping[str, int]) -> Devices:
    """The devices in a running domain's XML; `numbers` are those of its cards by MAC, as far as they are known."""
    root = xml_read.parse(text)
    nics: dict[str, Sequence[str]] = {}
    for place, nic in enumerate(xml_read.interfaces(root)):
        # libvirt 9.0.0 shows no name for a card that was plugged in while the domain ran.
        mac = xml_read.mac_of(nic)
        name = xml_read.target_of(nic).removesuffix("-emu") or f"vif{domid}.{numbers.get(mac, place)}"
        nics[mac] = (name, f"{name}-emu")
    return Devices([xml_read.target_of(disk) for disk in xml_read.disks(root)], nics)


def cards() -> dict[str, Pair]:
    """Bytes received and sent by every network card of this machine, the host's ends of guests' cards included."""
    return {
        name: (counted.bytes_recv, counted.bytes_sent)
        for name, counted in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


def nics_between(devices: Devices, all_cards: Mapping[str, Pair]) -> dict[str, Pair]:
    """Bytes received and sent by a domain's cards, as the guest sees it: what the host's end received, it sent."""
    nics = {}
    for mac, names in devices.nics.items():
        ends = [all_cards[name] for name in names if name in all_cards]
        if ends:
            nics[mac] = (sum(sent for _, sent in ends), sum(received for received, _ in ends))
    return nics


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
