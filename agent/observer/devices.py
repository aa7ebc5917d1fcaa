"""The host's PCI and SCSI devices become objects: PPCI and PCI, PSCSI and PSCSI_HBA. Cards and processors are
``node``'s.

One that is gone goes, unless a machine still names it: that one stays with its place and nothing else.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping, Sequence

from agent.classes import DPCI, PCI, PGPU, PIF, PPCI, PSCSI, PSCSIHBA, GPUGroup, Host
from agent.classes.enums import PciDom0Access
from agent.ports import Node, SeenPci, SeenScsi
from agent.store.store import Store

GRAPHICS = 0x03
"""The PCI class of graphics cards."""
SET_ASIDE = ("", "pciback", "xen-pciback", "pci-stub", "vfio-pci")
"""The drivers of a device that the host has no use for."""


def note(store: Store, node: Node) -> None:
    """Make the devices what was seen."""
    pci, adapters, scsi = node.pci_devices(), node.scsi_adapters(), node.scsi_devices()
    with store.transaction():
        host = store.only(Host)
        _ppcis(store, host, pci)
        _pcis(store, host, pci)
        _scsi(store, host, adapters, scsi)


def part_of(host: Host, what: str) -> str:
    """The uuid of a part of the host: the same for the same place."""
    return str(uuids.uuid5(uuids.UUID(host.uuid), what))


def access_of(driver: str) -> PciDom0Access:
    """Whether the host uses a device that this driver of it has; empty for none."""
    return PciDom0Access.DISABLED if driver in SET_ASIDE else PciDom0Access.ENABLED


def ppci_at(store: Store, host: Host, address: str) -> PPCI:
    """The device at this address, which may be gone from the host. In a transaction."""
    uuid = part_of(host, f"PPCI {address}")
    ppci = store.known(PPCI, uuid)
    if ppci is None:
        ppci = PPCI()
        ppci.uuid = uuid
        domain, bus, last = address.split(":")
        slot, _, func = last.partition(".")
        ppci.host, ppci.name = host, address
        ppci.domain, ppci.bus, ppci.slot, ppci.func = (int(part, 16) for part in (domain, bus, slot, func))
        store.add(ppci)
    return ppci


def _ppcis(store: Store, host: Host, devices: Sequence[SeenPci]) -> None:
    gone = {ppci.name: ppci for ppci in host.PPCIs}
    given = {dpci.PPCI for dpci in store.all(DPCI)}
    for seen in devices:
        gone.pop(seen.address, None)
        _describe(ppci_at(store, host, seen.address), seen)
    for ppci in gone.values():
        if ppci in given:
            _describe(ppci, SeenPci(ppci.name))
        else:
            store.destroy(ppci)


def _describe(ppci: PPCI, seen: SeenPci) -> None:
    ppci.vendor_id, ppci.vendor_name = seen.vendor_id, seen.vendor_name
    ppci.device_id, ppci.device_name = seen.device_id, seen.device_name
    ppci.revision_id, ppci.class_code, ppci.class_name = seen.revision_id, seen.class_code, seen.class_name
    ppci.subsystem_vendor_id, ppci.subsystem_vendor_name = seen.subsystem_vendor_id, seen.subsystem_vendor_name
    ppci.subsystem_id, ppci.subsystem_name = seen.subsystem_id, seen.subsystem_name
    ppci.driver = seen.driver


def _pcis(store: Store, host: Host, devices: Sequence[SeenPci]) -> None:
    gone = {pci.pci_id: pci for pci in host.PCIs}
    by_address: dict[str, PCI] = {}
    for seen in devices:
        pci = gone.pop(seen.address, None)
        if pci is None:
            pci = PCI(host=host, pci_id=seen.address)
            pci.uuid = part_of(host, f"PCI {seen.address}")
            store.add(pci)
        by_address[seen.address] = pci
        for name, number in (
            ("class_id", seen.class_code),
            ("vendor_id", seen.vendor_id),
            ("device_id", seen.device_id),
            ("subsystem_vendor_id", seen.subsystem_vendor_id),
            ("subsystem_device_id", seen.subsystem_id),
        ):
            setattr(pci, name, f"{number:04x}")
        pci.class_name, pci.vendor_name, pci.device_name = seen.class_name, seen.vendor_name, seen.device_name
        pci.subsystem_vendor_name, pci.subsystem_device_name = seen.subsystem_vendor_name, seen.subsystem_name
        pci.driver_name = seen.driver
    for pci in gone.values():
        store.destroy(pci)
    _gpus(store, host, devices, by_address)
    hardware: dict[str, list[PCI]] = {}
    for address, pci in by_address.items():
        hardware.setdefault(address[:-1], []).append(pci)  # all but the number of the function
    for pci in by_address.values():
        pci.dependencies = tuple(other for other in hardware[pci.pci_id[:-1]] if other is not pci)
    _cards(host, by_address)


def _gpus(store: Store, host: Host, devices: Sequence[SeenPci], by_address: Mapping[str, PCI]) -> None:
    """Graphics cards: the PCI devices of class 03, in groups of one model."""
    known = {card.PCI.pci_id: card for card in host.PGPUs}
    for seen in devices:
        if seen.class_code >> 8 != GRAPHICS:
            continue
        pci, card = by_address[seen.address], known.pop(seen.address, None)
        if card is None:
            card = PGPU(PCI=pci, GPU_group=_gpu_group(store, host, pci))
            card.uuid, card.host = part_of(host, f"PGPU {seen.address}"), host
            store.add(card)
        card.is_system_display_device = seen.boot_display
        card.dom0_access = access_of(seen.driver)
    for card in known.values():
        store.destroy(card)


def _gpu_group(store: Store, host: Host, pci: PCI) -> GPUGroup:
    """The group of a model, made if there is none."""
    model = f"{pci.vendor_id}/{pci.device_id}"
    uuid = part_of(host, f"GPU group {model}")
    group = store.known(GPUGroup, uuid)
    if group is None:
        names = " ".join(name for name in (pci.vendor_name, pci.device_name) if name)
        group = GPUGroup(name_label=f"Group of {names or model} GPUs")
        group.uuid = uuid
        store.add(group)
    return group


def _cards(host: Host, by_address: Mapping[str, PCI]) -> None:
    """Which device a card of the host is."""
    for pif in host.PIFs:
        pif.PCI = _device_of(pif, by_address)


def _device_of(pif: PIF, by_address: Mapping[str, PCI]) -> PCI | None:
    place = pif.metrics.pci_bus_path if pif.metrics is not None and pif.physical else ""
    return by_address.get(place)


def _scsi(store: Store, host: Host, numbers: Sequence[int], devices: Sequence[SeenScsi]) -> None:
    adapters = {adapter.physical_host: adapter for adapter in host.PSCSI_HBAs}
    wanted = dict.fromkeys((*numbers, *(seen.host for seen in devices)))
    for number in wanted:
        if number not in adapters:
            adapter = PSCSIHBA()
            adapter.uuid = part_of(host, f"PSCSI_HBA {number}")
            adapter.host, adapter.physical_host = host, number
            adapters[number] = store.add(adapter)
    gone = {device.physical_HCTL: device for device in host.PSCSIs}
    for seen in devices:
        place = f"{seen.host}:{seen.channel}:{seen.target}:{seen.lun}"
        device = gone.pop(place, None)
        if device is None:
            device = PSCSI()
            device.uuid = part_of(host, f"PSCSI {place}")
            device.host, device.HBA, device.physical_HCTL = host, adapters[seen.host], place
            device.physical_host, device.physical_channel = seen.host, seen.channel
            device.physical_target, device.physical_lun = seen.target, seen.lun
            store.add(device)
        device.vendor_name, device.model, device.revision = seen.vendor_name, seen.model, seen.revision
        device.type_id, device.type, device.scsi_level = seen.type_id, seen.type, seen.scsi_level
        device.dev_name, device.sg_name, device.scsi_id = seen.dev_name, seen.sg_name, seen.scsi_id
    for device in gone.values():
        store.destroy(device)
    for number, adapter in adapters.items():
        if number not in wanted:
            store.destroy(adapter)
