"""The network driver over a libvirt that fails and lies."""

from __future__ import annotations

from unittest.mock import Mock

import libvirt
import pytest
from lxml import etree
from pytest_mock import MockerFixture

from agent import classes as c
from agent.errors import HostOffline, XenError
from agent.model import api
from drivers.networks import LibvirtNetworks, network_xml

api.seal_classes(c)


def refusal(code: int, domain: int = libvirt.VIR_FROM_NETWORK) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, domain, "refused", 2, None, None, None, 0, 0)
    return error


class Libvirt:
    """A connection whose networks a test sets."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.mocker = mocker
        self.alive = True
        self.handle = mocker.create_autospec(libvirt.virConnect, instance=True)
        self.handle.listAllNetworks.return_value = []
        self.handle.listAllInterfaces.return_value = []
        self.handle.networkLookupByUUIDString.side_effect = refusal(libvirt.VIR_ERR_NO_NETWORK)
        self.networks = LibvirtNetworks(Mock(handle=self.handle, suspect=lambda: not self.alive))

    def network(self, inner: str = "<bridge name='virbr0'/>", name: str = "lab") -> Mock:
        """A network that libvirt knows."""
        network: Mock = self.mocker.create_autospec(libvirt.virNetwork, instance=True)
        network.XMLDesc.return_value = f"<network>{inner}</network>"
        network.name.return_value = name
        network.UUIDString.return_value = "u"
        network.isActive.return_value = 0
        return network


@pytest.fixture
def below(mocker: MockerFixture) -> Libvirt:
    return Libvirt(mocker)


def test_without_a_connection_everything_says_so(below: Libvirt) -> None:
    below.alive = False
    for answer in (below.handle.listAllNetworks, below.handle.networkLookupByUUIDString):
        answer.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC)
    lab = c.Network(name_label="lab")
    for call in (below.networks.list, lambda: below.networks.create(lab), lambda: below.networks.destroy(lab)):
        with pytest.raises(HostOffline):
            call()


def test_a_network_that_goes_away_meanwhile_is_left_out(below: Libvirt) -> None:
    gone = below.network()
    gone.XMLDesc.side_effect = refusal(libvirt.VIR_ERR_NO_NETWORK)
    below.handle.listAllNetworks.return_value = [gone, below.network()]
    assert [network.bridge for network in below.networks.list()] == ["virbr0"]


def test_a_network_without_a_bridge_is_a_network(below: Libvirt) -> None:
    below.handle.listAllNetworks.return_value = [below.network("<forward mode='hostdev'/><mtu size='many'/>")]
    (seen,) = below.networks.list()
    assert (seen.bridge, seen.MTU, seen.active) == ("", 1500, False)


def test_the_bridge_of_the_host_comes_from_the_definition(below: Libvirt) -> None:
    network = below.network("<forward mode='bridge'/><bridge name='xenbr0'/>")
    network.bridgeName.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR)
    below.handle.listAllNetworks.return_value = [network]
    assert [seen.bridge for seen in below.networks.list()] == ["xenbr0"]


def test_text_of_others_is_cleaned(below: Libvirt) -> None:
    below.handle.listAllNetworks.return_value = [below.network(name="la\x1b[1mb" + "x" * 999)]
    (seen,) = below.networks.list()
    assert seen.name.startswith("la[1mbx")
    assert len(seen.name) == 255


def test_a_network_that_does_not_start_is_not_left_defined(below: Libvirt) -> None:
    made = below.handle.networkDefineXML.return_value = below.network()
    made.create.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR)
    with pytest.raises(XenError):
        below.networks.create(c.Network(name_label="lab"))
    made.undefine.assert_called_once_with()


def test_a_network_that_was_there_and_does_not_start_stays_defined(below: Libvirt) -> None:
    found = below.network()
    found.create.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR)
    below.handle.networkLookupByUUIDString.side_effect = None
    below.handle.networkLookupByUUIDString.return_value = found
    with pytest.raises(XenError):
        below.networks.create(c.Network(name_label="lab"))
    found.undefine.assert_not_called()


def test_the_name_of_a_bridge_is_that_of_no_card(below: Libvirt) -> None:
    card = below.mocker.create_autospec(libvirt.virInterface, instance=True)
    card.name.return_value = "xapi0"
    below.handle.listAllInterfaces.return_value = [card]
    below.handle.listAllNetworks.return_value = [below.network("<bridge name='xapi1'/>")]
    below.handle.networkDefineXML.side_effect = lambda xml: below.network(
        etree.tostring(etree.fromstring(xml)[2]).decode()
    )
    assert below.networks.create(c.Network(name_label="new")) == "xapi2"


def test_a_libvirt_without_interfaces_is_no_obstacle(below: Libvirt) -> None:
    below.handle.listAllInterfaces.side_effect = refusal(libvirt.VIR_ERR_NO_SUPPORT)
    below.handle.networkDefineXML.return_value = below.network("<bridge name='xapi0'/>")
    assert below.networks.create(c.Network(name_label="new")) == "xapi0"
    below.handle.listAllInterfaces.side_effect = refusal(libvirt.VIR_ERR_INTERNAL_ERROR)
    with pytest.raises(XenError):
        below.networks.create(c.Network(name_label="other"))


def test_a_network_that_ends_while_it_is_destroyed_is_gone(below: Libvirt) -> None:
    found = below.network()
    found.isActive.return_value, found.isPersistent.return_value = 1, 0
    below.handle.networkLookupByUUIDString.side_effect = None
    below.handle.networkLookupByUUIDString.return_value = found
    below.networks.destroy(c.Network(name_label="lab"))
    found.undefine.assert_not_called()
    found.destroy.side_effect = refusal(libvirt.VIR_ERR_NO_NETWORK)
    below.networks.destroy(c.Network(name_label="lab"))


def test_no_network_made_here_has_addresses_or_leads_anywhere() -> None:
    network = etree.fromstring(network_xml("u", "<odd> & name", "xapi0", 9000, managed=True))
    assert [child.tag for child in network] == ["name", "uuid", "bridge", "mtu"]
    assert (network.findtext("name"), network[3].get("size")) == ("<odd> & name", "9000")
    bridged = etree.fromstring(network_xml("u", "n", "xenbr0", 1500, managed=False))
    assert [(child.tag, dict(child.attrib)) for child in bridged][2:] == [
        ("forward", {"mode": "bridge"}),
        ("bridge", {"name": "xenbr0"}),
    ]
