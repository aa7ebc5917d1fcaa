"""Networks: making one that only machines of this host are on, and removing it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from agent.call import Call
from agent.classes import Network
from agent.classes.enums import NetworkPurpose
from agent.errors import NetworkContainsPif, NetworkContainsVif, NetworkIncompatiblePurposes, XenError
from agent.model.messages import Kind, construct, message
from agent.model.types import Record
from agent.roles import Role


@message(Network, role=Role.VM_ADMIN)
def create(call: Call, args: Annotated[Mapping[str, Any], Record("network")]) -> Network:
    """Make a network from a record of its RW and RO/constructor fields.

    Without a `bridge` the host gets a new one that only machines are on; with one, the network stands for that bridge
    of the host, which the agent neither makes nor removes.
    """
    network = construct(Network, args)
    network.managed = not network.bridge
    with call.store.transaction():
        # First, for whoever ends the agent in between: a look at what is there makes the bridge then.
        call.store.add(network)
    if network.managed:
        _make(call, network)
    return network


def _make(call: Call, network: Network) -> None:
    """Make the bridge of a new network. One that cannot be made was never there."""
    try:
        bridge = call.networks.create(network)
        with call.store.transaction():
            network.bridge = bridge
    except XenError:
        with suppress(XenError):  # the first error is the one to tell
            call.networks.destroy(network)
        with call.store.transaction():
            call.store.destroy(network)
        raise


@message(Network, role=Role.VM_ADMIN)
def destroy(call: Call, self: Network) -> None:
    """Remove a network, with its bridge where the agent made it.

    NETWORK_CONTAINS_VIF or NETWORK_CONTAINS_PIF while a card is on it.
    """
    if self.VIFs:
        raise NetworkContainsVif(", ".join(vif.ref for vif in self.VIFs))
    if self.PIFs:
        raise NetworkContainsPif(", ".join(pif.ref for pif in self.PIFs))
    call.store.assert_unreferenced(self)
    if self.managed:
        call.networks.destroy(self)
    with call.store.transaction():
        call.store.destroy(self)


@message(Network, kind=Kind.WRITE, role=Role.POOL_ADMIN, has_async=True)
def add_purpose(call: Call, self: Network, value: NetworkPurpose) -> None:
    """Note that the network is set aside for a service; one that is there stays there once.

    NETWORK_INCOMPATIBLE_PURPOSES for nbd beside insecure_nbd. It is noted and not acted on: the agent serves no NBD.
    """
    for other in self.purpose:
        if other is not value:
            raise NetworkIncompatiblePurposes(value, other)
    self.purpose = (value,)


@message(Network, kind=Kind.WRITE, role=Role.POOL_ADMIN, has_async=True)
def remove_purpose(call: Call, self: Network, value: NetworkPurpose) -> None:
    """Note that the network is not set aside for a service any more; nothing happens if it was not."""
    self.purpose = tuple(other for other in self.purpose if other is not value)
