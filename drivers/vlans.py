"""VLANs on cards of the host, made and removed by netlink. Which cards there are is ``cards``' business.

Linux loads its VLAN module by itself. What is made here is gone when the host is restarted; the agent makes it again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyroute2 import NetlinkError

from agent.errors import InvalidValue, OperationNotAllowed, VlanInUse, XenError
from drivers.netlink import NAME_LENGTH, bridge_of, connected, index_of, info_of, is_up, kind_of, link_of

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
        with self._changing(device, tag) as netlink:
            trunk = index_of(netlink, device)
            if trunk is None:
                raise InvalidValue("device", device)
            master = bridge_of(netlink, bridge)
            link = link_of(netlink, name)
            if link is None:
                netlink.link("add", ifname=name, kind="vlan", link=trunk, vlan_id=tag)
            elif not _is_vlan(link, trunk, tag) or link.get_attr("IFLA_MASTER") not in (None, master):
                raise VlanInUse(device, tag)
            down = not is_up(netlink, trunk)
            try:
                if down:  # Linux takes no VLAN up whose card is down: ENETDOWN, "Network is down"
                    netlink.link("set", index=trunk, state="up")
                netlink.link("set", index=index_of(netlink, name), master=master, state="up")
            except NetlinkError:
                if link is None:
                    netlink.link("del", index=index_of(netlink, name))
                if down:
                    netlink.link("set", index=trunk, state="down")
                raise
        return name

    def destroy(self, name: str) -> None:
        """Remove it. One that is gone is no error; OPERATION_NOT_ALLOWED for a card that is no VLAN."""
        with self._changing(name, -1) as netlink:
            link = link_of(netlink, name)
            if link is None:
                return
            if kind_of(link) != "vlan":
                raise OperationNotAllowed(f"{name} is no VLAN")
            netlink.link("del", index=link["index"])

    @contextmanager
    def _changing(self, device: str, tag: int) -> Iterator[Any]:
        def meaning(error: NetlinkError) -> XenError:
            if error.code == errno.EEXIST:
                return VlanInUse(device, tag)
            words = _WORDS.get(error.code, str(error))
            return OperationNotAllowed(f"the host's kernel refuses a VLAN on {device}: {words}")

        with connected(self._namespace, meaning) as netlink:
            yield netlink


def name_of(device: str, tag: int) -> str:
    """What carries the VLAN: the card's name and the tag, as short as Linux needs it."""
    end = f".{tag}"
    return f"{device[: NAME_LENGTH - len(end)]}{end}"


def _is_vlan(link: Any, trunk: int, tag: int) -> bool:
    """Whether the link is this VLAN on that card."""
    if kind_of(link) != "vlan":
        return False
    data: Mapping[str, Any] | None = info_of(link).get_attr("IFLA_INFO_DATA")
    return link.get_attr("IFLA_LINK") == trunk and data is not None and data.get_attr("IFLA_VLAN_ID") == tag  # type: ignore[attr-defined]
