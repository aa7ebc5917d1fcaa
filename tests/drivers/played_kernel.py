"""A host's network as netlink shows and changes it, only played: for tests of what is made by netlink."""

from __future__ import annotations

import errno
from typing import Any

from pyroute2 import NetlinkError


class Link(dict[str, Any]):
    """A link as the library gives it: its index, and attributes."""

    def get_attr(self, name: str) -> Any:
        return self.get(name)


class Kernel:
    """The network of a host with two cards and two bridges, as netlink shows and changes it."""

    def __init__(self) -> None:
        names = ("eth0", "br0", "br1", "eth1")
        self.links = {name: Link(index=index, flags=1, IFLA_IFNAME=name) for index, name in enumerate(names, start=1)}
        self.refuses: dict[str, int] = {}
        """The error number that a command is answered with; ``port`` is a set that makes a port."""
        self.commands: list[str] = []

    def __call__(self, netns: str = "") -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def link_lookup(self, ifname: str) -> list[int]:
        return [self.links[ifname]["index"]] if ifname in self.links else []

    def get_links(self, index: int = -1) -> list[Link]:
        return [Link(link) for link in self.links.values() if index in (-1, link["index"])]

    def link(self, command: str, **given: Any) -> None:
        self.commands.append(command)
        if command in self.refuses:
            raise NetlinkError(self.refuses[command])
        if command == "add":
            self._add(given)
        [name] = [name for name, link in self.links.items() if link["index"] == given.get("index")] or [""]
        if command == "set":
            self._set(self.links[name], given)
        if command == "del":
            gone = self.links.pop(name)
            for port in self.links.values():
                if port.get("IFLA_MASTER") == gone["index"]:
                    port["IFLA_MASTER"] = None

    def _add(self, given: dict[str, Any]) -> None:
        if given["ifname"] in self.links:
            raise NetlinkError(errno.EEXIST)
        data = Link(IFLA_VLAN_ID=given["vlan_id"]) if "vlan_id" in given else Link()
        self.links[given["ifname"]] = Link(
            index=len(self.links) + 10,
            flags=0,
            IFLA_IFNAME=given["ifname"],
            IFLA_LINK=given.get("link", 0),
            IFLA_LINKINFO=Link(IFLA_INFO_KIND=given["kind"], IFLA_INFO_DATA=data),
            settings={key: value for key, value in given.items() if key.startswith("bond_")},
        )

    def _set(self, link: Link, given: dict[str, Any]) -> None:
        """Change a link. As in Linux, none is taken up on a card that is down, a bond takes no card that is up, and a
        bond changes only while it is empty and down.
        """
        if given.get("state") == "up" and any(not trunk["flags"] for trunk in self.get_links(link.get("IFLA_LINK", 0))):
            raise NetlinkError(errno.ENETDOWN)
        if "kind" in given:
            if link["flags"] or any(port.get("IFLA_MASTER") == link["index"] for port in self.links.values()):
                raise NetlinkError(errno.EINVAL)
            link["settings"] = {key: value for key, value in given.items() if key.startswith("bond_")}
        if given.get("master"):
            if "port" in self.refuses:
                raise NetlinkError(self.refuses["port"])
            [above] = self.get_links(given["master"])
            if "settings" in above:
                if link["flags"]:
                    raise NetlinkError(errno.EPERM)
                link["flags"] = 1
        if "master" in given:
            link["IFLA_MASTER"] = given["master"]
        if "address" in given:
            link["IFLA_ADDRESS"] = given["address"]
        if "state" in given:
            link["flags"] = int(given["state"] == "up")
