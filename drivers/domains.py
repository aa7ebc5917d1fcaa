"""Virtual machines on any libvirt connection: what the agent's Domains port asks, in libvirt's calls.

Nothing is remembered here. Every answer is read anew, and an event only says that something changed: on Xen a reboot
arrives as STARTED and then STOPPED while the domain runs under a new number (libvirt 9.0.0), so a state machine fed
with events would end in a lie. Power states are looked at before a call, and again when libvirt refuses it, since its
codes do not tell. How a machine looks as XML is ``xml``'s business; what libvirt's test hypervisor lacks is
``simulator``'s.

Over the usual size: one class for one port, of which every method is a few lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from socket import socket

import libvirt
from lxml import etree

from agent.classes import DPCI, VBD, VIF, VM, VUSB, Console
from agent.classes.devices import place_of
from agent.classes.enums import ConsoleProtocol, DomainType, PowerState, VbdType
from agent.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceDetachRejected,
    HostNotEnoughFreeMemory,
    OperationNotAllowed,
    ValueNotSupported,
    VbdNotRemovableMedia,
    VMBadPowerState,
    VMFailedShutdownAcknowledgment,
)
from agent.ports import SeenDomain, SeenDump
from drivers import xml, xml_devices, xml_read
from drivers.connection import Connection
from drivers.consoles import TextConsole, connect_vnc
from drivers.dumps import NO_DUMPS, DumpFolder
from drivers.failures import translated
from drivers.kernels import NO_KERNELS, KernelFolder
from drivers.memories import NO_MEMORIES, MemoryFolder
from drivers.vcpus import pin_vcpu

log = logging.getLogger(__name__)

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
DEFINITION = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
"""What is to be at the next start, passwords included: a definition written back without them would lose them."""

ALIVE = (PowerState.RUNNING, PowerState.PAUSED)

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.HALTED,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.HALTED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.PAUSED,
}
_STATE_CODES = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INTERNAL_ERROR)
"""What a wrong power state is refused with: the first by the Xen driver, either by the test driver (libvirt 9.0.0)."""
_REFUSED_CODES = (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INTERNAL_ERROR)
_EXISTS_CODES = (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INVALID_ARG)
_KEY_ROWS = (("1234567890", 2), ("qwertyuiop", 16), ("asdfghjkl", 30), ("zxcvbnm", 44))
"""Linux' numbers of the keys, a row of the keyboard each."""
_KEY_ALT, _KEY_SYSRQ = 56, 99
_KEY_HOLD_MILLISECONDS = 100


class LibvirtDomains:
    """The port ``agent.ports.Domains``."""

    def __init__(
        self,
        connection: Connection,
        *,
        kernel_folders: Sequence[str] = xml.KERNEL_FOLDERS,
        dumps: DumpFolder = NO_DUMPS,
        images: KernelFolder = NO_KERNELS,
        memories: MemoryFolder = NO_MEMORIES,
    ) -> None:
        self._connection = connection
        self._kernel_folders = (*kernel_folders, *images.folders)
        self._images = images
        self._dumps = dumps
        self._memories = memories
        self._watchers: list[Callable[[str | None], None]] = []
        self._crash_watchers: list[Callable[[str], None]] = []
        self._registrations: list[int] = []
        self._open_consoles: set[TextConsole] = set()
        connection.on_connect(self._register)
        connection.on_close(self._deregister)

    # --- seeing

    def watch(self, changed: Callable[[str | None], None], crashed: Callable[[str], None] | None = None) -> None:
        """Call `changed` with the uuid of every domain that changed, and with None after each reconnect; `crashed` with
        that of one whose guest crashed.
        """
        self._watchers.append(changed)
        if crashed is not None:
            self._crash_watchers.append(crashed)

    def list(self) -> Sequence[SeenDomain]:
        """All domains, the control domain included."""
        with translated(connection=self._connection):
            found = [self._see(domain) for domain in self._connection.handle.listAllDomains()]
        return [seen for seen in found if seen is not None]

    def look(self, uuid: str) -> SeenDomain | None:
        """One domain as it is now; None if there is none."""
        with translated(connection=self._connection):
            domain = self._find(self._connection.handle, uuid)
            return None if domain is None else self._see(domain)

    def _see(self, domain: libvirt.virDomain) -> SeenDomain | None:
        try:
            tree = self._tree(domain)
            # Only an active domain has a number. That spares two calls a domain where there are hundreds.
            active = tree.get("id") is not None
            persistent = not active or bool(domain.isPersistent())
            state = self._state(domain, active)
            seen = xml_read.read(tree, state, persistent=persistent)
            return replace(seen, in_transition=True) if state not in ALIVE and self._working(domain) else seen
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _tree(self, domain: libvirt.virDomain) -> etree._Element:
        """The domain as it runs, or as it is defined if it does not."""
        return xml_read.parse(domain.XMLDesc(0))

    def _state(self, domain: libvirt.virDomain | None, active: bool | None = None) -> PowerState:
        if domain is None:
            return PowerState.HALTED
        state = _STATES.get(domain.state()[0], PowerState.UNKNOWN)
        if state is PowerState.HALTED:
            # Shut off and active is a crashed domain that is kept for its admin, or one that is rebooting.
            active = bool(domain.isActive()) if active is None else active
            # Of a file that was put there while libvirt ran, the Xen driver (9.0.0) tells nothing; its start knows it.
            if not active and (domain.hasManagedSaveImage() or self._memories.saved(domain.name()) is not None):
                return PowerState.SUSPENDED
        return state

    def _working(self, domain: libvirt.virDomain) -> bool:
        """Whether the hypervisor is at work on the domain.

        While a guest reboots the Xen driver (libvirt 9.0.0) says that it is shut off, for ten seconds and more and for
        a part of it without a number; the events come at the end. The job that it does meanwhile is all there is to
        tell that from a halted machine.
        """
        try:
            return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_INVALID):
                return False
            raise

    def _kept(self, domain: libvirt.virDomain) -> bool:
        """Whether it is a crashed domain that ``preserve`` keeps for whoever looks at it, until the machine goes on."""
        return bool(domain.isActive()) and self._state(domain, True) is PowerState.HALTED and not self._working(domain)

    @staticmethod
    def _find(handle: libvirt.virConnect, uuid: str) -> libvirt.virDomain | None:
        # Looked up for every call: the number that a virDomain knows is that of its look-up (libvirt 9.0.0).
        try:
            return handle.lookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    # --- events

    def _register(self, handle: libvirt.virConnect) -> None:
        # These are the two that the Xen driver ever sends (libvirt 9.0.0); it takes registrations for all others.
        self._registrations = [
            handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None),
            handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, self._metadata, None),
        ]
        self._tell(None)

    def _deregister(self, handle: libvirt.virConnect) -> None:
        registrations, self._registrations = self._registrations, []
        for registration in registrations:
            with suppress(libvirt.libvirtError):
                handle.domainEventDeregisterAny(registration)
        for console in list(self._open_consoles):
            console.end()

    def _lifecycle(
        self, handle: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, opaque: object
    ) -> None:
        uuid = domain.UUIDString()
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED:
            for crashed in self._crash_watchers:
                crashed(uuid)
        self._tell(uuid)

    def _metadata(
        self, handle: libvirt.virConnect, domain: libvirt.virDomain, kind: int, uri: str, opaque: object
    ) -> None:
        self._tell(domain.UUIDString())

    def _tell(self, uuid: str | None) -> None:
        for changed in self._watchers:
            changed(uuid)

    # --- definitions

    def check(self, vm: VM) -> None:
        """VALUE_NOT_SUPPORTED, INVALID_DEVICE or another error of a value that Xen could not realise."""
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            if domain is None:
                root = xml.build(vm, xml.safe_name(vm), kernel_folders=self._kernel_folders)
            else:
                root, _ = self._merged(vm, domain)
        xml_devices.require_no_tpm(vm, root)

    def _merged(self, vm: VM, domain: libvirt.virDomain) -> tuple[etree._Element, bool]:
        """The definition as the machine wants it, and whether that is another than it has."""
        existing = xml_read.parse(domain.XMLDesc(DEFINITION))
        merged = xml.merge(vm, existing, self._bridge_of, kernel_folders=self._kernel_folders)
        return merged, not xml.same(existing, merged)

    def define(self, vm: VM) -> None:
        """Make the persistent definition what the machine's fields and devices say; what they do not say stays."""
        with translated(vm, connection=self._connection):
            handle = self._connection.handle
            domain = self._find(handle, vm.uuid)
            if domain is None:
                self._define_new(handle, vm)
                return
            merged, changed = self._merged(vm, domain)
            if changed or not domain.isPersistent():
                handle.defineXML(_text(merged))
            if domain.isActive():
                self._retitle(domain, merged)

    def _retitle(self, domain: libvirt.virDomain, definition: etree._Element) -> None:
        """Title and description are the only parts of a definition that a running domain takes over at once."""
        live = self._tree(domain)
        for tag, kind in (
            ("title", libvirt.VIR_DOMAIN_METADATA_TITLE),
            ("description", libvirt.VIR_DOMAIN_METADATA_DESCRIPTION),
        ):
            if live.findtext(tag) == definition.findtext(tag):
                continue
            try:
                domain.setMetadata(kind, definition.findtext(tag), None, None, LIVE)
            except libvirt.libvirtError:
                # One that stopped since has its new title from the definition.
                if domain.isActive():
                    raise

    def _define_new(self, handle: libvirt.virConnect, vm: VM) -> None:
        plain = xml.safe_name(vm)
        unique = plain if plain.endswith(vm.uuid[:8]) else f"{plain}-{vm.uuid[:8]}"
        try:
            handle.lookupByName(plain)
            name = unique
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            name = plain
        root = xml.build(vm, name, kernel_folders=self._kernel_folders)
        try:
            handle.defineXML(_text(root))
        except libvirt.libvirtError as error:
            # Somebody took the name since: 9 "domain 'x' already exists with uuid ..." (libvirt 9.0.0).
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_FAILED or name == unique:
                raise
            root.find("name").text = unique  # type: ignore[union-attr]
            handle.defineXML(_text(root))

    def _bridge_of(self, nic: etree._Element) -> str:
        """The bridge of a card in a definition; where it names a libvirt network instead, that network's."""
        seen = xml_read.see_nic(nic)
        if seen.bridge or not seen.network:
            return seen.bridge
        try:
            return str(self._connection.handle.networkLookupByName(seen.network).bridgeName())
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_INTERNAL_ERROR):
                return ""
            raise

    def undefine(self, vm: VM) -> None:
        """Forget the definition and a saved image. A machine that is not defined is no error."""
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            if domain is None:
                return
            if self._kept(domain):
                domain.destroy()
            if domain.isActive():
                # libvirt would do it, and the domain would be gone without a trace at its next shutdown.
                raise VMBadPowerState(vm, "halted", _word(self._state(domain)))
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)

    # --- power

    @contextmanager
    def _acting(
        self, vm: VM, *expected: PowerState, long: bool = False, subject: object = None, **what: object
    ) -> Iterator[libvirt.virDomain]:
        """The machine's domain, for one call; VM_BAD_POWER_STATE unless it is in one of the states `expected`."""
        turn = self._connection.long() if long else nullcontext()
        with turn, translated(subject or vm, connection=self._connection, **what):
            handle = self._connection.handle
            domain = self._require(vm, handle, expected)
            try:
                yield domain
            except libvirt.libvirtError as error:
                if error.get_error_code() in _STATE_CODES:
                    self._require(vm, handle, expected)
                raise

    def _require(self, vm: VM, handle: libvirt.virConnect, expected: Sequence[PowerState]) -> libvirt.virDomain:
        domain = self._find(handle, vm.uuid)
        state = self._state(domain)
        if domain is None or state not in expected:
            raise VMBadPowerState(vm, ", ".join(map(_word, expected)), _word(state))
        return domain

    def start(self, vm: VM, paused: bool) -> None:
        """Define and boot it; with `paused`, its first instruction waits for unpause."""
        _, cap = xml.scheduling(vm)
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            state = self._state(domain)
            if state is not PowerState.HALTED:
                raise VMBadPowerState(vm, "halted", _word(state))
            if domain is not None and self._kept(domain):
                domain.destroy()
        self.define(vm)
        with self._acting(vm, PowerState.HALTED, long=True) as domain:
            xml_devices.require_no_tpm(vm, xml_read.parse(domain.XMLDesc(DEFINITION)))
            try:
                self._boot(domain, paused=paused or cap is not None)
            except libvirt.libvirtError as error:
                self._explain_failed_start(vm, domain, error)
                raise
            except OperationNotAllowed:
                if domain.isActive():
                    domain.destroy()
                raise
        try:
            self._limit(vm, paused=paused)
        except BaseException:
            # Started without the limit it must have: it has run nothing yet, so it never was.
            with suppress(VMBadPowerState):
                self.destroy(vm)
            raise

    def _limit(self, vm: VM, *, paused: bool) -> None:
        """Give a machine that was booted paused for it the cap, which has no place in a definition, and let it run."""
        weight, cap = xml.scheduling(vm)
        if cap is not None:
            self.set_scheduler(vm, weight, cap)
            if not paused:
                self.unpause(vm)

    def _boot(self, domain: libvirt.virDomain, *, paused: bool) -> None:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)

    def _explain_failed_start(self, vm: VM, domain: libvirt.virDomain, error: libvirt.libvirtError) -> None:
        """VM_BAD_POWER_STATE, HOST_NOT_ENOUGH_FREE_MEMORY or OPERATION_NOT_ALLOWED where that is the reason.

        libvirt 9.0.0 on Xen says 55 "Domain is already running" while a guest reboots, when its state reads as shut
        off, and 1 "libxenlight failed to create new domain" for all else, with the reason in a log of its own. Only
        where it fails before Xen is asked, it tells: 55 "PCI device 0000:00:10.0 is in use by driver xenlight, domain
        x", and 1 "Unable to reset PCI device 0000:00:1f.3: no FLR, PM reset or bus reset available".
        """
        if vm.DPCIs and "PCI device" in (error.get_error_message() or ""):
            raise OperationNotAllowed(error.get_error_message()) from error
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            raise VMBadPowerState(vm, "halted", "running") from error
        if error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR:
            needed = vm.memory_dynamic_max or vm.memory_static_max
            free = self._connection.handle.getFreeMemory()
            if 0 < free < needed:
                raise HostNotEnoughFreeMemory(needed, free) from error

    def pause(self, vm: VM) -> None:
        """Stop its CPUs."""
        with self._acting(vm, PowerState.RUNNING) as domain:
            domain.suspend()

    def unpause(self, vm: VM) -> None:
        """Let its CPUs go on."""
        with self._acting(vm, PowerState.PAUSED) as domain:
            if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
                domain.pMWakeup(0)
            else:
                domain.resume()

    def shutdown(self, vm: VM) -> None:
        """Ask the guest to shut down, by its Xen drivers or else by its power button. Returns when it was asked."""
        with self._acting(vm, PowerState.RUNNING, long=True) as domain, self._asking(vm, domain):
            domain.shutdownFlags(0)

    def reboot(self, vm: VM) -> None:
        """Ask the guest to reboot. Returns when it was asked. OPERATION_NOT_ALLOWED for one without Xen drivers."""
        with self._acting(vm, PowerState.RUNNING, long=True) as domain, self._asking(vm, domain):
            try:
                domain.reboot(0)
            except libvirt.libvirtError as error:
                hvm = xml.domain_type_of(vm) is DomainType.HVM
                if hvm and error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and domain.isActive():
                    # Such a guest has a power button, but none to reboot with.
                    reason = "a guest without Xen drivers cannot be asked to reboot: shut it down and start it"
                    raise OperationNotAllowed(reason) from error
                raise

    @contextmanager
    def _asking(self, vm: VM, domain: libvirt.virDomain) -> Iterator[None]:
        """VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT where the guest does not take what it is asked.

        libxl waits a minute for that; then libvirt 9.0.0 says 1 "Failed to shutdown domain '7' with libxenlight".
        """
        try:
            yield
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and self._state(domain) is PowerState.RUNNING:
                raise VMFailedShutdownAcknowledgment(vm) from error
            raise

    def destroy(self, vm: VM) -> None:
        """Pull the plug. A suspended machine loses what it saved."""
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            state = self._state(domain)
            if domain is not None and state is PowerState.SUSPENDED:
                domain.managedSaveRemove(0)
                return
            # A crashed domain that is kept for its admin is shut off and yet there; so is one that is rebooting, which
            # for most of that has no number. libvirt ends what comes of it.
            if domain is None or not (domain.isActive() or self._working(domain)):
                raise VMBadPowerState(vm, "running, paused, suspended", _word(state))
            domain.destroy()

    def suspend(self, vm: VM) -> None:
        """Save memory and devices to disk and stop. OPERATION_NOT_ALLOWED where that fails, and it runs on."""
        with self._acting(vm, PowerState.RUNNING, long=True) as domain:
            try:
                domain.managedSave(0)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR or not domain.isActive():
                    raise
                # libvirt (9.0.0) leaves what it wrote until then, and would try to go on from that.
                if self._memories.saved(domain.name()) is not None:
                    domain.managedSaveRemove(0)
                raise OperationNotAllowed(f"the guest cannot be suspended: {error.get_error_message()}") from error

    def resume(self, vm: VM, paused: bool) -> None:
        """Go on from what suspend saved. Where its cap cannot be set the machine stays paused, with nothing lost."""
        _, cap = xml.scheduling(vm)
        with (
            self._acting(vm, PowerState.SUSPENDED, long=True) as domain,
            self._memories.spared(domain.name(), lambda: _is_off(domain)),
        ):
            self._boot(domain, paused=paused or cap is not None)
        self._limit(vm, paused=paused)

    # --- snapshots with memory

    def save_memory(self, vm: VM, snapshot: str) -> None:
        """Suspend the running machine, and keep what it saved as the memory of a snapshot."""
        self._memories.begin(snapshot, vm.uuid)
        self.suspend(vm)
        with self._acting(vm, PowerState.SUSPENDED, long=True) as domain:
            saved = self._memories.saved(domain.name())
            if saved is None:
                raise OperationNotAllowed("libvirt keeps the memory of this machine where nobody finds it")
            self._memories.keep(snapshot, saved)

    def settle_memory(self, snapshot: str) -> None:
        """The snapshot is made, and the machine goes on."""
        self._memories.settle(snapshot)

    def drop_memory(self, snapshot: str) -> None:
        """Delete the memory of a snapshot."""
        self._memories.drop(snapshot)

    def ready_memory(self, vm: VM, snapshot: str, vbds: Sequence[VBD]) -> None:
        """Make what the machine is to go on from: the memory of a snapshot, with these disks."""
        self.define(vm)
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            name = vm.uuid if domain is None else domain.name()
        self._memories.make_ready(snapshot, vm.uuid, name, vbds)

    def put_memory(self, vm: VM) -> None:
        """Make the halted machine one that is suspended, with what was made ready for it."""
        with self._acting(vm, PowerState.HALTED) as domain:
            self._memories.put(vm.uuid, domain.name())

    def drop_ready_memory(self, vm: VM) -> None:
        """Delete what was made ready for the machine."""
        self._memories.drop_ready(vm.uuid)

    def recover_memories(self, find: Callable[[str], VM | None]) -> Collection[str]:
        """Undo or finish what an earlier run left half done. Returns the snapshots that have a memory."""
        for snapshot, machine in self._memories.begun().items():
            vm = find(machine)
            with translated(vm, connection=self._connection):
                state = self._state(self._find(self._connection.handle, machine))
            if vm is not None and vm.held_still and state is PowerState.SUSPENDED:
                log.warning("%r was saved for a snapshot when the agent ended: it goes on", vm)
                self.resume(vm, False)
            self._memories.settle(snapshot)
        for machine in self._memories.waiting():
            vm = find(machine)
            if vm is not None and self._fits(vm):
                self.put_memory(vm)
            self._memories.drop_ready(machine)
        kept = set()
        for snapshot in self._memories.kept():
            vm = find(snapshot)
            if vm is not None and vm.is_a_snapshot:
                kept.add(snapshot)
            else:
                self._memories.drop(snapshot)
        return kept

    def _fits(self, vm: VM) -> bool:
        """Whether what was made ready for a halted machine has the disks that the machine has."""
        with translated(vm, connection=self._connection):
            domain = self._find(self._connection.handle, vm.uuid)
            if domain is None or self._state(domain) is not PowerState.HALTED:
                return False
        places = {place_of(xml.device_name(vbd)): vbd.VDI for vbd in vm.VBDs}
        for target, source in self._memories.sources(vm.uuid).items():
            vdi = places.get(place_of(target))
            if source != ("" if vdi is None else vdi.location):
                return False
        return True

    # --- devices of a running machine

    def plug_vbd(self, vbd: VBD) -> None:
        """Give the running machine the disk."""
        if vbd.type is VbdType.CD and xml.domain_type_of(vbd.VM) is DomainType.HVM:
            raise ValueNotSupported(
                "type", vbd.type, "Xen plugs no CD drive into a running HVM guest; its media it does"
            )
        disk = xml.disk_element(vbd)
        with self._acting(vbd.VM, *ALIVE, long=True, subject=vbd, field="VDI", value=vbd.VDI) as domain:
            self._give(domain, disk, vbd, lambda: self._live_disk(domain, vbd))

    def unplug_vbd(self, vbd: VBD) -> None:
        """Take the disk from the running machine. DEVICE_DETACH_REJECTED if the guest keeps it."""
        with self._acting(vbd.VM, *ALIVE, long=True, subject=vbd, field="userdevice", value=vbd.userdevice) as domain:
            disk = self._live_disk(domain, vbd)
            if disk is None:
                raise DeviceAlreadyDetached(vbd)
            if disk.get("device") == "cdrom":
                raise ValueNotSupported(
                    "type", vbd.type, "Xen unplugs no CD drive from a running guest; eject its medium"
                )
            self._take(domain, disk, vbd)

    def change_medium(self, vbd: VBD) -> None:
        """Make the medium of the running machine's drive what ``vbd.VDI`` says; null ejects.

        A guest that is not HVM has no drives: for it the disk itself comes and goes with the medium.
        """
        if vbd.type is not VbdType.CD:
            raise VbdNotRemovableMedia(vbd)
        absent = xml_devices.is_absent(vbd)
        new = None if absent else xml.disk_element(vbd)
        with self._acting(vbd.VM, *ALIVE, long=True, subject=vbd, field="VDI", value=vbd.VDI or "") as domain:
            old = self._live_disk(domain, vbd)
            if xml.domain_type_of(vbd.VM) is DomainType.HVM:
                if old is None or new is None:
                    raise DeviceAlreadyDetached(vbd)
                self._update(domain, new)
                return
            if old is not None:
                self._take(domain, old, vbd)
            if new is not None:
                self._attach(domain, new)

    def plug_vif(self, vif: VIF) -> None:
        """Give the running machine the card."""
        nic = xml.nic_element(vif)
        with self._acting(vif.VM, *ALIVE, long=True, subject=vif, field="MAC", value=vif.MAC) as domain:
            self._give(domain, nic, vif, lambda: self._live_nic(domain, vif))

    def unplug_vif(self, vif: VIF) -> None:
        """Take the card from the running machine."""
        with self._acting(vif.VM, *ALIVE, long=True, subject=vif, field="MAC", value=vif.MAC) as domain:
            nic = self._live_nic(domain, vif)
            if nic is None:
                raise DeviceAlreadyDetached(vif)
            self._take(domain, nic, vif)

    def plug_pci(self, dpci: DPCI) -> None:
        """Give the running machine the device of the host. OPERATION_NOT_ALLOWED where Xen or libvirt cannot."""
        self._plug_host_device(dpci, xml_devices.pci_element(dpci), "PPCI", dpci.PPCI.name)

    def unplug_pci(self, dpci: DPCI) -> None:
        """Take the device of the host from the running machine."""
        self._unplug_host_device(dpci, "PPCI", dpci.PPCI.name)

    def plug_usb(self, vusb: VUSB) -> None:
        """Give the running machine the device of the host. OPERATION_NOT_ALLOWED where Xen or libvirt cannot."""
        self._plug_host_device(vusb, xml_devices.usb_element(vusb), "USB_group", vusb.device)

    def unplug_usb(self, vusb: VUSB) -> None:
        """Take the device of the host from the running machine."""
        self._unplug_host_device(vusb, "USB_group", vusb.device)

    def _plug_host_device(self, owner: DPCI | VUSB, device: etree._Element, field: str, name: str) -> None:
        with self._acting(owner.VM, *ALIVE, long=True, subject=owner, field=field, value=name) as domain:
            try:
                self._give(domain, device, owner, lambda: self._live_host_device(domain, name))
            except libvirt.libvirtError as error:
                if error.get_error_code() in _REFUSED_CODES and domain.isActive():
                    raise OperationNotAllowed(f"{name}: {error.get_error_message()}") from error
                raise

    def _unplug_host_device(self, owner: DPCI | VUSB, field: str, name: str) -> None:
        with self._acting(owner.VM, *ALIVE, long=True, subject=owner, field=field, value=name) as domain:
            hostdev = self._live_host_device(domain, name)
            if hostdev is None:
                raise DeviceAlreadyDetached(owner)
            self._take(domain, hostdev, owner)

    def _live_host_device(self, domain: libvirt.virDomain, name: str) -> etree._Element | None:
        devices = self._tree(domain).iterfind("devices/hostdev")
        return next((hostdev for hostdev in devices if xml_read.host_device_of(hostdev) == name), None)

    def _live_disk(self, domain: libvirt.virDomain, vbd: VBD) -> etree._Element | None:
        target = xml.device_name(vbd)
        return next((disk for disk in xml_read.disks(self._tree(domain)) if xml_read.target_of(disk) == target), None)

    def _live_nic(self, domain: libvirt.virDomain, vif: VIF) -> etree._Element | None:
        mac = xml_devices.mac_address(vif)
        return next((nic for nic in xml_read.interfaces(self._tree(domain)) if xml_read.mac_of(nic) == mac), None)

    def _give(
        self,
        domain: libvirt.virDomain,
        device: etree._Element,
        owner: VBD | VIF | DPCI | VUSB,
        present: Callable[[], etree._Element | None],
    ) -> None:
        if present() is not None:
            raise DeviceAlreadyAttached(owner)
        try:
            self._attach(domain, device)
        except libvirt.libvirtError as error:
            # Xen driver, libvirt 9.0.0: for a disk 9 "target xvdb already exists", for a card 8 "network device ...".
            if error.get_error_code() in _EXISTS_CODES and present() is not None:
                raise DeviceAlreadyAttached(owner) from error
            raise

    def _take(self, domain: libvirt.virDomain, device: etree._Element, owner: VBD | VIF | DPCI | VUSB) -> None:
        try:
            self._detach(domain, device)
        except libvirt.libvirtError as error:
            if error.get_error_code() in _REFUSED_CODES and domain.isActive():
                raise DeviceDetachRejected(owner.wire_name, owner, error.get_error_message() or "") from error
            raise

    def _attach(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        try:
            domain.attachDeviceFlags(_text(device), LIVE)
        except libvirt.libvirtError as error:
            # Xen driver, libvirt 9.0.0: 1 "libxenlight failed to attach disk 'xvdb'".
            file = device.tag == "disk" and device.find("driver[@name='qemu']") is not None
            if file and error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and domain.isActive():
                why = "it takes QEMU, which Xen does not run for a PV or PVH guest that began without such a disk"
                raise OperationNotAllowed(f"{error.get_error_message()}: {why}") from error
            raise

    def _detach(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        domain.detachDeviceFlags(_text(device), LIVE)

    def _update(self, domain: libvirt.virDomain, device: etree._Element) -> None:
        domain.updateDeviceFlags(_text(device), LIVE)

    # --- consoles

    def open_console(self, console: Console) -> socket:
        """Connect to a console, as the hypervisor has it now."""
        with self._acting(console.VM, *ALIVE) as domain:
            places = [
                seen.location for seen in xml_read.consoles_of(self._tree(domain)) if seen.protocol == console.protocol
            ]
            if console.endpoint not in places:
                raise OperationNotAllowed("the machine has this console no more")
            if console.protocol is ConsoleProtocol.RFB:
                if not self._connection.local:
                    raise OperationNotAllowed(f"the VNC server at {console.endpoint} is on another host")
                return connect_vnc(console.endpoint)
            if console.endpoint != places[0]:
                raise OperationNotAllowed("of several text consoles libvirt opens the first only")
            return self._open_text(domain.UUIDString())

    def _open_text(self, uuid: str) -> socket:
        # What comes is read in libvirt's event thread, so the connection is nobody else's.
        handle = self._connection.another()
        stream = handle.newStream(libvirt.VIR_STREAM_NONBLOCK)
        try:
            handle.lookupByUUIDString(uuid).openConsole(None, stream, 0)
        except libvirt.libvirtError as error:
            # libvirt 9.0.0 says 9 "Active console session exists for this domain", whoever has it.
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED:
                raise OperationNotAllowed(f"somebody has this console: {error.get_error_message()}") from error
            raise
        opened = TextConsole(stream, self._open_consoles.discard)
        self._open_consoles.add(opened)
        try:
            opened.start()
        except libvirt.libvirtError:
            opened.end()
            opened.client.close()
            raise
        return opened.client

    # --- kernels that clients sent

    def keep_image(self, data: bytes) -> str:
        """Keep a kernel or ramdisk as a file. Returns its path."""
        return self._images.keep(data)

    def drop_images(self, kept: Collection[str]) -> None:
        """Remove what was kept, but for these paths and for what has just come."""
        self._images.drop_all_but(kept)

    # --- what crashed guests leave

    def crash_dumps(self) -> Sequence[SeenDump]:
        """The memory dumps that crashed guests left, those aside that are being written.

        libvirt 9.0.0 names a file for the domain, and says that the domain is shut off, and active, until the file is
        written to its end: two thirds of a minute for 128 MiB in the emulated host.
        """
        found = []
        for file in self._dumps.files():
            with translated(connection=self._connection):
                try:
                    domain = self._connection.handle.lookupByName(file.domain)
                    if domain.isActive() and self._state(domain, True) not in ALIVE:
                        continue
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                        raise
                    continue
            found.append(SeenDump(str(file.path), domain.UUIDString(), file.when, file.size, file.allocation))
        return found

    def remove_crash_dump(self, location: str) -> None:
        """Delete the file of a dump. One that is gone is no error."""
        self._dumps.remove(location)

    # --- sizes and signals of a running machine

    def set_vcpus(self, vm: VM, number: int) -> None:
        """Change the number of CPUs of the running machine."""
        with self._acting(vm, *ALIVE, field="VCPUs_number", value=number) as domain:
            _, before = xml_read.vcpus_of(self._tree(domain))
            domain.setVcpusFlags(number, LIVE)
            if number > before and (mask := vm.VCPUs_params.get("mask")) is not None:
                # libvirt's driver (9.0.0) pins those that are there when the machine starts.
                self._pin(domain, range(before, number), mask)

    def set_memory(self, vm: VM, target: int) -> None:
        """Change the memory of the running machine, in bytes."""
        with self._acting(vm, *ALIVE, field="memory_target", value=target) as domain:
            domain.setMemoryFlags(-(-target // xml_read.KIB), LIVE)

    def set_scheduler(self, vm: VM, weight: int | None, cap: int | None) -> None:
        """Change the running machine's share of the processors."""
        wanted = {name: value for name, value in (("weight", weight), ("cap", cap)) if value is not None}
        if not wanted:
            return
        with self._acting(vm, *ALIVE, field="VCPUs_params", value=wanted) as domain:
            try:
                domain.setSchedulerParameters(wanted)
            except LookupError as error:
                # libvirt-python 12.8.0 itself, for a parameter that the host's scheduler does not list.
                raise ValueNotSupported("VCPUs_params", wanted, f"the host's scheduler: {error}") from error

    def pin_vcpus(self, vm: VM, mask: str) -> None:
        """Let all virtual CPUs of the running machine run on the processors of a list such as ``0,2-3`` only."""
        with self._acting(vm, *ALIVE, field="VCPUs_params:mask", value=mask) as domain:
            self._pin(domain, range(xml_read.vcpus_of(self._tree(domain))[1]), mask)

    def _pin(self, domain: libvirt.virDomain, vcpus: Iterable[int], mask: str) -> None:
        cpus = xml.cpus_of(mask)
        there = self._connection.handle.getInfo()[2]
        if min(cpus) >= there:
            raise ValueNotSupported("VCPUs_params:mask", mask, f"the host has processors 0 to {there - 1}")
        for number in vcpus:
            pin_vcpu(domain, number, cpus)

    def send_sysrq(self, vm: VM, key: str) -> None:
        """Send a magic key to the guest's kernel. VALUE_NOT_SUPPORTED where the hypervisor's library has no way to."""
        codes = [first + row.index(key) for row, first in _KEY_ROWS if len(key) == 1 and key in row]
        if not codes:
            raise ValueNotSupported("key", key, "it is one small letter or digit")
        with self._acting(vm, PowerState.RUNNING, field="key", value=key) as domain:
            keys = [_KEY_ALT, _KEY_SYSRQ, *codes]
            domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, _KEY_HOLD_MILLISECONDS, keys, len(keys), 0)

    def send_trigger(self, vm: VM, trigger: str) -> None:
        """Send ``nmi`` or ``reset``. VALUE_NOT_SUPPORTED where the hypervisor's library has no way to."""
        if trigger not in ("nmi", "reset"):
            raise ValueNotSupported("trigger", trigger, "libvirt has nmi and reset")
        with self._acting(vm, PowerState.RUNNING, field="trigger", value=trigger) as domain:
            if trigger == "nmi":
                domain.injectNMI(0)
            else:
                domain.reset(0)


def _text(root: etree._Element) -> str:
    return etree.tostring(root, encoding="unicode")


def _word(state: PowerState) -> str:
    return state.value.lower()


def _is_off(domain: libvirt.virDomain) -> bool | None:
    """None where libvirt does not tell."""
    try:
        return not domain.isActive()
    except libvirt.libvirtError:
        return None
