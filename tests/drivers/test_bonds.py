"""Bonds by netlink: on a kernel that is played, and on the real one in a network namespace of the test's own."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import pytest
from pyroute2 import IPRoute

from agent.classes.enums import BondMode
from agent.errors import InvalidValue, OperationNotAllowed, PermissionDenied, ValueNotSupported, XenError
from agent.ports import WantedBond
from drivers import netlink
from drivers.bonds import Bonds
from drivers.netlink import IFF_UP, Links
from drivers.simulated_host import PlayedBonds
from tests.drivers.played_kernel import Kernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The played kernel, in place of the library's connection."""
    played = Kernel()
    monkeypatch.setattr(netlink, "IPRoute", played)
    return played


def wanted(
    *members: str,
    mode: BondMode = BondMode.ACTIVE_BACKUP,
    properties: Mapping[str, str] | None = None,
    MAC: str = "",
    bridge: str = "br0",
) -> WantedBond:
    return WantedBond(members or ("eth0", "eth1"), mode, properties or {}, MAC, bridge)


def ports(kernel: Kernel, name: str) -> list[str]:
    """The names of a link's ports."""
    index = kernel.links[name]["index"]
    return [port for port, link in kernel.links.items() if link.get("IFLA_MASTER") == index]


def test_a_bond_is_up_and_a_port_of_the_bridge_and_its_cards_are_only_its(kernel: Kernel) -> None:
    kernel.links["eth0"]["IFLA_MASTER"] = kernel.links["br1"]["index"]
    assert Bonds().create(wanted(MAC="52:54:00:aa:bb:cc")) == "bond0"
    made = kernel.links["bond0"]
    assert (ports(kernel, "br0"), ports(kernel, "br1"), ports(kernel, "bond0")) == (["bond0"], [], ["eth0", "eth1"])
    assert (made["flags"], made["IFLA_ADDRESS"]) == (1, "52:54:00:aa:bb:cc")
    assert made["settings"] == {"bond_mode": 1, "bond_miimon": 100}
    Bonds().destroy("bond0", {"eth0": "br1", "eth1": "", "gone": "br1"})
    assert ("bond0" in kernel.links, ports(kernel, "br1")) == (False, ["eth0"])
    Bonds().destroy("bond0", {})


def test_a_free_name_is_found_and_an_empty_bond_of_a_given_name_taken(kernel: Kernel) -> None:
    assert Bonds().create(wanted("eth0")) == "bond0"
    assert Bonds().create(wanted("eth1", mode=BondMode.LACP), "bond5") == "bond5"
    Bonds().destroy("bond5", {})
    kernel.link("add", ifname="bond6", kind="bond")
    lacp = wanted("eth1", mode=BondMode.LACP, properties={"hashing_algorithm": "src_mac", "lacp-time": "fast"})
    assert Bonds().create(lacp, "bond6") == "bond6"
    settings = kernel.links["bond6"]["settings"]
    assert (settings["bond_mode"], settings["bond_xmit_hash_policy"], settings["bond_ad_lacp_rate"]) == (4, 0, 1)
    with pytest.raises(OperationNotAllowed, match="no bond"):
        Bonds().create(wanted("eth1"), "br1")


def test_a_bond_of_another_mode_has_the_same_cards(kernel: Kernel) -> None:
    Bonds().create(wanted())
    Bonds().change("bond0", BondMode.LACP, {"lacp-time": "fast"})
    assert (ports(kernel, "bond0"), kernel.links["bond0"]["flags"]) == (["eth0", "eth1"], 1)
    assert kernel.links["bond0"]["settings"]["bond_mode"] == 4
    with pytest.raises(OperationNotAllowed, match="no bond"):
        Bonds().change("eth0", BondMode.LACP, {})


@pytest.mark.parametrize(
    ("mode", "properties"),
    [
        (BondMode.BALANCE_SLB, {}),
        (BondMode.LACP, {"lacp-time": "now"}),
        (BondMode.LACP, {"colour": "red"}),
        (BondMode.ACTIVE_BACKUP, {"lacp-time": "fast"}),
    ],
)
def test_what_linux_does_not_have_is_refused(kernel: Kernel, mode: BondMode, properties: Mapping[str, str]) -> None:
    with pytest.raises(ValueNotSupported):
        Bonds().create(wanted(mode=mode, properties=properties))
    with pytest.raises(ValueNotSupported):
        PlayedBonds().create(wanted(mode=mode, properties=properties))
    assert kernel.commands == []


def test_a_card_or_bridge_that_is_not_there_is_named(kernel: Kernel) -> None:
    with pytest.raises(InvalidValue):
        Bonds().create(wanted("eth0", "eth9"))
    with pytest.raises(OperationNotAllowed, match="br9"):
        Bonds().create(wanted(bridge="br9"))
    with pytest.raises(OperationNotAllowed, match="no bond"):
        Bonds().destroy("eth0", {})
    assert kernel.commands == []


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (errno.EPERM, PermissionDenied, "network"),
        (errno.EOPNOTSUPP, OperationNotAllowed, "module bonding"),
        (errno.EIO, OperationNotAllowed, "refuses"),
    ],
)
def test_what_the_kernel_refuses_is_told(kernel: Kernel, number: int, error: type[XenError], says: str) -> None:
    kernel.refuses["add"] = number
    with pytest.raises(error, match=says):
        Bonds().create(wanted())


def test_a_bond_that_fails_leaves_its_cards_as_they_were(kernel: Kernel) -> None:
    kernel.links["eth1"]["flags"] = 0
    kernel.refuses["port"] = errno.EBUSY
    with pytest.raises(OperationNotAllowed, match="kind"):
        Bonds().create(wanted())
    assert "bond0" not in kernel.links
    assert [kernel.links[name]["flags"] for name in ("eth0", "eth1")] == [1, 0]


def test_a_card_is_switched(kernel: Kernel) -> None:
    Links().switch("eth0", up=False)
    assert kernel.links["eth0"]["flags"] == 0
    Links().switch("eth0", up=True)
    assert kernel.links["eth0"]["flags"] == 1
    with pytest.raises(InvalidValue):
        Links().switch("eth9", up=True)
    kernel.refuses["set"] = errno.EIO
    with pytest.raises(OperationNotAllowed, match="eth0 off"):
        Links().switch("eth0", up=False)


# --- the real kernel


def is_up(namespace: str, name: str) -> bool:
    with IPRoute(netns=namespace) as kernel:
        [index] = kernel.link_lookup(ifname=name)
        [link] = kernel.get_links(index)
        return bool(link["flags"] & IFF_UP)


def test_a_real_card_is_switched(namespace: str) -> None:
    Links(namespace).switch("x0", up=True)
    assert is_up(namespace, "x0")
    Links(namespace).switch("x0", up=False)
    assert not is_up(namespace, "x0")
    with pytest.raises(InvalidValue):
        Links(namespace).switch("x9", up=True)


def masters(namespace: str) -> dict[str, int | None]:
    with IPRoute(netns=namespace) as kernel:
        return {link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_MASTER") for link in kernel.get_links()}


def index(namespace: str, name: str) -> int:
    with IPRoute(netns=namespace) as kernel:
        [found] = kernel.link_lookup(ifname=name)
        return int(found)


def test_a_real_bond_is_made_changed_and_removed(namespace: str) -> None:
    host = Bonds(namespace)
    try:
        name = host.create(wanted("x0", "x1"))
    except OperationNotAllowed as error:
        if "module bonding" not in error.reason:
            raise
        assert masters(namespace)["x0"] is None
        pytest.skip("this kernel has no bonds (module bonding)")
    bond, bridge = index(namespace, name), index(namespace, "br0")
    found = masters(namespace)
    assert (found["x0"], found["x1"], found[name]) == (bond, bond, bridge)
    assert is_up(namespace, name)
    host.change(name, BondMode.LACP, {"lacp-time": "fast"})
    assert masters(namespace) == found
    host.destroy(name, {"x0": "br0"})
    assert masters(namespace)["x0"] == bridge
    assert name not in masters(namespace)
