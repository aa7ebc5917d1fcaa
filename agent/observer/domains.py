"""Domains become machines: their state, their devices and consoles as the hypervisor has them now.

A domain nobody here made is adopted whole. What a client asked for stays as asked; only of a machine that was adopted
and never changed through the API the configuration follows the hypervisor's too.

Over the usual size: one class that looks at one machine, a few lines for each kind of thing that it has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.classes import (
    DPCI,
    PCI,
    VBD,
    VDI,
    VIF,
    VM,
    Host,
    Network,
    VBDMetrics,
    VIFMetrics,
    VMGuestMetrics,
    VMMetrics,
)
from agent.classes.devices import number_of, place_of
from agent.classes.enums import DomainType, PowerState, Tristate, VbdMode, VbdType, VdiType, VmOperation
from agent.classes.lifecycle import kind_of
from agent.errors import InternalError
from agent.observer import consoles, loops, usb
from agent.observer.devices import ppci_at
from agent.observer.notices import tell_of_machine
from agent.observer.storage import outside_sr
from agent.ports import GuestReading, SeenDisk, SeenDomain, SeenNic
from agent.store.store import Store

log = logging.getLogger(__name__)
SLICE = 50
"""Domains noted in one transaction at the start."""
LIVE = (PowerState.RUNNING, PowerState.PAUSED)
COPYING = frozenset({VmOperation.SNAPSHOT, VmOperation.CHECKPOINT})
COMPARED = frozenset(
    {"name_label", "name_description", "VCPUs_max", "VCPUs_at_startup", "memory_static_max", "PV_args"}
    | {"actions_after_shutdown", "actions_after_reboot", "actions_after_crash"}
)
"""What a definition says of a machine in the very words of its fields. A name is read without what is no text in it
(U+2028, say): such a machine's definition is looked at more closely at each start, and left as it is.
"""


def differs(store: Store, seen: SeenDomain) -> bool:
    """Whether the store does not know this domain as it was just seen, at a cheap look."""
    vm = store.known(VM, seen.uuid)
    if vm is None or vm.power_state is not seen.power_state or vm.domid != _domid(seen):
        return True
    if vm.foreign != seen.foreign or not _tells_the_same(vm.guest_metrics, seen.guest):
        return True
    live = seen.power_state in LIVE
    if vm.metrics is not None and live and not loops.is_noted(vm.metrics, seen.domid):
        return True  # what is to be kept of its start could not be
    if vm.started_here and vm.power_state is PowerState.HALTED and not seen.in_transition:
        return True
    attached = {(_place(vbd), vbd.device) for vbd in vm.VBDs if vbd.currently_attached}
    plugged = {vif.MAC.lower() for vif in vm.VIFs if vif.currently_attached}
    if live and (
        attached != {(place_of(disk.target), disk.target) for disk in seen.disks}
        or plugged != {nic.MAC.lower() for nic in seen.nics}
    ):
        return True
    if {vusb.device for vusb in vm.VUSBs if vusb.currently_attached} != _usb_of(vm, seen):
        return True
    given = {dpci.PPCI.name for dpci in vm.DPCIs}
    if live and not given.issuperset(seen.pci):
        return True
    if vm.ours:
        return False
    wanted = {**_settings(seen), "memory_static_min": min(vm.memory_static_min, seen.memory or seen.memory_max)}
    media = {(vbd.device, vbd.VDI.location if vbd.VDI is not None else "") for vbd in vm.VBDs}
    return (
        any(vm.__dict__[name] != value for name, value in wanted.items())
        or media != {(disk.target, disk.source) for disk in seen.disks}
        or {vif.MAC for vif in vm.VIFs} != {nic.MAC for nic in seen.nics}
        or given != set(seen.pci)
    )


def behind(store: Store, seen: Mapping[str, SeenDomain]) -> list[VM]:
    """Our machines that are off, and whose definition does not say what their fields do: an earlier run of the agent
    ended before it could follow. What cannot be told from a definition for certain is not compared.
    """
    found = []
    for vm in store.all(VM):
        domain = seen.get(vm.uuid)
        if domain is None or not vm.ours or vm.is_control_domain or domain.power_state is not PowerState.HALTED:
            continue
        said = {name: value for name, value in _settings(domain).items() if name in COMPARED}
        media = {(_place(vbd), _medium(vbd)) for vbd in vm.VBDs}
        cards = {(vif.MAC.lower(), vif.network.bridge) for vif in vm.VIFs}
        if (
            domain.domain_type is not kind_of(vm)
            or any(vm.__dict__[name] != value for name, value in said.items())
            or media != {(place_of(disk.target), disk.source) for disk in domain.disks}
            or cards != {(nic.MAC.lower(), nic.bridge) for nic in domain.nics}
        ):
            found.append(vm)
    return found


def note(
    store: Store, host: Host, uuid: str, seen: SeenDomain | None, *, rapid_seconds: int, telling: bool = True
) -> VM | None:
    """Make the machine what was seen; None is a domain that is gone, which is a machine that is halted. What became of
    a machine that is known is told to admins, unless it is looked at for the first time. A machine that has come back
    within `rapid_seconds` of its start is counted.

    Returns the machine if it runs as another domain than before: it was started or has rebooted.
    """
    with store.transaction():
        vm = store.known(VM, uuid)
        if seen is None:
            if vm is None:
                return None
            was, before = vm.power_state, -1
            _halt(store, vm)
        elif seen.in_transition and vm is not None and vm.power_state in LIVE:
            # A guest that reboots has no domain for seconds. It is not halted, and its next change is told.
            return None
        else:
            was = seen.power_state if vm is None or not telling else vm.power_state
            if vm is None:
                vm = _adopt(store, seen)
                if vm.is_control_domain:
                    host.control_domain = vm
            elif not vm.ours:
                _configure(vm, seen)
            vm.foreign = seen.foreign
            before = vm.domid
            _devices(store, vm, seen)
            _passthrough(store, host, vm, seen)
            _state(store, host, vm, seen)
    _keep(store, vm, seen, rapid_seconds)
    _tell(store, vm, was, before if telling else -1)
    return vm if vm.domid not in (-1, before) else None


def _tell(store: Store, vm: VM, was: PowerState, domid_before: int) -> None:
    """Write the message of what became of a machine. One that the journal cannot take now is lost."""
    try:
        with store.transaction():
            tell_of_machine(store, vm, was, domid_before)
    except InternalError as error:
        log.warning("what became of %r cannot be told now: %s", vm, error)


def _keep(store: Store, vm: VM, seen: SeenDomain | None, rapid_seconds: int) -> None:
    """What the journal keeps of a machine: when and how often it was started, the names that its disks run under, and
    once it is off, that nobody started it; and that it goes on, where it stood still for a snapshot that has ended.

    A journal that cannot be written now does not keep the machine's state from being shown; the next look tries again.
    """
    try:
        with store.transaction():
            if vm.power_state in (PowerState.RUNNING, PowerState.HALTED) and not COPYING.intersection(
                vm.current_operations.values()
            ):
                vm.held_still = False
            if seen is None or seen.power_state not in LIVE:
                if vm.power_state is PowerState.HALTED and not (seen is not None and seen.in_transition):
                    vm.started_here = False
                return
            for disk, vbd in _matched(vm, seen.disks).items():
                vbd.device = disk.target
            metrics = vm.metrics
            if metrics is not None and not loops.is_noted(metrics, seen.domid):
                loops.note_start(vm, metrics, seen.domid, rapid_seconds)
    except InternalError as error:
        log.warning("when %r was started or ended cannot be kept now: %s", vm, error)


def note_all(store: Store, host: Host, seen: Sequence[SeenDomain], *, rapid_seconds: int) -> None:
    """Make the machines what was seen, many in one transaction: at the start, when no verb can be under way."""
    for start in range(0, len(seen), SLICE):
        with store.transaction(wait=False):
            for domain in seen[start : start + SLICE]:
                note(store, host, domain.uuid, domain, rapid_seconds=rapid_seconds, telling=False)


def share_of(vm: VM) -> tuple[int | None, int | None]:
    """The weight and cap that the machine is to have, where its VCPUs_params name any."""
    given = [vm.VCPUs_params.get(key, "") for key in ("weight", "cap")]
    weight, cap = (int(text) if text.isascii() and text.isdecimal() else None for text in given)
    return weight, cap


def forget_foreign(store: Store, vm: VM) -> None:
    """A domain that others made and nobody has a definition of is gone for good: so is its machine."""
    with store.transaction():
        if not store.is_live(vm) or not vm.foreign or vm.power_state is not PowerState.HALTED:
            return
        for part in (*vm.VBDs, *vm.VIFs, *vm.DPCIs, *vm.VUSBs, *vm.VTPMs, *vm.crash_dumps):
            store.destroy(part)
        store.destroy(vm)


def make_parts(store: Store, vm: VM) -> None:
    """The objects that every machine has from the start. In a transaction."""
    if vm.metrics is None:
        vm.metrics = store.add(VMMetrics())
        vm.metrics.install_time = datetime.now(UTC)


def _label(seen: SeenDomain) -> str:
    return seen.title or seen.name


def _domid(seen: SeenDomain) -> int:
    return seen.domid if seen.power_state in LIVE else -1


def _adopt(store: Store, seen: SeenDomain) -> VM:
    vm = VM()
    vm.uuid = seen.uuid
    vm.is_control_domain = seen.is_control_domain
    _configure(vm, seen)
    store.add(vm)
    make_parts(store, vm)
    return vm


def _settings(seen: SeenDomain) -> dict[str, Any]:
    """The fields of a machine that say what the hypervisor's definition says."""
    hvm = seen.domain_type is DomainType.HVM
    memory = seen.memory or seen.memory_max
    return {
        "name_label": _label(seen),
        "name_description": seen.description,
        "VCPUs_max": seen.VCPUs_max,
        "VCPUs_at_startup": min(seen.VCPUs, seen.VCPUs_max),
        "memory_static_max": seen.memory_max,
        "memory_dynamic_max": memory,
        "memory_dynamic_min": memory,
        "PV_kernel": seen.PV_kernel,
        "PV_ramdisk": seen.PV_ramdisk,
        "PV_args": seen.PV_args,
        "PV_bootloader": seen.PV_bootloader,
        "PV_bootloader_args": seen.PV_bootloader_args,
        "domain_type": seen.domain_type,
        "HVM_boot_policy": "BIOS order" if hvm else "",
        "HVM_boot_params": {"order": seen.boot_order, "firmware": seen.firmware or "bios"} if hvm else {},
        "platform": dict(seen.platform),
        "actions_after_shutdown": seen.actions_after_shutdown,
        "actions_after_reboot": seen.actions_after_reboot,
        "actions_after_crash": seen.actions_after_crash,
    }


def _configure(vm: VM, seen: SeenDomain) -> None:
    for name, value in _settings(seen).items():
        setattr(vm, name, value)
    vm.memory_static_min = min(vm.memory_static_min, vm.memory_dynamic_min)
    if seen.power_state not in LIVE:
        vm.wanted_label = seen.security_label


# --- devices


def _devices(store: Store, vm: VM, seen: SeenDomain) -> None:
    live = seen.power_state in LIVE
    matched = _matched(vm, seen.disks)
    gone = set(vm.VBDs).difference(matched.values())
    for disk in seen.disks:
        vbd = matched.get(disk)
        if vbd is None and (live or not vm.ours):
            vbd = _adopt_disk(store, vm, disk)
        elif vbd is not None and (not vm.ours or (live and disk.cdrom)) and _medium(vbd) != disk.source:
            # Of a running machine's drive the hypervisor knows best what is in it.
            vbd.VDI = _vdi_at(store, disk) if disk.source else None
            vbd.empty = vbd.VDI is None
        if vbd is not None:
            vbd.currently_attached = live
    known_nics = {vif.MAC.lower(): vif for vif in vm.VIFs}
    for place, nic in enumerate(seen.nics):
        vif = known_nics.pop(nic.MAC.lower(), None)
        if vif is None and (live or not vm.ours):
            vif = _adopt_nic(store, vm, nic, place)
        elif vif is not None and not vm.ours and vif.network.bridge != nic.bridge:
            vif.network = _network_of(store, nic)
        if vif is not None:
            vif.currently_attached = live
    for vbd in gone:
        vbd.currently_attached = False
        if not vm.ours:
            store.destroy(vbd)
    for vif in known_nics.values():
        vif.currently_attached = False
        if not vm.ours:
            store.destroy(vif)


def _name(vbd: VBD) -> str:
    """The name that the disk has in the guest, as far as it is known; empty where it was given another place since."""
    return vbd.device if number_of(vbd.device) == number_of(vbd.userdevice) else ""


def _place(vbd: VBD) -> str:
    return place_of(_name(vbd) or vbd.userdevice)


def _matched(vm: VM, disks: Sequence[SeenDisk]) -> dict[SeenDisk, VBD]:
    """Which of the machine's disks are seen: by their names or, where those differ, by their places."""
    found: dict[SeenDisk, VBD] = {}
    for key in (_name, _place):
        left = {key(vbd): vbd for vbd in vm.VBDs if vbd not in found.values()}
        for disk in disks:
            at = disk.target if key is _name else place_of(disk.target)
            if disk not in found and (vbd := left.pop(at, None)) is not None:
                found[disk] = vbd
    return found


def _medium(vbd: VBD) -> str:
    return vbd.VDI.location if vbd.VDI is not None else ""


def _usb_of(vm: VM, seen: SeenDomain) -> frozenset[str]:
    """The USB devices that the machine was given and has."""
    given = frozenset(vusb.device for vusb in vm.VUSBs)
    return given.intersection(seen.usb) if seen.power_state in LIVE else frozenset()


def _passthrough(store: Store, host: Host, vm: VM, seen: SeenDomain) -> None:
    """The PCI devices of the host that it was given, and those that it has now."""
    live = seen.power_state in LIVE
    given = {dpci.PPCI.name: dpci for dpci in vm.DPCIs}
    for address in seen.pci:
        if given.pop(address, None) is None and (live or not vm.ours):
            store.add(DPCI(VM=vm, PPCI=ppci_at(store, host, address)))
    for dpci in given.values():
        if not vm.ours:
            store.destroy(dpci)
    usb.attached(vm, _usb_of(vm, seen))
    has = set(seen.pci) if live else set()
    if has or vm.attached_PCIs:
        vm.attached_PCIs = tuple(pci for pci in store.all(PCI) if pci.pci_id in has)


def _adopt_disk(store: Store, vm: VM, disk: SeenDisk) -> VBD:
    place = place_of(disk.target)
    taken = any(_place(vbd) == place for vbd in vm.VBDs)
    vdi = _vdi_at(store, disk) if disk.source else None
    vbd = VBD(
        VM=vm,
        VDI=vdi,
        device=disk.target,
        userdevice=disk.target if taken else place,
        mode=VbdMode.RO if disk.read_only or disk.cdrom else VbdMode.RW,
        type=VbdType.CD if disk.cdrom else VbdType.DISK,
        bootable=number_of(disk.target) == 0,
        empty=vdi is None,
    )
    vbd.metrics = store.add(VBDMetrics())
    return store.add(vbd)


def _vdi_at(store: Store, disk: SeenDisk) -> VDI:
    for vdi in store.all(VDI):
        if vdi.location == disk.source:
            return vdi
    vdi = VDI(
        SR=outside_sr(store),
        name_label=disk.source.rsplit("/", 1)[-1],
        type=VdiType.USER,
        virtual_size=0,
        read_only=disk.read_only,
    )
    vdi.format = disk.format
    vdi.location = disk.source
    return store.add(vdi)


def _adopt_nic(store: Store, vm: VM, nic: SeenNic, place: int) -> VIF:
    taken = {vif.device for vif in vm.VIFs}
    while str(place) in taken:
        place += 1
    vif = VIF(VM=vm, network=_network_of(store, nic), device=str(place), MAC=nic.MAC)
    vif.metrics = store.add(VIFMetrics())
    return store.add(vif)


def _network_of(store: Store, nic: SeenNic) -> Network:
    for network in store.all(Network):
        if (nic.bridge and network.bridge == nic.bridge) or (nic.network and network.name_label == nic.network):
            return network
    name = nic.bridge or nic.network or "without a network"
    return store.add(Network(name_label=name, bridge=nic.bridge, managed=False))


# --- state


def _halt(store: Store, vm: VM) -> None:
    vm.power_state, vm.domid, vm.resident_on, vm.in_pool = PowerState.HALTED, -1, None, None
    vm.security_label = vm.wanted_label
    for vbd in vm.VBDs:
        vbd.currently_attached = False
    for vif in vm.VIFs:
        vif.currently_attached = False
    for console in vm.consoles:
        store.destroy(console)
    usb.attached(vm, frozenset())
    vm.attached_PCIs = ()
    _guest(store, vm, None)
    if vm.metrics is not None:
        vm.metrics.state, vm.metrics.VCPUs_number, vm.metrics.memory_actual = (), 0, 0
        vm.metrics.VCPUs_utilisation, vm.metrics.VCPUs_CPU, vm.metrics.VCPUs_flags = {}, {}, {}


def _state(store: Store, host: Host, vm: VM, seen: SeenDomain) -> None:
    if seen.power_state not in LIVE:
        _halt(store, vm)
        vm.power_state = seen.power_state
        return
    vm.power_state, vm.domid, vm.resident_on = seen.power_state, seen.domid, host
    vm.security_label = seen.security_label
    metrics = vm.metrics
    if metrics is None:
        make_parts(store, vm)
        metrics = vm.metrics
    assert metrics is not None
    metrics.state = ("paused",) if seen.power_state is PowerState.PAUSED else ("running",)
    metrics.VCPUs_number = seen.VCPUs_online or seen.VCPUs
    metrics.memory_actual = seen.memory
    metrics.hvm = seen.domain_type is DomainType.HVM
    metrics.current_domain_type = seen.domain_type
    consoles.note(store, host, vm, seen)
    _guest(store, vm, seen.guest)


def _guest(store: Store, vm: VM, told: GuestReading | None) -> None:
    report = vm.guest_metrics
    if told is None:
        if report is not None:
            vm.guest_metrics = None
            store.destroy(report)
        return
    if report is None:
        report = store.add(VMGuestMetrics(), volatile=True)
        vm.guest_metrics = report
    for name, value in _report(told).items():
        setattr(report, name, value)
    report.memory, report.last_updated, report.live = dict(told.memory), told.last_updated, True


def _report(told: GuestReading) -> dict[str, Any]:
    """The fields of a report that say what the guest told."""
    return {
        "os_version": dict(told.os_version),
        "PV_drivers_version": dict(told.PV_drivers_version),
        "networks": dict(told.networks),
        "other": dict(told.other),
        "PV_drivers_detected": told.PV_drivers_detected,
        "PV_drivers_up_to_date": told.PV_drivers_detected,
        "can_use_hotplug_vbd": Tristate.YES if told.can_use_hotplug_vbd else Tristate.UNSPECIFIED,
        "can_use_hotplug_vif": Tristate.YES if told.can_use_hotplug_vif else Tristate.UNSPECIFIED,
    }


def _tells_the_same(report: VMGuestMetrics | None, told: GuestReading | None) -> bool:
    if report is None or told is None:
        return report is None and told is None
    return all(report.__dict__[name] == value for name, value in _report(told).items())
