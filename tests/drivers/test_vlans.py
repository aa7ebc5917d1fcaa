"""VLANs by netlink: on a kernel that is played, and on the real one in a network namespace of the test's own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2 import IPRoute, NetlinkError

from agent.errors import InvalidValue, OperationNotAllowed, PermissionDenied, VlanInUse, XenError
from drivers import vlans
from drivers.simulated_host import PlayedVlans
from drivers.vlans import IFF_UP, Vlans, name_of


class Link(dict[str, Any]):
    """A link as the library gives it: its index, and attributes."""

    def get_attr(self, name: str) -> Any:
        return self.get(name)


class Kernel:
    """The network of a host with a card and two bridges, as netlink shows and changes it."""

    def __init__(self) -> None:
        self.links = {name: Link(index=index, flags=1) for index, name in enumerate(("eth0", "br0", "br1"), start=1)}
        self.refuses: dict[str, int] = {}
        """The error number that a command is answered with."""
        self.commands: list[str] = []

    def __call__(self, netns: str = "") -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def link_lookup(self, ifname: str) -> list[int]:
        return [self.links[ifname]["index"]] if ifname in self.links else []

    def get_links(self, index: int) -> list[Link]:
        return [link for link in self.links.values() if link["index"] == index]

    def link(self, command: str, **given: Any) -> None:
        self.commands.append(command)
        if command in self.refuses:
            raise NetlinkError(self.refuses[command])
        if command == "add":
            data = Link(IFLA_VLAN_ID=given["vlan_id"])
            info = Link(IFLA_INFO_KIND=given["kind"], IFLA_INFO_DATA=data)
            self.links[given["ifname"]] = Link(
                index=len(self.links) + 10, flags=0, IFLA_LINK=given["link"], IFLA_LINKINFO=info
            )
        [name] = [name for name, link in self.links.items() if link["index"] == given.get("index")] or [""]
        if command == "set":
            self._set(self.links[name], given)
        if command == "del":
            del self.links[name]

    def _set(self, link: Link, given: dict[str, Any]) -> None:
        """Change a link. As in Linux, none is taken up on a card that is down."""
        if given["state"] == "up" and any(not trunk["flags"] for trunk in self.get_links(link.get("IFLA_LINK", 0))):
            raise NetlinkError(errno.ENETDOWN)
        if "master" in given:
            if "port" in self.refuses:
                raise NetlinkError(self.refuses["port"])
            link["IFLA_MASTER"] = given["master"]
        link["flags"] = int(given["state"] == "up")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The played kernel, in place of the library's connection."""
    played = Kernel()
    monkeypatch.setattr(vlans, "IPRoute", played)
    return played


def test_a_vlan_is_up_and_a_port_of_the_bridge(kernel: Kernel) -> None:
    assert Vlans().create("eth0", 5, "br0") == "eth0.5"
    made = kernel.links["eth0.5"]
    assert (made["IFLA_LINK"], made["IFLA_MASTER"], made["flags"]) == (1, 2, 1)
    assert Vlans().create("eth0", 5, "br0") == "eth0.5"  # it is there: only said again
    Vlans().destroy("eth0.5")
    Vlans().destroy("eth0.5")
    assert "eth0.5" not in kernel.links


def test_a_vlan_of_another_bridge_and_another_kind_of_card_are_in_use(kernel: Kernel) -> None:
    Vlans().create("eth0", 5, "br0")
    kernel.links["eth0.6"] = Link(index=99)
    for tag, bridge in ((5, "br1"), (6, "br0")):
        with pytest.raises(VlanInUse) as error:
            Vlans().create("eth0", tag, bridge)
        assert error.value.description == ["VLAN_IN_USE", "eth0", str(tag)]
    with pytest.raises(OperationNotAllowed):
        Vlans().destroy("eth0.6")


def test_a_card_or_bridge_that_is_not_there_is_named(kernel: Kernel) -> None:
    with pytest.raises(InvalidValue):
        Vlans().create("eth9", 5, "br0")
    with pytest.raises(OperationNotAllowed, match="br9"):
        Vlans().create("eth0", 5, "br9")


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (errno.EPERM, PermissionDenied, "network"),
        (errno.EEXIST, VlanInUse, "VLAN_IN_USE eth0 5"),
        (errno.EOPNOTSUPP, OperationNotAllowed, "8021q"),
        (errno.EIO, OperationNotAllowed, "eth0"),
    ],
)
def test_what_the_kernel_refuses_is_told(kernel: Kernel, number: int, error: type[XenError], says: str) -> None:
    kernel.refuses["add"] = number
    with pytest.raises(error, match=says):
        Vlans().create("eth0", 5, "br0")


def test_a_vlan_that_cannot_be_a_port_does_not_stay(kernel: Kernel) -> None:
    kernel.refuses["set"] = errno.EBUSY
    with pytest.raises(OperationNotAllowed):
        Vlans().create("eth0", 5, "br0")
    assert "eth0.5" not in kernel.links


def test_a_card_that_is_down_is_taken_up_for_its_vlan(kernel: Kernel) -> None:
    kernel.links["eth0"]["flags"] = 0
    Vlans().create("eth0", 5, "br0")
    assert kernel.links["eth0"]["flags"] == kernel.links["eth0.5"]["flags"] == 1


def test_a_vlan_that_fails_leaves_its_card_down(kernel: Kernel) -> None:
    kernel.links["eth0"]["flags"] = 0
    kernel.refuses["port"] = errno.EBUSY
    with pytest.raises(OperationNotAllowed):
        Vlans().create("eth0", 5, "br0")
    assert "eth0.5" not in kernel.links
    assert kernel.links["eth0"]["flags"] == 0


def test_names_fit_into_what_linux_takes() -> None:
    assert name_of("eth0", 4094) == "eth0.4094"
    assert name_of("enx001122334455", 4094) == "enx0011223.4094"


def test_the_simulation_plays_vlans() -> None:
    played = PlayedVlans()
    assert played.create("eth0", 5, "br0") == played.create("eth0", 5, "br0") == "eth0.5"
    with pytest.raises(VlanInUse):
        played.create("eth0", 5, "br1")
    played.destroy("eth0.5")
    played.destroy("eth0.5")
    assert played.made == {}


# --- the real kernel


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with a card `x0` and a bridge `br0`."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()  # now it is in its namespace
        path = f"/proc/{holder.pid}/ns/net"
        with IPRoute(netns=path) as netlink:
            try:
                netlink.link("add", ifname="x0", kind="veth", peer="y0")
                netlink.link("add", ifname="br0", kind="bridge")
            except NetlinkError as error:
                pytest.skip(f"this kernel has no veth or bridge: {error}")
        try:
            yield path
        finally:
            holder.stdin.close()


def test_a_real_card_or_bridge_that_is_not_there_is_named(namespace: str) -> None:
    with pytest.raises(InvalidValue):
        Vlans(namespace).create("x9", 5, "br0")
    with pytest.raises(OperationNotAllowed, match="br9"):
        Vlans(namespace).create("x0", 5, "br9")
    with pytest.raises(OperationNotAllowed, match="no VLAN"):
        Vlans(namespace).destroy("x0")
    Vlans(namespace).destroy("x0.5")


def test_a_real_vlan_is_made_and_removed(namespace: str) -> None:
    host = Vlans(namespace)
    try:
        assert host.create("x0", 5, "br0") == "x0.5"
    except OperationNotAllowed as error:
        if "8021q" not in error.reason:
            raise
        pytest.skip("this kernel has no VLANs (module 8021q)")
    with IPRoute(netns=namespace) as netlink:
        [index] = netlink.link_lookup(ifname="x0.5")
        [bridge] = netlink.link_lookup(ifname="br0")
        [link] = netlink.get_links(index)
        assert link.get_attr("IFLA_MASTER") == bridge
        assert link["flags"] & IFF_UP
        [card] = netlink.link_lookup(ifname="x0")
        assert next(iter(netlink.get_links(card)))["flags"] & IFF_UP  # it was down
    assert host.create("x0", 5, "br0") == "x0.5"
    host.destroy("x0.5")
    host.destroy("x0.5")
    with IPRoute(netns=namespace) as netlink:
        assert list(netlink.link_lookup(ifname="x0.5")) == []
