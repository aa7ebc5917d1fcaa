"""libvirt's networks become networks; those made through the API are made again where the hypervisor has forgotten
them.
"""

from __future__ import annotations

import logging

from agent.classes import Network
from agent.errors import HostOffline, XenError
from agent.ports import Machine
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
