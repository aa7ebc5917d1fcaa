"""Networks as libvirt virtual networks: bridges that only machines of this host are on, and bridges of the host itself.

A network is the libvirt network with its uuid. No network made here has addresses, DHCP or NAT: what is on it stays
between the machines. The host's own cards are in ``node``; a machine's card on a network is in ``domains``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import libvirt
from lxml import etree

from agent.classes import Network
from agent.classes.enums import BondMode
from agent.errors import InvalidValue, UniquenessViolated
from agent.ports import SeenNetwork, WantedBond
from drivers.bonds import Bonds
from drivers.connection import Connection
from drivers.failures import translated
from drivers.netlink import Links
from drivers.text import cleaned
from drivers.vlans import Vlans

STANDARD_MTU = 1500

_BRIDGE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
"""A name that Linux gives a network card: at most 15 characters. libvirt replaces a %d in it, so there is none."""


class LibvirtNetworks:
    """The port Networks over any libvirt connection."""

    def __init__(
        self,
        connection: Connection,
        vlans: Vlans | None = None,
        bonds: Bonds | None = None,
        links: Links | None = None,
    ) -> None:
        self.connection = connection
        self._vlans = vlans or Vlans()
        self._bonds = bonds or Bonds()
        self._links = links or Links()
        self._naming = threading.Lock()
        """From finding a free name of a bridge until the network that has it is defined."""

    def list(self) -> Sequence[SeenNetwork]:
        """All networks, also those that do not run."""
        with translated(connection=self.connection):
            seen = []
            for network in self.connection.handle.listAllNetworks():
                with _unless_gone():
                    seen.append(_seen(network))
            return seen

    def create(self, network: Network) -> str:
        """Make and start the network, and return the name of its bridge. One that is there already is only started.

        The bridge is called ``network.bridge``, or xapi and the first number that is free. A network that is not
        ``managed`` is on the bridge of this name that the host's administrator made.
        """
        with translated(network, connection=self.connection, field="bridge", value=network.bridge):
            found = self._find(network.uuid)
            made = found or self._define(network)
            if not made.isActive():
                try:
                    made.create()
                except libvirt.libvirtError:
                    if found is None:
                        with suppress(libvirt.libvirtError):
                            made.undefine()
                    raise
            return _seen(made).bridge

    def destroy(self, network: Network) -> None:
        """Stop and forget it. One that is gone is no error."""
        with translated(network, connection=self.connection), _unless_gone():
            found = self._find(network.uuid)
            if found is None:
                return
            persistent = found.isPersistent()
            if found.isActive():
                found.destroy()
            if persistent:
                found.undefine()

    def create_vlan(self, device: str, tag: int, bridge: str) -> str:
        """Make the VLAN on this card of the host, as a port of the bridge. Returns the name of what carries it."""
        with self._naming:
            return self._vlans.create(device, tag, bridge)

    def destroy_vlan(self, device: str) -> None:
        """Remove a VLAN. One that is gone is no error."""
        self._vlans.destroy(device)

    def create_bond(self, bond: WantedBond, name: str = "") -> str:
        """Make a bond of cards of the host, as a port of a bridge. Returns the name of what carries it."""
        with self._naming:
            return self._bonds.create(bond, name)

    def change_bond(self, name: str, mode: BondMode, properties: Mapping[str, str]) -> None:
        """Give a bond another mode and properties."""
        self._bonds.change(name, mode, properties)

    def destroy_bond(self, name: str, homes: Mapping[str, str]) -> None:
        """Remove a bond, whose cards become ports of the bridges that `homes` has for them."""
        self._bonds.destroy(name, homes)

    def switch(self, device: str, *, up: bool) -> None:
        """Switch a card of the host on or off."""
        self._links.switch(device, up=up)

    def _find(self, uuid: str) -> libvirt.virNetwork | None:
        try:
            return self.connection.handle.networkLookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
            return None

    def _define(self, network: Network) -> libvirt.virNetwork:
        if network.bridge and not _BRIDGE.fullmatch(network.bridge):
            raise InvalidValue("bridge", network.bridge)
        if not network.managed and not network.bridge:
            raise InvalidValue("bridge", "")
        with self._naming:
            present = self.list()
            bridges = {other.bridge for other in present} | self._cards()
            bridge = network.bridge or _free_name(bridges)
            if network.managed and bridge in {other.bridge for other in present}:
                raise UniquenessViolated("network", "bridge", bridge)
            name = cleaned(network.name_label, 200).replace("/", "_") or network.uuid
            if name in {other.name for other in present}:
                name = f"{name} {network.uuid}"
            definition = network_xml(network.uuid, name, bridge, network.MTU, network.managed)
            defined = self.connection.handle.networkDefineXML(definition)
        defined.setAutostart(1)
        return defined

    def _cards(self) -> set[str]:
        """The names of the host's network cards and bridges, as far as libvirt knows them."""
        try:
            return {card.name() for card in self.connection.handle.listAllInterfaces()}
        except libvirt.libvirtError as error:
            # A connection to the network driver alone has none of the interface driver's calls.
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
            return set()


def network_xml(uuid: str, name: str, bridge: str, MTU: int, managed: bool) -> str:
    """The definition of a network: a bridge of its own, or one of the host's where it is not managed."""
    network = etree.Element("network")
    etree.SubElement(network, "name").text = name
    etree.SubElement(network, "uuid").text = uuid
    if managed:
        etree.SubElement(network, "bridge", name=bridge, stp="off", delay="0")
        if MTU not in (0, STANDARD_MTU):
            etree.SubElement(network, "mtu", size=str(MTU))
    else:
        etree.SubElement(network, "forward", mode="bridge")
        etree.SubElement(network, "bridge", name=bridge)
    return etree.tostring(network, encoding="unicode")


def _free_name(taken: set[str]) -> str:
    number = 0
    while f"xapi{number}" in taken:
        number += 1
    return f"xapi{number}"


def _seen(network: libvirt.virNetwork) -> SeenNetwork:
    described = etree.fromstring(network.XMLDesc())
    # bridgeName() refuses a network that has no bridge (forward modes passthrough, hostdev and the like).
    bridge, mtu = described.find("bridge"), described.find("mtu")
    size = mtu.get("size", "") if mtu is not None else ""
    return SeenNetwork(
        uuid=network.UUIDString(),
        name=cleaned(network.name()),
        bridge=cleaned(bridge.get("name")) if bridge is not None else "",
        active=bool(network.isActive()),
        MTU=int(size) if size.isdecimal() else STANDARD_MTU,
    )


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over a network that went away while it was looked at."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
