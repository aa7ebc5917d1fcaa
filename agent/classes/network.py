"""The class network. How one is made is in ``agent.messages.network``; the host's own cards are the class PIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks, lifecycle
from agent.classes.blob import Blobs
from agent.classes.enums import NetworkDefaultLockingMode, NetworkOperation, NetworkPurpose
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Network(Entity, name="network", role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """A virtual network: the bridge that cards of machines are ports of, and perhaps a card of the host.

    One without a card of the host reaches only the machines on it.
    """

    uuid: str = runtime("permanent name of this network")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the network is for, for people", default="", check=checks.modest)
    VIFs: tuple[m.VIF, ...] = runtime("cards of machines on this network", default=())
    PIFs: tuple[m.PIF, ...] = runtime("cards of the host on this network", default=())
    default_gateway: str = readwrite(
        "router that guests may be told of; noted, not acted on, since the agent sets up no guest's addresses",
        default="",
        check=checks.address,
    )
    default_netmask: str = readwrite(
        "mask of the network's addresses; noted, not acted on, since the agent sets up no guest's addresses",
        default="",
        check=checks.netmask,
    )
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    allowed_operations: tuple[NetworkOperation, ...] = runtime("what can be done to the network now", default=())
    current_operations: Mapping[str, NetworkOperation] = runtime(
        "what is being done to the network, by the reference of the task that does it", default={}
    )
    MTU: int = readwrite(
        "largest frame in octets, of the bridge that the agent makes",
        default=1500,
        role=Role.VM_ADMIN,
        check=checks.mtu,
    )
    bridge: str = constructor(
        "bridge of the host that carries the network, which must be there; the agent makes one when empty", default=""
    )
    managed: bool = constructor("did the agent make the bridge, rather than find it", default=True)
    blobs: Blobs = runtime("binary pieces that clients keep with it, by name", default={})
    tags: tuple[str, ...] = readwrite(
        "words to find the network by", default=(), role=Role.VM_OPERATOR, check=checks.modest
    )
    default_locking_mode: NetworkDefaultLockingMode = runtime(
        "always unlocked: the host filters no packets of guests", default=NetworkDefaultLockingMode.UNLOCKED
    )
    assigned_ips: Mapping[m.VIF | None, str] = runtime("always empty: the agent gives out no addresses", default={})
    purpose: tuple[NetworkPurpose, ...] = runtime(
        "services of xapi that the network is set aside for, by add_purpose; noted, not acted on, since the agent has "
        "none of them",
        default=(),
        kept=True,
    )

    derive_from = frozenset()

    def derive(self) -> None:
        """Which operations are allowed follows from the state."""
        lifecycle.derive_network(self)
