"""Counters of what domains do on this host's Xen, from where each is kept: libvirt, the kernel's back ends, QEMU, xl.

libvirt's Xen driver has no bulk call (9.0.0 to 11.3), and its per-device calls wait behind a machine's start or
migration and know only a part of the devices. So it is asked for memory and processors alone. Disks that the kernel
serves are counted in sysfs, those that a device model serves by that (``qmp``), network cards by the kernel. Of domains
that libvirt does not know, xl tells what their processors used.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import libvirt

from agent.classes.enums import PowerState
from drivers import qmp
from drivers.census import CONTROL_DOMAIN, Census
from drivers.counters import KIB, Devices, DomainCounters, Key, Pair, nics_between
from drivers.guests import Guests
from drivers.text import content
from drivers.vcpus import Vcpu, vcpus_of
from drivers.xl import Xl

log = logging.getLogger(__name__)

SECTOR_BYTES = 512
"""Xen's block protocol counts in these, whatever the device has."""
DEVICE_MODELS_AT_ONCE = 8
SILENT_SECONDS = 30.0
"""So long a device model that did not answer is not asked again."""
SECOND_NS = 10**9

_BACK_END = re.compile(r"vbd-(\d+)-(\d+)", re.ASCII)
_SOCKET = re.compile(r"qmp-libxenstat-(\d+)", re.ASCII)


@dataclass(frozen=True)
class ServedDisks:
    """What a device model said of the disks it serves, and when."""

    disks: Mapping[str, Pair]
    at: float


@dataclass
class XenCounters:
    """Counts the domains of this host. For one thread at a time."""

    xl: Xl
    census: Census
    guests: Guests
    sys: Path = field(default=Path("/sys"), kw_only=True)
    run: Path = field(default=qmp.FOLDER, kw_only=True)
    """Where the device models' sockets are."""
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    vcpus_of: Callable[[libvirt.virDomain, int], Sequence[Vcpu]] = field(default=vcpus_of, kw_only=True)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(DEVICE_MODELS_AT_ONCE, thread_name_prefix="qmp")
        self._asked: dict[int, Future[ServedDisks]] = {}
        self._silent: dict[int, float] = {}
        self._back_ends: dict[int, dict[str, Path]] = {}

    def begin(self) -> None:
        """Begin a sample: what can be asked of all domains at once is asked."""
        self._back_ends = back_ends(self.sys / "bus/xen-backend/devices")
        now = self.clock()
        self._silent = {domid: until for domid, until in self._silent.items() if until > now}
        self._asked = {
            domid: self._pool.submit(self._served, domid) for domid in sockets(self.run) if domid not in self._silent
        }

    def domain(
        self, domain: libvirt.virDomain, key: Key, devices: Devices, cards: Mapping[str, Pair]
    ) -> DomainCounters:
        """A domain of libvirt's. libvirtError if it is gone."""
        _, _, memory, count, cpu_ns = domain.info()
        vcpus = self.vcpus_of(domain, count)
        cpu_at = self.clock()
        disks, disks_at = self._disks(key[1])
        return DomainCounters(
            cpu_ns,
            {vcpu.number: vcpu.used_ns for vcpu in vcpus},
            memory * KIB,
            {vcpu.number: vcpu.cpu for vcpu in vcpus},
            {vcpu.number: _flags(vcpu) for vcpu in vcpus},
            disks,
            nics_between(devices, cards),
            self._guest_memory(key),
            cpu_at,
            disks_at,
        )

    def beyond(self, known: Collection[str], cards: Mapping[str, Pair]) -> dict[Key, DomainCounters]:
        """The running domains of xl: those whose uuids are not among `known`."""
        entries = [
            entry
            for uuid, entry in self.census.last.items()
            if uuid not in known and entry.domid != CONTROL_DOMAIN and entry.power_state is not PowerState.HALTED
        ]
        vcpus = self.xl.vcpus() if entries else []
        cpu_at = self.clock()
        found = {}
        for entry in entries:
            own = [vcpu for vcpu in vcpus if vcpu.domid == entry.domid]
            if vcpus and not own:
                # It ended since the census, whose ever it was.
                continue
            disks, disks_at = self._disks(entry.domid)
            key = (entry.uuid, entry.domid)
            ends = {
                mac: (f"vif{entry.domid}.{n}", f"vif{entry.domid}.{n}-emu")
                for mac, n in self.numbers(entry.domid).items()
            }
            found[key] = DomainCounters(
                int(sum(vcpu.seconds for vcpu in own) * SECOND_NS),
                {vcpu.number: int(vcpu.seconds * SECOND_NS) for vcpu in own},
                entry.memory,
                {vcpu.number: vcpu.cpu for vcpu in own if vcpu.cpu is not None},
                {vcpu.number: vcpu.flags for vcpu in own},
                disks,
                nics_between(Devices((), ends), cards),
                self._guest_memory(key),
                cpu_at,
                disks_at,
            )
        return found

    def close(self) -> None:
        """Ask no device model any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def numbers(self, domid: int) -> Mapping[str, int]:
        """The numbers of a domain's cards by MAC, where they are known."""
        return self.guests.cards(domid)

    def _guest_memory(self, key: Key) -> Mapping[str, str]:
        told = self.guests.reading(*key)
        return {} if told is None else told.memory

    def _disks(self, domid: int) -> tuple[dict[str, Pair], float]:
        """All disks of a domain, and when they were counted."""
        served = ServedDisks({}, self.clock())
        if (asked := self._asked.get(domid)) is not None:
            try:
                served = asked.result()
            except qmp.QmpError as error:
                log.warning("%s", error)
                self._silent[domid] = self.clock() + SILENT_SECONDS
        disks = {target: pair for target, path in self._back_ends.get(domid, {}).items() if (pair := _pair(path))}
        return {**disks, **served.disks}, served.at

    def _served(self, domid: int) -> ServedDisks:
        disks = qmp.block_counters(domid, self.run)
        return ServedDisks(disks, self.clock())


def back_ends(devices: Path) -> dict[int, dict[str, Path]]:
    """The kernel's block back ends in ``/sys/bus/xen-backend/devices``, by domid and target."""
    found: dict[int, dict[str, Path]] = {}
    for name in _names(devices):
        if (matched := _BACK_END.fullmatch(name)) and (target := target_of(int(matched[2]))):
            found.setdefault(int(matched[1]), {})[target] = devices / name
    return found


def sockets(folder: Path) -> list[int]:
    """The domids of the device models that tell statistics."""
    return [int(matched[1]) for name in _names(folder) if (matched := _SOCKET.fullmatch(name))]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _pair(back_end: Path) -> Pair | None:
    """The bytes read and written through a block back end; None if it is gone."""
    read, written = (content(back_end / "statistics" / file) for file in ("rd_sect", "wr_sect"))
    if not (read.isdecimal() and written.isdecimal()):
        return None
    return int(read) * SECTOR_BYTES, int(written) * SECTOR_BYTES


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


def _flags(vcpu: Vcpu) -> tuple[str, ...]:
    # libvirt's third state means a CPU that would run if a processor were free, as much as one that is not there.
    return ("online", *(["running"] if vcpu.running else []), *(["blocked"] if vcpu.blocked else []))
