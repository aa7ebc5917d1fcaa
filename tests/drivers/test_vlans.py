"""VLANs by netlink: on a kernel that is played, and on the real one in a network namespace of the test's own."""

from __future__ import annotations

import errno

import pytest
from pyroute2 import IPRoute

from agent.errors import InvalidValue, OperationNotAllowed, PermissionDenied, VlanInUse, XenError
from drivers import netlink
from drivers.netlink import IFF_UP
from drivers.simulated_host import PlayedVlans
from drivers.vlans import Vlans, name_of
from tests.drivers.played_kernel import Kernel, Link


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The played kernel, in place of the library's connection."""
    played = Kernel()
    monkeypatch.setattr(netlink, "IPRoute", played)
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
    with IPRoute(netns=namespace) as kernel:
        [index] = kernel.link_lookup(ifname="x0.5")
        [bridge] = kernel.link_lookup(ifname="br0")
        [link] = kernel.get_links(index)
        assert link.get_attr("IFLA_MASTER") == bridge
        assert link["flags"] & IFF_UP
        [card] = kernel.link_lookup(ifname="x0")
        assert next(iter(kernel.get_links(card)))["flags"] & IFF_UP  # it was down
    assert host.create("x0", 5, "br0") == "x0.5"
    host.destroy("x0.5")
    host.destroy("x0.5")
    with IPRoute(netns=namespace) as kernel:
        assert list(kernel.link_lookup(ifname="x0.5")) == []
