"""The class PIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes.enums import IpConfigurationMode, Ipv6ConfigurationMode, PifIgmpStatus, PrimaryAddressType
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class PIF(Entity, role=Role.POOL_OPERATOR, destroys=True):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    device: str = readwrite("TODO device", default="")
    network: m.Network = constructor("TODO network", bound="PIFs")
    host: m.Host = constructor("TODO host", bound="PIFs")
    MAC: str = readwrite("TODO MAC", default="")
    MTU: int = readwrite("TODO MTU", default=0)
    VLAN: int = readwrite("TODO VLAN", default=0)
    metrics: m.PIFMetrics | None = runtime("TODO metrics", default=None, kept=True, owns=True)
    physical: bool = runtime("TODO physical", default=False, kept=True)
    currently_attached: bool = runtime("TODO currently attached", default=True)
    ip_configuration_mode: IpConfigurationMode = runtime("TODO ip configuration mode", default=IpConfigurationMode.NONE)
    IP: str = runtime("TODO IP", default="")
    netmask: str = runtime("TODO netmask", default="")
    gateway: str = runtime("TODO gateway", default="")
    DNS: str = runtime("TODO DNS", default="")
    bond_slave_of: Entity | None = runtime("TODO bond slave of", default=None, to="Bond")
    bond_master_of: tuple[Entity, ...] = runtime("TODO bond master of", default=(), to="Bond")
    VLAN_master_of: Entity | None = runtime("TODO VLAN master of", default=None, to="VLAN")
    VLAN_slave_of: tuple[Entity, ...] = runtime("TODO VLAN slave of", default=(), to="VLAN")
    management: bool = runtime("TODO management", default=False)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
    disallow_unplug: bool = runtime("TODO disallow unplug", default=False)
    tunnel_access_PIF_of: tuple[Entity, ...] = runtime("TODO tunnel access PIF of", default=(), to="tunnel")
    tunnel_transport_PIF_of: tuple[Entity, ...] = runtime("TODO tunnel transport PIF of", default=(), to="tunnel")
    ipv6_configuration_mode: Ipv6ConfigurationMode = runtime("TODO ipv6 configuration mode", default=Ipv6ConfigurationMode.NONE)
    IPv6: tuple[str, ...] = runtime("TODO IPv6", default=())
    ipv6_gateway: str = runtime("TODO ipv6 gateway", default="")
    primary_address_type: PrimaryAddressType = runtime("TODO primary address type", default=PrimaryAddressType.IPV4)
    managed: bool = constructor("TODO managed", default=True)
    properties: Mapping[str, str] = runtime("TODO properties", default={})
    capabilities: tuple[str, ...] = runtime("TODO capabilities", default=())
    igmp_snooping_status: PifIgmpStatus = runtime("TODO igmp snooping status", default=PifIgmpStatus.UNKNOWN)
    sriov_physical_PIF_of: tuple[Entity, ...] = runtime("TODO sriov physical PIF of", default=(), to="network_sriov")
    sriov_logical_PIF_of: tuple[Entity, ...] = runtime("TODO sriov logical PIF of", default=(), to="network_sriov")
    PCI: Entity | None = runtime("TODO PCI", default=None, to="PCI")
