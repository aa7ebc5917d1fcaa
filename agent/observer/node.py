"""The host as the driver sees it becomes the objects host, pool, host_cpu, PIF and their metrics."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Sequence
from time import time

from agent.classes import PIF, VLAN, Bond, Host, HostCpu, HostMetrics, Network, PIFMetrics, Pool
from agent.classes.enums import IpConfigurationMode
from agent.observer import consoles
from agent.ports import Node, SeenBond, SeenHost, SeenInterface
from agent.store.store import Store

API_MAJOR, API_MINOR = 2, 21
"""The version of xapi's data model that clients may expect the messages of."""
AGENT_STARTED = f"{time():.1f}"
"""When this process began, which is told as xapi tells it."""


def ensure(store: Store) -> None:
    """Make the one host and the one pool, the first time. Their uuids stay for good."""
    with store.transaction():
        if not store.count("host"):
            host = Host()
            host.metrics = store.add(HostMetrics())
            store.add(host)
        host = store.only(Host)
        host.API_version_major, host.API_version_minor = API_MAJOR, API_MINOR
        host.API_version_vendor = "xen-host-agent"
        if not store.count("pool"):
            pool = Pool()
            pool.master = host
            store.add(pool)


def offline(store: Store) -> None:
    """Note that the hypervisor does not answer now."""
    metrics = store.only(Host).metrics
    if metrics is not None:
        with store.transaction():
            metrics.live = False


def note(store: Store, node: Node) -> None:
    """Make host, processors and cards what was seen."""
    seen, cpus, interfaces = node.host(), node.cpus(), node.interfaces()
    with store.transaction():
        host = store.only(Host)
        _host(store, host, seen)
        known = {cpu.number: cpu for cpu in host.host_CPUs}
        for one in cpus:
            cpu = known.pop(one.number, None)
            if cpu is None:
                cpu = HostCpu()
                cpu.host, cpu.number = host, one.number
                store.add(cpu)
            cpu.vendor, cpu.modelname, cpu.speed = one.vendor, one.modelname, one.speed
            cpu.family, cpu.model, cpu.stepping = one.family, one.model, one.stepping
            cpu.flags, cpu.features = one.flags, one.features
        for cpu in known.values():
            store.destroy(cpu)
        _cards(store, host, interfaces)


def _host(store: Store, host: Host, seen: SeenHost) -> None:
    if not host.name_label:
        host.name_label = seen.hostname
    if host.metrics is not None:
        host.metrics.live = True
        host.metrics.memory_total = seen.memory_total
    if (host.hostname, host.address) != (seen.hostname, seen.address):
        host.hostname, host.address = seen.hostname, seen.address
        consoles.locate(store)
    host.software_version = dict(seen.software_version)
    host.capabilities = tuple(seen.capabilities)
    host.cpu_configuration, host.cpu_info = dict(seen.cpu_configuration), dict(seen.cpu_info)
    host.sched_policy = seen.sched_policy
    host.uefi, host.boot_id = seen.uefi, seen.boot_id
    host.supported_bootloaders = tuple(seen.supported_bootloaders)
    host.bios_strings = dict(seen.bios_strings)
    booted, told = f"{seen.boot_time.timestamp():.1f}", host.other_config
    same_boot = told.get("boot_time", "0").split(".")[0] == booted.split(".")[0]
    if not same_boot or told.get("agent_start_time") != AGENT_STARTED:
        host.other_config = {**told, "boot_time": booted, "agent_start_time": AGENT_STARTED}
    pool = store.only(Pool)
    pool.cpu_info = {**seen.cpu_info}


def _cards(store: Store, host: Host, interfaces: Sequence[SeenInterface]) -> None:
    known = {pif.device: pif for pif in host.PIFs}
    for seen in interfaces:
        pif = known.pop(seen.device, None)
        if pif is None:
            pif = _adopt(store, host, seen)
        pif.MAC, pif.MTU, pif.VLAN, pif.physical = seen.MAC, seen.MTU, seen.VLAN, seen.physical
        pif.trunk = seen.trunk
        pif.IP, pif.netmask, pif.gateway, pif.DNS, pif.IPv6 = (
            seen.IP,
            seen.netmask,
            seen.gateway,
            seen.DNS,
            tuple(seen.IPv6),
        )
        pif.management = bool(host.address) and host.address in (seen.IP, *(one.split("/")[0] for one in seen.IPv6))
        pif.capabilities = ("sriov",) if seen.virtual_functions else ()
        pif.ip_configuration_mode = IpConfigurationMode.STATIC if seen.IP else IpConfigurationMode.NONE
        pif.currently_attached = seen.up
        metrics = pif.metrics
        if metrics is not None:
            metrics.carrier, metrics.speed, metrics.duplex = seen.carrier, seen.speed, seen.duplex
            metrics.vendor_id, metrics.vendor_name = seen.vendor_id, seen.vendor_name
            metrics.device_id, metrics.device_name = seen.device_id, seen.device_name
            metrics.pci_bus_path = seen.pci_bus_path
    bonds = {seen.device: seen.bond for seen in interfaces}
    for pif in host.PIFs:
        if pif.device in bonds:
            _bond(store, pif, bonds[pif.device])
    for pif in known.values():
        if pif.made:
            pif.currently_attached = False  # what could not be made again now may be later
        else:
            store.destroy(pif)
    for pif in host.PIFs:
        note_vlan(store, pif)


def _bond(store: Store, pif: PIF, seen: SeenBond | None) -> None:
    """Make the bond that a PIF is what was seen, or none."""
    if seen is None:
        for gone in pif.bond_master_of:
            store.destroy(gone)
        return
    bond = bond_of(store, pif)
    cards = {card.device: card for card in pif.host.PIFs}
    bond.mode, bond.properties, bond.links_up = seen.mode, dict(seen.properties), seen.links_up
    if seen.primary in cards:
        bond.primary_slave = cards[seen.primary]
    slaves = [cards[device] for device in seen.slaves if device in cards]
    for card in bond.slaves:
        if card not in slaves:
            card.bond_slave_of = None
    for card in slaves:
        card.bond_slave_of = bond


def bond_of(store: Store, master: PIF) -> Bond:
    """The bond object of a PIF, made if there is none. In a transaction."""
    if master.bond_master_of:
        return master.bond_master_of[0]
    bond = Bond(master=master)
    bond.uuid = str(uuids.uuid5(uuids.UUID(master.uuid), "Bond"))
    return store.add(bond)


def note_vlan(store: Store, pif: PIF) -> None:
    """Keep the VLAN object of a PIF true: there is one where its card is shown. In a transaction."""
    trunk = next((other for other in pif.host.PIFs if other.device == pif.trunk), None) if pif.VLAN >= 0 else None
    vlan = pif.VLAN_master_of
    if vlan is not None and (vlan.tagged_PIF, vlan.tag) != (trunk, pif.VLAN):
        store.destroy(vlan)
        vlan = None
    if vlan is None and trunk is not None:
        vlan = VLAN(tagged_PIF=trunk, tag=pif.VLAN)
        vlan.uuid = str(uuids.uuid5(uuids.UUID(pif.uuid), f"VLAN {pif.VLAN} on {trunk.device}"))
        vlan.untagged_PIF = pif
        pif.VLAN_master_of = store.add(vlan)


def _adopt(store: Store, host: Host, seen: SeenInterface) -> PIF:
    network = next((each for each in store.all(Network) if seen.bridge and each.bridge == seen.bridge), None)
    if network is None:
        uuid = str(uuids.uuid5(uuids.UUID(host.uuid), f"network of {seen.bridge or seen.device}"))
        network = store.known(Network, uuid)
    if network is None:
        label = f"Network of {seen.bridge or seen.device}"
        network = Network(name_label=label, bridge=seen.bridge, MTU=seen.MTU, managed=False)
        network.uuid = uuid
        store.add(network)
    pif = PIF(device=seen.device, host=host, network=network, MAC=seen.MAC, MTU=seen.MTU, VLAN=seen.VLAN)
    pif.metrics = store.add(PIFMetrics())
    return store.add(pif)
