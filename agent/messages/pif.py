"""VLANs on the host's cards, which carry networks: making and removing them. Other cards are the host's to set up."""

from __future__ import annotations

from agent.call import Call
from agent.classes import PIF, Host, Network, PIFMetrics
from agent.errors import (
    InvalidValue,
    NetworkAlreadyConnected,
    OperationNotAllowed,
    PifIsManagementInterface,
    PifIsPhysical,
    PifIsVlan,
    PifVlanExists,
    VifInUse,
    VlanTagInvalid,
    XenError,
)
from agent.model.messages import message

TAGS = range(1, 4095)
"""The numbers that IEEE 802.1Q leaves for VLANs."""


@message(PIF)
def create_VLAN(call: Call, device: str, network: Network, host: Host, VLAN: int) -> PIF:
    """Have the VLAN with this number on a card of the host carry a network, whose bridge it becomes a port of.

    `device` is the card, such as eth0 (INVALID_VALUE if there is none, PIF_IS_VLAN for a VLAN). VLAN_TAG_INVALID unless
    1 to 4094, NETWORK_ALREADY_CONNECTED if a card carries the network, PIF_VLAN_EXISTS if the host has that VLAN. It is
    made again after the host was restarted.
    """
    if VLAN not in TAGS:
        raise VlanTagInvalid(VLAN)
    trunk = next((pif for pif in host.PIFs if pif.device == device), None)
    if trunk is None:
        raise InvalidValue("device", f"{device[:64]}: the host has no such card")
    if trunk.VLAN >= 0:
        raise PifIsVlan(trunk)
    for pif in host.PIFs:
        if (pif.trunk, pif.VLAN) == (device, VLAN):
            raise PifVlanExists(pif)
    if network.PIFs:
        raise NetworkAlreadyConnected(network, network.PIFs[0])
    if not network.bridge:
        raise OperationNotAllowed(f"{network.name_label or network.uuid} has no bridge on this host")
    name = call.networks.create_vlan(device, VLAN, network.bridge)
    try:
        with call.store.transaction():
            made = PIF(device=name, host=host, network=network, MAC=trunk.MAC, MTU=trunk.MTU, VLAN=VLAN)
            made.made, made.trunk = True, device
            made.metrics = call.store.add(PIFMetrics())
            return call.store.add(made)
    except XenError:
        call.networks.destroy_vlan(name)
        raise


@message(PIF)
def destroy(call: Call, self: PIF) -> None:
    """Remove a VLAN that create_VLAN made.

    PIF_IS_PHYSICAL for hardware, OPERATION_NOT_ALLOWED for what the host's own configuration made,
    PIF_IS_MANAGEMENT_INTERFACE where the host's address is on it, VIF_IN_USE while a running machine is on its network.
    """
    if self.physical:
        raise PifIsPhysical(self)
    if not self.made:
        raise OperationNotAllowed(f"{self.device} was made by the host's own network configuration: remove it there")
    if self.management:
        raise PifIsManagementInterface(self)
    for vif in self.network.VIFs:
        if vif.currently_attached:
            raise VifInUse(self.network, vif)
    call.networks.destroy_vlan(self.device)
    with call.store.transaction():
        call.store.destroy(self)
