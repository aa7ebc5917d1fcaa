"""VLANs on the host's cards: made and removed as objects, or through the pool. What a PIF can do is in ``pif``."""

from __future__ import annotations

from contextlib import suppress

from agent.call import Call
from agent.classes import PIF, VLAN, Host, Network, PIFMetrics, Pool
from agent.errors import (
    CannotAddVlanToBondSlave,
    InvalidValue,
    NetworkAlreadyConnected,
    OperationNotAllowed,
    PifIsManagementInterface,
    PifIsVlan,
    PifVlanExists,
    VifInUse,
    VlanTagInvalid,
    XenError,
)
from agent.model.messages import message
from agent.observer import node

TAGS = range(1, 4095)
"""The numbers that IEEE 802.1Q leaves for VLANs."""


@message(VLAN)
def create(call: Call, tagged_PIF: PIF, tag: int, network: Network) -> VLAN:
    """Have a VLAN on a card of the host carry a network, whose bridge it becomes a port of.

    VLAN_TAG_INVALID unless the number is 1 to 4094, PIF_IS_VLAN for a card that is a VLAN itself,
    CANNOT_ADD_VLAN_TO_BOND_SLAVE for one of a bond, NETWORK_ALREADY_CONNECTED if a card carries the network,
    PIF_VLAN_EXISTS if the host has that VLAN. It is made again after the host was restarted.
    """
    made = make(call, tagged_PIF, tag, network).VLAN_master_of
    if made is None:
        raise OperationNotAllowed(f"{tagged_PIF.device} has gone from the host meanwhile")
    return made


@message(VLAN)
def destroy(call: Call, self: VLAN) -> None:
    """Remove a VLAN that was made through the API, with its PIF.

    OPERATION_NOT_ALLOWED for what the host's own configuration made, PIF_IS_MANAGEMENT_INTERFACE where the host's
    address is on it, VIF_IN_USE while a running machine is on its network.
    """
    remove(call, self.untagged_PIF)


@message(Pool)
def create_VLAN(call: Call, device: str, network: Network, VLAN: int) -> tuple[PIF, ...]:
    """Make a VLAN on the card of this name on every host of the pool, of which there is one. As PIF.create_VLAN."""
    return (make(call, card_named(call.host, device, VLAN), VLAN, network),)


@message(Pool)
def create_VLAN_from_PIF(call: Call, pif: PIF, network: Network, VLAN: int) -> tuple[PIF, ...]:
    """Make a VLAN on this card, and on the like of it on every other host of the pool, of which there is none."""
    return (make(call, pif, VLAN, network),)


def card_named(host: Host, device: str, tag: int) -> PIF:
    """The card that a VLAN of this number is to be on. VLAN_TAG_INVALID, or INVALID_VALUE if there is no such card."""
    _require_tag(tag)
    found = next((pif for pif in host.PIFs if pif.device == device), None)
    if found is None:
        raise InvalidValue("device", f"{device[:64]}: the host has no such card")
    return found


def _require_tag(tag: int) -> None:
    if tag not in TAGS:
        raise VlanTagInvalid(tag)


def make(call: Call, trunk: PIF, tag: int, network: Network) -> PIF:
    """Make a VLAN on a card, and the PIF that carries the network. The errors are those of VLAN.create."""
    _require_tag(tag)
    if trunk.VLAN >= 0:
        raise PifIsVlan(trunk)
    if trunk.bond_slave_of is not None:
        raise CannotAddVlanToBondSlave(trunk)
    for pif in trunk.host.PIFs:
        if (pif.trunk, pif.VLAN) == (trunk.device, tag):
            raise PifVlanExists(pif)
    require_unconnected(network)
    with call.store.transaction():
        # First, for whoever ends the agent in between: a look at what is there makes the VLAN then, and not the host's.
        made = PIF(device="", host=trunk.host, network=network, MAC=trunk.MAC, MTU=trunk.MTU, VLAN=tag)
        made.made, made.trunk = True, trunk.device
        made.metrics = call.store.add(PIFMetrics())
        call.store.add(made)
        node.note_vlan(call.store, made)
    try:
        name = call.networks.create_vlan(trunk.device, tag, network.bridge)
        with call.store.transaction():
            made.device = name
    except XenError:
        with suppress(XenError):  # the first error is the one to tell
            for seen in call.node.interfaces():
                if (seen.trunk, seen.VLAN) == (trunk.device, tag):
                    call.networks.destroy_vlan(seen.device)
        with call.store.transaction():
            call.store.destroy(made)
        raise
    return made


def remove(call: Call, pif: PIF) -> None:
    """Remove a VLAN and its PIF. The errors are those of VLAN.destroy."""
    require_removable(pif)
    if pif.device:  # else it could never be made
        call.networks.destroy_vlan(pif.device)
    with call.store.transaction():
        call.store.destroy(pif)


def require_unconnected(network: Network) -> None:
    """Refuse a network that a card carries, or that no card can since it has no bridge here."""
    if network.PIFs:
        raise NetworkAlreadyConnected(network, network.PIFs[0])
    if not network.bridge:
        raise OperationNotAllowed(f"{network.name_label or network.uuid} has no bridge on this host")


def require_removable(pif: PIF) -> None:
    """Refuse what the API did not make, what the host is managed through, and what running machines need."""
    if not pif.made:
        raise OperationNotAllowed(f"{pif.device} was made by the host's own network configuration: remove it there")
    if pif.management:
        raise PifIsManagementInterface(pif)
    for vif in pif.network.VIFs:
        if vif.currently_attached:
            raise VifInUse(pif.network, vif)
