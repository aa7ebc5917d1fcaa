"""VLANs on cards of the host, made and removed by netlink. Which cards there are is ``cards``' business.

Linux loads its VLAN module by itself. What is made here is gone when the host is restarted; the agent makes it again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from agent.errors import InvalidValue, OperationNotAllowed, PermissionDenied, VlanInUse

IFF_UP = 1
"""Linux' flag of a card that is switched on (if.h)."""
NAME_LENGTH = 15
"""Characters that Linux' name of a card can have."""
_WORDS = {
    errno.EOPNOTSUPP: "the host's kernel has no VLANs (module 8021q), or the card cannot carry any",
    errno.EBUSY: "the bridge or the card is of a kind that takes no such port",
    errno.ENODEV: "the card or the bridge has gone meanwhile",
}


class Vlans:
    """The VLANs of the host, or of another network namespace."""

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace

    def create(self, device: str, tag: int, bridge: str) -> str:
        """Make the VLAN on this card, up and a port of the bridge. Returns its name, which is the card's and the tag.

        A card that is down is taken up, without which no VLAN of it carries anything.
        One that is there is taken over, unless it is a port of another bridge or has another purpose: VLAN_IN_USE.
        """
        name = name_of(device, tag)
        with self._netlink(device, tag) as netlink:
            trunk, master = _index(netlink, device), _index(netlink, bridge)
            if trunk is None:
                raise InvalidValue("device", device)
            if master is None:
                raise OperationNotAllowed(f"the host has no bridge {bridge}")
            link = _link(netlink, name)
            if link is None:
                netlink.link("add", ifname=name, kind="vlan", link=trunk, vlan_id=tag)
            elif not _is_vlan(link, trunk, tag) or link.get_attr("IFLA_MASTER") not in (None, master):
                raise VlanInUse(device, tag)
            down = not _is_up(netlink, trunk)
            try:
                if down:  # Linux takes no VLAN up whose card is down: ENETDOWN, "Network is down"
                    netlink.link("set", index=trunk, state="up")
                netlink.link("set", index=_index(netlink, name), master=master, state="up")
            except NetlinkError:
                if link is None:
                    netlink.link("del", index=_index(netlink, name))
                if down:
                    netlink.link("set", index=trunk, state="down")
                raise
        return name

    def destroy(self, name: str) -> None:
        """Remove it. One that is gone is no error; OPERATION_NOT_ALLOWED for a card that is no VLAN."""
        with self._netlink(name, -1) as netlink:
            link = _link(netlink, name)
            if link is None:
                return
            if _kind(link) != "vlan":
                raise OperationNotAllowed(f"{name} is no VLAN")
            netlink.link("del", index=link["index"])

    @contextmanager
    def _netlink(self, device: str, tag: int) -> Iterator[Any]:
        """A connection to the kernel for one change, whose refusals are told as XenErrors."""
        try:
            with IPRoute(netns=self._namespace) if self._namespace else IPRoute() as netlink:
                yield netlink
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise PermissionDenied("the agent may not change the host's network") from error
            if error.code == errno.EEXIST:
                raise VlanInUse(device, tag) from error
            words = _WORDS.get(error.code, str(error))
            raise OperationNotAllowed(f"the host's kernel refuses a VLAN on {device}: {words}") from error


def name_of(device: str, tag: int) -> str:
    """What carries the VLAN: the card's name and the tag, as short as Linux needs it."""
    end = f".{tag}"
    return f"{device[: NAME_LENGTH - len(end)]}{end}"


def _link(netlink: Any, name: str) -> Any:
    index = _index(netlink, name)
    return None if index is None else next(iter(netlink.get_links(index)), None)


def _is_up(netlink: Any, index: int) -> bool:
    """Whether the card is switched on, with or without a cable in it."""
    return any(link["flags"] & IFF_UP for link in netlink.get_links(index))


def _index(netlink: Any, name: str) -> int | None:
    found = list(netlink.link_lookup(ifname=name))
    return int(found[0]) if found else None


def _info(link: Any) -> Any:
    return link.get_attr("IFLA_LINKINFO")


def _kind(link: Any) -> str:
    info = _info(link)
    return "" if info is None else str(info.get_attr("IFLA_INFO_KIND"))


def _is_vlan(link: Any, trunk: int, tag: int) -> bool:
    """Whether the link is this VLAN on that card."""
    if _kind(link) != "vlan":
        return False
    data: Mapping[str, Any] | None = _info(link).get_attr("IFLA_INFO_DATA")
    return link.get_attr("IFLA_LINK") == trunk and data is not None and data.get_attr("IFLA_VLAN_ID") == tag  # type: ignore[attr-defined]
