"""The host's cards: switched on and off, and looked for; VLANs on them in the words of the original API.

Which cards there are and which addresses they have is the host's to say: what xapi would set up itself is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import PIF, VLAN, Bond, Host, Network, checks
from agent.classes.enums import IpConfigurationMode, Ipv6ConfigurationMode, PrimaryAddressType
from agent.errors import (
    CannotPlugBondSlave,
    DuplicatePifDeviceName,
    InvalidValue,
    MacStillExists,
    NoSuchInterface,
    OperationNotAllowed,
    PifAlreadyBonded,
    PifDoesNotAllowUnplug,
    PifIsManagementInterface,
    PifIsNotPhysical,
    PifIsPhysical,
    PifIsVlan,
    PifUnmanaged,
    PifVlanStillExists,
    ValueNotSupported,
    VifInUse,
)
from agent.messages import vlan
from agent.model.messages import Kind, message
from agent.observer import node


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


# --- on and off


@message(PIF)
def plug(call: Call, self: PIF) -> None:
    """Switch the card on. CANNOT_PLUG_BOND_SLAVE for one of a bond, INVALID_VALUE where the host has it no more."""
    if self.bond_slave_of is not None:
        raise CannotPlugBondSlave(self)
    _switch(call, self, up=True)


@message(PIF)
def unplug(call: Call, self: PIF) -> None:
    """Switch the card off, until it is plugged or the host's own network configuration switches it on.

    PIF_IS_MANAGEMENT_INTERFACE where the host's address is on it or on what rests on it, OPERATION_NOT_ALLOWED where
    another address of the host is, VIF_IN_USE while a running machine is on its network or that of a VLAN on it,
    PIF_DOES_NOT_ALLOW_UNPLUG where a client has forbidden it.
    """
    if self.disallow_unplug:
        raise PifDoesNotAllowUnplug(self)
    for pif in _resting_on(self):
        if pif.management:
            raise PifIsManagementInterface(pif)
        if pif.IP:
            raise OperationNotAllowed(f"{pif.device} has the address {pif.IP}, by the host's own network configuration")
        for vif in pif.network.VIFs:
            if vif.currently_attached:
                raise VifInUse(pif.network, vif)
    _switch(call, self, up=False)


def _resting_on(card: PIF) -> list[PIF]:
    """The card, the bond that it is one of, and the VLANs on either: what carries nothing when it is off."""
    pifs = [card] if card.bond_slave_of is None else [card, card.bond_slave_of.master]
    return [*pifs, *(each.untagged_PIF for pif in pifs for each in pif.VLAN_slave_of)]


def _switch(call: Call, card: PIF, *, up: bool) -> None:
    call.networks.switch(card.device, up=up)
    with call.store.transaction():
        if call.store.is_live(card):
            card.currently_attached = up


@message(PIF, kind=Kind.WRITE, has_async=True)
def set_disallow_unplug(call: Call, self: PIF, value: bool) -> None:
    """Have unplug refused, or not any more."""
    self.disallow_unplug = value


# --- which there are


@message(PIF)
def scan(call: Call, host: Host) -> None:
    """Look which cards the host has: new ones are shown from now on, and those that are gone no more.

    The agent does so by itself every minute, and when it starts.
    """
    node.note(call.store, call.node)


@message(PIF)
def introduce(call: Call, host: Host, MAC: str, device: str, managed: bool = True) -> PIF:
    """Have a card of the host shown that has just come; an empty `device` is the one with this hardware address.

    All cards are shown without being introduced: DUPLICATE_PIF_DEVICE_NAME for one that is. COULD_NOT_FIND_... if the
    host has no such card, VALUE_NOT_SUPPORTED unless `managed`.
    """
    return _introduce(call, host, MAC, device, managed)


def _introduce(call: Call, host: Host, MAC: str, device: str, managed: bool) -> PIF:
    if not managed:
        raise ValueNotSupported("managed", "false", "every card that can carry a network is shown as one that does")
    seen = next(
        (
            card
            for card in call.node.interfaces()
            if card.MAC.lower() == MAC.lower() and device in ("", card.device) and (device or card.physical)
        ),
        None,
    )
    if seen is None:
        raise NoSuchInterface(device[:64], MAC[:64])
    if any(pif.device == seen.device for pif in host.PIFs):
        raise DuplicatePifDeviceName(seen.device)
    node.note(call.store, call.node)
    found = next((pif for pif in host.PIFs if pif.device == seen.device), None)
    if found is None:
        raise NoSuchInterface(device[:64], MAC[:64])
    return found


@message(PIF)
def db_introduce(
    call: Call,
    device: str,
    network: Network,
    host: Host,
    MAC: str,
    MTU: int,
    VLAN: int,
    physical: bool,
    ip_configuration_mode: IpConfigurationMode,
    IP: str,
    netmask: str,
    gateway: str,
    DNS: str,
    bond_slave_of: Bond | None,
    VLAN_master_of: VLAN | None,
    management: bool,
    other_config: Mapping[str, str],
    disallow_unplug: bool = False,
    ipv6_configuration_mode: Ipv6ConfigurationMode = Ipv6ConfigurationMode.NONE,
    IPv6: tuple[str, ...] = (),
    ipv6_gateway: str = "",
    primary_address_type: PrimaryAddressType = PrimaryAddressType.IPV4,
    managed: bool = True,
    properties: Mapping[str, str] = {},
) -> PIF:
    """Like introduce, with `other_config` and `disallow_unplug`. All else is as the host has it: what differs from what
    is given here counts for nothing.
    """
    PIF.fields["other_config"].admit(other_config)
    made = _introduce(call, host, MAC, device, managed)
    with call.store.transaction():
        made.other_config, made.disallow_unplug = other_config, disallow_unplug
    return made


@message(PIF)
def forget(call: Call, self: PIF) -> None:
    """Have a card that is gone from the host shown no more. The agent does so by itself within a minute.

    MAC_STILL_EXISTS for one that the host has. PIF_IS_VLAN, PIF_IS_NOT_PHYSICAL, PIF_ALREADY_BONDED,
    PIF_VLAN_STILL_EXISTS and PIF_IS_MANAGEMENT_INTERFACE for what is no card, or is in use.
    """
    _forget(call, self)


@message(PIF)
def db_forget(call: Call, self: PIF) -> None:
    """The same as forget: nothing is shown that the host does not have, and nothing hidden that it has."""
    _forget(call, self)


def _forget(call: Call, pif: PIF) -> None:
    if pif.VLAN >= 0:
        raise PifIsVlan(pif)
    if not pif.physical:
        raise PifIsNotPhysical(pif)
    if pif.bond_slave_of is not None:
        raise PifAlreadyBonded(pif)
    if pif.VLAN_slave_of:
        raise PifVlanStillExists(pif)
    if pif.management:
        raise PifIsManagementInterface(pif)
    if any(seen.device == pif.device for seen in call.node.interfaces()):
        raise MacStillExists(pif.MAC)
    node.note(call.store, call.node)


# --- addresses


@message(PIF)
def reconfigure_ip(
    call: Call, self: PIF, mode: IpConfigurationMode, IP: str, netmask: str, gateway: str, DNS: str
) -> None:
    """Refused with PIF_UNMANAGED, for the host's own network configuration sets up the addresses of its cards; what is
    so already is no error. INVALID_VALUE for what is no address.
    """
    for name, value in (("IP", IP), ("netmask", netmask), ("gateway", gateway)):
        _require_address(name, value)
    if mode is IpConfigurationMode.NONE:
        wanted = IpConfigurationMode.NONE, "", "", "", ""
    else:
        wanted = mode, IP, netmask, gateway or self.gateway, DNS or self.DNS
    if wanted != (self.ip_configuration_mode, self.IP, self.netmask, self.gateway, self.DNS):
        raise PifUnmanaged(self)


@message(PIF)
def reconfigure_ipv6(call: Call, self: PIF, mode: Ipv6ConfigurationMode, IPv6: str, gateway: str, DNS: str) -> None:
    """Refused with PIF_UNMANAGED likewise, unless the card has no address and none is asked for, or it has this one."""
    same = not self.IPv6 if mode is Ipv6ConfigurationMode.NONE else self.IPv6 == (IPv6,)
    if not same or mode not in (Ipv6ConfigurationMode.NONE, Ipv6ConfigurationMode.STATIC) or gateway:
        raise PifUnmanaged(self)


@message(PIF)
def set_primary_address_type(call: Call, self: PIF, primary_address_type: PrimaryAddressType) -> None:
    """Refused with PIF_UNMANAGED for IPv6: the host prefers what its own configuration says. IPv4 is what is shown."""
    if primary_address_type is not self.primary_address_type:
        raise PifUnmanaged(self)


@message(PIF, has_async=True)
def set_property(call: Call, self: PIF, name: str, value: str) -> None:
    """Refused with PIF_UNMANAGED for gro, which the host's own network configuration sets, and INVALID_VALUE for a
    property that is none.
    """
    if name != "gro" or value not in ("on", "off"):
        raise InvalidValue("properties", f"{name[:64]} = {value[:64]}: there is gro, which is on or off")
    raise PifUnmanaged(self)


def _require_address(name: str, value: str) -> None:
    try:
        checks.address(value)
    except ValueError as error:
        raise InvalidValue(name, f"{value[:64]}: {error}") from None
