"""libvirt's networks become networks; those made through the API are made again where the hypervisor has forgotten
them, and so are the bonds and VLANs that carry them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent.classes import PIF, Host, Network
from agent.errors import HostOffline, XenError
from agent.ports import Machine, SeenInterface, WantedBond
from agent.store.store import Store

log = logging.getLogger(__name__)


def note(store: Store, machine: Machine) -> None:
    """Make the networks what was seen."""
    seen = {network.uuid: network for network in machine.networks.list()}
    with store.transaction():
        for uuid, one in seen.items():
            network = store.known(Network, uuid)
            if network is not None and network.managed:
                network.bridge = one.bridge
            if network is None:
                network = Network(name_label=one.name, bridge=one.bridge, MTU=one.MTU, managed=False)
                network.uuid = uuid
                store.add(network)
    for network in store.all(Network):
        if network.managed and network.uuid not in seen:
            try:
                bridge = machine.networks.create(network)
                with store.transaction():
                    network.bridge = bridge
            except HostOffline:
                raise
            except XenError as error:  # one that cannot be made keeps nobody from the others
                log.warning("%r cannot be made again: %s", network, error)
    _made(store, machine)


def _made(store: Store, machine: Machine) -> None:
    """Make the bonds and VLANs of the API again that the host does not have, as after it was started anew."""
    wanted = [pif for host in store.all(Host) for pif in host.PIFs if pif.made]
    seen = machine.node.interfaces() if wanted else ()
    there = {card.device for card in seen}
    for pif in sorted(wanted, key=lambda pif: pif.VLAN >= 0):  # a VLAN may be on a bond
        if pif.device not in there:
            try:
                name = _make(machine, pif, seen)
            except HostOffline:
                raise
            except XenError as error:
                log.warning("%r cannot be made again: %s", pif, error)
                continue
            with store.transaction():
                pif.device = name


def _make(machine: Machine, pif: PIF, seen: Sequence[SeenInterface]) -> str:
    """Make what a PIF stands for. Returns its name, which the PIF does not have yet if the agent ended in between."""
    if pif.VLAN >= 0:
        return machine.networks.create_vlan(pif.trunk, pif.VLAN, pif.network.bridge)
    for bond in pif.bond_master_of:
        MAC = "" if bond.auto_update_mac else pif.MAC
        # The bond has the address of its first card.
        cards = [card.device for card in sorted(bond.slaves, key=lambda card: (card.MAC != pif.MAC, card.device))]
        if not pif.device and (made := bond_of(seen, cards)):
            return made
        wanted = WantedBond(cards, bond.mode, bond.properties, MAC, pif.network.bridge)
        return machine.networks.create_bond(wanted, pif.device)
    return pif.device


def bond_of(seen: Sequence[SeenInterface], cards: Sequence[str]) -> str:
    """The name of the bond of these cards; empty where there is none."""
    return next((each.device for each in seen if each.bond is not None and set(each.bond.slaves) == set(cards)), "")
