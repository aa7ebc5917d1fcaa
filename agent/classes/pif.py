"""The class PIF. The host's network is set up by the host's own means: the agent looks at it, and makes only what
clients ask for, VLANs and bonds. What can be done to a card is in ``agent.messages.pif``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.enums import IpConfigurationMode, Ipv6ConfigurationMode, PifIgmpStatus, PrimaryAddressType
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

SET_UP_BY = "change it in the host's own network configuration"


class PIF(Entity, role=Role.POOL_OPERATOR, destroys=True):
    """A network card of the host, or a VLAN or bond on it, as the host has it set up."""

    uuid: str = runtime("permanent name of this card")
    device: str = readwrite("name of the card, such as eth0", default="", check=checks.fixed("device", SET_UP_BY))
    network: m.Network = constructor("network that the card carries", bound="PIFs")
    host: m.Host = constructor("host that has the card", bound="PIFs")
    MAC: str = readwrite("hardware address, by the host", default="", check=checks.fixed("MAC", SET_UP_BY))
    MTU: int = readwrite("largest frame in octets, by the host", default=0, check=checks.fixed("MTU", SET_UP_BY))
    VLAN: int = readwrite(
        "tag of the VLAN that the card is one end of; -1 for none", default=-1, check=checks.fixed("VLAN", SET_UP_BY)
    )
    metrics: m.PIFMetrics | None = runtime("what the card carries, measured", default=None, kept=True, owns=True)
    physical: bool = runtime("is it hardware, rather than a VLAN or bond", default=False, kept=True)
    currently_attached: bool = runtime("is the card there and switched on, with or without a cable", default=True)
    ip_configuration_mode: IpConfigurationMode = runtime(
        "is there an IPv4 address (Static, even if DHCP gave it, which only the host knows) or none (None)",
        default=IpConfigurationMode.NONE,
    )
    IP: str = runtime("IPv4 address of the host on this card; empty for none", default="")
    netmask: str = runtime("mask that goes with IP", default="")
    gateway: str = runtime("router that the host reaches others through on this card; empty for none", default="")
    DNS: str = runtime("name servers of the host, with commas between them", default="")
    bond_slave_of: m.Bond | None = runtime(
        "bond that the card is one of; null for none", default=None, bound="slaves", kept=True, weak=True
    )
    bond_master_of: tuple[m.Bond, ...] = runtime("the bond that this PIF is, if it is one", default=())
    VLAN_master_of: m.VLAN | None = runtime(
        "VLAN that this PIF has the frames of, without their tag; null for none", default=None, kept=True, weak=True
    )
    VLAN_slave_of: tuple[m.VLAN, ...] = runtime("VLANs whose tagged frames pass this card", default=())
    management: bool = runtime("is the host's own address on this card", default=False)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    disallow_unplug: bool = runtime("is unplug refused, as a client asked for", default=False, kept=True)
    tunnel_access_PIF_of: tuple[Entity, ...] = runtime(
        "always empty: the agent sets up no tunnels", default=(), to="tunnel"
    )
    tunnel_transport_PIF_of: tuple[Entity, ...] = runtime(
        "always empty: the agent sets up no tunnels", default=(), to="tunnel"
    )
    ipv6_configuration_mode: Ipv6ConfigurationMode = runtime(
        "always None: how the host got its addresses is known to the host alone", default=Ipv6ConfigurationMode.NONE
    )
    IPv6: tuple[str, ...] = runtime("IPv6 addresses of the host on this card", default=())
    ipv6_gateway: str = runtime("always empty: the agent does not look for it", default="")
    primary_address_type: PrimaryAddressType = runtime(
        "always IPv4: the agent prefers neither", default=PrimaryAddressType.IPV4
    )
    managed: bool = constructor("always true: every card that can carry a network is shown", default=True)
    properties: Mapping[str, str] = runtime("always empty: the agent reads no settings of the driver", default={})
    capabilities: tuple[str, ...] = runtime("sriov for a card that could have functions for guests", default=())
    igmp_snooping_status: PifIgmpStatus = runtime(
        "always unknown: the agent does not look for it", default=PifIgmpStatus.UNKNOWN
    )
    sriov_physical_PIF_of: tuple[Entity, ...] = runtime(
        "always empty: the agent sets up no virtual functions", default=(), to="network_sriov"
    )
    sriov_logical_PIF_of: tuple[Entity, ...] = runtime(
        "always empty: the agent sets up no virtual functions", default=(), to="network_sriov"
    )
    PCI: m.PCI | None = runtime("PCI device that the card is; null for a VLAN or bond", default=None, weak=True)
    made: bool = internal("a VLAN made through the API: made again where the host has forgotten it", default=False)
    trunk: str = internal("card that the VLAN is on; empty for what is no VLAN", default="")
