"""The host's network as the kernel shows and changes it by netlink: one connection a change, refusals as XenErrors.

What is made of it is in ``vlans`` and ``bonds``; here is what they share, and switching a card on and off.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from agent.errors import InvalidValue, OperationNotAllowed, PermissionDenied, XenError

IFF_UP = 1
"""Linux' flag of a card that is switched on (if.h)."""
NAME_LENGTH = 15
"""Characters that Linux' name of a card can have."""

Meaning = Callable[[NetlinkError], XenError]


@contextmanager
def connected(namespace: str, meaning: Meaning) -> Iterator[Any]:
    """A connection to the kernel, or to another network namespace of it. What it refuses is told as `meaning` says;
    PERMISSION_DENIED for one that may change nothing.
    """
    try:
        with IPRoute(netns=namespace) if namespace else IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        if error.code in (errno.EPERM, errno.EACCES):
            raise PermissionDenied("the agent may not change the host's network") from error
        raise meaning(error) from error


def index_of(netlink: Any, name: str) -> int | None:
    """The number of the link of this name; None if there is none."""
    found = list(netlink.link_lookup(ifname=name))
    return int(found[0]) if found else None


def link_of(netlink: Any, name: str) -> Any:
    """The link of this name, or None."""
    index = index_of(netlink, name)
    return None if index is None else next(iter(netlink.get_links(index)), None)


def bridge_of(netlink: Any, name: str) -> int:
    """The number of a bridge that a port is to be of. OPERATION_NOT_ALLOWED if there is none."""
    index = index_of(netlink, name)
    if index is None:
        raise OperationNotAllowed(f"the host has no bridge {name}")
    return index


def is_up(netlink: Any, index: int) -> bool:
    """Whether the card is switched on, with or without a cable in it."""
    return any(link["flags"] & IFF_UP for link in netlink.get_links(index))


def info_of(link: Any) -> Any:
    """What the kernel says of the kind of a link; None for hardware."""
    return link.get_attr("IFLA_LINKINFO")


def kind_of(link: Any) -> str:
    """``vlan``, ``bond``, ``bridge`` and so on; empty for hardware."""
    info = info_of(link)
    return "" if info is None else str(info.get_attr("IFLA_INFO_KIND"))


class Links:
    """The cards of the host, or of another network namespace, as switches."""

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace

    def switch(self, device: str, *, up: bool) -> None:
        """Switch a card on or off. INVALID_VALUE if there is none of this name."""

        def meaning(error: NetlinkError) -> XenError:
            return OperationNotAllowed(f"the host's kernel does not switch {device} {'on' if up else 'off'}: {error}")

        with connected(self._namespace, meaning) as netlink:
            index = index_of(netlink, device)
            if index is None:
                raise InvalidValue("device", device)
            netlink.link("set", index=index, state="up" if up else "down")
