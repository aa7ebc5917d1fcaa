"""Virtual machines on this host's Xen: what libvirt says of them, set right by what the hypervisor says.

libvirt's Xen driver (9.0.0) knows the domains that were made through it, in the state that it remembers. Domains of xl
are added, to be looked at only; a state that xl changed is corrected. Where the two differ the hypervisor is asked
anew, since either may have been asked too early; while libvirt itself is at work on a domain, libvirt is right. On a
host without xl, and on another host's Xen, there is only what libvirt says: ``domains``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import libvirt
from lxml import etree

from agent.classes import VM
from agent.classes.enums import PowerState
from agent.errors import OperationNotAllowed
from agent.ports import SeenDomain
from drivers import xml, xml_read
from drivers.back_ends import BackEnds, served_by_qemu
from drivers.census import CONTROL_DOMAIN, Census
from drivers.connection import Connection
from drivers.domains import ALIVE, DEFINITION, LibvirtDomains
from drivers.dumps import NO_DUMPS, DumpFolder
from drivers.failures import translated
from drivers.guests import Guests
from drivers.kernels import NO_KERNELS, KernelFolder
from drivers.memories import NO_MEMORIES, MemoryFolder
from drivers.xl import Xl, XlDomain

log = logging.getLogger(__name__)

DESCRIBED_SECONDS = 20.0
"""How long the list believes how a domain of xl is made; its disks and cards may be changed with xl, too."""
KIB = 1024


class XenDomains(LibvirtDomains):
    """The port ``agent.ports.Domains`` on the Xen of this host."""

    def __init__(
        self,
        connection: Connection,
        xl: Xl,
        census: Census,
        guests: Guests,
        *,
        back_ends: BackEnds | None = None,
        kernel_folders: Sequence[str] = xml.KERNEL_FOLDERS,
        dumps: DumpFolder = NO_DUMPS,
        images: KernelFolder = NO_KERNELS,
        memories: MemoryFolder = NO_MEMORIES,
    ) -> None:
        super().__init__(connection, kernel_folders=kernel_folders, dumps=dumps, images=images, memories=memories)
        self._xl = xl
        self._census = census
        self._guests = guests
        self._back_ends = back_ends or BackEnds()
        self._described: dict[tuple[str, int], tuple[float, SeenDomain]] = {}
        census.watch(self._tell)
        guests.watch(self._tell)
        guests.watch_devices(self._devices_changed)

    # --- seeing

    def list(self) -> Sequence[SeenDomain]:
        """All domains, those of xl and the control domain included."""
        # Counted first: what libvirt makes it knows before Xen does, so what it does not know then is none of its.
        counted = self._census.last or self._census.fresh() or {}
        found = [*super().list()]
        known = {seen.uuid for seen in found}
        for entry in counted.values():
            if entry.uuid not in known and (foreign := self._foreign(entry, DESCRIBED_SECONDS)) is not None:
                found.append(foreign)
        for key in list(self._described):
            if key[0] not in counted:
                self._described.pop(key, None)
        return found

    def _devices_changed(self, uuid: str) -> None:
        """How a domain of xl was made is asked anew."""
        for key in list(self._described):
            if key[0] == uuid:
                self._described.pop(key, None)
        self._tell(uuid)

    def look(self, uuid: str) -> SeenDomain | None:
        """One domain as it is now; None if there is none."""
        entry = self._census.last.get(uuid)
        seen = super().look(uuid)
        return self._foreign(entry) if seen is None and entry is not None else seen

    def _see(self, domain: libvirt.virDomain) -> SeenDomain | None:
        entry = self._census.last.get(domain.UUIDString())
        seen = super()._see(domain)
        if seen is None or seen.in_transition or _agree(seen, entry):
            return self._completed(seen)
        if entry is not None and seen.power_state not in ALIVE:
            return self._foreign(entry) or seen
        # Which of the two was asked too early? libvirt is asked after xl now.
        counted = self._census.fresh() or {}
        again = super()._see(domain)
        entry = counted.get(domain.UUIDString())
        if again is None or entry is None or again.power_state not in ALIVE or _agree(again, entry):
            return self._completed(again)
        return self._completed(again if self._working(domain) else replace(again, power_state=entry.power_state))

    def _completed(self, seen: SeenDomain | None) -> SeenDomain | None:
        """With what only Xen tells: sizes of the control domain, a name given by xl, what the guest does and says."""
        entry = None if seen is None else self._census.last.get(seen.uuid)
        if seen is None or seen.power_state not in ALIVE:
            return seen
        if entry is not None and entry.domid == seen.domid:
            if seen.domid == CONTROL_DOMAIN:
                seen = self._sized(seen, entry)
            elif entry.name != seen.name:
                seen = replace(seen, name=entry.name)
            seen = replace(seen, VCPUs_online=entry.vcpus, security_label=entry.label or seen.security_label)
        return replace(seen, guest=self._guests.reading(seen.uuid, seen.domid))

    def _sized(self, seen: SeenDomain, entry: XlDomain) -> SeenDomain:
        """The control domain, whose sizes libvirt remembers from its own start. Without a limit it has all there is."""
        whole = self._connection.handle.getInfo()[1] * KIB * KIB
        return replace(
            seen,
            memory=entry.memory,
            memory_max=max(entry.memory, min(seen.memory_max, whole)),
            VCPUs=entry.vcpus,
            VCPUs_max=max(entry.vcpus, seen.VCPUs_max),
        )

    # --- domains of xl

    def _foreign(self, entry: XlDomain, lifetime_seconds: float = float("inf")) -> SeenDomain | None:
        """A domain of a count before which libvirt said that it runs none of this uuid; None if it has gone meanwhile.

        xl is asked how it was made, unless it told within `lifetime_seconds`: that it does is the proof that it is not
        one which libvirt has just stopped.
        """
        key = (entry.uuid, entry.domid)
        since, described = self._described.get(key, (0.0, None))
        if described is None or time.monotonic() - since > lifetime_seconds:
            described = self._xl.describe(entry)
            if described is None:
                self._described.pop(key, None)
                return None
            self._described[key] = (time.monotonic(), described)
        return replace(
            described,
            name=entry.name,
            power_state=entry.power_state,
            domid=entry.domid,
            memory=entry.memory,
            VCPUs=max(1, entry.vcpus),
            foreign=True,
            security_label=entry.label,
            guest=self._guests.reading(entry.uuid, entry.domid),
        )

    # --- verbs

    def start(self, vm: VM, paused: bool) -> None:
        """Define and boot it. OPERATION_NOT_ALLOWED while xl runs a domain of the same uuid, with the same disks."""
        entry = (self._census.fresh() or {}).get(vm.uuid)
        if entry is not None and entry.power_state in ALIVE:
            with translated(vm, connection=self._connection):
                domain = self._find(self._connection.handle, vm.uuid)
                if domain is None or not (domain.isActive() or self._working(domain)):
                    raise OperationNotAllowed(f"domain {entry.domid} runs with this uuid, and libvirt does not know it")
        super().start(vm, paused)

    def _boot(self, domain: libvirt.virDomain, *, paused: bool) -> None:
        """Boot it with all its disks, or leave it paused with an error: a guest must not run with less than it has."""
        root = xml_read.parse(domain.XMLDesc(DEFINITION))
        targets = [xml_read.target_of(disk) for disk in xml_read.disks(root) if served_by_qemu(disk)]
        begun = time.time()
        try:
            super()._boot(domain, paused=paused or bool(targets))
        except libvirt.libvirtError as error:
            if words := self._back_ends.last_words(domain.name(), begun):
                raise OperationNotAllowed(f"QEMU ended at once: {words}") from error
            raise
        if targets:
            self._back_ends.require_taken(domain.name(), domain.ID(), targets)
            if not paused:
                domain.resume()

    def _attach(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        super()._attach(domain, device)
        if device.tag == "disk" and served_by_qemu(device):
            try:
                self._back_ends.require_taken(domain.name(), domain.ID(), [xml_read.target_of(device)])
            except OperationNotAllowed:
                self._detach(domain, device)
                raise

    def _update(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        self._back_ends.require_drive(domain.ID(), xml_read.target_of(device))
        super()._update(domain, device)

    def _require(self, vm: VM, handle: libvirt.virConnect, expected: Sequence[PowerState]) -> libvirt.virDomain:
        self._align(vm.uuid, handle)
        return super()._require(vm, handle, expected)

    def _align(self, uuid: str, handle: libvirt.virConnect) -> None:
        """Have libvirt remember the state that xl has brought a domain into, so that it does what is asked of it.

        Xen counts how often a domain is paused. libvirt 9.0.0 does nothing to a domain that it believes to be in the
        wanted state already, and fails to resume one that runs ("Failed to resume domain '7' with libxenlight").
        """
        entry = self._census.last.get(uuid)
        domain = None if entry is None else self._find(handle, uuid)
        if entry is None or domain is None or self._remembered_well(domain, entry):
            return
        entry = (self._census.fresh() or {}).get(uuid)
        domain = self._find(handle, uuid)
        if entry is None or domain is None or self._remembered_well(domain, entry) or self._working(domain):
            return
        if entry.power_state is PowerState.PAUSED:
            domain.suspend()
            self._xl.unpause(entry.domid)
        else:
            self._xl.pause(entry.domid)
            domain.resume()

    def _remembered_well(self, domain: libvirt.virDomain, entry: XlDomain) -> bool:
        """Whether nothing is to be set right: it is off, another domain by now, asleep, or just as libvirt believes."""
        state = domain.state()[0]
        if state == libvirt.VIR_DOMAIN_PMSUSPENDED or entry.power_state not in ALIVE or domain.ID() != entry.domid:
            return True
        believed = self._state(domain)
        return believed not in ALIVE or believed is entry.power_state


def _agree(seen: SeenDomain, entry: XlDomain | None) -> bool:
    """Whether libvirt and xl, each asked at its own time, say the same of a domain, or cannot be compared."""
    if entry is None or entry.power_state not in ALIVE:
        # A domain that is gone, or shut down and not yet cleared away, libvirt notices by itself.
        return True
    if seen.power_state in ALIVE:
        return entry.domid != seen.domid or entry.power_state is seen.power_state
    return False
