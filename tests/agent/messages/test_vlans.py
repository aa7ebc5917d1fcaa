"""VLANs on cards of the host: each verb, each error of its docstring, and what a failing port leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.classes import PIF, VIF, VLAN, VM, Host, Network
from agent.errors import OperationNotAllowed
from agent.ports import SeenInterface
from tests.door import Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def network(door: Door) -> Network:
    """A network that only machines are on."""
    made: Network = door("network.create", {"name_label": "lab"})
    return made


def make(door: Door, network: Network, device: str = "eth0", tag: int = 5) -> PIF:
    made: PIF = door("PIF.create_VLAN", device, network, door.store.only(Host), str(tag))
    return made


def refusal(door: Door, network: Network, device: str = "eth0", tag: int = 5) -> list[str]:
    return door.refused("PIF.create_VLAN", device, network, door.store.only(Host), str(tag))


def resync(door: Door, machine: FakeMachine) -> None:
    """Look at everything again."""
    machine.domains.changed(None)
    door.idle()


def test_a_vlan_carries_a_network(door: Door, network: Network, machine: FakeMachine) -> None:
    pif = make(door, network)
    assert (pif.device, pif.VLAN, pif.physical, pif.network) == ("eth0.5", 5, False, network)
    assert network.PIFs == (pif,)
    assert machine.node.seen_interfaces[-1].bridge == network.bridge
    resync(door, machine)
    assert network.PIFs == (pif,)
    assert pif.metrics is not None
    assert door("network.get_PIFs", network) == (pif,)


@pytest.mark.parametrize("tag", [-1, 0, 4095, 2**40])
def test_a_number_that_is_no_vlan_is_refused(door: Door, network: Network, tag: int) -> None:
    assert refusal(door, network, tag=tag) == ["VLAN_TAG_INVALID", str(tag)]


def test_a_card_that_is_not_there_or_is_a_vlan_is_refused(door: Door, network: Network) -> None:
    assert refusal(door, network, "eth9")[:2] == ["INVALID_VALUE", "device"]
    pif = make(door, network)
    other: Network = door("network.create", {"name_label": "other"})
    assert refusal(door, other, "eth0.5", 6) == ["PIF_IS_VLAN", pif.ref]
    assert refusal(door, other) == ["PIF_VLAN_EXISTS", pif.ref]


def test_a_network_is_carried_by_one_card(door: Door, network: Network) -> None:
    pif = make(door, network)
    assert refusal(door, network, tag=6) == ["NETWORK_ALREADY_CONNECTED", network.ref, pif.ref]


def test_a_network_without_a_bridge_is_refused(door: Door, network: Network) -> None:
    with door.store.transaction():
        network.bridge = ""
    assert refusal(door, network)[0] == "OPERATION_NOT_ALLOWED"


def test_a_vlan_that_cannot_be_made_was_never_there(door: Door, network: Network, machine: FakeMachine) -> None:
    machine.networks.fail("create_vlan", OperationNotAllowed("no 8021q"))
    assert refusal(door, network) == ["OPERATION_NOT_ALLOWED", "no 8021q"]
    assert len(network.PIFs) == 0


def test_a_vlan_is_removed(door: Door, network: Network, machine: FakeMachine) -> None:
    pif = make(door, network)
    assert door.refused("network.destroy", network)[0] == "NETWORK_CONTAINS_PIF"
    door("PIF.destroy", pif)
    assert [seen.device for seen in machine.node.seen_interfaces] == ["eth0"]
    resync(door, machine)
    assert [each.device for each in door.store.all(PIF)] == ["eth0"]
    door("network.destroy", network)


def test_hardware_and_what_the_host_made_is_not_removed(door: Door, machine: FakeMachine) -> None:
    [card] = door.store.all(PIF)
    assert door.refused("PIF.destroy", card) == ["PIF_IS_PHYSICAL", card.ref]
    theirs = SeenInterface("eth0.9", "52:54:00:00:00:01", 1500, False, True, 0, False, VLAN=9, trunk="eth0")
    machine.node.seen_interfaces.append(theirs)
    resync(door, machine)
    [found] = [pif for pif in door.store.all(PIF) if pif.VLAN == 9]
    assert door.refused("PIF.destroy", found)[0] == "OPERATION_NOT_ALLOWED"


def test_a_vlan_in_use_is_not_removed(door: Door, network: Network, machine: FakeMachine) -> None:
    pif = make(door, network)
    vm: VM = door.vm()
    vif: VIF = door("VIF.create", {"VM": vm.ref, "network": network.ref, "device": "0"})
    door.idle()
    door("VM.start", vm, False, False)
    assert door.refused("PIF.destroy", pif) == ["VIF_IN_USE", network.ref, vif.ref]
    door("VM.hard_shutdown", vm)
    machine.node.seen_interfaces = [
        replace(seen, IP="192.0.2.10") if seen.VLAN == 5 else replace(seen, IP="")
        for seen in machine.node.seen_interfaces
    ]
    resync(door, machine)
    assert door.refused("PIF.destroy", pif) == ["PIF_IS_MANAGEMENT_INTERFACE", pif.ref]


def test_a_vlan_is_made_again_when_the_host_has_forgotten_it(
    door: Door, network: Network, machine: FakeMachine
) -> None:
    pif = make(door, network)
    machine.node.seen_interfaces = machine.node.seen_interfaces[:1]
    machine.networks.fail("create_vlan", OperationNotAllowed("not now"))
    resync(door, machine)
    without = pif.currently_attached
    del machine.networks.plan["create_vlan"]
    resync(door, machine)
    assert (without, pif.currently_attached) == (False, True)
    assert machine.node.seen_interfaces[-1].device == "eth0.5"


# --- as objects


def trunk(door: Door) -> PIF:
    [card] = [pif for pif in door.store.all(PIF) if pif.physical]
    return card


def test_a_vlan_is_an_object_between_its_two_pifs(door: Door, network: Network, machine: FakeMachine) -> None:
    card = trunk(door)
    made: VLAN = door("VLAN.create", card, "5", network)
    pif = made.untagged_PIF
    assert (made.tagged_PIF, made.tag, pif.network, pif.VLAN) == (card, 5, network, 5)
    assert (card.VLAN_slave_of, pif.VLAN_master_of, pif.VLAN_slave_of) == ((made,), made, ())
    resync(door, machine)
    assert door("VLAN.get_all") == [made]
    door("VLAN.destroy", made)
    assert ([each.device for each in door.store.all(PIF)], door("VLAN.get_all")) == (["eth0"], [])
    assert card.VLAN_slave_of == ()


def test_the_vlans_of_the_host_are_objects_too(door: Door, machine: FakeMachine) -> None:
    theirs = SeenInterface("eth0.9", "52:54:00:00:00:01", 1500, False, True, 0, False, VLAN=9, trunk="eth0")
    machine.node.seen_interfaces.append(theirs)
    resync(door, machine)
    [found] = door.store.all(VLAN)
    assert (found.tag, found.tagged_PIF, found.untagged_PIF.device) == (9, trunk(door), "eth0.9")
    assert door.refused("VLAN.destroy", found)[0] == "OPERATION_NOT_ALLOWED"
    machine.node.seen_interfaces[-1] = replace(theirs, VLAN=10)
    resync(door, machine)
    assert [vlan.tag for vlan in door.store.all(VLAN)] == [10]
    machine.node.seen_interfaces.pop()
    resync(door, machine)
    assert door.store.all(VLAN) == []


def test_a_vlan_goes_while_its_card_is_gone_and_comes_back_with_it(
    door: Door, network: Network, machine: FakeMachine
) -> None:
    made: VLAN = door("VLAN.create", trunk(door), "5", network)
    pif, seen = made.untagged_PIF, machine.node.seen_interfaces
    machine.node.seen_interfaces = []
    machine.networks.fail("create_vlan", OperationNotAllowed("no such card"))
    resync(door, machine)
    assert (door.store.all(VLAN), pif.VLAN_master_of, door.store.is_live(pif)) == ([], None, True)
    del machine.networks.plan["create_vlan"]
    machine.node.seen_interfaces = seen
    resync(door, machine)
    again = pif.VLAN_master_of
    assert again is not None
    assert (again.uuid, again.tagged_PIF.device) == (made.uuid, "eth0")


def test_a_pool_makes_vlans_by_the_name_of_the_card_or_by_the_card(door: Door, network: Network) -> None:
    other: Network = door("network.create", {"name_label": "other"})
    (one,) = door("pool.create_VLAN", "eth0", network, "5")
    (two,) = door("pool.create_VLAN_from_PIF", trunk(door), other, "6")
    assert [(pif.VLAN, pif.network) for pif in (one, two)] == [(5, network), (6, other)]
    assert door.refused("pool.create_VLAN", "eth9", network, "7")[:2] == ["INVALID_VALUE", "device"]
    assert door.refused("pool.create_VLAN", "eth0", network, "0") == ["VLAN_TAG_INVALID", "0"]
    assert door.refused("pool.create_VLAN_from_PIF", one, network, "7") == ["PIF_IS_VLAN", one.ref]


def test_the_object_is_refused_what_the_pif_is(door: Door, network: Network) -> None:
    card = trunk(door)
    made: VLAN = door("VLAN.create", card, "5", network)
    other: Network = door("network.create", {"name_label": "other"})
    assert door.refused("VLAN.create", card, "4095", other) == ["VLAN_TAG_INVALID", "4095"]
    assert door.refused("VLAN.create", card, "5", other) == ["PIF_VLAN_EXISTS", made.untagged_PIF.ref]
    assert door.refused("VLAN.create", made.untagged_PIF, "6", other) == ["PIF_IS_VLAN", made.untagged_PIF.ref]
    assert door.refused("VLAN.create", card, "6", network)[0] == "NETWORK_ALREADY_CONNECTED"
