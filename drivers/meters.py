"""Live numbers of host and domains: rates from two samples of the counters, shared by all who ask within a second.

What the counters are and where they come from is in ``counters``. Nothing is kept beyond the last sample, and nothing
is measured while nobody asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime

import libvirt
import psutil
from lxml import etree

from agent.ports import DomainReading, HostReading, Reading
from drivers import counters
from drivers.cards import GUEST_END
from drivers.connection import Connection
from drivers.counters import Devices, DomainCounters, Key, Pair
from drivers.failures import translated
from drivers.node import MIB, topology_of
from drivers.xen_counters import XenCounters

LIFETIME_SECONDS = 1.0
"""How long a reading is good for."""

OLD_SECONDS = 10.0
"""Rates since a sample older than this would not be what goes on now."""

GAP_SECONDS = 0.25
"""Between two samples, where there is no recent one."""

DEVICES_SECONDS = 5.0
"""How long the names of a domain's devices are believed; one plugged in meanwhile has no rates until then."""


@dataclass(frozen=True)
class Machine:
    """What does not change while a connection lasts."""

    epoch: int
    memory_total: int
    numbers: Sequence[int]


@dataclass(frozen=True)
class Sample:
    """All counters at one time."""

    when: datetime
    clock: float
    """Seconds of a clock that nobody sets."""
    machine: Machine
    memory_free: int
    domains: Mapping[Key, DomainCounters]
    cards: Mapping[str, Pair]
    busy: Pair | None = None
    """For the simulated host: milliseconds that this machine's processors were busy, and of all."""
    load_average: float | None = None


def between(before: Sample, after: Sample) -> Reading:
    """The rates from one sample to the next. What was not there before has no rates yet; none is negative."""
    seconds = max(after.clock - before.clock, 1e-6)
    domains = {key[0]: _domain_between(before.domains.get(key), now, seconds) for key, now in after.domains.items()}
    if after.busy is not None and before.busy is not None:
        # The simulated host has processors of its own number that do not run: this machine's mean stands for each.
        load = _part(after.busy[0] - before.busy[0], after.busy[1] - before.busy[1])
    else:
        # Xen's library does not tell what each processor does, but what each domain used: the mean stands for each.
        pairs = ((before.domains.get(key), now) for key, now in after.domains.items())
        busy = sum(_used(was, now, seconds) for was, now in pairs if was is not None)
        load = _part(busy, len(after.machine.numbers))
    host = HostReading(
        memory_total=after.machine.memory_total,
        memory_free=after.memory_free,
        cpus=dict.fromkeys(after.machine.numbers, load),
        interfaces=_rates(before.cards, after.cards, seconds),
        load_average=after.load_average,
    )
    return Reading(after.when, host, domains)


def _apart(before: float | None, after: float | None, seconds: float) -> float:
    """Seconds between two times, or else between the samples."""
    return seconds if before is None or after is None else max(after - before, 1e-6)


def _used(before: DomainCounters, after: DomainCounters, seconds: float) -> float:
    """How many processors a domain kept busy."""
    return max(0, after.cpu_ns - before.cpu_ns) / 1e9 / _apart(before.cpu_at, after.cpu_at, seconds)


def _domain_between(before: DomainCounters | None, after: DomainCounters, seconds: float) -> DomainReading:
    if before is None:
        return DomainReading(
            VCPUs_CPU=after.placement,
            VCPUs_flags=after.flags,
            memory_actual=after.memory,
            guest_memory=after.guest_memory,
        )
    running = _apart(before.cpu_at, after.cpu_at, seconds)
    return DomainReading(
        VCPUs_utilisation={
            number: _part((used - before.vcpus_ns[number]) / 1e9, running)
            for number, used in after.vcpus_ns.items()
            if number in before.vcpus_ns
        },
        VCPUs_CPU=after.placement,
        VCPUs_flags=after.flags,
        memory_actual=after.memory,
        disks=_rates(before.disks, after.disks, _apart(before.disks_at, after.disks_at, seconds)),
        nics=_rates(before.nics, after.nics, seconds),
        guest_memory=after.guest_memory,
    )


def _rates(before: Mapping[str, Pair], after: Mapping[str, Pair], seconds: float) -> dict[str, tuple[float, float]]:
    """KiB/s by name."""
    return {
        name: (
            max(0, now[0] - before[name][0]) / seconds / counters.KIB,
            max(0, now[1] - before[name][1]) / seconds / counters.KIB,
        )
        for name, now in after.items()
        if name in before
    }


def _part(used: float, whole: float) -> float:
    return min(1.0, max(0.0, used / whole)) if whole > 0 else 0.0


@dataclass
class SampledMeters:
    """The port Meters over any libvirt connection."""

    connection: Connection
    xen: XenCounters | None
    """What counts the domains of Xen; None for the simulated host."""
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    pause: Callable[[float], None] = field(default=time.sleep, kw_only=True)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._flight: Future[Reading] | None = None
        self._last: tuple[float, Reading] | None = None
        self._sample: Sample | None = None
        self._machine: Machine | None = None
        self._devices: dict[Key, tuple[float, Devices]] = {}

    def read(self) -> Reading:
        """What host and domains do now: measured at most once a second, however many ask."""
        with self._lock:
            if self._last is not None and self.clock() - self._last[0] < LIFETIME_SECONDS:
                return self._last[1]
            flight, first = self._flight, self._flight is None
            if flight is None:
                flight = self._flight = Future()
        if not first:
            return flight.result()
        try:
            reading = self._measure()
        except BaseException as error:
            with self._lock:
                self._flight = None
            flight.set_exception(error)
            raise
        with self._lock:
            self._last, self._flight = (self.clock(), reading), None
        flight.set_result(reading)
        return reading

    # --- by the one thread that measures

    def _measure(self) -> Reading:
        with translated(connection=self.connection):
            before = self._sample
            if before is None or self.clock() - before.clock > OLD_SECONDS:
                before = self._take()
                self.pause(GAP_SECONDS)
            self._sample = self._take()
            return between(before, self._sample)

    def _take(self) -> Sample:
        handle = self.connection.handle
        machine = self._machine_of(handle)
        if self.xen is not None:
            self.xen.begin()
        cards = counters.cards()
        when, clock = datetime.now(UTC), self.clock()
        domains: dict[Key, DomainCounters] = {}
        for domain in handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            key = (domain.UUIDString(), domain.ID())
            try:
                devices = self._devices_of(domain, key, clock)
                if self.xen is None:
                    domains[key] = counters.simulated_domain(domain, devices)
                else:
                    domains[key] = self.xen.domain(domain, key, devices, cards)
            except libvirt.libvirtError:
                # It went away, or is just rebooting; the others are measured all the same, if libvirt is there.
                if self.connection.suspect():
                    raise
        if self.xen is not None:
            domains |= self.xen.beyond({uuid for uuid, _ in domains}, cards)
        self._devices = {key: known for key, known in self._devices.items() if key in domains}
        return Sample(
            when,
            clock,
            machine,
            self._memory_free(machine, domains.values()),
            domains,
            self._of_the_host(cards),
            _busy() if self.xen is None else None,
            psutil.getloadavg()[0],
        )

    def _machine_of(self, handle: libvirt.virConnect) -> Machine:
        if self._machine is None or self._machine.epoch != self.connection.epoch:
            info = handle.getInfo()
            topology = topology_of(info, etree.fromstring(handle.getCapabilities()))
            self._machine = Machine(self.connection.epoch, info[1] * MIB, topology.numbers)
        return self._machine

    def _devices_of(self, domain: libvirt.virDomain, key: Key, clock: float) -> Devices:
        known = self._devices.get(key)
        if known is None or clock - known[0] > DEVICES_SECONDS:
            numbers = {} if self.xen is None else self.xen.numbers(key[1])
            known = self._devices[key] = (clock, counters.devices_of(domain.XMLDesc(), key[1], numbers))
        return known[1]

    def _memory_free(self, machine: Machine, domains: Iterable[DomainCounters]) -> int:
        if self.xen is not None:
            return int(self.connection.handle.getFreeMemory())
        # The test driver's getFreeMemory() does not know its domains, and says KiB where the API has bytes (9.0.0).
        return max(0, machine.memory_total - sum(domain.memory for domain in domains))

    def _of_the_host(self, cards: Mapping[str, Pair]) -> dict[str, Pair]:
        guests = {name for _, devices in self._devices.values() for names in devices.nics.values() for name in names}
        return {
            name: pair
            for name, pair in cards.items()
            if name not in guests and name != "lo" and not GUEST_END.match(name)
        }


def _busy() -> Pair:
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    # Guests' time is counted in user time already.
    whole = times.user + times.nice + times.system + times.irq + times.softirq + times.steal + idle
    return int((whole - idle) * 1000), int(whole * 1000)
