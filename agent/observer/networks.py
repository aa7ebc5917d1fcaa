"""libvirt's networks become networks; those made through the API are made again where the hypervisor has forgotten
them, and so are the bonds and VLANs that carry them.
"""

from __future__ import annotations

import logging

from agent.classes import PIF, Host, Network
from agent.errors import HostOffline, XenError
from agent.ports import Machine, WantedBond
from agent.store.store import Store

log = logging.getLogger(__name__)


def note(store: Store, machine: Machine) -> None:
    """Make the networks what was seen."""
    seen = {network.uuid: network for network in machine.networks.list()}
    with store.transaction():
        for uuid, one in seen.items():
            network = store.known(Network, uuid)
            if network is None:
                network = Network(name_label=one.name, bridge=one.bridge, MTU=one.MTU, managed=False)
                network.uuid = uuid
                store.add(network)
    for network in store.all(Network):
        if network.managed and network.uuid not in seen:
            try:
                machine.networks.create(network)
            except HostOffline:
                raise
            except XenError as error:  # one that cannot be made keeps nobody from the others
                log.warning("%r cannot be made again: %s", network, error)
    _made(store, machine)


def _made(store: Store, machine: Machine) -> None:
    """Make the bonds and VLANs of the API again that the host does not have, as after it was started anew."""
    wanted = [pif for host in store.all(Host) for pif in host.PIFs if pif.made]
    there = {seen.device for seen in machine.node.interfaces()} if wanted else set()
    for pif in sorted(wanted, key=lambda pif: pif.VLAN >= 0):  # a VLAN may be on a bond
        if pif.device not in there:
            try:
                _make(machine, pif)
            except HostOffline:
                raise
            except XenError as error:
                log.warning("%r cannot be made again: %s", pif, error)


def _make(machine: Machine, pif: PIF) -> None:
    if pif.VLAN >= 0:
        machine.networks.create_vlan(pif.trunk, pif.VLAN, pif.network.bridge)
    for bond in pif.bond_master_of:
        MAC = "" if bond.auto_update_mac else pif.MAC
        cards = [card.device for card in bond.slaves]
        machine.networks.create_bond(WantedBond(cards, bond.mode, bond.properties, MAC, pif.network.bridge), pif.device)
