"""Bonds: cards of the host that act as one, made and removed by netlink. Which there are is ``cards``' business.

Linux loads its bonding module by itself. What is made here is gone when the host is restarted; the agent makes it
again.
"""

from __future__ import annotations

import errno
import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyroute2 import NetlinkError

from agent.classes.enums import BondMode
from agent.errors import InvalidValue, OperationNotAllowed, ValueNotSupported, XenError
from agent.ports import WantedBond
from drivers.netlink import IFF_UP, bridge_of, connected, index_of, kind_of, link_of

log = logging.getLogger(__name__)
MODES = {BondMode.ACTIVE_BACKUP: 1, BondMode.LACP: 4}
"""Linux' numbers of the modes that it has in common with xapi."""
NO_SLB = (
    "it is a mode of Open vSwitch and of XenServer's own kernel, which Linux' bonds do not have: use active-backup, or "
    "lacp where the switch can do that"
)
HASHES = {"src_mac": 0, "tcpudp_ports": 1}
"""xapi's hashing_algorithm as Linux' xmit_hash_policy: layer2 and layer3+4."""
RATES = {"slow": 0, "fast": 1}
"""xapi's lacp-time as Linux' lacp_rate."""
WATCH_MILLISECONDS = 100
"""How often the kernel looks whether a card has lost its cable; 0, its own value, is never."""
_WORDS = {
    errno.EOPNOTSUPP: "it has no bonds (module bonding)",
    errno.EBUSY: "a card is of a kind that takes no part in bonds",
    errno.ENODEV: "a card or the bridge has gone meanwhile",
}


class Bonds:
    """The bonds of the host, or of another network namespace."""

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace

    def create(self, bond: WantedBond, name: str = "") -> str:
        """Make a bond of these cards, up and a port of the bridge; they leave the bridges that they were ports of.

        Returns its name: the given one, of which an empty bond may be there, or the first of bond0, bond1 and so on
        that is free. If it fails the cards are where they were.
        """
        settings = settings_of(bond.mode, bond.properties)
        with self._changing() as netlink:
            cards = [_card(netlink, device) for device in bond.members]
            master = bridge_of(netlink, bond.bridge)
            made = _empty(netlink, name, settings)
            try:
                for card in cards:
                    _enslave(netlink, card["index"], made)
                address = {"address": bond.MAC} if bond.MAC else {}
                netlink.link("set", index=made, master=master, state="up", **address)
            except NetlinkError:
                netlink.link("del", index=made)
                for card in cards:
                    state = "up" if card["flags"] & IFF_UP else "down"
                    netlink.link("set", index=card["index"], master=card.get_attr("IFLA_MASTER") or 0, state=state)
                raise
            return _name(netlink, made)

    def change(self, name: str, mode: BondMode, properties: Mapping[str, str]) -> None:
        """Give a bond another mode and properties. It carries nothing meanwhile, for Linux wants it empty and down."""
        settings = settings_of(mode, properties)
        with self._changing() as netlink:
            bond = _bond(netlink, name)
            index = bond["index"]
            cards = [link["index"] for link in netlink.get_links() if link.get_attr("IFLA_MASTER") == index]
            for card in cards:
                netlink.link("set", index=card, master=0)
            try:
                netlink.link("set", index=index, state="down")
                netlink.link("set", index=index, kind="bond", **settings)
            finally:
                for card in cards:
                    _enslave(netlink, card, index)
                netlink.link("set", index=index, state="up")

    def destroy(self, name: str, homes: Mapping[str, str]) -> None:
        """Remove it; each of its cards becomes a port of the bridge that `homes` has for it. One that is gone is no
        error; OPERATION_NOT_ALLOWED for what is no bond.
        """
        with self._changing() as netlink:
            if index_of(netlink, name) is not None:
                netlink.link("del", index=_bond(netlink, name)["index"])
            for device, bridge in homes.items():
                card, master = index_of(netlink, device), index_of(netlink, bridge) if bridge else None
                if card is None or master is None:
                    continue
                try:
                    netlink.link("set", index=card, master=master, state="up")
                except NetlinkError as error:  # the bond is gone all the same
                    log.warning("%s is no port of %s again: %s", device, bridge, error)

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        def meaning(error: NetlinkError) -> XenError:
            return OperationNotAllowed(f"the host's kernel refuses the bond: {_WORDS.get(error.code, str(error))}")

        with connected(self._namespace, meaning) as netlink:
            yield netlink


def settings_of(mode: BondMode, properties: Mapping[str, str]) -> dict[str, int]:
    """What netlink is told of a bond. VALUE_NOT_SUPPORTED for a mode or property that Linux does not have."""
    if mode not in MODES:
        raise ValueNotSupported("mode", mode, NO_SLB)
    settings = {"bond_mode": MODES[mode], "bond_miimon": WATCH_MILLISECONDS}
    if mode is BondMode.LACP:
        settings |= {"bond_xmit_hash_policy": HASHES["tcpudp_ports"], "bond_ad_lacp_rate": RATES["slow"]}
    for key, value in properties.items():
        known = {"hashing_algorithm": HASHES, "lacp-time": RATES}.get(key) if mode is BondMode.LACP else None
        if known is None or value not in known:
            reason = "lacp has hashing_algorithm (src_mac or tcpudp_ports) and lacp-time (slow or fast)"
            raise ValueNotSupported("properties", f"{key}={value}"[:200], reason)
        settings["bond_xmit_hash_policy" if known is HASHES else "bond_ad_lacp_rate"] = known[value]
    return settings


def _card(netlink: Any, device: str) -> Any:
    link = link_of(netlink, device)
    if link is None:
        raise InvalidValue("members", device)
    return link


def _bond(netlink: Any, name: str) -> Any:
    link = link_of(netlink, name)
    if link is None or kind_of(link) != "bond":
        raise OperationNotAllowed(f"{name} is no bond")
    return link


def _empty(netlink: Any, name: str, settings: Mapping[str, int]) -> int:
    """The number of a new bond without cards. One that is there has this name, and is empty too: the kernel makes
    bond0 when it loads the module.
    """
    if name and index_of(netlink, name) is not None:
        index = int(_bond(netlink, name)["index"])
        netlink.link("set", index=index, state="down")
        netlink.link("set", index=index, kind="bond", **settings)
        return index
    for candidate in [name] if name else (f"bond{number}" for number in itertools.count()):
        if index_of(netlink, candidate) is not None:
            continue
        try:
            netlink.link("add", ifname=candidate, kind="bond", **settings)
        except NetlinkError as error:
            if error.code != errno.EEXIST or name:
                raise
            continue  # it came with the module
        made = index_of(netlink, candidate)
        if made is not None:
            return made
    raise OperationNotAllowed(f"{name} has gone from the host meanwhile")


def _enslave(netlink: Any, card: int, bond: int) -> None:
    netlink.link("set", index=card, state="down")  # Linux takes no card that is up
    netlink.link("set", index=card, master=bond)


def _name(netlink: Any, index: int) -> str:
    [link] = netlink.get_links(index)
    return str(link.get_attr("IFLA_IFNAME"))
