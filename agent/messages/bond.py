"""Bonds of the host's cards: made, changed and removed. What the host's own configuration has set up is only shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from agent.call import Call
from agent.classes import PIF, Bond, Network, PIFMetrics
from agent.classes.checks import mac_or_empty
from agent.classes.enums import BondMode
from agent.errors import (
    OperationNotAllowed,
    PifAlreadyBonded,
    PifBondNeedsMoreMembers,
    PifIsManagementInterface,
    PifIsNotPhysical,
    PifIsVlan,
    PifVlanStillExists,
    VifInUse,
    XenError,
)
from agent.messages.vlan import require_removable, require_unconnected
from agent.model.messages import message
from agent.observer import networks, node
from agent.ports import WantedBond


@message(Bond)
def create(
    call: Call,
    network: Network,
    members: tuple[PIF, ...],
    MAC: str,
    mode: BondMode = BondMode.BALANCE_SLB,
    properties: Mapping[str, str] = {},
) -> Bond:
    """Have several cards of the host act as one that carries a network, whose bridge the bond becomes a port of.

    An empty `MAC` is that of the first card. VALUE_NOT_SUPPORTED for balance-slb, which Linux' bonds do not have, so
    that the mode cannot be left out; lacp has the properties hashing_algorithm (src_mac, tcpudp_ports) and lacp-time
    (slow, fast). PIF_BOND_NEEDS_MORE_MEMBERS below two cards, PIF_IS_NOT_PHYSICAL, PIF_IS_VLAN and PIF_ALREADY_BONDED
    for what cannot be a member. A card that the host or a running machine needs is refused too:
    PIF_IS_MANAGEMENT_INTERFACE, VIF_IN_USE, PIF_VLAN_STILL_EXISTS, OPERATION_NOT_ALLOWED where it has an address.
    """
    mac_or_empty(MAC)
    cards = tuple(dict.fromkeys(members))
    if len(cards) < 2:
        raise PifBondNeedsMoreMembers
    for card in cards:
        _require_spare(card)
    require_unconnected(network)
    wanted = WantedBond([card.device for card in cards], mode, properties, MAC.lower(), network.bridge)
    with call.store.transaction():
        # First, for whoever ends the agent in between: a look at what is there makes the bond then, and not the host's.
        first = cards[0]
        master = PIF(device="", host=call.host, network=network, MAC=wanted.MAC or first.MAC, MTU=first.MTU)
        master.made = True
        master.metrics = call.store.add(PIFMetrics())
        call.store.add(master)
        bond = node.bond_of(call.store, master)
        bond.mode, bond.properties = mode, properties
        bond.primary_slave, bond.auto_update_mac = first, not MAC
        for card in cards:
            card.bond_slave_of = bond
    try:
        name = call.networks.create_bond(wanted)
        with call.store.transaction():
            master.device = name
    except XenError:
        with suppress(XenError):  # the first error is the one to tell
            made = networks.bond_of(call.node.interfaces(), wanted.members)
            if made:
                call.networks.destroy_bond(made, _homes(cards))
        with call.store.transaction():
            call.store.destroy(master)
        raise
    return bond


@message(Bond)
def destroy(call: Call, self: Bond) -> None:
    """Remove a bond that was made through the API, with its PIF; its cards carry their own networks again.

    OPERATION_NOT_ALLOWED for what the host's own configuration made, PIF_IS_MANAGEMENT_INTERFACE where the host's
    address is on it, VIF_IN_USE while a running machine is on its network, PIF_VLAN_STILL_EXISTS while it has a VLAN.
    """
    _require_removable(self)
    if self.master.device:  # else it could never be made
        call.networks.destroy_bond(self.master.device, _homes(self.slaves))
    with call.store.transaction():
        call.store.destroy(self.master)


@message(Bond)
def set_mode(call: Call, self: Bond, value: BondMode) -> None:
    """Give the bond another mode; properties go back to that mode's own. It carries nothing for a moment.

    OPERATION_NOT_ALLOWED for what the host's own configuration made, PIF_IS_MANAGEMENT_INTERFACE where the host's
    address is on it, VALUE_NOT_SUPPORTED for balance-slb.
    """
    _change(call, self, value, {})


@message(Bond)
def set_property(call: Call, self: Bond, name: str, value: str) -> None:
    """Set hashing_algorithm or lacp-time of a bond of mode lacp. It carries nothing for a moment.

    The errors are those of set_mode, with VALUE_NOT_SUPPORTED for another property.
    """
    _change(call, self, self.mode, {**self.properties, name: value})


def _change(call: Call, bond: Bond, mode: BondMode, properties: Mapping[str, str]) -> None:
    _require_ours(bond)
    call.networks.change_bond(bond.master.device, mode, properties)
    with call.store.transaction():
        bond.mode, bond.properties = mode, properties


def _require_spare(card: PIF) -> None:
    """Refuse a card that cannot be a part of a bond, or that somebody needs as it is."""
    if card.VLAN >= 0:
        raise PifIsVlan(card)
    if not card.physical:
        raise PifIsNotPhysical(card)
    if card.bond_slave_of is not None:
        raise PifAlreadyBonded(card)
    if card.VLAN_slave_of:
        raise PifVlanStillExists(card)
    if card.management:
        raise PifIsManagementInterface(card)
    if card.IP:
        raise OperationNotAllowed(f"{card.device} has the address {card.IP}, by the host's own network configuration")
    for vif in card.network.VIFs:
        if vif.currently_attached:
            raise VifInUse(card.network, vif)


def _require_ours(bond: Bond) -> None:
    if not bond.master.made:
        raise OperationNotAllowed(f"{bond.master.device} is set up by the host's own network configuration")
    for pif in (bond.master, *(vlan.untagged_PIF for vlan in bond.master.VLAN_slave_of)):
        if pif.management:
            raise PifIsManagementInterface(pif)


def _require_removable(bond: Bond) -> None:
    require_removable(bond.master)
    if bond.master.VLAN_slave_of:
        raise PifVlanStillExists(bond.master)


def _homes(cards: tuple[PIF, ...]) -> Mapping[str, str]:
    """The bridge of each card's own network."""
    return {card.device: card.network.bridge for card in cards}
