"""VLANs on the host's cards, which carry networks, in the words of the original API. Other cards are the host's to set
up.
"""

from __future__ import annotations

from agent.call import Call
from agent.classes import PIF, Host, Network
from agent.errors import OperationNotAllowed, PifIsPhysical
from agent.messages import vlan
from agent.model.messages import message


@message(PIF)
def create_VLAN(call: Call, device: str, network: Network, host: Host, VLAN: int) -> PIF:
    """Have the VLAN with this number on a card of the host carry a network, whose bridge it becomes a port of.

    `device` is the card, such as eth0 (INVALID_VALUE if there is none, PIF_IS_VLAN for a VLAN). VLAN_TAG_INVALID unless
    1 to 4094, NETWORK_ALREADY_CONNECTED if a card carries the network, PIF_VLAN_EXISTS if the host has that VLAN. It is
    made again after the host was restarted.
    """
    return vlan.make(call, vlan.card_named(host, device, VLAN), VLAN, network)


@message(PIF)
def destroy(call: Call, self: PIF) -> None:
    """Remove a VLAN that create_VLAN made.

    PIF_IS_PHYSICAL for hardware, OPERATION_NOT_ALLOWED for what the host's own configuration made or is no VLAN,
    PIF_IS_MANAGEMENT_INTERFACE where the host's address is on it, VIF_IN_USE while a running machine is on its network.
    """
    if self.physical:
        raise PifIsPhysical(self)
    if self.VLAN < 0:
        raise OperationNotAllowed(f"{self.device} is no VLAN")
    vlan.remove(call, self)
